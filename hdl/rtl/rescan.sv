// Reads the whole order store for one side of one symbol, twice, while everything else stands
// still: once to learn its best price, once to bring its orders to the levels of a window there.
//
// That is for a side whose window has run empty while orders beyond it live (window.sv: `lost`).
// Rows are read one a cycle; the ways of a row with an order of the side are gone through one by
// one, and the rows behind it, which were on their way, are read again.  So a pass takes 2^IW
// cycles and about 12 more for each such row.
module rescan #(
    parameter int IW = 15,
    parameter int OW = 82
) (
    input  logic               clk,
    input  logic               rst,
    input  logic [1:0]         wanted,   // by the bids, by the offers; stand until `finished`
    input  logic [1:0]         finished, // pulses, when the side has its window
    input  logic [5:0]         sym_b,
    input  logic [5:0]         sym_a,
    output logic               stop,     // no operation may start
    output logic               reading,  // the order store's address is `row`
    output logic [IW-1:0]      row,
    input  logic [7:0]         row_valid,
    input  logic [7:0][OW-1:0] row_order,
    output logic [1:0]         order_v,  // to the side that is scanned
    output logic [OW-1:0]      order,
    output logic [1:0]         pass_end, // to that side, too
    output logic [5:0]         symbol,   // of the operation that publishes the new top
    output logic               sell,
    output logic               publish
);
  localparam logic [2:0] IDLE = 0, DRAIN = 1, SCAN = 2, WAYS = 3, END = 4, WAIT = 5, LEAVE = 6;
  logic [2:0] state;
  logic [5:0] n;
  logic second, v1, v2, v3, v4;
  logic [IW-1:0] a1, a2, a3, a4;  // rows on their way: three edges in the store, one before it
  logic [7:0] left, mine;
  logic [7:0][OW-1:0] held;
  always_comb
    for (int w = 0; w < 8; w = w + 1)
      mine[w] = row_valid[w] && row_order[w][OW-1-:6] == symbol && row_order[w][75] == sell;
  assign stop = state != IDLE;
  // Before operations go on, what waits at the front has its own address again.
  assign reading = state == DRAIN || state == SCAN || state == WAYS || state == END;
  always_ff @(posedge clk) begin
    order_v <= '0; pass_end <= '0; publish <= 1'b0;
    {v1, v2, v3, v4} <= {state == SCAN, v1, v2, v3};
    {a1, a2, a3, a4} <= {row, a1, a2, a3};
    case (state)
      IDLE: begin
        sell <= wanted[0];
        symbol <= wanted[0] ? sym_a : sym_b;
        n <= '0;
        second <= 1'b0;
        if (wanted != 0) state <= DRAIN;
      end
      // 20 cycles: the youngest operation has left the pipeline and written all it writes.
      DRAIN: begin
        n <= n + 6'd1;
        row <= '0;
        if (n == 6'd24) state <= SCAN;
      end
      SCAN: begin
        row <= row + 1'b1;
        if (v4 & mine != 0) begin
          left <= mine;
          held <= row_order;
          row <= a4;
          state <= WAYS;
          {v1, v2, v3, v4} <= '0;
        end else if (v4 & &a4) state <= END;
      end
      WAYS: begin
        {v1, v2, v3, v4} <= '0;
        for (int w = 7; w >= 0; w = w - 1) if (left[w]) order <= held[w];
        order_v <= left != 0 ? (sell ? 2'b01 : 2'b10) : 2'b00;
        left <= left & (left - 8'd1);
        if (left == 0) begin
          row <= row + 1'b1;
          state <= &row ? END : SCAN;
        end
      end
      END: begin
        {v1, v2, v3, v4} <= '0;
        n <= n + 6'd1;
        if (n == 6'd30) pass_end <= sell ? 2'b01 : 2'b10;
        if (n == 6'd40) begin
          n <= 6'd25;
          row <= '0;
          second <= 1'b1;
          state <= second ? WAIT : SCAN;
        end
      end
      WAIT: if (finished != 0) begin
        publish <= 1'b1;
        state <= LEAVE;
      end
      LEAVE: state <= IDLE;
      default: state <= IDLE;
    endcase
    if (rst) begin
      state <= IDLE;
      {v1, v2, v3, v4, order_v, pass_end, publish} <= '0;
    end
  end
endmodule
