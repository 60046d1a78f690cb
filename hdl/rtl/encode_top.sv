// The encoder with its serialiser: an accepted intent in one cycle, its first word in the next.
`include "layout.svh"
module encode_top #(
    parameter int PROTOCOL = 0,
    parameter int BYTES = PROTOCOL == 0 ? layout::OUCH50_ENTER_ORDER_LENGTH
                        : PROTOCOL == 1 ? layout::OUCH42_ENTER_ORDER_LENGTH
                        : layout::FIX_MESSAGE_BYTES,
    parameter int TW = PROTOCOL == 2 ? 8 + 8 * layout::FIX_HEAD_BYTES : 8 * BYTES,
    parameter int DW = 64,
    parameter int DEPTH = 16,
    parameter int SBW = 32
) (
    input  logic                             clk,
    input  logic                             rst,
    input  logic [TW-1:0]                    template_,
    input  logic                             ref_we,
    input  logic [31:0]                      ref_value,
    output logic [31:0]                      next_user_ref_num,
    input  logic                             in_valid,
    input  logic                             in_refused,   // instead: an intent that takes a number
    input  logic [layout::INTENT_T_BITS-1:0] in_intent,
    input  logic                             in_is_short,
    input  logic [63:0]                      in_name,
    input  logic [SBW-1:0]                   in_sideband,
    output logic                             was_taken,    // pulses, one cycle behind
    output logic                             was_refused,
    output logic                             was_textless,
    output logic [31:0]                      peak,
    output logic                             first,
    output logic [SBW-1:0]                   first_sideband,
    output logic [DW-1:0]                    m_axis_tdata,
    output logic [DW/8-1:0]                  m_axis_tkeep,
    output logic                             m_axis_tvalid,
    input  logic                             m_axis_tready,
    output logic                             m_axis_tlast
);
  logic valid, refused;
  logic [8*BYTES-1:0] message;
  logic [8:0] length;
  logic [SBW-1:0] sideband;
  wire taken = valid & ~refused & length != 0;
  encode #(.PROTOCOL(PROTOCOL), .BYTES(BYTES), .TW(TW), .SBW(SBW)) write (
      .clk(clk), .rst(rst), .template_(template_), .ref_we(ref_we), .ref_value(ref_value),
      .next_user_ref_num(next_user_ref_num), .in_valid(in_valid), .in_refused(in_refused), .in_intent(in_intent),
      .in_is_short(in_is_short), .in_name(in_name), .in_sideband(in_sideband),
      .out_valid(valid), .out_message(message), .out_length(length), .out_sideband(sideband),
      .taken(taken));
  serialiser #(.BYTES(BYTES), .DW(DW), .DEPTH(DEPTH), .SBW(SBW)) send (
      .clk(clk), .rst(rst), .in_valid(valid), .in_message(message), .in_length(length),
      .in_sideband(sideband), .refused(refused), .peak(peak), .first(first),
      .first_sideband(first_sideband), .m_axis_tdata(m_axis_tdata), .m_axis_tkeep(m_axis_tkeep),
      .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast));
  always_ff @(posedge clk) begin
    {was_taken, was_refused} <= {taken, refused};
    was_textless <= valid & length == 0;
    if (rst) {was_taken, was_refused, was_textless} <= '0;
  end
endmodule
