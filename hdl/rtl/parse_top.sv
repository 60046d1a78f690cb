`include "layout.svh"
`include "parse_counts.svh"
// The front of the chain with its word FIFO and counters: from the MAC's stream to operations of the
// book, and the unit of synthesis.  The stream is AXI-Stream without back-pressure (`s_axis_tready` is
// always 1): byte 0 of a frame in the lowest bits, `tuser` with `tlast` where the frame is bad.
module parse_top #(
    parameter int DW          = 64,
    parameter int DEPTH       = 4096,
    parameter int GROUPS      = 8,
    parameter int LINES       = 4,
    parameter int LOCATE_BITS = 16
) (
    input  logic                      clk,
    input  logic                      rst,
    output logic                      ready,
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
    input  logic [DW-1:0]             s_axis_tdata,
    input  logic [DW/8-1:0]           s_axis_tkeep,
    input  logic                      s_axis_tvalid,
    output logic                      s_axis_tready,
    input  logic                      s_axis_tlast,
    input  logic                      s_axis_tuser,
    output logic                      out_valid,
    output logic [2:0]                out_op,
    output logic [layout::SYMBOL_BITS-1:0] out_symbol,
    output logic [63:0]               out_order_ref,
    output logic [63:0]               out_new_order_ref,
    output logic                      out_is_sell,
    output logic [31:0]               out_price,
    output logic [31:0]               out_shares,
    output logic [layout::SIDEBAND_T_BITS-1:0] out_sideband,
    output logic                      out_action,
    output logic [7:0]                out_state,
    output logic                      out_gapped,
    output logic [$clog2(LINES)-1:0]  out_gapped_line,
    output logic                      out_damaged,
    output logic [63:0]               input_number,
    output logic [47:0]               engine_time,
    input  logic [5:0]                count_select,
    output logic [63:0]               count_value,
    output logic [31:0]               fifo_peak
);
  logic valid, takes, last, bad, lost;
  logic [DW-1:0] data;
  logic [$clog2(DW/8):0] bytes;
  logic [DW/8:0] has;
  logic [parse_counts::STROBES-1:0] events, counted;
  logic [15:0] duplicates, trailing_bytes;
  logic [63:0] gap_messages;
  assign s_axis_tready = 1'b1;
  word_fifo #(.DW(DW), .DEPTH(DEPTH)) words (
      .clk(clk), .rst(rst), .ready(ready), .in_data(s_axis_tdata), .in_keep(s_axis_tkeep),
      .in_valid(s_axis_tvalid), .in_last(s_axis_tlast), .in_bad(s_axis_tuser),
      .out_valid(valid), .out_ready(takes), .out_data(data), .out_bytes(bytes), .out_has(has), .out_last(last),
      .out_bad(bad), .lost(lost), .peak(fifo_peak));
  parse #(.DW(DW), .GROUPS(GROUPS), .LINES(LINES), .LOCATE_BITS(LOCATE_BITS)) core (
      .clk(clk), .rst(rst), .ready(ready), .cfg_group_we(cfg_group_we), .cfg_group(cfg_group),
      .cfg_group_enabled(cfg_group_enabled), .cfg_group_address(cfg_group_address),
      .cfg_group_port(cfg_group_port), .cfg_group_line(cfg_group_line),
      .cfg_locate_we(cfg_locate_we), .cfg_locate(cfg_locate),
      .cfg_locate_subscribed(cfg_locate_subscribed), .cfg_locate_symbol(cfg_locate_symbol),
      .orders_live(orders_live), .in_valid(valid), .in_ready(takes), .in_data(data),
      .in_bytes(bytes), .in_has(has), .in_last(last), .in_bad(bad), .out_valid(out_valid), .out_op(out_op),
      .out_symbol(out_symbol), .out_order_ref(out_order_ref),
      .out_new_order_ref(out_new_order_ref), .out_is_sell(out_is_sell), .out_price(out_price),
      .out_shares(out_shares), .out_sideband(out_sideband), .out_action(out_action),
      .out_state(out_state), .out_gapped(out_gapped), .out_gapped_line(out_gapped_line),
      .out_damaged(out_damaged), .input_number(input_number), .engine_time(engine_time),
      .events(events), .duplicates(duplicates), .trailing_bytes(trailing_bytes),
      .gap_messages(gap_messages));
  always_comb begin
    counted = events;
    counted[parse_counts::FRAMES_LOST] = lost;
  end
  parse_counters count (
      .clk(clk), .rst(rst), .events(counted), .duplicates(duplicates),
      .trailing_bytes(trailing_bytes), .gap_messages(gap_messages), .select(count_select),
      .value(count_value));
endmodule
