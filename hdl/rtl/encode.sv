// An accepted intent to the bytes of its order: the session's template with what the order changes.
//
//     PROTOCOL 0   OUCH 5.0 enter_order          in the same cycle
//     PROTOCOL 1   OUCH 4.2 enter_order          in the same cycle
//     PROTOCOL 2   FIX 4.4 NewOrderSingle        nine cycles later; MsgSeqNum and the times are left
//                                                for the session: digits of zero, and the epoch
//
// The order_id is that of the first order of the intent's message.  UserRefNum counts what the gate
// judged, as the software's does: intents it refused (`in_refused`) and orders that found room
// (`taken` says that this cycle's did).  The host may set the next one.
// An order that has no text (FIX, a symbol of other characters) comes out with length 0.
`include "layout.svh"
module encode #(
    parameter int PROTOCOL = 0,
    parameter int BYTES = PROTOCOL == 0 ? layout::OUCH50_ENTER_ORDER_LENGTH
                        : PROTOCOL == 1 ? layout::OUCH42_ENTER_ORDER_LENGTH
                        : layout::FIX_MESSAGE_BYTES,
    parameter int TW = PROTOCOL == 2 ? 8 + 8 * layout::FIX_HEAD_BYTES : 8 * BYTES,
    parameter int SBW = 32  // sideband, carried through
) (
    input  logic                             clk,
    input  logic                             rst,
    input  logic [TW-1:0]                    template_,  // FIX: the constants' sum, then the head
    input  logic                             ref_we,
    input  logic [31:0]                      ref_value,
    output logic [31:0]                      next_user_ref_num,
    input  logic                             in_valid,
    input  logic                             in_refused,
    input  logic [layout::INTENT_T_BITS-1:0] in_intent,
    input  logic                             in_is_short,
    input  logic [63:0]                      in_name,    // the symbol's eight characters
    input  logic [SBW-1:0]                   in_sideband,
    output logic                             out_valid,
    output logic [8*BYTES-1:0]               out_message,
    output logic [8:0]                       out_length,
    output logic [SBW-1:0]                   out_sideband,
    input  logic                             taken
);
  layout::intent_t intent;
  layout::order_t order;
  assign intent = in_intent;
  always_comb begin
    order = '0;
    order.order_id = intent.sideband.input_number << layout::ORDER_ID_SHIFT;
    order.user_ref_num = next_user_ref_num;
    order.side = ~intent.is_sell ? layout::OUCH50_SIDE_BUY
               : in_is_short ? layout::OUCH50_SIDE_SELL_SHORT : layout::OUCH50_SIDE_SELL;
    order.quantity = intent.quantity;
    order.symbol = in_name;
    order.price = intent.price;
  end
  always_ff @(posedge clk) begin
    if (taken | in_refused) next_user_ref_num <= next_user_ref_num + 32'd1;
    if (ref_we) next_user_ref_num <= ref_value;
    if (rst) next_user_ref_num <= 32'd1;
  end

  generate
    if (PROTOCOL == 0) begin : ouch50
      ouch50_encode write (.template(template_), .order(order), .out(out_message));
    end else if (PROTOCOL == 1) begin : ouch42
      ouch42_encode write (.template(template_), .order(order), .out(out_message));
    end
    if (PROTOCOL != 2) begin : at_once
      assign out_valid = in_valid;
      assign out_length = 9'(BYTES);
      assign out_sideband = in_sideband;
    end else begin : fix44
      localparam int CYCLES = 9;  // of the kernel: the bench asserts it
      logic [CYCLES-1:0][SBW-1:0] carried;
      layout::stamp_t none;
      layout::fix_message_t written;
      always_comb begin
        none = '0;
        none.sending_time = layout::FIX44_TAIL[8*(layout::FIX44_TAIL_LENGTH
                            - layout::FIX44_TAIL_TRANSACT_TIME_AT)-1
                            -: 8*layout::FIX44_TAIL_TRANSACT_TIME_BYTES];
      end
      fix44_encode write (
          .clk(clk), .rst(rst), .in_valid(in_valid), .head(template_[TW-9:0]),
          .constant_sum(template_[TW-1-:8]), .order(order), .stamp(none), .out_valid(out_valid),
          .out(written));
      always_ff @(posedge clk) carried <= {carried[CYCLES-2:0], in_sideband};
      assign out_message = written.message;
      assign out_length = written.length;
      assign out_sideband = carried[CYCLES-1];
    end
  endgenerate
endmodule
