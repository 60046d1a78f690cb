`include "layout.svh"
`include "parse_counts.svh"
// From the words of frames to operations of the book.
//
// Edges from a message's last word (edge 0 takes it, at its end):
//
//   0   the aligner's rows hold all of the message; the splitter says that it ended
//   1   the outputs: fields of the message (itch_fields.sv, generated), the symbol, the sideband
//
// So an operation stands at the outputs in the second cycle behind that in which its last byte
// stood at the inputs.  Headers and the line's decision are pipelined beside that and done in time.
//
// Numbers of inputs are counted as the software does: every message that is taken is one, and a gap
// is one.  `ts_event` is engine time, the largest so far.  A frame that is bad, or shorter than it
// says, shows so at its end only: what it brought has been handed on by then (`out_damaged`), and
// no symbol can be trusted from there on.
module parse #(
    parameter int DW          = 64,   // a multiple of 64
    parameter int GROUPS      = 8,
    parameter int LINES       = 4,
    parameter int LOCATE_BITS = 16
) (
    input  logic                      clk,
    input  logic                      rst,
    output logic                      ready,         // the table of symbols is cleared
    input  logic                      cfg_group_we,
    input  logic [$clog2(GROUPS)-1:0] cfg_group,
    input  logic                      cfg_group_enabled,
    input  logic [31:0]               cfg_group_address,
    input  logic [15:0]               cfg_group_port,
    input  logic [$clog2(LINES)-1:0]  cfg_group_line,
    input  logic                      cfg_locate_we,
    input  logic [LOCATE_BITS-1:0]    cfg_locate,
    input  logic                      cfg_locate_subscribed,
    input  logic [layout::SYMBOL_BITS-1:0] cfg_locate_symbol,
    input  logic                      orders_live,
    input  logic                      in_valid,
    output logic                      in_ready,
    input  logic [DW-1:0]             in_data,
    input  logic [$clog2(DW/8):0]     in_bytes,
    input  logic [DW/8:0]             in_has,        // bit n: it has n bytes
    input  logic                      in_last,
    input  logic                      in_bad,
    output logic                      out_valid,
    output logic [2:0]                out_op,
    output logic [layout::SYMBOL_BITS-1:0] out_symbol,
    output logic [63:0]               out_order_ref,
    output logic [63:0]               out_new_order_ref,
    output logic                      out_is_sell,
    output logic [31:0]               out_price,
    output logic [31:0]               out_shares,
    output logic [layout::SIDEBAND_T_BITS-1:0] out_sideband,  // {ts_event, input_number, tag}
    output logic                      out_action,    // instead: the symbol's trading state
    output logic [7:0]                out_state,
    output logic                      out_gapped,    // a pulse, before the next operation: stale
    output logic [$clog2(LINES)-1:0]  out_gapped_line,
    output logic                      out_damaged,   // a pulse: a frame was bad that had been taken
    output logic [63:0]               input_number,
    output logic [47:0]               engine_time,
    output logic [parse_counts::STROBES-1:0] events,
    output logic [15:0]               duplicates,
    output logic [15:0]               trailing_bytes,
    output logic [63:0]               gap_messages
);
  localparam int B = DW / 8;
  localparam int LB = $clog2(B);
  localparam int ROWS = (layout::MESSAGE_BYTES + B - 1) / B;
  logic fresh, starts, judged, verdict, wanted, sequence_done, count_done;
  logic over, over_bad, over_damaged, decides, decided, take, skips, stale;
  logic is_next;
  logic [LB-1:0] next_lane, lane, begin_lane;
  logic [15:0] start_count, payload, message_count, tag, length;
  logic [$clog2(LINES)-1:0] line, stale_line;
  logic [79:0] session;
  logic [63:0] sequence_number;
  logic [parse_counts::MOLD_INVALID:0] passed;
  logic [parse_counts::GAPS:0] line_events;
  logic [ROWS:0] row;
  logic begins, message, truncated, taken;
  logic [DW*ROWS-1:0] bytes;
  logic [DW-1:0] first_row;
  ethernet_filter #(.DW(DW), .GROUPS(GROUPS), .LINES(LINES)) filter (
      .clk(clk), .rst(rst), .cfg_we(cfg_group_we), .cfg_group(cfg_group),
      .cfg_enabled(cfg_group_enabled), .cfg_address(cfg_group_address),
      .cfg_port(cfg_group_port), .cfg_line(cfg_group_line), .fresh(fresh), .data(in_data),
      .bytes(in_bytes), .has(in_has), .last(in_last), .bad(in_bad), .is_next(is_next), .next_lane(next_lane),
      .starts(starts), .start_count(start_count), .payload(payload), .judged(judged), .verdict(verdict),
      .wanted(wanted), .line(line), .sequence_done(sequence_done), .count_done(count_done),
      .session(session), .sequence_number(sequence_number), .message_count(message_count),
      .tag(tag), .over(over), .over_bad(over_bad), .over_damaged(over_damaged), .passed(passed));
  line_check #(.LINES(LINES)) check (
      .clk(clk), .rst(rst), .orders_live(orders_live), .judged(judged), .verdict(verdict),
      .wanted(wanted), .line(line), .sequence_done(sequence_done), .count_done(count_done),
      .session(session), .sequence_number(sequence_number), .message_count(message_count),
      .ended(message), .message(taken), .decides(decides), .decided(decided), .take(take), .skips(skips),
      .stale(stale), .stale_line(stale_line), .events(line_events), .duplicates(duplicates),
      .gap_messages(gap_messages));
  mold_splitter #(.DW(DW), .ROWS(ROWS)) splitter (
      .clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .data(in_data),
      .has(in_has), .last(in_last), .fresh(fresh), .is_next(is_next), .next_lane(next_lane),
      .starts(starts),
      .start_count(start_count), .payload(payload), .wanted(wanted), .decides(decides),
      .decided(decided), .take(take), .lane(lane), .row(row), .begins(begins),
      .begin_lane(begin_lane), .message(message), .length(length), .truncated(truncated),
      .trailing(trailing_bytes));
  aligner #(.DW(DW), .ROWS(ROWS)) align (
      .clk(clk), .in_valid(in_valid), .passes(in_valid & in_ready), .data(in_data), .lane(lane),
      .row(row), .first_row(first_row), .message(bytes));

  // ------------------------------------------------------------ the symbol, ahead of the end
  localparam int LOCATE_LOW = 8 * (layout::ITCH50_SYSTEM_EVENT_STOCK_LOCATE_AT
      + layout::ITCH50_SYSTEM_EVENT_STOCK_LOCATE_BYTES);
  logic subscribed;
  logic [layout::SYMBOL_BITS-1:0] symbol;
  logic [DW-1:0] swapped, begun;
  always_comb for (int i = 0; i < B; i = i + 1) swapped[DW-8-8*i+:8] = in_data[8*i+:8];
  assign begun = swapped << {begin_lane, 3'd0};
  // In wide words a message may end in the next word: its locate is asked for where it begins.
  wire is_early = DW > 64 & begins & int'(begin_lane) + LOCATE_LOW / 8 <= B;
  wire [15:0] locate = is_early ? begun[DW-LOCATE_LOW+:16] : first_row[DW-LOCATE_LOW+:16];
  symbol_filter #(.LOCATE_BITS(LOCATE_BITS), .SYMBOL_BITS(layout::SYMBOL_BITS)) symbols (
      .clk(clk), .rst(rst), .ready(ready), .cfg_we(cfg_locate_we), .cfg_locate(cfg_locate),
      .cfg_subscribed(cfg_locate_subscribed), .cfg_symbol(cfg_locate_symbol),
      .asks(in_valid & (is_early | row[0] | row[1])), .locate(locate[LOCATE_BITS-1:0]),
      .subscribed(subscribed), .symbol(symbol));

  // ------------------------------------------------------------ fields, engine time, numbers
  localparam int TIME_LOW =
      8 * (layout::ITCH50_SYSTEM_EVENT_TIMESTAMP_AT + layout::ITCH50_SYSTEM_EVENT_TIMESTAMP_BYTES);
  layout::decoded_t fields;
  itch_fields decode (
      .message(bytes[DW*ROWS-1-:8*layout::MESSAGE_BYTES]), .length(length), .out(fields));
  wire [15:0] own_locate = bytes[DW*ROWS-LOCATE_LOW+:16];
  wire [47:0] now = bytes[DW*ROWS-TIME_LOW+:48];
  wire is_new = message & take & ~skips;
  wire is_known = fields.kind != layout::KIND_UNKNOWN & fields.kind != layout::KIND_MALFORMED;
  wire is_late = now < engine_time;
  wire [47:0] time_now = is_known & ~is_late ? now : engine_time;
  wire is_beyond = 17'(own_locate) >> LOCATE_BITS != 0;
  wire is_ours = subscribed & ~is_beyond;
  wire is_operation = is_new & fields.kind == layout::KIND_OPERATION;
  wire is_action = is_new & fields.kind == layout::KIND_TRADING_ACTION;
  // An add and a directory entry name a symbol, which locate 0 is not.
  wire names_nobody = own_locate == 0
      & (fields.kind == layout::KIND_DIRECTORY | fields.kind == layout::KIND_SIDE_INVALID
         | (fields.kind == layout::KIND_OPERATION & fields.op == layout::OP_ADD));
  assign taken = is_new;

  // The number of inputs: what its low bits carry comes seldom enough for a sum of its own.
  localparam int NB = 6;
  logic [NB-1:0] number_low;
  logic [63-NB:0] number_high, number_more;
  wire [NB:0] numbered = {1'b0, number_low} + (NB + 1)'(1) + (NB + 1)'(stale);
  wire [NB:0] counted = {1'b0, number_low} + (NB + 1)'(is_new) + (NB + 1)'(stale);
  assign input_number = {number_high, number_low};

  always_ff @(posedge clk) begin
    out_valid <= is_operation & is_ours;
    out_action <= is_action & is_ours;
    out_op <= fields.op;
    out_symbol <= symbol;
    {out_order_ref, out_new_order_ref} <= {fields.order_ref, fields.new_order_ref};
    {out_is_sell, out_price, out_shares} <= {fields.is_sell, fields.price, fields.shares};
    out_state <= fields.state;
    out_sideband <= {time_now, numbered[NB] ? number_more : number_high, numbered[NB-1:0], tag};
    {out_gapped, out_gapped_line, out_damaged} <= {stale, stale_line, over_damaged};
    number_low <= counted[NB-1:0];
    if (counted[NB]) number_high <= number_more;
    number_more <= number_high + 1'b1;
    if (is_new) engine_time <= time_now;
    if (rst) begin
      {out_valid, out_action, out_gapped, out_damaged} <= '0;
      {number_low, number_high, engine_time} <= '0;
    end
  end

  always_ff @(posedge clk) begin
    events <= '0;
    events[parse_counts::MOLD_INVALID:0] <= passed;
    events[parse_counts::GAPS:parse_counts::HEARTBEATS] <=
        line_events[parse_counts::GAPS:parse_counts::HEARTBEATS];
    events[parse_counts::MOLD_TRUNCATED] <= truncated;
    events[parse_counts::MESSAGES] <= is_new;
    events[parse_counts::UNKNOWN_TYPE] <= is_new & fields.kind == layout::KIND_UNKNOWN & length != 0;
    events[parse_counts::WRONG_LENGTH] <=
        is_new & (fields.kind == layout::KIND_MALFORMED | length == 0);
    events[parse_counts::SIDE_INVALID] <=
        is_new & fields.kind == layout::KIND_SIDE_INVALID & ~names_nobody & ~is_beyond;
    events[parse_counts::SYMBOL_OUT_OF_RANGE] <= is_new & is_known & (is_beyond | names_nobody);
    events[parse_counts::TIME_BACKWARDS] <= is_new & is_known & is_late;
    events[parse_counts::FRAMES_BAD] <= over_bad;
    events[parse_counts::FRAMES_DAMAGED] <= over_damaged;
    events[parse_counts::OPERATIONS] <= is_operation & is_ours;
    events[parse_counts::TRADING_ACTIONS] <= is_action & is_ours;
    events[parse_counts::NOT_SUBSCRIBED] <= (is_operation | is_action) & ~is_ours;
    events[parse_counts::MESSAGES_OVERLONG] <= is_new & length > 16'(layout::MESSAGE_BYTES);
    if (rst) events <= '0;
  end
endmodule
