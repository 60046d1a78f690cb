// Looks through the order store for one side of one symbol, twice, while everything else stands
// still: once to learn its best price, once to bring its orders to the levels of a window there.
//
// That is for a side whose window has run empty while orders beyond it live (window.sv: `lost`).
// Only rows are read that may hold orders of the side (side_rows.sv), one a cycle; the ways of a
// row with an order of the side are gone through one by one, and the rows behind it, which were on
// their way, are read again.
//
// A pass takes a cycle for each word of bits (128), 9 more for one that is not empty, 4 for each of
// its bits, and about 12 for each row with an order of the side.  At most, every bit being set,
// 2^IW + 1,280 cycles and those for the orders; the pass then clears the bits of what it did not
// find, so that the next one is short.
module rescan #(
    parameter int IW = 15,
    parameter int OW = 82
) (
    input  logic               clk,
    input  logic               rst,
    input  logic               clr,
    input  logic [15:0]        clr_a,
    input  logic               put,      // order_store.sv: an order comes to a row
    input  logic [IW-1:0]      put_row,
    input  logic [6:0]         put_side,
    input  logic [1:0]         wanted,   // by the bids, by the offers; stand until `finished`
    input  logic [1:0]         finished, // pulses, when the side has its window
    input  logic [5:0]         sym_b,
    input  logic [5:0]         sym_a,
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
  localparam int GW = 2, BL = IW > 10 ? 6 : 2, XW = IW - GW - BL, W = 1 << BL;
  localparam logic [2:0] IDLE = 0, DRAIN = 1, SKIP = 2, ROWS = 3, WAYS = 4, KEEP = 5, END = 6,
      WAIT = 7;
  logic [2:0] state;
  logic [5:0] n;
  logic second, v1, v2, v3, v4, w1, w2, w3;
  logic [IW-1:0] a1, a2, a3, a4;  // rows on their way: three edges in the store, one before it
  logic [XW-1:0] at, x1, x2, x3;
  logic [W-1:0] word, all, left, found;  // of bits: as read, of `at`, those to go, those that stay
  logic [GW-1:0] sub;
  logic [7:0] ways, mine;
  logic [7:0][OW-1:0] held;
  side_rows #(.IW(IW), .GW(GW), .BL(BL), .XW(XW)) rows (
      .clk(clk), .rst(rst), .clr(clr), .clr_a(clr_a), .put(put), .put_row(put_row),
      .put_side(put_side), .scans(reading), .side({symbol, sell}), .at(at), .word(word),
      .we(state == KEEP), .wa(at), .wd(found));
  function automatic logic [BL-1:0] lowest(input logic [W-1:0] x);
    integer k;
    begin
      lowest = '0;
      for (k = W - 1; k >= 0; k = k - 1) if (x[k]) lowest = k[BL-1:0];
    end
  endfunction
  // In groups, none of which waits for the one before: a borrow would.
  localparam int G = W < 8 ? W : 8;
  function automatic logic [W-1:0] but_lowest(input logic [W-1:0] x);
    logic [W/G-1:0] some, earlier;
    integer g, k;
    begin
      for (g = 0; g < W / G; g = g + 1) some[g] = |x[G*g+:G];
      for (g = 0; g < W / G; g = g + 1) earlier[g] = |(some & ~({(W / G) {1'b1}} << g));
      for (g = 0; g < W / G; g = g + 1)
        for (k = 0; k < G; k = k + 1)
          but_lowest[G*g+k] = x[G*g+k] & (earlier[g] | |(x[G*g+:G] & ~({G{1'b1}} << k)));
    end
  endfunction
  always_comb
    for (int w = 0; w < 8; w = w + 1)
      mine[w] = row_valid[w] && row_order[w][OW-1-:6] == symbol && row_order[w][75] == sell;
  assign reading = state != IDLE;
  wire reads = state == ROWS & left != 0;
  wire hit = state == ROWS & v4 & mine != 0;
  wire [BL-1:0] hit_bit = a4[GW+:BL];
  assign row = {at, lowest(left), sub};
  always_ff @(posedge clk) begin
    order_v <= '0; pass_end <= '0; publish <= 1'b0;
    {v1, v2, v3, v4} <= hit | state != ROWS ? 4'b0 : {reads, v1, v2, v3};
    {a1, a2, a3, a4} <= {row, a1, a2, a3};
    {w1, w2, w3} <= {state == SKIP, w1, w2};
    {x1, x2, x3} <= {at, x1, x2};
    case (state)
      IDLE: begin
        sell <= wanted[0];
        symbol <= wanted[0] ? sym_a : sym_b;
        n <= '0;
        second <= 1'b0;
        if (wanted != 0 & ~publish) state <= DRAIN;  // the one that is served goes in the next cycle
      end
      // The youngest operation has left the pipeline and written all it writes.
      DRAIN: begin
        n <= n + 6'd1;
        at <= '0;
        if (n == 6'd24) state <= SKIP;
      end
      // To the next word with a bit.
      SKIP: begin
        at <= at + 1'b1;
        if (w3 & (word != 0 | &x3)) begin
          {w1, w2, w3} <= '0;
          at <= x3;
          {all, left} <= {2{word}};
          found <= '0;
          sub <= '0;
          state <= word != 0 ? ROWS : END;
        end
      end
      ROWS: begin
        sub <= sub + GW'(reads);
        if (&sub) left <= but_lowest(left);
        if (hit) begin
          {ways, held} <= {mine, row_order};
          found[hit_bit] <= 1'b1;
          // Go on behind this row.
          sub <= a4[GW-1:0] + 1'b1;
          left <= all & ({W{1'b1}} << hit_bit) & ~(W'(&a4[GW-1:0]) << hit_bit);
          state <= WAYS;
        end else if (left == 0 & ~(v1 | v2 | v3 | v4)) state <= KEEP;
      end
      WAYS: begin
        for (int w = 7; w >= 0; w = w - 1) if (ways[w]) order <= held[w];
        order_v <= ways != 0 ? (sell ? 2'b01 : 2'b10) : 2'b00;
        ways <= ways & (ways - 8'd1);
        if (ways == 0) state <= ROWS;
      end
      KEEP: begin
        at <= at + 1'b1;
        state <= &at ? END : SKIP;
      end
      END: begin
        n <= n + 6'd1;
        if (n == 6'd30) pass_end <= sell ? 2'b01 : 2'b10;
        if (n == 6'd40) begin
          n <= 6'd25;
          at <= '0;
          second <= 1'b1;
          state <= second ? WAIT : SKIP;
        end
      end
      WAIT: if (finished != 0) begin
        publish <= 1'b1;
        state <= IDLE;
      end
      default: state <= IDLE;
    endcase
    if (rst) begin
      state <= IDLE;
      {v1, v2, v3, v4, w1, w2, w3, order_v, pass_end, publish} <= '0;
    end
  end
endmodule
