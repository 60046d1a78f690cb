// Stage A of a side's cache: how each cached level stands to the two halves of an operation.
//
// A row is {more, N levels of {valid, key, quantity}}, best level in the lowest bits; a lower key
// is a better price on both sides (book.sv inverts bids).  `net` says that both halves are of one
// level, which then changes by their difference and can not become empty.
module cache_match #(
    parameter int N  = 8,
    parameter int KW = 32,
    parameter int QW = 36,
    parameter int DW = 32  // bits of an operation's shares
) (
    input  logic [N*(1+KW+QW):0] row,
    input  logic [KW-1:0]        red_key,
    input  logic [KW-1:0]        ins_key,
    input  logic [DW-1:0]        red_qty,
    input  logic [DW-1:0]        ins_qty,
    input  logic [DW:0]          difference,  // signed: ins_qty - red_qty
    input  logic                 net,
    output logic [N-1:0]         red_eq,
    output logic [N-1:0]         ins_eq,
    output logic [N-1:0]         ins_after,   // valid and better than ins_key
    output logic [N-1:0]         empties,
    output logic [N*QW-1:0]      reduced,
    output logic [N*QW-1:0]      grown
);
  localparam int E = 1 + KW + QW;
  // `net` comes late: both sums stand ready.
  logic [N*QW-1:0] lessened, netted;
  always_comb
    for (int i = 0; i < N; i = i + 1) begin
      red_eq[i]    = row[i*E+E-1] && row[i*E+QW+:KW] == red_key;
      ins_eq[i]    = row[i*E+E-1] && row[i*E+QW+:KW] == ins_key;
      ins_after[i] = row[i*E+E-1] && row[i*E+QW+:KW] < ins_key;
      empties[i]   = row[i*E+:QW] == {{(QW-DW){1'b0}}, red_qty};
      lessened[i*QW+:QW] = row[i*E+:QW] - {{(QW-DW){1'b0}}, red_qty};
      netted[i*QW+:QW] = row[i*E+:QW] + {{(QW-DW-1){difference[DW]}}, difference};
      reduced[i*QW+:QW] = net ? netted[i*QW+:QW] : lessened[i*QW+:QW];
      grown[i*QW+:QW]   = row[i*E+:QW] + {{(QW-DW){1'b0}}, ins_qty};
    end
endmodule
