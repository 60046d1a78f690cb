// A simple dual-port memory whose read data stands in a register three edges after the address:
// the array's own latch, its output register, and one more for the cascade of UltraRAM blocks.
// A word written at an edge is seen by reads whose address is sampled at a later edge only.
module ram #(
    parameter int W  = 72,
    parameter int AW = 14
) (
    input  logic          clk,
    input  logic          we,
    input  logic [AW-1:0] wa,
    input  logic [W-1:0]  wd,
    input  logic [AW-1:0] ra,
    output logic [W-1:0]  q
);
  (* ram_style = "ultra" *) logic [W-1:0] mem[0:(1<<AW)-1];
  logic [W-1:0] q0, q1;
  always_ff @(posedge clk) begin
    if (we) mem[wa] <= wd;
    q0 <= mem[ra];
    q1 <= q0;
    q  <= q1;
  end
endmodule
