`include "layout.svh"
`include "registers.svh"
`include "parse_counts.svh"
// The whole path: words of Ethernet frames in, words of orders out, and the host's registers.
//
//     parse_top 2 | book_top 9 | back_top 8
//
// The word with a message's last byte at the input in cycle c, its order's first word at the output
// in cycle c + 19 (OUCH), where neither its operation waits for the book (a symbol under repair, a
// sweep) nor its intent for the gate.
//
// What the blocks leave to who puts them together:
//
// tag      the front's tag is its frame's number.  From here to the order it is the operation's, 15
//          bits of a count, under which the back keeps the cycle in which the last word of the
//          message came in: half of them can be on their way (book_fifo.sv).
// gap      what is missed is missed behind the operations that are still on their way, so it goes
//          with the first operation behind it: the tag's highest bit, which marks all symbols stale
//          in the cycle of that operation's top.  All of them, whichever line had it.
// damage   a frame that was bad behind what it brought, or an operation that found no room in front
//          of the book: all symbols, at once.
// orders   another session of a line loses the orders of the one before; here there are some from
//          the first add on.
//
// Trading actions go through the book, in their place among the operations, so that one that comes
// while operations wait does not overtake them; intents that wait for the gate are told apart from
// those behind an action by their message's number (risk.sv).
//
// `top_*` is the book's output, for whoever watches: one top for each operation, in their order.
module chain #(
    parameter int PROTOCOL    = 0,      // 0 OUCH 5.0, 1 OUCH 4.2, 2 FIX 4.4
    parameter int DW          = 64,
    parameter int WORDS       = 4096,   // of frames that wait in front of the parser
    parameter int OPERATIONS  = 16384,  // that wait in front of the book
    parameter int IW          = 15,     // of the order store
    parameter int GROUPS      = 8,
    parameter int LINES       = 4,
    parameter int LOCATE_BITS = 16
) (
    input  logic            clk,
    input  logic            rst,
    output logic            ready,       // after reset: all memories are cleared
    // from the MAC
    input  logic [DW-1:0]   s_axis_tdata,
    input  logic [DW/8-1:0] s_axis_tkeep,
    input  logic            s_axis_tvalid,
    output logic            s_axis_tready,
    input  logic            s_axis_tlast,
    input  logic            s_axis_tuser,
    // orders
    output logic [DW-1:0]   m_axis_tdata,
    output logic [DW/8-1:0] m_axis_tkeep,
    output logic            m_axis_tvalid,
    input  logic            m_axis_tready,
    output logic            m_axis_tlast,
    // what there is to watch
    output logic            top_valid,
    output logic [5:0]      top_symbol,
    output logic [31:0]     top_bid_px,
    output logic [35:0]     top_bid_sz,
    output logic [31:0]     top_ask_px,
    output logic [35:0]     top_ask_sz,
    output logic            top_bid_changed,
    output logic            top_ask_changed,
    output logic [3:0]      top_flags,
    output logic            top_rescanned,       // it waited for a rescan of the order store
    output logic [layout::SIDEBAND_T_BITS-1:0] top_sideband,
    output logic            verdict_valid,
    output logic [layout::VERDICT_T_BITS-1:0] verdict,
    output logic [layout::INTENT_T_BITS-1:0]  verdict_intent,
    output logic [63:0]     input_number,
    output logic [47:0]     engine_time,
    output logic [31:0]     word_peak,
    output logic [15:0]     operations_waiting,  // in front of the book, and in it
    // what stands in front of the chain
    input  logic [31:0]     crossing_lost,       // frames, as clock_crossing.sv counts them
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
  localparam int TAG_BITS = 15;
  localparam logic [31:0] PARSE_CYCLES = 32'd2;
  localparam logic [2:0] ACTION = 3'd5;  // as book.sv has it

  // ------------------------------------------------ front
  logic front_ready, book_ready;
  logic group_we, group_is_used;
  logic [2:0] group;
  logic [1:0] group_line;
  logic [31:0] group_address;
  logic [15:0] group_port;
  logic locate_we, locate_is_used;
  logic [15:0] locate;
  logic [5:0] locate_symbol;
  logic operates, acts, gapped, damaged, is_sell, orders_live;
  logic [2:0] op;
  logic [5:0] symbol, front_select;
  logic [63:0] order_ref, new_order_ref, front_value;
  logic [31:0] price, shares;
  logic [7:0] state;
  logic [$clog2(LINES)-1:0] gapped_line;
  layout::sideband_t parsed;
  assign ready = front_ready & book_ready;
  parse_top #(.DW(DW), .DEPTH(WORDS), .GROUPS(GROUPS), .LINES(LINES), .LOCATE_BITS(LOCATE_BITS)) front (
      .clk(clk), .rst(rst), .ready(front_ready), .cfg_group_we(group_we), .cfg_group(group[$clog2(GROUPS)-1:0]),
      .cfg_group_enabled(group_is_used), .cfg_group_address(group_address),
      .cfg_group_port(group_port), .cfg_group_line(group_line[$clog2(LINES)-1:0]),
      .cfg_locate_we(locate_we & locate >> LOCATE_BITS == 0), .cfg_locate(locate[LOCATE_BITS-1:0]),
      .cfg_locate_subscribed(locate_is_used), .cfg_locate_symbol(locate_symbol),
      .orders_live(orders_live), .s_axis_tdata(s_axis_tdata), .s_axis_tkeep(s_axis_tkeep),
      .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready), .s_axis_tlast(s_axis_tlast),
      .s_axis_tuser(s_axis_tuser), .out_valid(operates), .out_op(op), .out_symbol(symbol),
      .out_order_ref(order_ref), .out_new_order_ref(new_order_ref), .out_is_sell(is_sell),
      .out_price(price), .out_shares(shares), .out_sideband(parsed), .out_action(acts),
      .out_state(state), .out_gapped(gapped), .out_gapped_line(gapped_line),
      .out_damaged(damaged), .input_number(input_number), .engine_time(engine_time),
      .count_select(front_select), .count_value(front_value), .fifo_peak(word_peak));

  // ------------------------------------------------ the operation's tag
  logic [TAG_BITS-1:0] number;
  logic was_gapped;  // since the last operation
  layout::sideband_t given;
  always_comb begin
    given = parsed;
    given.tag = {gapped | was_gapped, number};
  end
  always_ff @(posedge clk) begin
    if (operates) number <= number + 1'b1;
    was_gapped <= (gapped | was_gapped) & ~operates;
    operations_waiting <= operations_waiting + 16'(operates | acts) - 16'(top_valid | book_acts);
    if (operates & op == layout::OP_ADD) orders_live <= 1'b1;
    if (rst) {number, was_gapped, orders_live, operations_waiting} <= '0;
  end

  // ------------------------------------------------ book
  logic cfg_we, cfg_cent, lost, was_lost;
  logic [5:0] cfg_symbol, next_symbol;
  logic [3:0] book_select;
  logic [7:0] top_status, book_state;
  logic book_acts;
  logic [31:0] book_value, book_dropped, book_peak;
  layout::sideband_t told;
  assign told = top_sideband;
  book_top #(.IW(IW), .DEPTH(OPERATIONS), .SBW(layout::SIDEBAND_T_BITS)) book (
      .clk(clk), .rst(rst), .cfg_we(cfg_we), .cfg_symbol(cfg_symbol), .cfg_cent(cfg_cent),
      .in_valid(operates | acts), .in_op(acts ? ACTION : op), .in_symbol(symbol),
      .in_order_ref(order_ref), .in_new_order_ref(new_order_ref), .in_is_sell(is_sell),
      .in_price(price), .in_shares(acts ? {24'd0, state} : shares), .in_sideband(given),
      .out_next_symbol(next_symbol), .out_valid(top_valid), .out_symbol(top_symbol),
      .out_bid_px(top_bid_px), .out_bid_sz(top_bid_sz), .out_ask_px(top_ask_px),
      .out_ask_sz(top_ask_sz), .out_bid_changed(top_bid_changed),
      .out_ask_changed(top_ask_changed), .out_status(top_status), .out_flags(top_flags),
      .out_rescanned(top_rescanned), .out_sideband(top_sideband), .out_action(book_acts),
      .out_state(book_state), .count_select(book_select),
      .count_value(book_value), .fifo_lost(lost), .fifo_dropped(book_dropped),
      .fifo_peak(book_peak), .ready(book_ready));

  // ------------------------------------------------ what the host reads of the front
  // The crossing's count is the last word of the front's, so that it takes no way of its own.
  localparam logic [5:0] CROSSING = 6'(register_map::CROSSING_LOST_AT >> 2);
  logic reads_crossing;
  wire [31:0] told_of_front = reads_crossing ? crossing_lost : front_value[31:0];
  always_ff @(posedge clk) reads_crossing <= front_select == CROSSING;

  // ------------------------------------------------ back
  logic [31:0] cycle;
  wire behind_a_gap = top_valid & told.tag[TAG_BITS];
  wire gap_now = behind_a_gap | damaged | lost & ~was_lost;
  always_ff @(posedge clk) was_lost <= lost & ~rst;
  back_top #(.PROTOCOL(PROTOCOL), .DW(DW), .STAMP_BITS(TAG_BITS)) back (
      .clk(clk), .rst(rst), .in_next_symbol(next_symbol), .in_valid(top_valid),
      .in_symbol(top_symbol), .in_bid_px(top_bid_px), .in_bid_sz(top_bid_sz), .in_ask_px(top_ask_px),
      .in_ask_sz(top_ask_sz), .in_bid_changed(top_bid_changed),
      .in_ask_changed(top_ask_changed), .in_flags(top_flags), .in_rescanned(top_rescanned),
      .in_sideband(top_sideband), .stamp_valid(operates), .stamp_tag(given.tag),
      .stamp_cycle(cycle - PARSE_CYCLES), .action_valid(book_acts), .action_symbol(top_symbol),
      .action_state(book_state), .action_number(told.input_number), .gap_valid(gap_now),
      .gap_all(1'b1), .gap_symbol(6'd0), .cycle(cycle), .group_we(group_we), .group(group),
      .group_is_used(group_is_used), .group_line(group_line), .group_address(group_address),
      .group_port(group_port), .locate_we(locate_we), .locate(locate),
      .locate_is_used(locate_is_used), .locate_symbol(locate_symbol), .cfg_we(cfg_we),
      .cfg_symbol(cfg_symbol), .cfg_cent(cfg_cent), .book_select(book_select),
      .book_value(book_value), .book_peak(book_peak), .book_dropped(book_dropped),
      .book_lost(lost), .book_ready(ready), .front_select(front_select),
      .front_value(told_of_front), .verdict_valid(verdict_valid), .verdict(verdict),
      .verdict_intent(verdict_intent), .m_axis_tdata(m_axis_tdata), .m_axis_tkeep(m_axis_tkeep),
      .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast),
      .s_axil_awaddr(s_axil_awaddr), .s_axil_awprot(s_axil_awprot),
      .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready),
      .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb), .s_axil_wvalid(s_axil_wvalid),
      .s_axil_wready(s_axil_wready), .s_axil_bresp(s_axil_bresp), .s_axil_bvalid(s_axil_bvalid),
      .s_axil_bready(s_axil_bready), .s_axil_araddr(s_axil_araddr),
      .s_axil_arprot(s_axil_arprot), .s_axil_arvalid(s_axil_arvalid),
      .s_axil_arready(s_axil_arready), .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp),
      .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready));
endmodule
