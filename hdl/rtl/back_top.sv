// From the top of book to the order's bytes, with the registers: the back of the chain.
//
//     trigger 1 cycle | risk 6 | encode and serialise 1 (FIX 10): a top in cycle n has the first
//     word of its order on the stream in cycle n + 8
//
// `stamp_valid` says, with the tag of its sideband, in which `stamp_cycle` the last word of a
// message came in (`cycle` is the clock that is meant); at the latest one cycle before its top
// comes, and no other message may have the tag until then.  The latency of an order is that to
// the transfer of its first word.
`include "layout.svh"
`include "registers.svh"
module back_top #(
    parameter int PROTOCOL = 0,      // 0 OUCH 5.0, 1 OUCH 4.2, 2 FIX 4.4
    parameter int DW = 64,           // of the stream
    parameter int INTENT_DEPTH = 64,
    parameter int ORDER_DEPTH = 16,
    parameter int STAMP_BITS = 15    // of the tag: twice the operations that wait for the book
) (
    input  logic         clk,
    input  logic         rst,
    // book_top's output
    input  logic [5:0]   in_next_symbol,  // of the top that comes in the next cycle, if one does
    input  logic         in_valid,
    input  logic [5:0]   in_symbol,
    input  logic [31:0]  in_bid_px,
    input  logic [35:0]  in_bid_sz,
    input  logic [31:0]  in_ask_px,
    input  logic [35:0]  in_ask_sz,
    input  logic         in_bid_changed,
    input  logic         in_ask_changed,
    input  logic [3:0]   in_flags,
    input  logic         in_rescanned,
    input  logic [127:0] in_sideband,
    // from the front
    input  logic         stamp_valid,
    input  logic [15:0]  stamp_tag,
    input  logic [31:0]  stamp_cycle,
    input  logic         action_valid,
    input  logic [5:0]   action_symbol,
    input  logic [7:0]   action_state,
    input  logic [63:0]  action_number,
    input  logic         gap_valid,
    input  logic         gap_all,
    input  logic [5:0]   gap_symbol,
    // to the front and the book
    output logic [31:0]  cycle,
    output logic         group_we,
    output logic [2:0]   group,
    output logic         group_is_used,
    output logic [1:0]   group_line,
    output logic [31:0]  group_address,
    output logic [15:0]  group_port,
    output logic         locate_we,
    output logic [15:0]  locate,
    output logic         locate_is_used,
    output logic [5:0]   locate_symbol,
    output logic         cfg_we,
    output logic [5:0]   cfg_symbol,
    output logic         cfg_cent,
    // what they count
    output logic [3:0]   book_select,
    input  logic [31:0]  book_value,
    input  logic [31:0]  book_peak,
    input  logic [31:0]  book_dropped,
    input  logic         book_lost,
    input  logic         book_ready,
    output logic [5:0]   front_select,
    input  logic [31:0]  front_value,
    // every verdict, in the cycle in which its order is encoded
    output logic         verdict_valid,
    output logic [layout::VERDICT_T_BITS-1:0] verdict,
    output logic [layout::INTENT_T_BITS-1:0]  verdict_intent,
    // orders
    output logic [DW-1:0]   m_axis_tdata,
    output logic [DW/8-1:0] m_axis_tkeep,
    output logic            m_axis_tvalid,
    input  logic            m_axis_tready,
    output logic            m_axis_tlast,
    // the host
    input  logic [11:0] s_axil_awaddr,
    input  logic [2:0]  s_axil_awprot,
    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [31:0] s_axil_wdata,
    input  logic [3:0]  s_axil_wstrb,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    output logic [1:0]  s_axil_bresp,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    input  logic [11:0] s_axil_araddr,
    input  logic [2:0]  s_axil_arprot,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic [1:0]  s_axil_rresp,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready
);
  localparam int TW = PROTOCOL == 2 ? 8 + 8 * layout::FIX_HEAD_BYTES
                    : PROTOCOL == 1 ? 8 * layout::OUCH42_ENTER_ORDER_LENGTH
                    : 8 * layout::OUCH50_ENTER_ORDER_LENGTH;
  localparam int STAGE_WORDS = (TW + 31) / 32;
  localparam int SW = 32 * STAGE_WORDS;
  localparam int BUCKETS = register_map::HISTOGRAM_WORDS;
  localparam logic [31:0] PROFILE = {8'd0, 8'(DW / 8), 8'(layout::SYMBOLS), 8'(PROTOCOL)};

  // ------------------------------------------------ tables
  logic [SW-1:0] stage, fetched;
  logic commit_valid, commit_ready, state_ready, release_ready;
  logic [7:0] tab;
  logic [15:0] entry;
  wire [5:0] symbol = entry[5:0];
  wire to_trigger = commit_valid & tab == register_map::TABLE_TRIGGER;
  wire to_limits = commit_valid & tab == register_map::TABLE_LIMITS;
  wire to_state = commit_valid & tab == register_map::TABLE_TRADING;
  wire to_release = commit_valid & tab == register_map::TABLE_RELEASE;
  assign commit_ready = to_state ? state_ready : to_release ? release_ready : 1'b1;
  (* ram_style = "distributed" *) logic [63:0] names[0:63];
  logic [63:0] name;
  logic [TW-1:0] template_;
  logic [95:0] gate;
  assign group_we = commit_valid & tab == register_map::TABLE_GROUP;
  assign group = entry[2:0];
  assign {group_is_used, group_line, group_port, group_address} = stage[50:0];
  assign locate_we = commit_valid & tab == register_map::TABLE_SYMBOL;
  assign locate = entry;
  assign {locate_is_used, locate_symbol} = stage[6:0];
  assign cfg_we = to_limits;
  assign cfg_symbol = symbol;
  assign cfg_cent = stage[layout::SYMBOL_LIMITS_T_BITS-2];
  logic [layout::TRIGGER_PARAMETERS_T_BITS-1:0] r_parameters;
  logic [layout::SYMBOL_LIMITS_T_BITS-1:0] r_limits;
  logic [layout::SYMBOL_STATE_T_BITS-1:0] r_state;
  always_ff @(posedge clk) begin
    if (commit_valid & tab == register_map::TABLE_NAME) names[symbol] <= stage[63:0];
    if (commit_valid & tab == register_map::TABLE_TEMPLATE) template_ <= stage[TW-1:0];
    if (commit_valid & tab == register_map::TABLE_GATE) gate <= stage[95:0];
    case (tab)
      register_map::TABLE_TRIGGER: fetched <= SW'(r_parameters);
      register_map::TABLE_LIMITS: fetched <= SW'(r_limits);
      register_map::TABLE_STATE: fetched <= SW'(r_state);
      register_map::TABLE_NAME: fetched <= SW'(names[symbol]);
      register_map::TABLE_TEMPLATE: fetched <= SW'(template_);
      default: fetched <= SW'(gate);
    endcase
    if (rst) begin
      template_ <= '0;
      gate <= '0;
    end
  end

  // ------------------------------------------------ trigger
  layout::top_t top;
  always_comb begin
    top = '0;
    top.symbol = in_symbol;
    {top.bid_px, top.bid_sz, top.ask_px, top.ask_sz} = {in_bid_px, in_bid_sz, in_ask_px, in_ask_sz};
    {top.bid_changed, top.ask_changed} = {in_bid_changed, in_ask_changed};
    top.sideband = in_sideband;
  end
  logic fires;
  logic [layout::INTENT_T_BITS-1:0] intent;
  logic [31:0] reference_px;
  logic [63:0] clear_window, clear_orders, clear_stale, window_overflow, orders_overflow, stale;
  logic was_top, was_unusable, was_rescanned;
  logic dropped, was_refused;
  localparam int NAMED = PROTOCOL == 2 ? 10 : 1;  // cycles from a verdict to `was_refused`
  logic [5:0] fired_symbol;
  logic [NAMED-1:0][5:0] named_symbol;
  trigger decide (
      .clk(clk), .rst(rst), .next_symbol(in_next_symbol), .in_valid(in_valid), .in_top(top),
      .in_flags(in_flags),
      .in_rescanned(in_rescanned), .dropped(dropped),
      .dropped_symbol(fired_symbol), .refused(was_refused),
      .refused_symbol(named_symbol[NAMED-1]), .gap_valid(gap_valid), .gap_all(gap_all),
      .gap_symbol(gap_symbol), .clear_window(clear_window), .clear_orders(clear_orders),
      .clear_stale(clear_stale), .window_overflow(window_overflow),
      .orders_overflow(orders_overflow), .stale(stale), .we(to_trigger), .w_symbol(symbol),
      .w_parameters(stage[layout::TRIGGER_PARAMETERS_T_BITS-1:0]), .r_symbol(symbol),
      .r_parameters(r_parameters), .out_valid(fires), .out_intent(intent),
      .out_reference_px(reference_px), .was_top(was_top), .was_unusable(was_unusable),
      .was_rescanned(was_rescanned));

  // ------------------------------------------------ risk
  logic is_killed, issued;
  logic [15:0] issued_tag;
  logic [5:0] issued_symbol;
  logic [63:0] halted;
  logic [31:0] intent_peak;
  layout::verdict_t told;
  layout::intent_t judged;
  risk #(.DEPTH(INTENT_DEPTH)) gatekeeper (
      .clk(clk), .rst(rst), .in_valid(fires), .in_intent(intent), .in_reference_px(reference_px),
      .is_killed(is_killed), .gate_rate_interval(gate[95:48]), .gate_rate_burst(gate[47:0]),
      .limits_we(to_limits), .limits_symbol(symbol),
      .limits_value(stage[layout::SYMBOL_LIMITS_T_BITS-1:0]), .action_valid(action_valid),
      .action_symbol(action_symbol), .action_state(action_state), .action_number(action_number),
      .state_valid(to_state), .state_ready(state_ready), .state_symbol(symbol),
      .state_value(stage[7:0]), .release_valid(to_release), .release_ready(release_ready),
      .release_symbol(symbol), .release_long(stage[67:34]), .release_short(stage[33:0]),
      .r_symbol(symbol), .r_limits(r_limits), .r_state(r_state), .halted(halted),
      .issued(issued), .issued_tag(issued_tag), .issued_symbol(issued_symbol),
      .out_valid(verdict_valid), .out_verdict(told), .out_intent(judged), .dropped(dropped),
      .peak(intent_peak));
  assign verdict = told;
  assign verdict_intent = judged;

  // ------------------------------------------------ what goes with an order
  // A stamp is read while the gate checks: three edges, then two more to the verdict's cycle.
  logic [31:0] stamp, stamp5, stamp6;
  logic [63:0] cycles;
  assign cycle = cycles[31:0];
  ram #(.W(32), .AW(STAMP_BITS)) stamps (
      .clk(clk), .we(stamp_valid), .wa(stamp_tag[STAMP_BITS-1:0]), .wd(stamp_cycle),
      .ra(issued_tag[STAMP_BITS-1:0]), .q(stamp));
  always_ff @(posedge clk) begin
    {stamp5, stamp6} <= {stamp, stamp5};
    fired_symbol <= intent[layout::INTENT_T_BITS-1-:6];
    named_symbol <= (6 * NAMED)'({named_symbol, judged.symbol});
    name <= names[judged.symbol];
  end

  // ------------------------------------------------ encode
  logic ref_we, was_taken, was_textless, first;
  logic [31:0] ref_value, next_user_ref_num, order_peak, first_stamp;
  encode_top #(.PROTOCOL(PROTOCOL), .DW(DW), .DEPTH(ORDER_DEPTH), .SBW(32)) send (
      .clk(clk), .rst(rst), .template_(template_), .ref_we(ref_we), .ref_value(ref_value),
      .next_user_ref_num(next_user_ref_num), .in_valid(verdict_valid & told.is_accepted),
      .in_refused(verdict_valid & ~told.is_accepted),
      .in_intent(judged), .in_is_short(told.is_short), .in_name(name), .in_sideband(stamp6),
      .was_taken(was_taken), .was_refused(was_refused), .was_textless(was_textless),
      .peak(order_peak), .first(first), .first_sideband(first_stamp),
      .m_axis_tdata(m_axis_tdata), .m_axis_tkeep(m_axis_tkeep), .m_axis_tvalid(m_axis_tvalid),
      .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast));

  // ------------------------------------------------ what is measured and counted
  logic clear_latency;
  logic [31:0] over, most, least, bucket_count;
  logic [63:0] sum, count;
  logic [$clog2(BUCKETS)-1:0] bucket;
  latency #(.BUCKETS(BUCKETS)) measure (
      .clk(clk), .rst(rst), .clear(clear_latency), .in_valid(first),
      .in_cycles(cycle - first_stamp), .r_bucket(bucket), .r_count(bucket_count), .over(over),
      .most(most), .least(least), .sum(sum), .count(count));
  logic [register_map::COUNTERS-1:0] events;
  always_comb begin
    events = '0;
    events[register_map::COUNTER_TOPS] = was_top;
    events[register_map::COUNTER_TOPS_UNUSABLE] = was_unusable;
    events[register_map::COUNTER_TOPS_RESCANNED] = was_rescanned;
    events[register_map::COUNTER_INTENTS] = fires;
    events[register_map::COUNTER_INTENTS_DROPPED] = dropped;
    events[register_map::COUNTER_ACCEPTED] = verdict_valid & told.is_accepted;
    events[register_map::COUNTER_REFUSED] = verdict_valid & ~told.is_accepted;
    events[register_map::COUNTER_ORDERS] = was_taken;
    events[register_map::COUNTER_ORDERS_DROPPED] = was_refused;
    events[register_map::COUNTER_ORDERS_TEXTLESS] = was_textless;
    events[register_map::COUNTER_ORDERS_SENT] = m_axis_tvalid & m_axis_tready & m_axis_tlast;
    events[register_map::COUNTER_WORDS_SENT] = m_axis_tvalid & m_axis_tready;
    events[register_map::COUNTER_CYCLES_HELD] = m_axis_tvalid & ~m_axis_tready;
    events[register_map::COUNTER_TRADING_ACTIONS] = action_valid;
    events[register_map::COUNTER_GAPS] = gap_valid;
    if (verdict_valid)
      for (int i = 0; i < 8; i = i + 1)
        events[register_map::COUNTER_FAILED_KILL_SWITCH+i] = told.failed[i];
  end
  registers #(.PROFILE(PROFILE), .STAGE_WORDS(STAGE_WORDS), .BUCKETS(BUCKETS)) host (
      .clk(clk), .rst(rst), .s_axil_awaddr(s_axil_awaddr), .s_axil_awprot(s_axil_awprot),
      .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready),
      .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb), .s_axil_wvalid(s_axil_wvalid),
      .s_axil_wready(s_axil_wready), .s_axil_bresp(s_axil_bresp), .s_axil_bvalid(s_axil_bvalid),
      .s_axil_bready(s_axil_bready), .s_axil_araddr(s_axil_araddr),
      .s_axil_arprot(s_axil_arprot), .s_axil_arvalid(s_axil_arvalid),
      .s_axil_arready(s_axil_arready), .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp),
      .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready), .stage(stage),
      .commit_valid(commit_valid), .commit_ready(commit_ready), .command_table(tab),
      .command_entry(entry), .fetched(fetched), .is_killed(is_killed), .ref_we(ref_we),
      .ref_value(ref_value), .next_user_ref_num(next_user_ref_num),
      .clear_latency(clear_latency), .clear_window(clear_window), .clear_orders(clear_orders),
      .clear_stale(clear_stale), .events(events), .intent_peak(intent_peak),
      .order_peak(order_peak), .book_peak(book_peak), .book_dropped(book_dropped),
      .book_status({book_lost, book_ready}), .latency_least(least), .latency_most(most),
      .latency_over(over), .latency_sum(sum), .latency_count(count), .cycle(cycles),
      .window_overflow(window_overflow), .orders_overflow(orders_overflow), .stale(stale),
      .halted(halted), .bucket(bucket), .bucket_count(bucket_count), .book_select(book_select),
      .book_value(book_value), .front_select(front_select), .front_value(front_value));
endmodule
