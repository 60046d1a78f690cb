// Orders of a market by order, to the top of book: one operation in two cycles, of any kind.
//
// Eight edges after an operation is accepted its new top of book is published (edge 0 = accepted,
// Rn = registers loaded at edge n); a replace takes both its halves through at once:
//
//   R0   the operation; its symbol must not be blocked; hash of order_ref to the order store
//   R1   hash of the inserting half's reference to the order store, one cycle behind
//   R3   read data of the reducing half, R4 hits, R5 the order (order_store.sv: and one cycle later
//        for the inserting half); meanwhile the new price's tick and whether it is on the grid
//   R6   shares that leave, kinds of both prices against the window (window.sv); the row of the
//        cache; for the inserting half: whether there is room and the reference is new
//   R7   stage A of the cache    R8   stage B, and the output    R9   the row is written
//
// | hazard                        | cycles  | handling                                            |
// |-------------------------------|---------|-----------------------------------------------------|
// | a symbol's row                | 2, 3    | stage B's result or R8 instead of the memory        |
// | an order, a bucket            | 1..6    | the queue of writes in order_store.sv               |
// | a level's quantity, its bits  | 1..4, 1 | forwarded in levels.sv                              |
// | orders of a side, its far ones| none    | read at R6, written at edge 8                       |
// | the engine and the pipeline   | -       | the symbol is blocked, then drained                 |
//
// `in_ready` is a register that is low for one cycle after each operation.  Blocked operations
// wait in R0, and all others behind them: book_fifo.sv stands in front.
//
// A side is lost where no level is left in its window and orders beyond it live (side.sv).  The
// operation that loses one is not published at stage 8; there it calls those behind it back
// (`recall`): the first of them is at stage 6 at most, where nothing of it is in a memory yet, so
// they are struck out, and come again from `recent` once the rescan (rescan.sv) has found the
// side's best price and published that, with the sideband and the status of the operation that
// lost it.  So one top is published for each operation, the true one, in the order of the
// operations, and the caller never sees a side that is lost.
//
// A trading action (ACTION) is no operation: it comes out of `out_action` at stage 8, in its place
// among them.
module book #(
    parameter int IW  = 15,   // each of the 8 ways has 2^IW slots
    parameter int N   = 8,    // cached levels of a side
    parameter int QW  = 36,
    parameter int SBW = 128,  // sideband, carried through
    parameter int CRITICAL = 5,
    parameter int DRAIN = 6
) (
    input  logic           clk,
    input  logic           rst,
    input  logic           cfg_we,
    input  logic [5:0]     cfg_symbol,
    input  logic           cfg_cent,  // its tick is 100, else 1
    input  logic           in_valid,
    output logic           in_ready,
    input  logic [2:0]     in_op,     // 0 add, 1 execute, 2 cancel, 3 delete, 4 replace, 5 action
    input  logic [5:0]     in_symbol,
    input  logic [63:0]    in_order_ref,
    input  logic [63:0]    in_new_order_ref,
    input  logic           in_is_sell,
    input  logic [31:0]    in_price,
    input  logic [31:0]    in_shares,
    input  logic [SBW-1:0] in_sideband,
    output logic [5:0]     out_next_symbol,  // of the next cycle's top, if one comes
    output logic           out_valid,
    output logic [5:0]     out_symbol,
    output logic [31:0]    out_bid_px,
    output logic [QW-1:0]  out_bid_sz,
    output logic [31:0]    out_ask_px,
    output logic [QW-1:0]  out_ask_sz,
    output logic           out_bid_changed,
    output logic           out_ask_changed,
    output logic [7:0]     out_status,  // {off_grid, far, over, zero, full, duplicate, mismatch, unknown}
    output logic [3:0]     out_flags,   // {0, level too large, off the grid, store full}: they stay
    output logic           out_rescanned, // this top was looked for in the store
    output logic [SBW-1:0] out_sideband,
    output logic           out_action,  // instead of out_valid: an action, and its shares' low bits
    output logic [7:0]     out_state,
    output logic [11:0]    events       // one pulse each: see book_counters.sv
);
  localparam int OW = 82;
  localparam logic [2:0] ADD = 0, DELETE = 3, REPLACE = 4, ACTION = 5, LOOK = 7;  // LOOK: publish only
  localparam int CW = 3 + 6 + 1 + 32 + 32 + 1;
  localparam int OPW = 3 + 6 + 1 + 32 + 32 + 64 + 64 + SBW;
  localparam int MOST_LIVE = 65536;  // of the profile: a quarter of the store's slots

  // ------------------------------------------------ after reset everything is cleared
  localparam int AW = IW > 16 ? IW : 16;
  logic clr;
  logic [AW-1:0] clr_a;
  always_ff @(posedge clk)
    if (rst) begin
      clr   <= 1'b1;
      clr_a <= '0;
    end else if (clr) begin
      clr_a <= clr_a + 1'b1;
      clr   <= ~&clr_a;
    end

  (* ram_style = "distributed" *) logic cents[0:63];
  always_ff @(posedge clk) if (cfg_we) cents[cfg_symbol] <= cfg_cent;

  // ------------------------------------------------ the rescan of the store
  logic scan_reading, scan_sell, publish;
  logic [IW-1:0] scan_row;
  logic [5:0] scan_sym;
  logic [1:0] scan_v, pass_end;
  logic [OW-1:0] scan_order;

  // ------------------------------------------------ R0
  logic r0_v, ph1;
  logic [2:0] r0_op;
  logic [5:0] r0_sym;
  logic r0_sell;
  logic [63:0] r0_ref, r0_new, r0_keep;  // r0_ref is what is hashed
  logic [31:0] r0_px, r0_qty;
  logic [SBW-1:0] r0_sb;
  logic [63:0] blocked_b, blocked_a;
  logic recall, held;  // held: from a recall until its operation's top is on its way
  wire issue = r0_v & ~(blocked_b[r0_sym] | blocked_a[r0_sym]) & ~clr & ~recall;
  logic [8:1] v;
  logic [8:1][CW-1:0] c;
  (* shreg_extract = "no" *) logic [8:1][SBW-1:0] sb;
  logic [SBW-1:0] lost_sb;  // of the operation that lost a side
  logic [7:0] lost_status;
  `define OP(k) c[k][CW-1-:3]
  `define SYM(k) c[k][CW-4-:6]
  `define SELL(k) c[k][65]
  `define PX(k) c[k][64:33]
  `define QTY(k) c[k][32:1]
  `define SELF(k) c[k][0]
  // What was taken last: at most four operations behind that at stage 8, and one that comes in.
  (* ram_style = "distributed" *) logic [OPW-1:0] recent[0:7];
  logic [2:0] recent_w, recent_r, recent_p;  // the next, the next to come again, that published next
  wire takes = in_valid & in_ready;
  wire behind = recent_r != recent_w;
  wire again = behind & ~r0_v & ~held & ~recall;
  wire [OPW-1:0] given = {in_op, in_symbol, in_is_sell, in_price, in_shares, in_order_ref,
                          in_new_order_ref, in_sideband};
  wire [OPW-1:0] next0 = behind ? recent[recent_r] : given;
  wire published = v[8] & `OP(8) != LOOK;
  logic [63:0] next_ref, next_new;
  logic [2:0] next_op;
  always_comb begin
    next_op = next0[OPW-1-:3];
    {next_ref, next_new} = next0[SBW+:128];
  end
  always_ff @(posedge clk) begin
    if (takes) recent[recent_w] <= given;
    recent_w <= recent_w + 3'(takes);
    recent_p <= recent_p + 3'(published);
    recent_r <= recall ? recent_p + 3'd1 : recent_r + 3'(takes | again);
    held <= (held | recall) & ~publish;
    if ((takes & ~recall) | again) begin
      {r0_op, r0_sym, r0_sell, r0_px, r0_qty} <= next0[OPW-1-:74];
      {r0_ref, r0_keep, r0_sb} <= {next_ref, next_ref, next0[SBW-1:0]};
      // An add has its reference in order_ref, and only an inserting half.
      r0_new <= next_op == ADD ? next_ref : next_new;
      r0_v <= 1'b1;
      in_ready <= 1'b0;
    end else if (issue) begin
      r0_ref <= r0_new;
      r0_v <= 1'b0;
      in_ready <= ~behind;
    end else begin
      if (recall) r0_v <= 1'b0;
      in_ready <= ~r0_v & ~clr & ~held & ~behind & ~recall;
      if (scan_reading) r0_ref <= {{(64 - IW) {1'b0}}, scan_row};
    end
    ph1 <= issue & (r0_op == ADD | r0_op == REPLACE);
    if (rst) begin
      r0_v <= 1'b0;
      ph1 <= 1'b0;
      in_ready <= 1'b0;
      {recent_w, recent_r, recent_p, held} <= '0;
    end
  end
  // ------------------------------------------------ the operation on its way
  always_ff @(posedge clk) begin
    v  <= recall ? '0 : {v[7:1], issue | publish};
    c  <= {c[7:1], publish ? {LOOK, scan_sym, scan_sell, 65'd0}
                           : {r0_op, r0_sym, r0_sell, r0_px, r0_qty, r0_keep == r0_new}};
    sb <= {sb[7:1], publish ? lost_sb : r0_sb};
    if (recall) {lost_sb, lost_status} <= {sb[8], out_status};
    if (rst) v <= '0;
  end

  // ------------------------------------------------ the new price's slot, and is it on the grid?
  // 1,024 is -1 modulo 25, and 3,113 the inverse of 25 modulo 4,096: a multiple of 25 below 4,096
  // is at most 163 when multiplied by it.
  logic cent1, cent2, cent3, cent4, low2, low3, low4, grid5;
  logic [9:0] slot2, slot3, slot4, slot5;
  logic [11:0] fold2, times3;
  logic [31:0] px1;
  wire [9:0] quarter1 = px1[11:2];
  assign px1 = `PX(1);
  always_ff @(posedge clk) begin
    cent1 <= cents[r0_sym];
    cent2 <= cent1;
    low2  <= px1[1:0] == 0;
    slot2 <= cent1 ? quarter1 + {quarter1[6:0], 3'b0} + {quarter1[4:0], 5'b0} : px1[9:0];
    fold2 <= {2'b0, px1[11:2]} - {2'b0, px1[21:12]} + {2'b0, px1[31:22]} + 12'd1025;
    {cent3, low3, slot3} <= {cent2, low2, slot2};
    // * 3113 = 4096 - 983: as 2048 + 1024 + 32 + 8 + 1
    times3 <= {fold2[0], 11'b0} + {fold2[1:0], 10'b0} + {fold2[6:0], 5'b0} + {fold2[8:0], 3'b0} + fold2;
    low4 <= ~cent3 | (low3 & times3 <= 12'd163);
    slot4 <= slot3;
    {grid5, slot5} <= {low4, slot4};
  end

  // ------------------------------------------------ the order store
  logic s5_v, s5_ins, s5_found, s5_own, s5_room;
  logic [OW-1:0] s5_order;
  logic w_we, w_val, put;
  logic [IW-1:0] put_row;
  logic [6:0] put_side;
  logic [OW-1:0] w_order;
  logic [7:0] row_valid;
  logic [7:0][OW-1:0] row_order;
  order_store #(.IW(IW), .OW(OW)) store (
      .clk(clk), .rst(rst), .clr(clr), .clr_a(clr_a[IW-1:0]), .recall(recall),
      .s0_v(ph1 | (issue & r0_op != ADD & r0_op != ACTION)), .s0_ins(ph1), .s0_sym(ph1 ? `SYM(1) : r0_sym),
      .s0_ref(r0_ref), .s5_v(s5_v), .s5_ins(s5_ins), .s5_found(s5_found), .s5_own(s5_own),
      .s5_room(s5_room), .s5_order(s5_order), .w_we(w_we), .w_val(w_val), .w_order(w_order), .new_we(accepted6), .new_order(new_order6),
      .put(put), .put_row(put_row), .put_side(put_side), .row_valid(row_valid), .row_order(row_order));

  // ------------------------------------------------ R5 to R6: the reducing half
  wire [5:0] old_sym = s5_order[81:76];
  wire old_sell = s5_order[75];
  wire old_grid = s5_order[74];
  wire [9:0] old_slot = s5_order[73:64];
  wire [31:0] old_px = s5_order[63:32];
  wire [31:0] old_qty = s5_order[31:0];
  wire add5 = `OP(5) == ADD;
  wire rep5 = `OP(5) == REPLACE;
  wire all5 = rep5 | `OP(5) == DELETE;
  wire ins5 = add5 | rep5;
  wire zero5 = `QTY(5) == 0;
  wire found5 = s5_v & ~s5_ins & s5_found & s5_own;
  wire red5 = found5 & (all5 | ~zero5);
  wire [31:0] left5 = old_qty - `QTY(5);
  wire gone5 = all5 | `QTY(5) >= old_qty;
  wire sell5 = add5 ? `SELL(5) : old_sell;
  logic [32:0] base_b5, limit_b5, base_a5, limit_a5;
  wire [32:0] base5 = sell5 ? base_a5 : base_b5;
  wire [32:0] limit5 = sell5 ? limit_a5 : limit_b5;
  wire [31:0] old_key5 = old_px ^ {32{~sell5}};
  wire [31:0] new_key5 = `PX(5) ^ {32{~sell5}};
  logic red6, gone6, want6, sell6, same6, old_grid6, new_grid6, old_far6, new_far6, old_near6;
  logic new_near6, found6, zero6, over6, mismatch6;
  logic [31:0] old_key6, new_key6, red_qty6;
  logic [9:0] old_pos6, new_pos6, new_slot6;
  logic [32:0] difference6;
  always_ff @(posedge clk) begin
    {red6, gone6, sell6, found6} <= {red5 & ~recall, gone5, sell5, found5};
    mismatch6 <= s5_v & ~s5_ins & s5_found & ~s5_own;
    want6 <= v[5] & ins5 & (add5 | found5) & ~zero5 & ~recall;
    zero6 <= v[5] & zero5 & `OP(5) != DELETE & (add5 | found5);
    over6 <= red5 & ~all5 & `QTY(5) > old_qty;
    same6 <= old_px == `PX(5);
    {old_key6, new_key6} <= {old_key5, new_key5};
    {old_grid6, new_grid6} <= {old_grid, grid5};
    old_pos6 <= old_slot ^ {10{~sell5}};
    new_pos6 <= slot5 ^ {10{~sell5}};
    new_slot6 <= slot5;
    old_far6 <= {1'b0, old_key5} >= limit5;
    new_far6 <= {1'b0, new_key5} >= limit5;
    old_near6 <= {1'b0, old_key5} < base5;
    new_near6 <= {1'b0, new_key5} < base5;
    red_qty6 <= gone5 ? old_qty : `QTY(5);
    difference6 <= {1'b0, `QTY(5)} - {1'b0, old_qty};
    if (rst) {red6, want6} <= '0;
  end

  // ------------------------------------------------ R6 to R7: the inserting half
  wire duplicate6 = s5_found & ~(`SELF(6) & `OP(6) == REPLACE);
  wire accepted6 = want6 & s5_room & ~duplicate6;
  assign w_we = s5_ins ? accepted6 : red5 & s5_v;
  assign w_val = s5_ins | ~gone5;
  wire [OW-1:0] new_order6 = {`SYM(6), sell6, new_grid6, new_slot6, `PX(6), `QTY(6)};
  assign w_order = s5_ins ? new_order6 : {s5_order[OW-1:32], left5};
  // An order off the grid is in no level, wherever the window is.
  wire odd6 = accepted6 & ~new_grid6;
  wire is_operation6 = `OP(6) != LOOK & `OP(6) != ACTION;
  wire [7:0] status6 = {odd6, accepted6 & new_far6, over6, zero6, want6 & ~s5_room & ~duplicate6,
                        want6 & duplicate6, mismatch6,
                        v[6] & `OP(6) != ADD & is_operation6 & ~found6 & ~mismatch6};
  logic [7:0] status7;
  logic [63:0] full_flags, odd_flags, level_flags;
  logic [17:0] live;  // orders, of all symbols
  logic comes7, goes7;
  logic [5:0] huge_sym_b, huge_sym_a;
  logic huge_b, huge_a;
  wire [17:0] live_next = live + {{17{goes7 & ~comes7}}, goes7 ^ comes7};
  wire is_most = |live[17:$clog2(MOST_LIVE)];  // MOST_LIVE and more: the next one is too many
  always_ff @(posedge clk) begin
    status7 <= status6;
    out_status <= ~v[7] ? '0 : `OP(7) == LOOK ? lost_status : status7;
    {comes7, goes7} <= {accepted6 & ~recall, red6 & gone6 & ~recall};
    live <= live_next;
    if (v[7] & (status7[3] | comes7 & ~goes7 & is_most)) full_flags[`SYM(7)] <= 1'b1;
    if (v[7] & status7[7]) odd_flags[`SYM(7)] <= 1'b1;
    if (huge_b) level_flags[huge_sym_b] <= 1'b1;
    if (huge_a) level_flags[huge_sym_a] <= 1'b1;
    if (v[8] & (out_bid_sz[QW-1] | out_ask_sz[QW-1])) level_flags[`SYM(8)] <= 1'b1;
    if (rst) {full_flags, odd_flags, level_flags} <= '0;
    if (rst) {live, comes7, goes7} <= '0;
  end

  // ------------------------------------------------ the sides
  logic some_b, some_a, changed_b, changed_a, lost_b, lost_a;
  logic [31:0] best_b, best_a;
  logic [5:0] e_sym_b, e_sym_a;
  logic cent_b, cent_a;
  logic [1:0] wanted, rescanned, did_move, did_drop;
  assign recall = v[8] & (lost_b | lost_a);
  always_ff @(posedge clk) {cent_b, cent_a} <= {cents[e_sym_b], cents[e_sym_a]};
  wire tracked_out6 = red6 & old_grid6 & ~old_far6;
  wire tracked_want6 = want6 & new_grid6 & ~new_far6;
  wire goes6 = red6 & gone6 & old_grid6;
  `define SIDE(BIDS, mine, S) \
    side #(.N(N), .QW(QW), .CRITICAL(CRITICAL), .DRAIN(DRAIN), .BID(BIDS)) side_``S ( \
      .clk(clk), .rst(rst), .clr(clr), .clr_a(clr_a[15:0]), .recall(recall), .sym4(`SYM(4)), .base5(base_``S``5), \
      .limit5(limit_``S``5), .v5(v[5]), .sym5(`SYM(5)), .v6(v[6]), .sym6(`SYM(6)), \
      .red6(tracked_out6 & mine), .red_near6(old_near6), .goes6(goes6 & mine), .old_far6(old_far6), \
      .want6(tracked_want6 & mine), .near6(new_near6), .comes6(want6 & new_grid6 & mine), .new_far6(new_far6), \
      .accepted6(accepted6), .same6(same6), .red_key6(old_key6), .ins_key6(new_key6), \
      .red_pos6(old_pos6), .ins_pos6(new_pos6), .red_qty6(red_qty6), .ins_qty6(`QTY(6)), \
      .difference6(difference6), .some(some_``S), .best(best_``S), .best_qty(best_qty_``S), \
      .changed(changed_``S), .lost(lost_``S), .huge(huge_``S), .huge_sym(huge_sym_``S), \
      .blocked(blocked_``S), .e_sym(e_sym_``S), \
      .cent(cent_``S), .rescan(wanted[BIDS]), .rescanned(rescanned[BIDS]), \
      .order_v(scan_v[BIDS]), .order_grid(scan_order[74]), .order_slot(scan_order[73:64]), \
      .order_px(scan_order[63:32]), .order_qty(scan_order[31:0]), .pass_end(pass_end[BIDS]), \
      .did_move(did_move[BIDS]), .did_drop(did_drop[BIDS]))
  logic [QW-1:0] best_qty_b, best_qty_a;
  `SIDE(1, ~sell6, b);
  `SIDE(0, sell6, a);
  rescan #(.IW(IW), .OW(OW)) scan (
      .clk(clk), .rst(rst), .clr(clr), .clr_a(clr_a[15:0]), .put(put), .put_row(put_row),
      .put_side(put_side), .wanted(wanted), .finished(rescanned), .sym_b(e_sym_b),
      .sym_a(e_sym_a), .reading(scan_reading), .row(scan_row), .row_valid(row_valid),
      .row_order(row_order), .order_v(scan_v), .order(scan_order), .pass_end(pass_end),
      .symbol(scan_sym), .sell(scan_sell), .publish(publish));

  // ------------------------------------------------ R8
  assign out_valid = v[8] & ~recall & `OP(8) != ACTION;
  assign out_action = v[8] & `OP(8) == ACTION;
  wire [31:0] shares8 = `QTY(8);
  assign out_state = shares8[7:0];
  assign {out_next_symbol, out_symbol} = {`SYM(7), `SYM(8)};
  assign out_sideband = sb[8];
  assign out_bid_px = ~best_b;
  assign out_bid_sz = some_b ? best_qty_b : '0;
  assign out_ask_px = best_a;
  assign out_ask_sz = some_a ? best_qty_a : '0;
  assign out_rescanned = v[8] & `OP(8) == LOOK;
  assign out_bid_changed = v[8] & (changed_b | (out_rescanned & ~`SELL(8)));
  assign out_ask_changed = v[8] & (changed_a | (out_rescanned & `SELL(8)));
  // A level's quantity is counted to half of what it can hold, so that nothing is lost before it is said.
  assign out_flags = {1'b0, level_flags[`SYM(8)] | out_bid_sz[QW-1] | out_ask_sz[QW-1],
                      odd_flags[`SYM(8)], full_flags[`SYM(8)]};
  assign events = {huge_b | huge_a, out_rescanned, |did_move, |did_drop, recall ? 8'd0 : out_status};
endmodule
