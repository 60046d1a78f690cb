// The book with its input FIFO and counters: what the chain instantiates, and the unit of synthesis.
module book_top #(
    parameter int IW    = 15,
    parameter int DEPTH = 16384,
    parameter int SBW   = 128
) (
    input  logic           clk,
    input  logic           rst,
    input  logic           cfg_we,
    input  logic [5:0]     cfg_symbol,
    input  logic           cfg_cent,
    input  logic           in_valid,
    input  logic [2:0]     in_op,
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
    output logic [35:0]    out_bid_sz,
    output logic [31:0]    out_ask_px,
    output logic [35:0]    out_ask_sz,
    output logic           out_bid_changed,
    output logic           out_ask_changed,
    output logic [7:0]     out_status,
    output logic [3:0]     out_flags,
    output logic           out_rescanned,
    output logic [SBW-1:0] out_sideband,
    output logic           out_action,
    output logic [7:0]     out_state,
    input  logic [3:0]     count_select,
    output logic [31:0]    count_value,
    output logic           fifo_lost,
    output logic [31:0]    fifo_dropped,
    output logic [31:0]    fifo_peak,
    output logic           ready   // after reset: the memories are cleared
);
  localparam int W = 3 + 6 + 64 + 64 + 1 + 32 + 32 + SBW;
  logic v, r;
  logic [W-1:0] d;
  logic [2:0] op;
  logic [5:0] symbol;
  logic [63:0] ref_, new_;
  logic sell;
  logic [31:0] px, qty;
  logic [SBW-1:0] sb;
  logic [11:0] events;
  book_fifo #(.W(W), .DEPTH(DEPTH)) fifo (
      .clk(clk), .rst(rst), .in_valid(in_valid),
      .in_data({in_op, in_symbol, in_order_ref, in_new_order_ref, in_is_sell, in_price,
                in_shares, in_sideband}),
      .out_valid(v), .out_ready(r), .out_data(d), .lost(fifo_lost), .dropped(fifo_dropped),
      .peak(fifo_peak));
  assign {op, symbol, ref_, new_, sell, px, qty, sb} = d;
  book #(.IW(IW), .SBW(SBW)) core (
      .clk(clk), .rst(rst), .cfg_we(cfg_we), .cfg_symbol(cfg_symbol), .cfg_cent(cfg_cent),
      .in_valid(v), .in_ready(r), .in_op(op), .in_symbol(symbol), .in_order_ref(ref_),
      .in_new_order_ref(new_), .in_is_sell(sell), .in_price(px), .in_shares(qty),
      .in_sideband(sb), .out_next_symbol(out_next_symbol), .out_valid(out_valid), .out_symbol(out_symbol), .out_bid_px(out_bid_px),
      .out_bid_sz(out_bid_sz), .out_ask_px(out_ask_px), .out_ask_sz(out_ask_sz),
      .out_bid_changed(out_bid_changed), .out_ask_changed(out_ask_changed),
      .out_status(out_status), .out_flags(out_flags), .out_rescanned(out_rescanned),
      .out_sideband(out_sideband), .out_action(out_action), .out_state(out_state),
      .events(events));
  book_counters count (.clk(clk), .rst(rst), .events(events), .select(count_select),
                       .value(count_value));
  always_ff @(posedge clk)
    if (rst) ready <= 1'b0;
    else if (r) ready <= 1'b1;
endmodule
