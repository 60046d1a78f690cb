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
// What is long known is kept in registers, because a length has to be found in the word, compared and
// added up within one cycle: where a block ends, whether that is near, and the room behind it.  And
// what is taken down of a block does not wait for the check that it is whole: if it is not, the packet
// ends there, and nothing of that is looked at any more.
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
    input  logic [DW/8:0]           has,         // bit n: the word has n bytes
    input  logic                    last,
    output logic                    fresh,       // the word has not been seen before
    input  logic                    is_next,     // a packet's messages begin in the next word ...
    input  logic [$clog2(DW/8)-1:0] next_lane,   // ... in this lane
    input  logic                    starts,      // they begin in this word
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
  logic [16:0] at;
  logic [LB:0] opens_at;  // where its bytes begin: `at` + 2, or 1 behind half a length
  logic [LB-1:0] second;  // of the length: `opens_at` - 1
  logic is_near;         // the next block begins in this word or just behind it
  logic [16:0] slack_q;  // bytes of the payload behind `at` and a length; negative: in bit 16
  logic [15:0] left, length_open;
  logic [7:0] first_byte;  // of a length that stands in two words
  logic stop_trailing, stop_truncated;
  logic [16:0] stop_slack;

  wire start = fresh & starts & (DW > 64 | wanted);
  wire runs = start | (active & ~(decided & ~take));
  wire [LB:0] here = at[LB:0];
  wire reached = half | (is_near & has[here]);
  wire waits = runs & reached & body & ~(decided | decides);
  wire ends = in_valid & runs & reached & body & ~waits;
  // In words of 64 bits the payload's length is known before the first block's word.
  wire [16:0] slack = DW > 64 & start ? 17'(payload) - 17'(PREFIX) : slack_q;

  // The next block's length, if it is here.
  logic [7:0] lanes[0:B-1];
  logic [15:0] says;
  logic [B+2:0] has_behind;  // as `has`, of bytes behind the word too
  logic [2*B-1:0] here_masks, next_masks;  // lengths with which a block ends in this word, the next
  always_comb begin
    for (int i = 0; i < B; i = i + 1) lanes[i] = data[8*i+:8];
    says = {half ? first_byte : lanes[here[LB-1:0]], lanes[second]};
    has_behind = {2'b00, has};
    for (int n = 0; n < 2 * B; n = n + 1) begin
      here_masks[n] = n + int'(opens_at) <= B;
      next_masks[n] = n + int'(opens_at) <= 2 * B;
    end
  end
  wire is_small = says < 16'(2 * B);
  wire is_here = half | has_behind[opens_at];
  wire has_prefix = half | ~slack[16];
  wire has_block = {1'b0, says} <= slack;
  wire turns = in_valid & runs & reached & ~waits;
  wire stops_trailing = turns & none_left & ~half;
  wire stops_truncated = turns & ~stops_trailing & (~has_prefix | (is_here & ~has_block));
  wire stops = stops_trailing | stops_truncated;
  wire opens = turns & is_here;
  // As `has_block`, of one that ends in this word.
  wire has_rest = |slack[15:LB+1] | says[LB:0] <= slack[LB:0];
  wire holds = opens & ~stops_trailing & has_prefix & has_rest & is_small & here_masks[says[LB:0]];
  wire halves = turns & ~is_here & here == B - 1;
  wire [LB:0] behind = opens_at + says[LB:0] + (LB + 1)'(PREFIX);
  wire [LB:0] later = here + (LB + 1)'(PREFIX) - (LB + 1)'(B);
  logic [LB:0] opens_next_at;
  always_comb begin
    if (opens) opens_next_at = holds ? behind : behind - (LB + 1)'(B);
    else if (turns) opens_next_at = halves ? (LB + 1)'(1) : (LB + 1)'(PREFIX);
    else opens_next_at = later;
    if (is_next) opens_next_at = (LB + 1)'(next_lane) + (LB + 1)'(PREFIX);
  end
  assign in_ready = ~(waits | holds);
  assign fresh = in_valid & ~held;
  assign begins = opens & opens_at != B;
  assign begin_lane = opens_at[LB-1:0];
  wire passes = in_valid & in_ready;
  // `opens_at` less B, without a borrow to wait for.
  wire [16:0] opens_next = {{(17 - LB) {~opens_at[LB]}}, opens_at[LB-1:0]};
  wire [16:0] at_next = opens_next + 17'(says);
  wire [LB:0] at_held = opens_at + says[LB:0];
  wire [16:0] slack_next = slack - 17'(PREFIX);

  always_ff @(posedge clk) begin
    message <= ends;
    if (ends) length <= length_open;
    held <= in_valid & ~in_ready;
    if (in_valid & ~waits) begin
      opens_at <= opens_next_at;
      second <= opens_next_at[LB-1:0] - 1'b1;
      if (start) active <= 1'b1;
      if (start) left <= start_count;
      half <= 1'b0;
      slack_q <= opens ? slack_next - 17'(says) : slack;
      if (opens) is_near <= is_small & next_masks[says[LB:0]];
      else is_near <= turns | at <= 17'(2 * B);
      if (opens) at <= holds ? 17'(at_held) : at_next;
      else at <= turns ? '0 : at - 17'(B);
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
      if (halves) begin
        half <= 1'b1;
        first_byte <= lanes[B-1];
      end
      if (stops | (passes & last) | ~runs) {active, body, half} <= '0;
      if (is_next) begin
        {body, half, none_left} <= '0;
        is_near <= 1'b1;
        at <= 17'(next_lane);
        if (DW == 64) slack_q <= 17'(payload) - 17'(PREFIX);
      end
    end
    // How the packet ended counts once it is known that it is taken.
    {truncated, trailing} <= '0;
    if (start) {stop_trailing, stop_truncated} <= '0;
    if (decided) begin
      truncated <= stop_truncated & take;
      if (stop_trailing & take) trailing <= 16'(stop_slack + 17'(PREFIX));
      {stop_trailing, stop_truncated} <= '0;
    end
    if (stops) begin
      {stop_trailing, stop_truncated} <= {stops_trailing, stops_truncated};
      stop_slack <= slack;
    end
    if (rst) begin
      {held, active, body, half, message, stop_trailing, stop_truncated, truncated, trailing} <= '0;
    end
  end
endmodule
