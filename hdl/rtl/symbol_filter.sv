// Which of the subscribed symbols a stock locate is, if one: a table that the host fills.
//
// Two edges from an address to its entry.  A locate is known long before its message ends, so this is no
// delay.  Locate 0 is the venue's own and nobody's symbol.  After reset the table is cleared, an entry
// a cycle; `ready` says that it is.
module symbol_filter #(
    parameter int LOCATE_BITS = 16,
    parameter int SYMBOL_BITS = 6
) (
    input  logic                   clk,
    input  logic                   rst,
    output logic                   ready,
    input  logic                   cfg_we,
    input  logic [LOCATE_BITS-1:0] cfg_locate,
    input  logic                   cfg_subscribed,
    input  logic [SYMBOL_BITS-1:0] cfg_symbol,
    input  logic                   asks,
    input  logic [LOCATE_BITS-1:0] locate,
    output logic                   subscribed,
    output logic [SYMBOL_BITS-1:0] symbol
);
  localparam int ENTRY = SYMBOL_BITS + 1;
  (* ram_style = "block" *) logic [ENTRY-1:0] mem[0:(1<<LOCATE_BITS)-1];
  logic [LOCATE_BITS:0] cleared;
  logic [ENTRY-1:0] read;
  logic we;
  logic [LOCATE_BITS-1:0] wa;
  logic [ENTRY-1:0] wd;
  assign ready = cleared[LOCATE_BITS];
  always_ff @(posedge clk) begin
    we <= cfg_we | ~ready;
    wa <= ready ? cfg_locate : cleared[LOCATE_BITS-1:0];
    wd <= ready ? {cfg_subscribed & cfg_locate != 0, cfg_symbol} : '0;
    if (we) mem[wa] <= wd;
    if (asks) read <= mem[locate];
    {subscribed, symbol} <= read;
    if (~ready) cleared <= cleared + 1'b1;
    if (rst) begin
      cleared <= '0;
      we <= 1'b0;
    end
  end
endmodule
