`include "movers.svh"
// Frames from the card's memory to the chain, for replays: an AXI4 read master in front of a FIFO,
// and behind that the walk over headers and frames (tickpath_backends.hdl.mover_registers).
//
// A burst is asked for when all of it has room, so `rready` is always 1 and several bursts are on
// their way.  A frame begins when `may_begin` says so; in it a word goes in each cycle in which
// one is there (the chain takes each, and needs none at a time).
//
// What ends a transfer early: an answer with an error, a header that is none (its number is not the
// next one's either: memory of an earlier transfer), a frame that is longer than may be or than the
// words that are left.  Words behind that are read and thrown away.  No bytes of such a frame pass.
module frame_reader #(
    parameter int BURST = 64,   // words; 8 * BURST is mover_map::ALIGNMENT
    parameter int DEPTH = 512   // words, a power of two
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        start,         // a pulse while not `reading`
    input  logic [63:0] address,
    input  logic [31:0] words,
    input  logic        may_begin,
    input  logic        halt,          // ask for nothing more: a reset is coming
    output logic        is_answered,   // all that was asked for has come
    output logic        reading,
    output logic        read_fault,    // until the next start
    output logic        frame_fault,
    output logic [31:0] words_read,
    output logic [31:0] frames_fed,
    // AXI4, 64 bits
    output logic [63:0] m_axi_araddr,
    output logic [7:0]  m_axi_arlen,
    output logic        m_axi_arvalid,
    input  logic        m_axi_arready,
    input  logic [63:0] m_axi_rdata,
    input  logic [1:0]  m_axi_rresp,
    input  logic        m_axi_rvalid,
    output logic        m_axi_rready,
    // to the chain, which takes every word
    output logic [63:0] out_data,
    output logic [7:0]  out_keep,
    output logic        out_valid,
    output logic        out_last,
    output logic        out_bad
);
  localparam int AW = $clog2(DEPTH);
  localparam int BW = $clog2(BURST) + 1;
  // ------------------------------------------------ asking
  logic [31:0] to_ask, to_come;
  logic [AW:0] reserved;  // words in the FIFO, and those that were asked for
  wire [BW-1:0] burst = to_ask > 32'(BURST) ? BW'(BURST) : BW'(to_ask);
  wire has_room = reserved <= (AW + 1)'(DEPTH - BURST);
  wire asks = to_ask != 0 & has_room & ~halt & (~m_axi_arvalid | m_axi_arready);
  logic takes;            // a word leaves the FIFO
  assign m_axi_rready = 1'b1;
  assign is_answered = to_ask == to_come & ~m_axi_arvalid;
  always_ff @(posedge clk) begin
    if (m_axi_arready) m_axi_arvalid <= 1'b0;
    if (asks) begin
      m_axi_arvalid <= 1'b1;
      m_axi_arlen <= 8'(burst) - 8'd1;
      m_axi_araddr <= to_ask != words ? m_axi_araddr + 64'(8 * BURST) :
          {address[63:$clog2(8*BURST)], ($clog2(8 * BURST))'(0)};
      to_ask <= to_ask - 32'(burst);
    end
    reserved <= reserved + (asks ? (AW + 1)'(burst) : '0) - (AW + 1)'(takes);
    if (m_axi_rvalid) begin
      to_come <= to_come - 32'd1;
      words_read <= words_read + 32'd1;
      if (m_axi_rresp[1]) read_fault <= 1'b1;
    end
    if (start) begin
      {to_ask, to_come} <= {words, words};
      {words_read, read_fault} <= '0;
    end
    if (rst) {m_axi_arvalid, to_ask, to_come, reserved, words_read, read_fault} <= '0;
  end

  // ------------------------------------------------ the FIFO
  logic has_word;
  logic [63:0] word;
  // Nothing is dropped: room is reserved.
  // verilator lint_off PINCONNECTEMPTY
  book_fifo #(.W(64), .DEPTH(DEPTH)) fifo (
      .clk(clk), .rst(rst), .in_valid(m_axi_rvalid), .in_data(m_axi_rdata), .out_valid(has_word),
      .out_ready(takes), .out_data(word), .lost(), .dropped(), .peak());
  // verilator lint_on PINCONNECTEMPTY

  // ------------------------------------------------ the walk
  logic midway;
  logic is_bad;
  logic [15:0] left;      // bytes of the frame
  logic [31:0] unread;    // words that have not left the FIFO
  wire failed = read_fault | frame_fault;
  wire [15:0] length = word[15:0];
  wire [31:0] needs = (32'(length) + 32'd15) >> 3;  // words, the header too
  wire is_header = word[63:48] == mover_map::MAGIC & word[39:16] == frames_fed[23:0]
      & length != 0 & length <= 16'(mover_map::LONGEST_FRAME) & needs <= unread;
  wire begins = has_word & ~midway & ~failed & is_header & may_begin;
  wire passes = has_word & midway;
  wire ends = passes & left <= 16'd8;
  assign takes = passes | begins | has_word & ~midway & (failed | ~is_header);
  assign reading = unread != 0 | out_valid;
  always_ff @(posedge clk) begin
    if (takes) unread <= unread - 32'd1;
    if (begins) begin
      midway <= 1'b1;
      left <= length;
      is_bad <= word[40+mover_map::FRAME_BAD];
    end
    if (has_word & ~midway & ~is_header & unread != 0) frame_fault <= ~read_fault | frame_fault;
    if (passes) left <= left - 16'd8;
    if (ends) begin
      midway <= 1'b0;
      frames_fed <= frames_fed + 32'd1;
    end
    out_valid <= passes;
    out_data <= word;
    out_last <= ends;
    // A frame that was under way when a read failed is damaged.
    out_bad <= ends & (is_bad | read_fault);
    for (int i = 0; i < 8; i = i + 1) out_keep[i] <= 16'(i) < left;
    if (start) begin
      unread <= words;
      {frames_fed, frame_fault} <= '0;
    end
    if (rst) {midway, unread, out_valid, frames_fed, frame_fault} <= '0;
  end
endmodule
