// One side of the books of all symbols: the best N levels of each in a row of LUT memory, which
// decide the top of book; behind them all levels (levels.sv) and the engine (window.sv).
//
// Prices are keys: the price of an offer, the inverted price of a bid, so lower is better.  Stages
// as in book.sv; at edge 6 the row has been read, or taken from one of the two operations before:
//
//   edge 7   stage A, cache_match.sv      edge 8   stage B, cache_update.sv, and the output
//   edge 9   the row is written
//
// Both halves of a replace act in the same two stages.  The levels get the reducing half from
// stage 6 and the inserting half from stage 7, so that one change a cycle is the most.
//
// A side is lost where its row is empty and orders on the grid live: then all of those are beyond
// the window.  In a cycle with `recall` (book.sv) what is at stage 6 has not been.
module side #(
    parameter int N  = 8,
    parameter int SW = 6,
    parameter int PW = 10,
    parameter int KW = 32,
    parameter int QW = 36,
    parameter int DW = 32,
    parameter int CRITICAL = 5,  // at most so many levels are cached: refill, or they could run out
    parameter int DRAIN = 6,
    parameter bit BID = 0
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             clr,
    input  logic [SW+PW-1:0] clr_a,
    input  logic             recall,
    input  logic [SW-1:0]    sym4,
    output logic [KW:0]      base5,
    output logic [KW:0]      limit5,
    input  logic             v5,
    input  logic [SW-1:0]    sym5,
    // the operation at stage 6; what is of the other side is masked out
    input  logic             v6,
    input  logic [SW-1:0]    sym6,
    input  logic             red6,       // shares leave a level of the cache's kinds
    input  logic             red_near6,
    input  logic             goes6,      // an order on the grid leaves
    input  logic             old_far6,   // ... and was beyond the limit
    input  logic             want6,      // shares come to one, if accepted6
    input  logic             near6,
    input  logic             comes6,     // an order on the grid comes, if accepted6
    input  logic             new_far6,   // ... and is beyond the limit
    input  logic             accepted6,
    input  logic             same6,      // both halves are of one price
    input  logic [KW-1:0]    red_key6,
    input  logic [KW-1:0]    ins_key6,
    input  logic [PW-1:0]    red_pos6,
    input  logic [PW-1:0]    ins_pos6,
    input  logic [DW-1:0]    red_qty6,
    input  logic [DW-1:0]    ins_qty6,
    input  logic [DW:0]      difference6,
    // the top of book at stage 8
    output logic             some,
    output logic [KW-1:0]    best,
    output logic [QW-1:0]    best_qty,
    output logic             changed,
    output logic             lost,       // no level, but orders: the top is not known
    output logic             huge,      // a level's quantity uses its highest bit: a pulse, later
    output logic [SW-1:0]    huge_sym,
    output logic [(1<<SW)-1:0] blocked,
    output logic [SW-1:0]    e_sym,
    input  logic             cent,
    output logic             rescan,
    output logic             rescanned,
    input  logic             order_v,
    input  logic             order_grid,
    input  logic [PW-1:0]    order_slot,
    input  logic [KW-1:0]    order_px,
    input  logic [DW-1:0]    order_qty,
    input  logic             pass_end,
    output logic             did_move,
    output logic             did_drop
);
  localparam int E = 1 + KW + QW;
  localparam int RW = N * E + 1;

  // ------------------------------------------------ the row of the symbol
  (* ram_style = "distributed" *) logic [RW-1:0] rows[0:(1<<SW)-1];
  logic [RW-1:0] row6, row7, row8, next7, engine_row;
  logic by7, by8, row_we;
  logic v7, v8, red7, ins7, net7, near7, near8, touched7, touched8, net_some7;
  logic comes7, goes7, far_in7, far_out7;
  logic [SW-1:0] sym7, sym8;
  logic [KW-1:0] ins_key7;
  logic [DW-1:0] ins_qty7;
  logic [PW-1:0] ins_pos7;
  logic [N-1:0] red_eq, ins_eq, ins_after, empties, red_eq7, ins_eq7, ins_after7, empties7;
  logic [N*QW-1:0] reduced, grown, reduced7, grown7;
  logic changed7, any7;
  wire [RW-1:0] row_read = rows[v5?sym5 : e_sym];
  wire ins6 = want6 & accepted6;
  wire net6 = ins6 & red6 & same6;
  cache_match #(.N(N), .KW(KW), .QW(QW), .DW(DW)) a (
      .row(row6), .red_key(red_key6), .ins_key(ins_key6), .red_qty(red_qty6), .ins_qty(ins_qty6),
      .difference(difference6), .net(net6), .red_eq(red_eq), .ins_eq(ins_eq),
      .ins_after(ins_after), .empties(empties), .reduced(reduced), .grown(grown));
  cache_update #(.N(N), .KW(KW), .QW(QW), .DW(DW)) b (
      .row(row7), .red(red7), .ins(ins7), .net(net7), .net_some(net_some7), .ins_key(ins_key7),
      .ins_qty(ins_qty7), .red_eq(red_eq7), .ins_eq(ins_eq7), .ins_after(ins_after7),
      .empties(empties7), .reduced(reduced7), .grown(grown7), .next(next7),
      .top_changed(changed7));
  always_ff @(posedge clk) begin
    by7 <= v6 && sym6 == sym4;
    by8 <= v7 && sym7 == sym4;
    row6 <= by7 ? next7 : by8 ? row8 : row_read;
    // Without v7 nothing is counted and no row written; the levels take ins7 alone.
    {row7, v7, sym7} <= {row6, v6 & ~recall, sym6};
    {red7, ins7, net7, near7} <= {red6, ins6 & ~recall, net6, ins6 & near6};
    touched7 <= red6 | ins6 | goes6 | (comes6 & accepted6);
    {comes7, goes7} <= {comes6 & accepted6, goes6};
    far_in7 <= comes6 & accepted6 & new_far6;
    far_out7 <= goes6 & old_far6;
    {ins_key7, ins_qty7, ins_pos7} <= {ins_key6, ins_qty6, ins_pos6};
    net_some7 <= |difference6;
    {red_eq7, ins_eq7, ins_after7, empties7} <= {red_eq, ins_eq, ins_after, empties};
    {reduced7, grown7} <= {reduced, grown};
    {row8, v8, sym8} <= {next7, v7, sym7};
    {near8, touched8} <= {near7, touched7};
    changed <= changed7;
    lost <= ~next7[E-1] & any7;
    if (rst) {v7, v8, red7, ins7, by7, by8, comes7, goes7, far_in7, far_out7} <= '0;
  end
  assign some = row8[E-1];
  assign best = row8[QW+:KW];
  assign best_qty = row8[QW-1:0];
  wire [SW-1:0] row_a = clr ? clr_a[SW-1:0] : v8 ? sym8 : e_sym;
  always_ff @(posedge clk)
    if (clr | v8 | row_we) rows[row_a] <= clr ? {RW{1'b0}} : v8 ? row8 : engine_row;

  // ------------------------------------------------ all levels
  wire reduces = red6 & ~red_near6 & ~recall;
  wire inserts = ins7 & ~near7;
  logic put, put_none;
  logic [PW-1:0] e_pos;
  logic [QW-1:0] put_qty, e_qty;
  logic [PW-6:0] e_group;
  logic [31:0] e_word, e_groups;
  levels #(.SW(SW), .PW(PW), .QW(QW)) all (
      .clk(clk), .rst(rst), .clr(clr), .clr_a(clr_a),
      .en(reduces | inserts | put),
      .kind(reduces ? 2'd0 : inserts ? 2'd1 : put_none ? 2'd2 : 2'd1),
      .sym(reduces ? sym6 : inserts ? sym7 : e_sym),
      .pos(reduces ? red_pos6 : inserts ? ins_pos7 : e_pos),
      .qty(reduces ? {{(QW-DW){1'b0}}, red_qty6} : inserts ? {{(QW-DW){1'b0}}, ins_qty7} : put_qty),
      .e_sym(e_sym), .e_pos(e_pos), .e_qty(e_qty), .e_group(e_group), .e_word(e_word),
      .e_groups(e_groups), .huge(huge), .huge_sym(huge_sym));

  // ------------------------------------------------ the window and its engine
  window #(.N(N), .SW(SW), .PW(PW), .KW(KW), .QW(QW), .DRAIN(DRAIN), .BID(BID)) engine (
      .clk(clk), .rst(rst), .clr(clr), .clr_a(clr_a[SW-1:0]), .sym4(sym4), .base5(base5),
      .limit5(limit5), .v6(v6), .v7(v7), .sym6(sym6), .sym7(sym7), .comes7(comes7),
      .goes7(goes7), .far_in7(far_in7), .far_out7(far_out7), .far_key7(ins_key7), .any7(any7),
      .v8(v8), .sym8(sym8),
      .touched8(touched8), .near8(near8), .few8(row8[RW-1] & ~row8[CRITICAL*E+E-1]),
      .some8(some), .best8(best), .blocked(blocked), .e_sym(e_sym), .row_free(~v5),
      .row_in(row_read), .row_we(row_we), .row(engine_row), .cent(cent), .put(put),
      .put_none(put_none), .e_pos(e_pos), .put_qty(put_qty), .level_free(~(reduces | inserts)),
      .e_qty(e_qty), .e_group(e_group), .e_word(e_word), .e_groups(e_groups), .rescan(rescan),
      .rescanned(rescanned), .order_v(order_v), .order_grid(order_grid),
      .order_pos(order_slot ^ {PW{BID}}), .order_key(order_px ^ {KW{BID}}),
      .order_qty({{(QW-DW){1'b0}}, order_qty}), .pass_end(pass_end),
      .did_move(did_move), .did_drop(did_drop));
endmodule
