// All levels of one side, 1,024 ticks for each symbol: quantities in UltraRAM, and which of them
// are not empty in two levels of bits (32 words of 32 for each symbol, and one above them).
//
// Changes come one a cycle at most and take the same way, off the path to the top of book:
//
//   edge  1..3  read, edge 4: added, edge 5: written       (changes 1..4 cycles apart are forwarded)
//   edge  5     the word of bits read, edge 6: written     (1 cycle apart is forwarded)
//   edge  6     the word above read, edge 7: written       (1 cycle apart is forwarded)
//
// Where no change comes, the read port of the quantities is the engine's.
module levels #(
    parameter int SW = 6,
    parameter int PW = 10,
    parameter int QW = 36
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             clr,
    input  logic [SW+PW-1:0] clr_a,
    input  logic             en,
    input  logic [1:0]       kind,  // 0 less, 1 more, 2 none left
    input  logic [SW-1:0]    sym,
    input  logic [PW-1:0]    pos,
    input  logic [QW-1:0]    qty,
    input  logic [SW-1:0]    e_sym,
    input  logic [PW-1:0]    e_pos,
    output logic [QW-1:0]    e_qty,   // three edges after e_pos, where en was low
    input  logic [PW-6:0]    e_group,
    output logic [31:0]      e_word,  // one edge after e_group
    output logic [31:0]      e_groups,// one edge after e_sym
    output logic             huge,   // a quantity came to use its highest bit
    output logic [SW-1:0]    huge_sym
);
  localparam int AW = SW + PW;
  localparam logic [1:0] MORE = 2'd1, NONE = 2'd2;
  logic e1, e2, e3, e4, e5, e6;
  logic [AW-1:0] a1, a2, a3, a4, a5, a6;
  logic [1:0] k1, k2, k3;
  logic [QW-1:0] d1, d2, d3, x3;  // x3: d3, or its inverse where it is taken off
  logic m0, m1, m2, m3, m4;
  logic [QW-1:0] q, q4, q5, q6, q7;
  wire is1 = e3 && a3 == a2;
  wire is2 = e4 && a4 == a2;
  wire is3 = e5 && a5 == a2;
  wire is4 = e6 && a6 == a2;
  logic some4, some5;
  ram #(.W(QW), .AW(AW)) quantities (
      .clk(clk), .we(clr | e4), .wa(clr ? clr_a : a4), .wd(clr ? {QW{1'b0}} : q4),
      .ra(en ? {sym, pos} : {e_sym, e_pos}), .q(q));
  assign e_qty = q;
  // The youngest of the changes ahead, of which one flag at most is set.
  wire [QW-1:0] was = ({QW{m1}} & q4) | ({QW{m2}} & q5) | ({QW{m3}} & q6) | ({QW{m4}} & q7)
                    | ({QW{m0}} & q);
  wire more = k3 == MORE;
  wire [QW-1:0] sum = was + x3 + {{(QW - 1) {1'b0}}, ~more};

  (* ram_style = "distributed" *) logic [31:0] words[0:(1<<(AW-5))-1];
  (* ram_style = "distributed" *) logic [31:0] groups[0:(1<<SW)-1];
  logic [31:0] w5, g6;
  logic any6;
  wire [31:0] bit5 = 32'd1 << a5[4:0];
  wire [31:0] word5 = some5 ? (w5 | bit5) : (w5 & ~bit5);
  wire [31:0] bit6 = 32'd1 << a6[PW-1:5];
  wire [31:0] groups6 = any6 ? (g6 | bit6) : (g6 & ~bit6);
  always_ff @(posedge clk) begin
    {e1, e2, e3, e4, e5, e6} <= {en, e1, e2, e3, e4, e5};
    a1 <= {sym, pos};
    {a2, a3, a4, a5, a6} <= {a1, a2, a3, a4, a5};
    {k1, k2, k3} <= {kind, k1, k2};
    {d1, d2, d3} <= {qty, d1, d2};
    x3 <= k2 == MORE ? d2 : ~d2;
    m1 <= is1;
    m2 <= is2 & ~is1;
    m3 <= is3 & ~(is1 | is2);
    m4 <= is4 & ~(is1 | is2 | is3);
    m0 <= ~(is1 | is2 | is3 | is4);
    q4 <= k3 == NONE ? '0 : sum;
    some4 <= more | (k3 != NONE && was != d3);
    {q5, q6, q7} <= {q4, q5, q6};
    some5 <= some4;
    {huge, huge_sym} <= {e4 & q4[QW-1], a4[AW-1-:SW]};
    w5 <= e5 && a5[AW-1:5] == a4[AW-1:5] ? word5 : words[a4[AW-1:5]];
    any6 <= |word5;
    g6 <= e6 && a6[AW-1:PW] == a5[AW-1:PW] ? groups6 : groups[a5[AW-1:PW]];
    if (clr | e5) words[clr?clr_a[AW-6:0] : a5[AW-1:5]] <= clr ? 32'd0 : word5;
    if (clr | e6) groups[clr?clr_a[SW-1:0] : a6[AW-1:PW]] <= clr ? 32'd0 : groups6;
    e_word <= words[{e_sym, e_group}];
    e_groups <= groups[e_sym];
    if (rst) {e1, e2, e3, e4, e5, e6, m1, m2, m3, m4, huge} <= '0;
  end
endmodule
