// Stage B of a side's cache: the row after an operation, of which both halves act at once.
//
// Invariant (proved by tests/test_hdl_book_proof.py): the cached levels are exactly the best `count` of
// the side, in order, without gaps; `more` is set where others may exist below them, and then
// nothing is inserted below the worst one cached.
module cache_update #(
    parameter int N  = 8,
    parameter int KW = 32,
    parameter int QW = 36,
    parameter int DW = 32
) (
    input  logic [N*(1+KW+QW):0] row,
    input  logic                 red,       // takes shares off red_key's level, at least one
    input  logic                 ins,       // brings shares to ins_key's level, at least one
    input  logic                 net,       // both, of one level
    input  logic                 net_some,
    input  logic [KW-1:0]        ins_key,
    input  logic [DW-1:0]        ins_qty,
    input  logic [N-1:0]         red_eq,
    input  logic [N-1:0]         ins_eq,
    input  logic [N-1:0]         ins_after,
    input  logic [N-1:0]         empties,
    input  logic [N*QW-1:0]      reduced,
    input  logic [N*QW-1:0]      grown,
    output logic [N*(1+KW+QW):0] next,
    output logic                 top_changed
);
  localparam int E = 1 + KW + QW;
  localparam int MORE = N * E;
  logic [N-1:0] valid, up, better;
  logic leaves, comes, enters;
  logic [N:0][E-1:0] level;  // after a change of quantity; one that is empty above the last
  always_comb begin
    for (int i = 0; i < N; i = i + 1) valid[i] = row[i*E+E-1];
    leaves = red & ~net & |(red_eq & empties);
    comes  = ins & ~net & ~|ins_eq;
    // Below the worst cached level only where no other level can be in between.
    enters = comes & (|(valid & ~ins_after) | ~row[MORE]);
    level[N] = '0;
    for (int i = 0; i < N; i = i + 1) begin
      level[i] = row[i*E+:E];
      if (red & red_eq[i]) level[i][QW-1:0] = reduced[i*QW+:QW];
      else if (ins & ins_eq[i]) level[i][QW-1:0] = grown[i*QW+:QW];
    end
    // `up`: this place takes the next one's level, because one above has left.
    for (int i = 0; i < N; i = i + 1) up[i] = leaves & |(red_eq & ~({N{1'b1}} << (i + 1)));
    for (int i = 0; i < N; i = i + 1)
      better[i] = up[i] ? (i == N - 1 ? 1'b0 : ins_after[i==N-1?i : i+1]) : ins_after[i];
    next = '0;
    for (int i = 0; i < N; i = i + 1)
      if (~enters | better[i]) next[i*E+:E] = up[i] ? level[i+1] : level[i];
      else if (i == 0 || better[i==0?0 : i-1])
        next[i*E+:E] = {1'b1, ins_key, {(QW - DW) {1'b0}}, ins_qty};
      else next[i*E+:E] = up[i==0?0 : i-1] ? level[i] : level[i==0?0 : i-1];
    next[MORE] = row[MORE] | (enters & ~leaves & valid[N-1]) | (comes & ~enters);
    top_changed = (red & red_eq[0] & (~net | net_some))
        | (ins & ~net & ins_eq[0]) | (enters & ~ins_after[0]);
  end
endmodule
