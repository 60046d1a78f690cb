`include "layout.svh"
// The chain between the wire's clock and the core's: 64-bit words at 156.25 MHz are 10 Gb/s, the
// chain runs at 322.27 MHz.
//
//     clock_crossing | chain 19 cycles | clock_crossing
//
// Frames cross into the core clock and never wait: the core takes more words than the wire brings.
// Orders cross back and wait there, as the serialiser's queue lets them.  The host's registers are
// in the core clock.  Latency: the chain's cycles, and the two crossings in nanoseconds beside them
// (clock_crossing.sv).  Frames that were lost on the way in are counted in the word clock; the count
// crosses in Gray code and is the host's register CROSSING_LOST.
module wire_top #(
    parameter int PROTOCOL    = 0,
    parameter int DW          = 64,
    parameter int CROSSING    = 16,     // words in each crossing
    parameter int WORDS       = 4096,
    parameter int OPERATIONS  = 16384,
    parameter int IW          = 15,
    parameter int LOCATE_BITS = 16
) (
    input  logic            core_clk,
    input  logic            core_rst,
    output logic            core_ready,
    output logic [31:0]     core_frames_lost,  // that found no room on their way in
    input  logic            word_clk,
    input  logic            word_rst,
    output logic [$clog2(CROSSING):0] word_peak,  // most words that waited for the core
    // from the MAC
    input  logic [DW-1:0]   s_axis_tdata,
    input  logic [DW/8-1:0] s_axis_tkeep,
    input  logic            s_axis_tvalid,
    output logic            s_axis_tready,
    input  logic            s_axis_tlast,
    input  logic            s_axis_tuser,
    // orders; `tuser` with `tlast`: a reset cut this one, and its frame has to be spoilt
    output logic [DW-1:0]   m_axis_tdata,
    output logic [DW/8-1:0] m_axis_tkeep,
    output logic            m_axis_tvalid,
    input  logic            m_axis_tready,
    output logic            m_axis_tlast,
    output logic            m_axis_tuser,
    // the host, in the core clock
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
  logic [DW-1:0] frame_tdata, order_tdata;
  logic [DW/8-1:0] frame_tkeep, order_tkeep;
  logic frame_tvalid, frame_tready, frame_tlast, frame_tuser;
  logic order_tvalid, order_tready, order_tlast;
  // verilator lint_off PINCONNECTEMPTY
  clock_crossing #(.DW(DW), .DEPTH(CROSSING), .WAITS(0)) from_wire (
      .s_clk(word_clk), .s_rst(word_rst), .s_axis_tdata(s_axis_tdata),
      .s_axis_tkeep(s_axis_tkeep), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
      .s_axis_tlast(s_axis_tlast), .s_axis_tuser(s_axis_tuser), .s_peak(word_peak),
      .m_clk(core_clk), .m_rst(core_rst), .m_axis_tdata(frame_tdata),
      .m_axis_tkeep(frame_tkeep), .m_axis_tvalid(frame_tvalid), .m_axis_tready(frame_tready),
      .m_axis_tlast(frame_tlast), .m_axis_tuser(frame_tuser), .m_lost(core_frames_lost));
  chain #(.PROTOCOL(PROTOCOL), .DW(DW), .WORDS(WORDS), .OPERATIONS(OPERATIONS), .IW(IW),
          .LOCATE_BITS(LOCATE_BITS)) core (
      .clk(core_clk), .rst(core_rst), .ready(core_ready), .s_axis_tdata(frame_tdata),
      .s_axis_tkeep(frame_tkeep), .s_axis_tvalid(frame_tvalid), .s_axis_tready(frame_tready),
      .s_axis_tlast(frame_tlast), .s_axis_tuser(frame_tuser), .m_axis_tdata(order_tdata),
      .m_axis_tkeep(order_tkeep), .m_axis_tvalid(order_tvalid), .m_axis_tready(order_tready),
      .m_axis_tlast(order_tlast), .top_valid(), .top_symbol(), .top_bid_px(), .top_bid_sz(),
      .top_ask_px(), .top_ask_sz(), .top_bid_changed(), .top_ask_changed(), .top_flags(),
      .top_rescanned(), .top_sideband(), .verdict_valid(), .verdict(), .verdict_intent(),
      .input_number(), .engine_time(), .word_peak(), .operations_waiting(),
      .crossing_lost(core_frames_lost),
      .s_axil_awaddr(s_axil_awaddr), .s_axil_awprot(s_axil_awprot),
      .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready),
      .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb), .s_axil_wvalid(s_axil_wvalid),
      .s_axil_wready(s_axil_wready), .s_axil_bresp(s_axil_bresp), .s_axil_bvalid(s_axil_bvalid),
      .s_axil_bready(s_axil_bready), .s_axil_araddr(s_axil_araddr),
      .s_axil_arprot(s_axil_arprot), .s_axil_arvalid(s_axil_arvalid),
      .s_axil_arready(s_axil_arready), .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp),
      .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready));
  clock_crossing #(.DW(DW), .DEPTH(CROSSING), .WAITS(1)) to_wire (
      .s_clk(core_clk), .s_rst(core_rst), .s_axis_tdata(order_tdata),
      .s_axis_tkeep(order_tkeep), .s_axis_tvalid(order_tvalid), .s_axis_tready(order_tready),
      .s_axis_tlast(order_tlast), .s_axis_tuser(1'b0), .s_peak(), .m_clk(word_clk),
      .m_rst(word_rst), .m_axis_tdata(m_axis_tdata), .m_axis_tkeep(m_axis_tkeep),
      .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast),
      .m_axis_tuser(m_axis_tuser), .m_lost());
  // verilator lint_on PINCONNECTEMPTY
endmodule
