// Which rows of the order store may hold orders of a side: a bit for each 2^GW rows in a row, by
// symbol and side.  A bit is set where an order comes to one of its rows, and cleared by the
// rescan (rescan.sv) that finds none of the side there; so a rescan reads few rows but all that
// matter.
//
//   edge 3   the word of bits read, with what the two puts before have written
//   edge 4   written
//
// Puts are two cycles apart at least.  The rescan has the read port to itself, because operations
// stand still meanwhile, and the write port, too.
module side_rows #(
    parameter int IW = 15,
    parameter int GW = 2,
    parameter int BL = IW > 10 ? 6 : 2,       // a word has 2^BL bits
    parameter int XW = IW - GW - BL           // a side has 2^XW words
) (
    input  logic               clk,
    input  logic               rst,
    input  logic               clr,
    input  logic [15:0]        clr_a,
    input  logic               put,
    input  logic [IW-1:0]      put_row,
    input  logic [6:0]         put_side,
    input  logic               scans,
    input  logic [6:0]         side,
    input  logic [XW-1:0]      at,
    output logic [(1<<BL)-1:0] word,          // three edges after `at`
    input  logic               we,
    input  logic [XW-1:0]      wa,
    input  logic [(1<<BL)-1:0] wd
);
  localparam int W = 1 << BL, AW = 7 + XW;
  logic [3:1] v;
  logic [3:1][AW-1:0] a;
  logic [3:1][BL-1:0] bit_;
  logic [AW-1:0] a4, a5;
  logic [W-1:0] w4, w5;
  logic v4, v5;
  wire [W-1:0] was = v5 && a5 == a[3] ? w5 : word;
  wire [W-1:0] now = (v4 && a4 == a[3] ? w4 : was) | W'(1) << bit_[3];
  ram #(.W(W), .AW(AW)) bits (
      .clk(clk), .we(clr | v[3] | we),
      .wa(clr ? clr_a[AW-1:0] : we ? {side, wa} : a[3]),
      .wd(clr ? '0 : we ? wd : now),
      .ra(scans ? {side, at} : {put_side, put_row[IW-1:GW+BL]}), .q(word));
  // A put d cycles behind another one reads what that has written where d is 4 or more; w4 is
  // what was written one cycle ago, w5 two and, nothing being put in between, three.
  always_ff @(posedge clk) begin
    v <= {v[2:1], put};
    a <= {a[2:1], put_side, put_row[IW-1:GW+BL]};
    bit_ <= {bit_[2:1], put_row[GW+:BL]};
    {v4, a4, w4} <= {v[3], a[3], now};
    if (v4) {v5, a5, w5} <= {1'b1, a4, w4};
    if (rst) {v, v4, v5} <= '0;
  end
endmodule
