// Where the window of each symbol's side stands, and the engine that mends what operations leave
// behind: it refills the cache from the levels, and moves the window after the best price.
//
// A window is [base, limit) in keys (side.sv), at most 1,024 ticks.  Every order is of one kind, as
// its price and the window's bounds have it, and no bit has to be kept with it:
//   key <  base           near: better than all of the window; in the cache, not yet in the levels
//   base <= key < limit   in the levels, and in the cache where it is among the best
//   key >= limit          far: in the order store only
// All of the first two kinds are better than all far ones.  So the top of the cache is the top of
// the book, but where the window is empty and far orders live: the side is then `lost`.  That orders
// live at all is counted; which of them are far is not known any more once levels were dropped.
//
// The engine works on one symbol, whose operations wait meanwhile (`blocked`):
//   near levels exist     the window moves to 256 ticks above the best, levels that fall out of
//                         its far end are dropped (their orders are far from then on), the near
//                         ones are written to the levels
//   best >= base + 512    the window follows, as far as no far order is in the way
//   the side is empty     the window is forgotten, the next order may be at any price; with
//                         orders alive, rescan.sv is asked to look for them in the order store
//   few levels are cached the cache is filled up
//
// `blocked` shows 9 edges after the operation that asked for it, so four more can follow; the
// last change of theirs to a row is 8 edges later, to the bits of the levels 13.  DRAIN and the
// states behind it wait for both.
module window #(
    parameter int N  = 8,
    parameter int SW = 6,
    parameter int PW = 10,
    parameter int KW = 32,
    parameter int QW = 36,
    parameter int FW = 19,   // bits of the counts of orders
    parameter int DRAIN = 6,
    parameter bit BID = 0
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 clr,
    input  logic [SW-1:0]        clr_a,
    // bounds of the symbol at stage 4, registered at edge 5
    input  logic [SW-1:0]        sym4,
    output logic [KW:0]          base5,
    output logic [KW:0]          limit5,
    // orders on the grid that come (at most one) and leave, and far ones, at stage 7
    input  logic                 v6,
    input  logic                 v7,
    input  logic [SW-1:0]        sym6,
    input  logic [SW-1:0]        sym7,
    input  logic                 comes7,
    input  logic                 goes7,
    input  logic                 far_in7,
    input  logic                 far_out7,
    input  logic [KW-1:0]        far_key7,
    output logic                 any7,      // after this operation orders on the grid live
    // the row at stage 8
    input  logic                 v8,
    input  logic [SW-1:0]        sym8,
    input  logic                 touched8,
    input  logic                 near8,
    input  logic                 few8,
    input  logic                 some8,
    input  logic [KW-1:0]        best8,
    output logic [(1<<SW)-1:0]   blocked,
    // the engine's ways to the row, the levels and the configuration
    output logic [SW-1:0]        e_sym,
    input  logic                 row_free,
    input  logic [N*(1+KW+QW):0] row_in,
    output logic                 row_we,
    output logic [N*(1+KW+QW):0] row,
    input  logic                 cent,      // of e_sym, registered
    output logic                 put,
    output logic                 put_none,
    output logic [PW-1:0]        e_pos,
    output logic [QW-1:0]        put_qty,
    input  logic                 level_free,
    input  logic [QW-1:0]        e_qty,
    output logic [PW-6:0]        e_group,
    input  logic [31:0]          e_word,
    input  logic [31:0]          e_groups,
    // the rescan (rescan.sv): everything stands still, and the side's orders come one by one
    output logic                 rescan,
    output logic                 rescanned,  // a pulse: the row is written
    input  logic                 order_v,
    input  logic                 order_grid,
    input  logic [PW-1:0]        order_pos,
    input  logic [KW-1:0]        order_key,
    input  logic [QW-1:0]        order_qty,
    input  logic                 pass_end,
    // what happened, one pulse each: moved, dropped a level, rescanned
    output logic                 did_move,
    output logic                 did_drop
);
  localparam int E = 1 + KW + QW;
  localparam int MORE = N * E;
  localparam logic [KW:0] NOWHERE = {(KW + 1) {1'b1}};
  localparam int COUNT = KW + 1, LOSSY = COUNT + FW, LIVE = LOSSY + 1;
  localparam int AW = LIVE + FW;  // live, lossy, count of far ones, frontier

  // ------------------------------------------------ tables by symbol
  (* ram_style = "distributed" *) logic [2*KW+1:0] bounds[0:(1<<SW)-1];
  (* ram_style = "distributed" *) logic [KW:0]     follow[0:(1<<SW)-1];
  (* ram_style = "distributed" *) logic [AW-1:0]   fars[0:(1<<SW)-1];
  logic [KW:0] base, limit, new_base, new_limit, new_follow;
  logic [AW-1:0] far7, far_next, far;
  logic [KW:0] follow8;
  logic tables_we, far_we;
  // The frontier is at most the best far key; it is forgotten when the last far order leaves.
  wire [FW-1:0] count7 = far7[COUNT+:FW] + {{(FW-1){1'b0}}, far_in7} - {{(FW-1){1'b0}}, far_out7};
  wire [FW-1:0] live7 = far7[LIVE+:FW] + {{(FW-1){1'b0}}, comes7} - {{(FW-1){1'b0}}, goes7};
  wire nearer7 = far_in7 & ({1'b0, far_key7} < far7[KW:0]);
  assign any7 = live7 != 0;
  always_comb begin
    far_next = {live7, far7[LOSSY], count7, nearer7 ? {1'b0, far_key7} : far7[KW:0]};
    if (!far7[LOSSY] & count7 == 0) far_next[KW:0] = NOWHERE;
  end
  wire far_op = v7 & (comes7 | goes7);
  always_ff @(posedge clk) begin
    {base5, limit5} <= bounds[sym4];
    follow8 <= follow[sym7];
    far7 <= fars[sym6];
    if (clr | tables_we) bounds[clr?clr_a : e_sym] <= clr ? {NOWHERE, NOWHERE} : {base, limit};
    if (clr | tables_we) follow[clr?clr_a : e_sym] <= clr ? NOWHERE : new_follow;
    if (clr | far_op | far_we)
      fars[clr?clr_a : far_op?sym7 : e_sym] <= clr ? {{(AW-KW-1){1'b0}}, NOWHERE} : far_op ? far_next : far;
  end

  // ------------------------------------------------ who needs the engine
  logic [(1<<SW)-1:0] asked;
  wire placed8 = follow8 != NOWHERE;
  wire ask8 = v8 & (few8 | near8 | (touched8 & ~some8 & placed8)
      | (some8 & placed8 & {1'b0, best8} >= follow8));
  logic release_;
  always_ff @(posedge clk) begin
    if (release_) blocked[e_sym] <= 1'b0;
    if (ask8) blocked[sym8] <= 1'b1;
    if (rst) blocked <= '0;
  end
  function automatic logic [SW-1:0] lowest(input logic [(1<<SW)-1:0] x);
    integer k;
    begin
      lowest = '0;
      for (k = (1 << SW) - 1; k >= 0; k = k - 1) if (x[k]) lowest = k[SW-1:0];
    end
  endfunction

  // ------------------------------------------------ keys and positions
  // 41 is the inverse of 25 modulo 1,024: of a price that is a multiple of 100, the tick modulo
  // 1,024 is (price / 4) * 41 modulo 1,024.
  function automatic logic [PW-1:0] position(input logic [KW-1:0] key, input logic of_cents);
    logic [KW-1:0] price;
    logic [PW-1:0] p, slot;
    begin
      price = BID ? ~key : key;
      p = price[PW+1:2];
      slot = of_cents ? p + {p[PW-4:0], 3'b0} + {p[PW-6:0], 5'b0} : price[PW-1:0];
      position = BID ? ~slot : slot;
    end
  endfunction
  function automatic logic [KW:0] ticks(input logic [PW:0] n, input logic of_cents);
    ticks = of_cents ? {{(KW-PW-6){1'b0}}, n, 6'b0} + {{(KW-PW-5){1'b0}}, n, 5'b0} + {{(KW-PW-2){1'b0}}, n, 2'b0}
                     : {{(KW-PW){1'b0}}, n};
  endfunction
  localparam logic [KW:0] SPAN = 1 << PW, MARGIN = 1 << (PW - 2), HALF = 1 << (PW - 1);

  // ------------------------------------------------ the engine
  localparam logic [4:0] IDLE = 0, DRAINING = 1, READ = 2, LOOK = 3, DECIDE = 4, MOVE = 5,
      DROP = 6, SETTLE = 7, PICK = 8, JUDGE = 9, PUT = 10, FOLLOW = 11, GAIN = 12, TABLES = 13,
      LAST = 14, SEEK = 15, FILL = 16, WRITE = 17, WROTE = 18, RELEASE = 19, RESCAN = 20,
      SETTLED = 21, SHIFT = 22, BEST = 23, BASE = 24, BOUND = 25, COLLECT = 26;
  logic [4:0] state;
  logic [3:0] n, levels, wanted;
  logic is_near, is_ahead, moving, changed, scanning;
  logic [KW:0] seen;  // the best key that a rescan has seen
  logic [KW:0] reach;
  logic [E-1:0] one;
  logic one_far, one_near;
  logic seek, inclusive, s_found, s_taken, s_finished;
  logic [PW-1:0] from, origin, s_pos;
  wire has = row[E-1];
  wire [KW:0] best = {1'b0, row[QW+:KW]};
  wire [KW:0] margin = cent ? 100 * MARGIN : MARGIN;
  wire [KW:0] half = cent ? 100 * HALF : HALF;
  wire [KW:0] span = cent ? 100 * SPAN : SPAN;
  wire is_placed = limit != NOWHERE;
  level_search #(.PW(PW)) search (
      .clk(clk), .rst(rst), .start(seek), .inclusive(inclusive), .from(from), .origin(origin),
      .group(e_group), .word(e_word), .groups(e_groups), .found(s_found), .pos(s_pos),
      .taken(s_taken), .finished(s_finished));
  // Quantities on their way from the levels, with the distance from the base and then the key.
  logic r1, r2, r3;
  logic [PW-1:0] away1;
  logic [KW:0] key2, key3;
  wire reading = state == FILL & s_found & wanted != 0 & level_free;
  wire dropping = state == DROP & s_found;
  wire putting = state == PUT & one_near;
  assign s_taken = reading | (dropping & level_free);
  // In a rescan no operation is under way, and the levels are free.
  wire collecting = state == COLLECT & order_v & order_grid & {1'b0, order_key} < new_limit;
  assign put = collecting | ((dropping | putting) & level_free);
  assign put_none = dropping;
  assign e_pos = collecting ? order_pos : putting ? position(one[QW+:KW], cent) : s_pos;
  assign put_qty = collecting ? order_qty : one[QW-1:0];
  assign rescan = scanning;
  always_ff @(posedge clk) begin
    r1 <= reading; r2 <= r1; r3 <= r2;
    away1 <= s_pos - origin;
    key2 <= ticks({1'b0, away1}, cent);
    key3 <= base + key2;
    if (rst) {r1, r2, r3} <= '0;
  end
  always_ff @(posedge clk) begin
    rescanned <= 1'b0; seek <= 1'b0; tables_we <= 1'b0; far_we <= 1'b0; row_we <= 1'b0; release_ <= 1'b0;
    did_move <= 1'b0; did_drop <= dropping & level_free; 
    case (state)
      IDLE: begin
        e_sym <= lowest(blocked);
        n <= '0;
        moving <= 1'b0;
        changed <= 1'b0;
        scanning <= 1'b0;
        if (|blocked & ~release_) state <= DRAINING;
      end
      DRAINING: begin
        n <= n + 4'd1;
        if (n == DRAIN) state <= READ;
      end
      READ:
        if (row_free) begin
          row <= row_in;
          {base, limit} <= bounds[e_sym];
          new_follow <= follow[e_sym];
          far <= fars[e_sym];
          state <= LOOK;
        end
      LOOK: begin
        is_near <= has & (best < base);
        is_ahead <= has & (best >= new_follow);
        new_base <= best < margin ? best : best - margin;
        n <= '0;
        levels <= '0;
        for (int i = 0; i < N; i = i + 1) if (row[i*E+E-1]) levels <= i + 1;
        for (int i = 0; i < N; i = i + 1)
          if (row[i*E+E-1]) from <= position(row[i*E+QW+:KW], cent);
        origin <= position(base[KW-1:0], cent);
        inclusive <= 1'b0;
        state <= DECIDE;
      end
      DECIDE: begin
        new_limit <= new_base + span;
        wanted <= N - levels;
        if (!has) state <= far[LIVE+:FW] != 0 ? RESCAN : SHIFT;
        else if (is_near) state <= MOVE;
        else if (is_ahead) state <= FOLLOW;
        else state <= row[MORE] ? LAST : RELEASE;
      end
      // ---- the window moves to better prices
      MOVE: begin
        moving <= 1'b1;
        inclusive <= 1'b1;
        reach <= new_limit > base ? new_limit : base;
        state <= SHIFT;
      end
      SHIFT:
        if (!moving) begin  // the side is empty: the window is forgotten
          {base, limit, new_follow} <= {NOWHERE, NOWHERE, NOWHERE};
          far[LOSSY:0] <= {{(LOSSY-KW){1'b0}}, NOWHERE};
          state <= TABLES;
        end else if (is_placed & (reach < limit) & ~reach[KW]) begin
          from <= position(reach[KW-1:0], cent);
          seek <= 1'b1;
          state <= SETTLED;
        end else state <= PICK;
      SETTLED: state <= DROP;  // the search has begun
      DROP: if (s_finished & ~seek) state <= SETTLE;
      SETTLE: begin
        n <= n + 4'd1;
        if (n == 4'd9) begin
          n <= '0;
          state <= scanning ? TABLES : PICK;
        end
      end
      PICK: begin
        for (int i = 0; i < N; i = i + 1) if (n == i) one <= row[i*E+:E];
        state <= n == levels ? TABLES : JUDGE;
        if (n == levels) begin
          {base, limit} <= {new_base, new_limit};
          new_follow <= new_base + half;
          did_move <= 1'b1;
        end
      end
      JUDGE: begin
        one_far <= one[E-1] & {1'b0, one[QW+:KW]} >= new_limit;
        one_near <= one[E-1] & {1'b0, one[QW+:KW]} < base & {1'b0, one[QW+:KW]} < new_limit;
        state <= PUT;
      end
      PUT:
        if (!one_near | level_free) begin
          for (int i = 0; i < N; i = i + 1) if (n == i & one_far) row[i*E+:E] <= '0;
          if (one_far) {did_drop, changed} <= 2'b11;
          n <= n + 4'd1;
          state <= PICK;
        end
      // ---- the window follows to worse prices: nothing leaves it, and nothing may be missing
      FOLLOW: begin
        reach <= new_limit < far[KW:0] ? new_limit : far[KW:0];
        new_limit <= limit + margin;
        state <= GAIN;
      end
      GAIN: begin
        if (reach >= new_limit) begin
          {base, limit} <= {new_base, reach};
          new_follow <= new_base + half;
          did_move <= 1'b1;
        end else new_follow <= NOWHERE - 1;
        state <= TABLES;
      end
      TABLES:
        if (!v6) begin  // no operation writes its counts in the next cycle
          {tables_we, far_we} <= 2'b11;
          state <= row[MORE] | changed ? LAST : scanning ? WRITE : RELEASE;
          moving <= 1'b0;
        end
      // ---- the cache is filled up
      LAST: begin
        origin <= position(base[KW-1:0], cent);
        inclusive <= ~has;  // after a rescan the row is empty
        from <= position(base[KW-1:0], cent);
        levels <= '0;
        wanted <= N;
        for (int i = 0; i < N; i = i + 1)
          if (row[i*E+E-1]) begin
            from <= position(row[i*E+QW+:KW], cent);
            levels <= i + 1;
            wanted <= N - 1 - i;
          end
        seek <= 1'b1;
        state <= SEEK;
      end
      SEEK: state <= FILL;
      FILL: begin
        if (reading) wanted <= wanted - 4'd1;
        if (r3) begin
          for (int i = 0; i < N; i = i + 1) if (levels == i) row[i*E+:E] <= {1'b1, key3[KW-1:0], e_qty};
          levels <= levels + 4'd1;
        end
        if (~(reading | r1 | r2 | r3)) begin
          if (s_finished) row[MORE] <= 1'b0;
          if (s_finished | wanted == 0) state <= WRITE;
        end
      end
      WRITE:
        if (!v7) begin  // no operation writes a row in the next cycle
          row_we <= 1'b1;
          state <= WROTE;
        end
      WROTE: begin
        rescanned <= scanning;
        state <= RELEASE;
      end
      RELEASE: begin
        release_ <= 1'b1;
        state <= IDLE;
      end
      // ---- the side's orders are looked for in the store: once for the best, once for all
      RESCAN: begin
        scanning <= 1'b1;
        changed <= 1'b1;
        seen <= NOWHERE;
        state <= BEST;
      end
      BEST: begin
        if (order_v & order_grid & {1'b0, order_key} < seen) seen <= {1'b0, order_key};
        if (pass_end) state <= BASE;
      end
      BASE: begin
        new_base <= seen == NOWHERE || seen < margin ? seen : seen - margin;
        state <= BOUND;
      end
      BOUND: begin
        new_limit <= seen == NOWHERE ? NOWHERE : new_base + span;
        new_follow <= seen == NOWHERE ? NOWHERE : new_base + half;
        far[LOSSY:0] <= {{(LOSSY-KW){1'b0}}, NOWHERE};
        state <= COLLECT;
      end
      COLLECT: begin
        if (order_v & order_grid & {1'b0, order_key} >= new_limit) begin
          far[COUNT+:FW] <= far[COUNT+:FW] + 1'b1;
          if ({1'b0, order_key} < far[KW:0]) far[KW:0] <= {1'b0, order_key};
        end
        if (pass_end) begin
          {base, limit} <= {new_base, new_limit};
          row[MORE] <= seen != NOWHERE;
          changed <= seen != NOWHERE;
          n <= '0;
          state <= SETTLE;
        end
      end
      default: state <= IDLE;
    endcase
    // Orders of dropped levels are far, and how many they are is not known.
    if (did_drop & moving) begin
      far[LOSSY] <= 1'b1;
      far[KW:0] <= far[KW:0] < new_limit ? far[KW:0] : new_limit;
    end
    if (rst) begin
      state <= IDLE;
      {seek, tables_we, far_we, row_we, release_, scanning, moving} <= '0;
    end
  end
endmodule
