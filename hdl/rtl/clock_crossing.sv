// Words of frames from one clock into another: an asynchronous FIFO with AXI-Stream at both ends.
//
// Each side has a pointer that the other sees in Gray code through two flip-flops, so that what is
// seen is the pointer as it was or as it is, whatever the phase.  A word whose cycle ends with edge
// 0 of its clock stands at the output behind the third edge of the other clock:
//
//   s edge 0   the word in the memory, the pointer in Gray code
//   m edge 1   first flip-flop     m edge 2   second     m edge 3   the output register
//
// that is more than 2 and at most 3 cycles of the reader's clock.  Those cycles are stated apart
// from the chain's: hdl/tb/clock_crossing measures both directions over all phases.
//
// WAITS 0   the wire: `s_axis_tready` is always 1.  A frame that finds no room is lost whole; one
//           for which room ends within it is cut there and marked bad.  `m_lost` counts both.
// WAITS 1   orders: `s_axis_tready` holds the writer, and nothing is lost.
//
// Resets: each side has its own, in its own clock, in any order, at any time.  The pointers begin
// at 0 with the device's configuration and have no reset, so neither side can clear what the other
// one counts on.  A writer that is reset within a frame closes it with a word of one byte that is
// marked bad; a reader that was reset throws away what it finds up to the next frame's first word.
// So no frame is ever put together of two.
//
// DEPTH: a word counts as waiting for the writer from its edge until the reader's pointer is back:
// 3 cycles of the reader, 3 of the writer.  With a reader that takes a word a cycle that is
// 4 + 3 * Tm / Ts words at most (Ts: a cycle of the writer, or of the reader where that is slower
// and the writer waits), and one place is kept for a frame's end: 7 from 156.25 to 322.27 MHz, 8
// between clocks of one frequency.  16 leave the same again for a reader that pauses.
//
// Constraints: clock_crossing.xdc.  No path between the clocks but the pointers', the count's and
// the memory's exists.
module clock_crossing #(
    parameter int DW    = 64,
    parameter int DEPTH = 16,  // a power of two, at least 4
    parameter bit WAITS = 0
) (
    input  logic                   s_clk,
    input  logic                   s_rst,
    input  logic [DW-1:0]          s_axis_tdata,
    input  logic [DW/8-1:0]        s_axis_tkeep,
    input  logic                   s_axis_tvalid,
    output logic                   s_axis_tready,
    input  logic                   s_axis_tlast,
    input  logic                   s_axis_tuser,   // with `tlast`: the frame is damaged
    output logic [$clog2(DEPTH):0] s_peak,         // most words that ever waited, as the writer sees
    input  logic                   m_clk,
    input  logic                   m_rst,
    output logic [DW-1:0]          m_axis_tdata,
    output logic [DW/8-1:0]        m_axis_tkeep,
    output logic                   m_axis_tvalid,
    input  logic                   m_axis_tready,
    output logic                   m_axis_tlast,
    output logic                   m_axis_tuser,
    output logic [31:0]            m_lost          // frames, since configuration
);
  localparam int AW = $clog2(DEPTH);
  localparam int KW = DW / 8;
  localparam int W = DW + KW + 3;
  localparam logic [AW:0] ALL = (AW + 1)'(DEPTH);
  (* ram_style = "distributed" *) logic [W-1:0] words[0:DEPTH-1];

  // ------------------------------------------------ the writer's clock
  logic [AW:0] w_place = '0, w_gray = '0, r_known = '0;
  (* async_reg = "true" *) logic [AW:0] r_seen_1 = '0, r_seen_2 = '0;
  logic [31:0] lost = '0, lost_gray = '0;
  logic is_open = 1'b0;    // the last word in the memory is not its frame's last
  logic midway, dropping;  // within a frame at the input; what comes of it is dropped
  wire [AW:0] waiting = w_place - r_known;
  wire has_room = waiting < ALL - 1'b1;  // and the place of the frame's end is left
  wire drops = ~WAITS & (dropping | (~midway & ~has_room));
  wire cuts = ~WAITS & ~dropping & midway & ~has_room & ~s_axis_tlast;
  wire closes = s_rst & is_open;
  wire takes = s_axis_tvalid & s_axis_tready & ~s_rst;
  wire enters = takes & ~drops;
  wire ends = s_axis_tlast | cuts;
  wire [AW:0] w_next = w_place + 1'b1;
  assign s_axis_tready = ~WAITS | has_room;
  always_ff @(posedge s_clk) begin
    if (enters | closes) begin
      words[w_place[AW-1:0]] <= closes
          ? {1'b0, 2'b11, KW'(1), DW'(0)}
          : {~is_open, (s_axis_tuser & s_axis_tlast) | cuts, ends, s_axis_tkeep, s_axis_tdata};
      w_place <= w_next;
      w_gray <= w_next ^ w_next >> 1;
      is_open <= ~closes & ~ends;
    end
    r_seen_1 <= r_gray;
    r_seen_2 <= r_seen_1;
    for (int i = 0; i <= AW; i = i + 1) r_known[i] <= ^(r_seen_2 >> i);
    if (takes) begin
      midway <= ~s_axis_tlast;
      dropping <= ~s_axis_tlast & (drops | cuts);
      if (~dropping & (drops | cuts)) lost <= lost + 32'd1;
    end
    lost_gray <= lost ^ lost >> 1;
    if (waiting > s_peak) s_peak <= waiting;
    if (s_rst) {midway, dropping, s_peak} <= '0;
  end

  // ------------------------------------------------ the reader's clock
  logic [AW:0] r_place = '0, r_gray = '0;
  (* async_reg = "true" *) logic [AW:0] w_seen_1 = '0, w_seen_2 = '0;
  (* async_reg = "true" *) logic [31:0] lost_seen_1 = '0, lost_seen_2 = '0;
  logic seeks;  // after a reset: up to the first word of a frame
  logic is_first, is_bad, is_last;
  logic [KW-1:0] keep;
  logic [DW-1:0] data;
  assign {is_first, is_bad, is_last, keep, data} = words[r_place[AW-1:0]];
  wire skips = seeks & ~is_first;
  wire leaves = r_gray != w_seen_2 & (~m_axis_tvalid | m_axis_tready | m_rst);
  wire [AW:0] r_next = r_place + 1'b1;
  always_ff @(posedge m_clk) begin
    w_seen_1 <= w_gray;
    w_seen_2 <= w_seen_1;
    if (leaves) begin
      r_place <= r_next;
      r_gray <= r_next ^ r_next >> 1;
      seeks <= skips;
      {m_axis_tuser, m_axis_tlast, m_axis_tkeep, m_axis_tdata} <= {is_bad, is_last, keep, data};
    end
    if (~m_axis_tvalid | m_axis_tready) m_axis_tvalid <= leaves & ~skips;
    lost_seen_1 <= lost_gray;
    lost_seen_2 <= lost_seen_1;
    for (int i = 0; i < 32; i = i + 1) m_lost[i] <= ^(lost_seen_2 >> i);
    if (m_rst) begin
      m_axis_tvalid <= 1'b0;
      seeks <= 1'b1;
    end
  end
endmodule
