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
// What is long known is kept in registers, because a length has to be found in the word and acted on
// within one cycle: the lanes of a length, and whether it is near, are added up at once, in sums of a
// few bits.  A cycle later (`is_new`), from registers: where a block ends that is not near, the room
// behind it, and whether there is as much (`cut`: if not, the packet ends there, and what was taken
// down of the block, and in that cycle, is not looked at any more).  So a word may be held for a cycle
// for a small block that is not whole.
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
  logic is_new;           // a block was opened in the cycle before, its length is in `length_open`:
  logic [LB:0] opened_at; // `at` is B less than the sum of these two, `slack_q` was before it
  logic [16:0] at;
  logic [LB:0] here;      // its lowest bits
  logic [LB:0] opens_at;  // where its bytes begin: `at` + 2, or 1 behind half a length
  logic [B-1:0] in_first, in_second;  // the lanes of its length
  logic is_near;          // the next block begins in this word or just behind it
  logic [16:0] slack_q;   // bytes of the payload behind `at` and a length; negative: in bit 16
  logic [16:0] payload_slack;
  logic [15:0] left, length_open;
  logic [7:0] first_byte;  // of a length that stands in two words, else 0
  logic stop_trailing, stop_truncated;
  logic [16:0] stop_slack;

  wire start = fresh & starts & (DW > 64 | wanted);
  wire cut = is_new & {1'b0, length_open} > slack_q;
  wire runs = start | (active & ~(decided & ~take));
  wire reached = half | (is_near & has[here]);
  wire waits = runs & reached & body & ~(decided | decides);
  wire ends = in_valid & runs & reached & body & ~waits;
  // Less a block's length and the two bytes behind it: three numbers become two, so that only one sum
  // has carries.  In words of 64 bits the payload's length is known long before the first block.
  wire [16:0] parity = slack_q ^ {1'b0, length_open & {16{is_new}}};
  wire [16:0] carried = {(slack_q[15:0] | ~length_open) & {16{is_new}}, 1'b0};
  wire [16:0] slack = start ? (DW > 64 ? 17'(payload) - 17'(PREFIX) : payload_slack)
                            : parity + carried;

  // The next block's length, if it is here.
  logic [7:0] lanes[0:B-1];
  logic [15:0] says;
  logic [B+2:0] has_behind;  // as `has`, of bytes behind the word too
  logic [B-1:0] fits;          // lengths with which a block ends in this word ...
  logic [2*B-1:0] next_masks;  // ... in this or the next
  logic [4*B-1:0] new_masks;   // with which one of the word before ends in this or the next
  logic [LB:0] lane_behind;    // where it ends
  // A carry chain is slower than this, for so few bits.
  function automatic logic [LB:0] plus(input logic [LB:0] a, input logic [LB:0] b);
    logic c;
    c = 1'b0;
    for (int i = 0; i <= LB; i = i + 1) begin
      plus[i] = a[i] ^ b[i] ^ c;
      c = (a[i] & b[i]) | (c & (a[i] ^ b[i]));
    end
  endfunction
  always_comb begin
    for (int i = 0; i < B; i = i + 1) lanes[i] = data[8*i+:8];
    says = {first_byte, 8'd0};
    for (int i = 0; i < B; i = i + 1)
      says = says | {{8{in_first[i]}} & lanes[i], {8{in_second[i]}} & lanes[i]};
    lane_behind = plus(opens_at, says[LB:0]);
    has_behind = {2'b00, has};
    for (int n = 0; n < B; n = n + 1) fits[n] = opens_at <= (LB + 1)'(B - n);
    for (int n = 0; n < 2 * B; n = n + 1) next_masks[n] = int'(opens_at) <= 2 * B - n;
    for (int n = 0; n < 4 * B; n = n + 1) new_masks[n] = int'(opened_at) <= 3 * B - n;
  end
  wire is_small = ~|says[15:LB+1];
  wire is_tiny = ~|says[15:LB];
  wire is_here = half | has_behind[opens_at];
  wire has_prefix = half | ~slack[16];
  wire turns = in_valid & runs & reached & ~waits;
  wire stops_trailing = turns & none_left & ~half;
  wire stops_truncated = turns & ~stops_trailing & ~has_prefix;
  wire stops = stops_trailing | stops_truncated;
  wire opens = turns & is_here;
  wire holds = opens & ~stops_trailing & is_tiny & fits[says[LB-1:0]];
  wire halves = turns & ~is_here & here == B - 1;
  logic [LB:0] here_next, opens_next_at;
  logic [B-1:0] in_first_next;
  always_comb begin
    // The highest bit is that of B.
    if (opens) here_next = {lane_behind[LB] ^ ~holds, lane_behind[LB-1:0]};
    else if (turns) here_next = '0;
    else here_next = {~here[LB], here[LB-1:0]};
    opens_next_at = plus(here_next, (LB + 1)'(halves ? 1 : PREFIX));
    for (int i = 0; i < B; i = i + 1) in_first_next[i] = here_next[LB-1:0] == LB'(i);
    if (is_next) begin
      here_next = (LB + 1)'(next_lane);
      opens_next_at = plus((LB + 1)'(next_lane), (LB + 1)'(PREFIX));
      for (int i = 0; i < B; i = i + 1) in_first_next[i] = next_lane == LB'(i);
    end
  end
  assign in_ready = ~(waits | holds);
  assign fresh = in_valid & ~held;
  assign begins = opens & opens_at != B;
  assign begin_lane = opens_at[LB-1:0];
  wire passes = in_valid & in_ready;
  // `at` of a block that is new, and less B a word further on, in one sum.
  wire is_less = in_valid ^ (is_new & ~opened_at[LB]);
  wire is_less_by_two = in_valid & is_new & ~opened_at[LB];
  wire [16:0] at_less = {{(16 - LB) {is_less | is_less_by_two}}, is_less,
                         opened_at[LB-1:0] & {LB{is_new}}};

  always_ff @(posedge clk) begin
    message <= ends & ~cut;
    if (ends) length <= length_open;
    held <= in_valid & ~in_ready;
    if (in_valid & ~waits) begin
      here <= here_next;
      opens_at <= opens_next_at;
      in_first <= halves ? '0 : in_first_next;
      in_second <= halves ? B'(1) : {in_first_next[B-2:0], in_first_next[B-1]};
      if (start) active <= 1'b1;
      if (start) left <= start_count;
      {half, first_byte} <= '0;
      if (opens) is_near <= is_small & next_masks[says[LB:0]];
      else if (is_new) is_near <= turns | (~|length_open[15:LB+2] & new_masks[length_open[LB+1:0]]);
      else is_near <= turns | at <= 17'(2 * B);
      if (turns) body <= 1'b0;
      if (opens) begin
        body <= 1'b1;
        opened_at <= opens_at;
        length_open <= says;
        lane <= begin_lane;
        row <= holds | opens_at == B ? (ROWS + 1)'(1) : (ROWS + 1)'(2);
        // The packet's first block is opened before its count is in a register.
        left <= (start ? start_count : left) - 16'd1;
        none_left <= (start ? start_count : left) == 16'd1;
      end else row <= row << 1;  // what opens nothing holds nothing, so the word goes
      if (halves) begin
        half <= 1'b1;
        first_byte <= lanes[B-1];
      end
      // `body` and `half` of what does not run are not looked at, and `is_next` clears them.
      if (stops | (passes & last) | ~runs) active <= 1'b0;
      if (is_next) begin
        {body, half, none_left} <= '0;
        is_near <= 1'b1;
      end
    end
    is_new <= opens & ~stops & ~cut;
    if (cut) active <= 1'b0;
    at <= (is_new ? 17'(length_open) : at) + at_less;
    slack_q <= slack;
    payload_slack <= 17'(payload) - 17'(PREFIX);
    // How the packet ended counts once it is known that it is taken.
    {truncated, trailing} <= '0;
    if (start) {stop_trailing, stop_truncated} <= '0;
    if (decided) begin
      truncated <= stop_truncated & take;
      if (stop_trailing & take) trailing <= 16'(stop_slack + 17'(PREFIX));
      {stop_trailing, stop_truncated} <= '0;
    end
    if (stops_trailing & ~cut) stop_trailing <= 1'b1;
    if (stops_truncated | cut) stop_truncated <= 1'b1;
    if (turns) stop_slack <= slack;
    if (rst) begin
      {held, active, body, half, is_new, message, stop_trailing, stop_truncated, truncated, trailing} <= '0;
    end
  end
endmodule
