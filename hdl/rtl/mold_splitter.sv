`include "layout.svh"
// The message blocks of a packet: where each begins and ends in the words.
//
// `at` is where the next block begins, counted from the word's first byte; a word in which it does
// not begin is passed in one cycle.  One in which it does ends a message there and opens the next
// one, in the same cycle.  If that one ends in the word too (it is shorter than a word: no message of
// ITCH is, in words of 64 bits), the word is held for another cycle.
//
// No message ends before the line's decision is known (`decides`, `decided`): one of eleven bytes
// and more at the start of a packet never has to wait for it in words of 64 bits.  Packets that are
// not taken are left at once.  What is behind the last message, or is no whole one, ends the packet:
// `trailing` or `truncated`, pulses once the packet is known to be taken.
//
// The aligner is told, with each word that has bytes of the message under way: its first lane, and
// in which row of aligned words these bytes are.
module mold_splitter #(
    parameter int DW   = 64,
    parameter int ROWS = 7
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    in_valid,
    output logic                    in_ready,
    input  logic [DW-1:0]           data,
    input  logic [$clog2(DW/8):0]   bytes,
    input  logic                    last,
    output logic                    fresh,       // the word has not been seen before
    input  logic                    starts,
    input  logic [$clog2(DW/8)-1:0] start_lane,
    input  logic [15:0]             start_count,
    input  logic [15:0]             payload,
    input  logic                    wanted,
    input  logic                    decides,
    input  logic                    decided,
    input  logic                    take,
    output logic [$clog2(DW/8)-1:0] lane,        // of the first byte of the message under way
    output logic [ROWS:0]           row,         // bit r: of row r this word has the first bytes
    output logic                    begins,      // this word has a message's first byte ...
    output logic [$clog2(DW/8)-1:0] begin_lane,  // ... at this lane
    // registers: a message has ended, its bytes stand in the aligner
    output logic                    message,
    output logic [15:0]             length,
    output logic                    truncated,
    output logic [15:0]             trailing
);
  localparam int B = DW / 8;
  localparam int LB = $clog2(B);
  localparam int PREFIX = layout::MOLDUDP64_MESSAGE_BLOCK_LENGTH;
  logic held, active, body, half, none_left;
  logic [16:0] at_q;
  logic [16:0] room_q;  // bytes of the payload behind `at`; what is at most there is in `near`
  logic near_q;         // the next block begins in this word or just behind it
  logic [15:0] left, length_open;
  logic [7:0] first_byte;  // of a length that stands in two words
  logic stop_trailing, stop_truncated;
  logic [15:0] stop_bytes;

  wire start = fresh & starts & (DW > 64 | wanted);
  wire runs = start | (active & ~(decided & ~take));
  wire is_body = body & ~start;
  wire is_half = half & ~start;
  wire is_none = none_left & ~start;
  wire [16:0] at = start ? 17'(start_lane) : at_q;
  wire [16:0] room = start ? {1'b0, payload} : room_q;
  wire reached = start | is_half | (near_q & at_q[LB:0] <= bytes);
  wire waits = runs & reached & is_body & ~(decided | decides);
  wire ends = in_valid & runs & reached & is_body & ~waits;

  // The next block's length, if it is here.
  wire [LB:0] here = at[LB:0];
  logic [7:0] lanes[0:2*B-1];
  logic [15:0] says;
  always_comb begin
    for (int i = 0; i < 2 * B; i = i + 1) lanes[i] = i < B ? data[8*(i%B)+:8] : 8'd0;
    says = {lanes[here[LB-1:0]], lanes[LB'(here[LB-1:0]+1)]};
    if (is_half) says = {first_byte, lanes[0]};
  end
  wire [LB:0] opens_at = is_half ? (LB + 1)'(1) : here + (LB + 1)'(PREFIX);
  wire [16:0] next = 17'(opens_at) + 17'(says);
  wire is_here = is_half | 17'(here) + 17'(PREFIX) <= 17'(bytes);
  // Of a length in two words the first byte is behind `at`, and the prefix was looked for.
  wire has_prefix = is_half | room >= 17'(PREFIX);
  wire [16:0] room_behind = room - 17'(PREFIX);
  wire has_block = 17'(says) <= room_behind;
  wire turns = in_valid & runs & reached & ~waits;
  wire stops_trailing = turns & is_none & ~is_half;
  wire stops_truncated = turns & ~stops_trailing & (~has_prefix | (is_here & ~has_block));
  wire stops = stops_trailing | stops_truncated;
  wire opens = turns & ~stops & is_here;
  // How far a block can reach that ends in this word, or in the next one.
  wire [LB:0] ends_here = (LB + 1)'(B) - opens_at;
  wire [LB+1:0] ends_next = (LB + 2)'(2 * B) - (LB + 2)'(opens_at);
  wire holds = opens & says <= 16'(ends_here);
  assign in_ready = ~(waits | holds);
  assign fresh = in_valid & ~held;
  assign begins = opens & opens_at != B;
  assign begin_lane = opens_at[LB-1:0];
  wire passes = in_valid & in_ready;

  always_ff @(posedge clk) begin
    message <= ends;
    if (ends) length <= length_open;
    held <= in_valid & ~in_ready;
    if (in_valid & ~waits) begin
      if (start) active <= 1'b1;
      if (start) {left, none_left} <= {start_count, start_count == 0};
      half <= 1'b0;
      room_q <= opens ? room_behind - 17'(says) : room;
      near_q <= opens ? holds | says <= 16'(ends_next)
          : turns | (at[16:LB+1] == 0 | at == 17'(2 * B));
      at_q <= (opens ? next : turns ? 17'(B) : at) - (holds ? 17'd0 : 17'(B));
      if (turns) body <= 1'b0;
      if (opens) begin
        body <= 1'b1;
        length_open <= says;
        lane <= begin_lane;
        row <= holds | opens_at == B ? (ROWS + 1)'(1) : (ROWS + 1)'(2);
        // The packet's first block is opened before its count is in a register.
        left <= (start ? start_count : left) - 16'd1;
        none_left <= (start ? start_count : left) == 16'd1;
      end else if (passes) row <= row << 1;
      if (turns & ~stops & ~is_here & here == B - 1) begin
        half <= 1'b1;
        first_byte <= lanes[B-1];
      end
      if (stops | (passes & last) | ~runs) {active, body, half} <= '0;
    end
    // How the packet ended counts once it is known that it is taken.
    {truncated, trailing} <= '0;
    if (start) {stop_trailing, stop_truncated} <= '0;
    if (decided) begin
      truncated <= stop_truncated & take;
      if (stop_trailing & take) trailing <= stop_bytes;
      {stop_trailing, stop_truncated} <= '0;
    end
    if (stops) begin
      {stop_trailing, stop_truncated} <= {stops_trailing, stops_truncated};
      stop_bytes <= room[15:0];
    end
    if (rst) begin
      {held, active, body, half, message, stop_trailing, stop_truncated, truncated, trailing} <= '0;
    end
  end
endmodule
