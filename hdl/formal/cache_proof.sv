// The invariant of a side's cache, one step of it, on a small model: all of its states, all
// operations.  A solver shows that `holds` is never 0 (tests/test_hdl_book_proof.py).
//
// `quantity` is the whole side, shares by key; the row is what the invariant says it must be: its
// best `count` levels, with `more` clear only where these are all.  After an operation the row that
// cache_match.sv and cache_update.sv give must be the same of the changed side.  The empty row of an
// empty side is the base of the induction, and a refill starts again from such a row.
module cache_proof #(
    parameter int N  = 4,
    parameter int KW = 3,
    parameter int QW = 5,
    parameter int DW = 3
) (
    input  logic [(1<<KW)*QW-1:0] quantity,
    input  logic [2:0]            count,
    input  logic                  more,
    input  logic                  red,
    input  logic                  ins,
    input  logic [KW-1:0]         red_key,
    input  logic [KW-1:0]         ins_key,
    input  logic [DW-1:0]         red_qty,
    input  logic [DW-1:0]         ins_qty,
    output logic                  holds,
    output logic                  unreachable  // the assumptions are not met
);
  localparam int KEYS = 1 << KW;
  localparam int E = 1 + KW + QW;
  localparam int RW = N * E + 1;

  // The best levels of a side as a row; and how many levels it has.
  function automatic logic [RW-2:0] best(input logic [KEYS*QW-1:0] side, input logic [3:0] wanted);
    logic [3:0] k;
    begin
      best = '0;
      k = '0;
      for (int key = 0; key < KEYS; key = key + 1)
        if (side[key*QW+:QW] != 0 && k < wanted) begin
          for (int i = 0; i < N; i = i + 1)
            if (k == i) best[i*E+:E] = {1'b1, key[KW-1:0], side[key*QW+:QW]};
          k = k + 4'd1;
        end
    end
  endfunction
  function automatic logic [3:0] levels(input logic [KEYS*QW-1:0] side);
    begin
      levels = '0;
      for (int key = 0; key < KEYS; key = key + 1)
        levels = levels + {3'b0, side[key*QW+:QW] != 0};
    end
  endfunction

  wire net = red & ins & red_key == ins_key;
  wire [DW:0] difference = {1'b0, ins_qty} - {1'b0, red_qty};
  wire [RW-1:0] row = {more, best(quantity, {1'b0, count})};
  logic [N-1:0] red_eq, ins_eq, ins_after, empties;
  logic [N*QW-1:0] reduced, grown;
  logic [RW-1:0] next;
  logic top_changed;
  cache_match #(.N(N), .KW(KW), .QW(QW), .DW(DW)) a (
      .row(row), .red_key(red_key), .ins_key(ins_key), .red_qty(red_qty), .ins_qty(ins_qty),
      .difference(difference), .net(net), .red_eq(red_eq), .ins_eq(ins_eq),
      .ins_after(ins_after), .empties(empties), .reduced(reduced), .grown(grown));
  cache_update #(.N(N), .KW(KW), .QW(QW), .DW(DW)) b (
      .row(row), .red(red), .ins(ins), .net(net), .net_some(|difference), .ins_key(ins_key),
      .ins_qty(ins_qty), .red_eq(red_eq), .ins_eq(ins_eq), .ins_after(ins_after),
      .empties(empties), .reduced(reduced), .grown(grown), .next(next),
      .top_changed(top_changed));

  logic [KEYS*QW-1:0] changed;
  logic [QW:0] grows;
  logic allowed, is_best, says_more, says_top;
  logic [3:0] kept;
  always_comb begin
    changed = quantity;
    allowed = count <= N && {1'b0, count} <= levels(quantity) && (more || count == levels(quantity));
    grows = '0;
    for (int key = 0; key < KEYS; key = key + 1) begin
      // Orders of a level never take off more than it has.
      if (red && red_key == key) begin
        allowed = allowed && red_qty != 0 && changed[key*QW+:QW] >= red_qty;
        changed[key*QW+:QW] = changed[key*QW+:QW] - red_qty;
      end
      if (ins && ins_key == key) begin
        grows = changed[key*QW+:QW] + ins_qty;
        allowed = allowed && ins_qty != 0 && !grows[QW];
        changed[key*QW+:QW] = grows[QW-1:0];
      end
    end
    kept = '0;
    for (int i = 0; i < N; i = i + 1) kept = kept + {3'b0, next[i*E+E-1]};
    is_best = next[RW-2:0] == best(changed, kept);
    says_more = next[RW-1] || kept == levels(changed);
    // CRITICAL and the refill keep at least one level cached where there are any.
    says_top = (count == 0 && more) || (kept == 0 && next[RW-1])
        || top_changed == (best(quantity, 4'd1) != best(changed, 4'd1));
    unreachable = !allowed;
    holds = !allowed || (is_best && says_more && says_top);
  end
endmodule
