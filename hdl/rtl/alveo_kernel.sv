`include "layout.svh"
`include "movers.svh"
// The chain as a kernel of an Alveo card: AXI-Lite registers, AXI4 to the card's memory for replays,
// AXI-Stream to and from the kernel that has the network.  hdl/vitis packages it.
//
//     network in  --+                                      +--> network out
//                   +--> chain (19 cycles) --> orders -----+
//     frame_reader -+            \--> verdicts ------------+--> record_writer --> memory
//
// Live, the way from network to network is the chain's alone: not a register is between, and what is
// recorded of orders is a copy that never holds them up.  In a replay frames begin as they do in the
// simulation (tickpath_backends.hdl.chain_model): not while many operations wait for the book, nor
// while records have no room; so nothing is ever dropped.
//
// Where frames come from is changed at rest only.  `ap_clk` is the core clock; a network kernel in a
// clock of its own is joined through the crossing that v++ puts between streams, or clock_crossing.sv.
module alveo_kernel #(
    parameter int PROTOCOL    = 0,
    parameter int WORDS       = 4096,
    parameter int OPERATIONS  = 16384,
    parameter int IW          = 15,
    parameter int LOCATE_BITS = 16
) (
    input  logic        clk,
    input  logic        rst,
    // the host
    input  logic [12:0] s_axi_control_awaddr,
    input  logic        s_axi_control_awvalid,
    output logic        s_axi_control_awready,
    input  logic [31:0] s_axi_control_wdata,
    input  logic [3:0]  s_axi_control_wstrb,
    input  logic        s_axi_control_wvalid,
    output logic        s_axi_control_wready,
    output logic [1:0]  s_axi_control_bresp,
    output logic        s_axi_control_bvalid,
    input  logic        s_axi_control_bready,
    input  logic [12:0] s_axi_control_araddr,
    input  logic        s_axi_control_arvalid,
    output logic        s_axi_control_arready,
    output logic [31:0] s_axi_control_rdata,
    output logic [1:0]  s_axi_control_rresp,
    output logic        s_axi_control_rvalid,
    input  logic        s_axi_control_rready,
    // the card's memory
    output logic        m_axi_awid,
    output logic [63:0] m_axi_awaddr,
    output logic [7:0]  m_axi_awlen,
    output logic [2:0]  m_axi_awsize,
    output logic [1:0]  m_axi_awburst,
    output logic        m_axi_awvalid,
    input  logic        m_axi_awready,
    output logic [63:0] m_axi_wdata,
    output logic [7:0]  m_axi_wstrb,
    output logic        m_axi_wlast,
    output logic        m_axi_wvalid,
    input  logic        m_axi_wready,
    input  logic        m_axi_bid,
    input  logic [1:0]  m_axi_bresp,
    input  logic        m_axi_bvalid,
    output logic        m_axi_bready,
    output logic        m_axi_arid,
    output logic [63:0] m_axi_araddr,
    output logic [7:0]  m_axi_arlen,
    output logic [2:0]  m_axi_arsize,
    output logic [1:0]  m_axi_arburst,
    output logic        m_axi_arvalid,
    input  logic        m_axi_arready,
    input  logic        m_axi_rid,
    input  logic [63:0] m_axi_rdata,
    input  logic [1:0]  m_axi_rresp,
    input  logic        m_axi_rlast,
    input  logic        m_axi_rvalid,
    output logic        m_axi_rready,
    // the network
    input  logic [63:0] s_axis_net_tdata,
    input  logic [7:0]  s_axis_net_tkeep,
    input  logic        s_axis_net_tvalid,
    output logic        s_axis_net_tready,
    input  logic        s_axis_net_tlast,
    input  logic        s_axis_net_tuser,
    output logic [63:0] m_axis_net_tdata,
    output logic [7:0]  m_axis_net_tkeep,
    output logic        m_axis_net_tvalid,
    input  logic        m_axis_net_tready,
    output logic        m_axis_net_tlast
);
  localparam int RECORD = PROTOCOL == 2 ? 32 : 8;
  logic core_rst, halt, reader_answered, writer_answered, start, from_network, to_network;
  logic [63:0] frames_address, records_address;
  logic [31:0] frames_words, most_waiting, records_mask, records_taken;
  logic ready, reading, rests, read_fault, frame_fault, write_fault, may_begin, writes, has_room;
  logic [31:0] words_read, frames_fed, records_written, verdicts_dropped, copies_dropped;
  logic [11:0] awaddr, araddr;
  logic [31:0] wdata, rdata;
  logic [3:0] wstrb;
  logic [1:0] bresp, rresp;
  logic awvalid, awready, wvalid, wready, bvalid, bready, arvalid, arready, rvalid, rready;
  assign {m_axi_awsize, m_axi_arsize} = {2{3'd3}};    // 8 bytes
  assign {m_axi_awburst, m_axi_arburst} = {2{2'd1}};  // rising addresses
  assign m_axi_wstrb = '1;
  assign {m_axi_awid, m_axi_arid} = '0;               // answers come in order

  mover_registers #(.WORDS(RECORD)) control (
      .clk(clk), .rst(rst), .core_rst(core_rst), .halt(halt),
      .is_answered(reader_answered & writer_answered), .start(start),
      .from_network(from_network), .to_network(to_network), .frames_address(frames_address),
      .frames_words(frames_words), .most_waiting(most_waiting),
      .records_address(records_address), .records_mask(records_mask),
      .records_taken(records_taken), .ready(ready), .reading(reading), .rests(rests),
      .read_fault(read_fault), .frame_fault(frame_fault), .write_fault(write_fault),
      .words_read(words_read), .frames_fed(frames_fed), .records_written(records_written),
      .verdicts_dropped(verdicts_dropped), .copies_dropped(copies_dropped),
      .s_axil_awaddr(s_axi_control_awaddr), .s_axil_awvalid(s_axi_control_awvalid),
      .s_axil_awready(s_axi_control_awready), .s_axil_wdata(s_axi_control_wdata),
      .s_axil_wstrb(s_axi_control_wstrb), .s_axil_wvalid(s_axi_control_wvalid),
      .s_axil_wready(s_axi_control_wready), .s_axil_bresp(s_axi_control_bresp),
      .s_axil_bvalid(s_axi_control_bvalid), .s_axil_bready(s_axi_control_bready),
      .s_axil_araddr(s_axi_control_araddr), .s_axil_arvalid(s_axi_control_arvalid),
      .s_axil_arready(s_axi_control_arready), .s_axil_rdata(s_axi_control_rdata),
      .s_axil_rresp(s_axi_control_rresp), .s_axil_rvalid(s_axi_control_rvalid),
      .s_axil_rready(s_axi_control_rready), .m_axil_awaddr(awaddr), .m_axil_awvalid(awvalid),
      .m_axil_awready(awready), .m_axil_wdata(wdata), .m_axil_wstrb(wstrb),
      .m_axil_wvalid(wvalid), .m_axil_wready(wready), .m_axil_bresp(bresp),
      .m_axil_bvalid(bvalid), .m_axil_bready(bready), .m_axil_araddr(araddr),
      .m_axil_arvalid(arvalid), .m_axil_arready(arready), .m_axil_rdata(rdata),
      .m_axil_rresp(rresp), .m_axil_rvalid(rvalid), .m_axil_rready(rready));

  // ------------------------------------------------ frames
  logic [63:0] read_data;
  logic [7:0] read_keep;
  logic read_valid, read_last, read_bad, takes;
  frame_reader reader (
      .clk(clk), .rst(core_rst), .start(start), .address(frames_address), .words(frames_words),
      .may_begin(may_begin), .halt(halt), .is_answered(reader_answered), .reading(reading),
      .read_fault(read_fault), .frame_fault(frame_fault), .words_read(words_read),
      .frames_fed(frames_fed), .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen),
      .m_axi_arvalid(m_axi_arvalid), .m_axi_arready(m_axi_arready), .m_axi_rdata(m_axi_rdata),
      .m_axi_rresp(m_axi_rresp), .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready),
      .out_data(read_data), .out_keep(read_keep), .out_valid(read_valid), .out_last(read_last),
      .out_bad(read_bad));
  wire [63:0] in_data = from_network ? s_axis_net_tdata : read_data;
  wire [7:0] in_keep = from_network ? s_axis_net_tkeep : read_keep;
  wire in_valid = from_network ? s_axis_net_tvalid : read_valid;
  wire in_last = from_network ? s_axis_net_tlast : read_last;
  wire in_bad = from_network ? s_axis_net_tuser : read_bad;
  assign s_axis_net_tready = takes;  // what the host has not asked for is thrown away

  // ------------------------------------------------ the chain
  logic top_valid, order_valid, order_last, order_ready, verdict_valid;
  logic [63:0] order_data;
  logic [7:0] order_keep;
  logic [layout::VERDICT_T_BITS-1:0] verdict;
  logic [layout::INTENT_T_BITS-1:0] intent;
  logic [15:0] waiting;
  // verilator lint_off PINCONNECTEMPTY
  chain #(.PROTOCOL(PROTOCOL), .DW(64), .WORDS(WORDS), .OPERATIONS(OPERATIONS), .IW(IW),
          .LOCATE_BITS(LOCATE_BITS)) core (
      .clk(clk), .rst(core_rst), .ready(ready), .s_axis_tdata(in_data), .s_axis_tkeep(in_keep),
      .s_axis_tvalid(in_valid), .s_axis_tready(takes), .s_axis_tlast(in_last),
      .s_axis_tuser(in_bad), .m_axis_tdata(order_data), .m_axis_tkeep(order_keep),
      .m_axis_tvalid(order_valid), .m_axis_tready(to_network ? m_axis_net_tready : order_ready),
      .m_axis_tlast(order_last), .top_valid(top_valid), .top_symbol(), .top_bid_px(),
      .top_bid_sz(), .top_ask_px(), .top_ask_sz(), .top_bid_changed(), .top_ask_changed(),
      .top_flags(), .top_rescanned(), .top_sideband(), .verdict_valid(verdict_valid),
      .verdict(verdict), .verdict_intent(intent), .input_number(), .engine_time(), .word_peak(),
      .operations_waiting(waiting), .crossing_lost(32'd0), .s_axil_awaddr(awaddr), .s_axil_awprot(3'd0),
      .s_axil_awvalid(awvalid), .s_axil_awready(awready), .s_axil_wdata(wdata),
      .s_axil_wstrb(wstrb), .s_axil_wvalid(wvalid), .s_axil_wready(wready),
      .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(bready),
      .s_axil_araddr(araddr), .s_axil_arprot(3'd0), .s_axil_arvalid(arvalid),
      .s_axil_arready(arready), .s_axil_rdata(rdata), .s_axil_rresp(rresp),
      .s_axil_rvalid(rvalid), .s_axil_rready(rready));
  // verilator lint_on PINCONNECTEMPTY

  // ------------------------------------------------ orders
  assign m_axis_net_tdata = order_data;
  assign m_axis_net_tkeep = order_keep;
  assign m_axis_net_tvalid = order_valid & to_network;
  assign m_axis_net_tlast = order_last;
  record_writer #(.WORDS(RECORD)) writer (
      .clk(clk), .rst(core_rst), .address(records_address), .mask(records_mask),
      .taken(records_taken), .written(records_written), .fault(write_fault), .busy(writes),
      .halt(halt), .is_answered(writer_answered), .has_room(has_room),
      .verdicts_dropped(verdicts_dropped), .copies_dropped(copies_dropped),
      .verdict_valid(verdict_valid), .verdict(verdict), .intent(intent),
      .order_data(order_data), .order_keep(order_keep),
      .order_valid(order_valid & (~to_network | m_axis_net_tready)), .order_last(order_last),
      .is_copy(to_network), .order_ready(order_ready), .m_axi_awaddr(m_axi_awaddr),
      .m_axi_awlen(m_axi_awlen), .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_axi_awready),
      .m_axi_wdata(m_axi_wdata), .m_axi_wlast(m_axi_wlast), .m_axi_wvalid(m_axi_wvalid),
      .m_axi_wready(m_axi_wready), .m_axi_bresp(m_axi_bresp), .m_axi_bvalid(m_axi_bvalid),
      .m_axi_bready(m_axi_bready));

  // ------------------------------------------------ pace and rest
  logic [$clog2(mover_map::QUIET):0] idle;
  assign rests = idle[$clog2(mover_map::QUIET)];
  always_ff @(posedge clk) begin
    may_begin <= 32'(waiting) <= most_waiting & has_room & ready;
    if (reading | waiting != 0 | writes | order_valid | verdict_valid | top_valid)
      idle <= '0;
    else if (~rests) idle <= idle + 1'b1;
    if (core_rst) {may_begin, idle} <= '0;
  end
  wire unused = &{1'b0, m_axi_rlast, m_axi_bid, m_axi_rid};
endmodule
