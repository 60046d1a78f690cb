// What was odd about the book's operations, counted: one 32-bit counter (it stays at its end) for
// each bit of book.sv's `events`, lowest first: unknown order, symbol mismatch, duplicate, store
// full, zero shares, over, far, off the grid, levels dropped, windows moved, rescans, levels that
// came to use their highest bit.
module book_counters #(
    parameter int N = 12
) (
    input  logic               clk,
    input  logic               rst,
    input  logic [N-1:0]       events,
    input  logic [3:0]         select,
    output logic [31:0]        value
);
  logic [N-1:0][31:0] counts;
  always_ff @(posedge clk) begin
    for (int i = 0; i < N; i = i + 1)
      if (events[i] & ~&counts[i]) counts[i] <= counts[i] + 32'd1;
    value <= '0;
    for (int i = 0; i < N; i = i + 1) if (select == i) value <= counts[i];
    if (rst) counts <= '0;
  end
endmodule
