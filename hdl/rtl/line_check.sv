`include "layout.svh"
`include "parse_counts.svh"
// Which messages of a packet are new: the sequence of each line, as pipeline/tickpath/line.py.
//
//   sequence_done, line loaded   A  differences to what is expected, was seen, is a candidate
//   count_done                   B  the decision; from then on `decided`, `take`, `skip` stand
//
// `decides` is high in cycle B: a message that ends then is judged one cycle later, in time for the
// decision.  A gap, or another session while orders live, is an input of its own (`stale`).
//
// Of a packet that is taken the splitter's messages come by `ended`; the first `skip` of them are known
// (`skips`).  The others come back by `message`, which moves the line on, one by one: a packet cut
// short leaves the rest to be missed by the next.
module line_check #(
    parameter int LINES = 4,
    parameter logic [63:0] MAX_JUMP = 64'd1 << 20  // messages that one packet can declare missing
) (
    input  logic                     clk,
    input  logic                     rst,
    input  logic                     orders_live,  // the book has orders: another session loses them
    input  logic                     judged,      // a pulse in front of `verdict`: another packet
    input  logic                     verdict,
    input  logic                     wanted,
    input  logic [$clog2(LINES)-1:0] line,
    input  logic                     sequence_done,
    input  logic                     count_done,
    input  logic [79:0]              session,
    input  logic [63:0]              sequence_number,
    input  logic [15:0]              message_count,
    input  logic                     ended,
    input  logic                     message,
    output logic                     decides,
    output logic                     decided,
    output logic                     take,
    output logic                     skips,       // what ends is known already
    output logic                     stale,       // a pulse, the cycle behind B
    output logic [$clog2(LINES)-1:0] stale_line,
    output logic [parse_counts::GAPS:0] events,
    output logic [15:0]              duplicates,
    output logic [63:0]              gap_messages
);
  // Of 64 bits in halves that do not wait for each other: one carry chain would be a cycle long.
  function automatic logic is_above(input logic [63:0] a, input logic [63:0] b);
    is_above = a[63:32] > b[63:32] | (a[63:32] == b[63:32] & a[31:0] > b[31:0]);
  endfunction
  function automatic logic [63:0] next_of(input logic [63:0] n);
    next_of = {&n[31:0] ? n[63:32] + 32'd1 : n[63:32], n[31:0] + 32'd1};
  endfunction
  localparam logic [32:0] JUMP_HIGH = {1'b0, MAX_JUMP[63:32]};
  localparam logic [32:0] JUMP_HIGH_AND_ONE = JUMP_HIGH + 33'd1;
  function automatic logic [64:0] far_of(input logic [63:0] n);
    logic [32:0] low;
    low = {1'b0, n[31:0]} + {1'b0, MAX_JUMP[31:0]};
    far_of = {low[32] ? {1'b0, n[63:32]} + JUMP_HIGH_AND_ONE : {1'b0, n[63:32]} + JUMP_HIGH, low[31:0]};
  endfunction
  logic [LINES-1:0] known;
  logic [LINES-1:0][79:0] sessions;
  logic [LINES-1:0][63:0] expected, seen, candidates;
  logic known_w, wanted_w;
  logic [$clog2(LINES)-1:0] line_w;
  logic [79:0] session_w;
  logic [63:0] expected_w, seen_w, candidate_w;
  logic [64:0] far_w, seen_far_w;  // numbers beyond these are far ahead
  logic has_line, has_sequence, has_count, a_done, decided_q, c_seen, c_candidate;
  logic is_ahead, is_far, is_seen_far, is_candidate, is_same, behind_is_long;
  logic [63:0] end_c;
  logic [32:0] ahead_low;  // with the borrow
  logic [31:0] ahead_high;
  logic [15:0] behind, skip;
  // Differences in parts, and without adding up what only has to be compared.
  wire [63:0] ahead_by = {ahead_high - 32'(ahead_low[32]), ahead_low[31:0]};
  wire [16:0] behind_now = {1'b0, expected_w[15:0]} - {1'b0, sequence_number[15:0]};
  wire [47:0] high_e = expected_w[63:16];
  wire [47:0] high_s = sequence_number[63:16];
  // One more than the other: the sum with the inverse is zero, which every bit tells by itself.
  wire [47:0] inverse_s = ~high_s;
  wire [47:0] carried = (high_e | inverse_s) << 1;
  wire is_one_more = (high_e ^ inverse_s) == carried;

  wire is_beat = message_count == layout::MOLDUDP64_HEARTBEAT;
  wire is_end = message_count == layout::MOLDUDP64_END_OF_SESSION;
  wire is_empty = is_end | is_beat;
  wire changes = known_w & ~is_same;
  wire starts = ~known_w | changes;
  wire is_refused = ~starts & is_ahead & is_far & is_seen_far & ~is_candidate;
  wire is_gap = ~starts & is_ahead & ~is_refused;
  wire is_old = behind_is_long | behind > message_count;
  wire [15:0] old = starts | is_ahead | is_end ? 16'd0 : is_old ? message_count : behind;
  wire [32:0] end_low = {1'b0, sequence_number[31:0]} + 33'(message_count);
  assign decided = decided_q & ~judged;
  assign decides = a_done & (has_count | count_done);
  wire b = decides & wanted_w;

  always_ff @(posedge clk) begin
    if (judged) {has_line, has_sequence, has_count, a_done, decided_q} <= '0;
    if (verdict) begin
      {known_w, wanted_w, line_w} <= {known[line], wanted, line};
      {session_w, expected_w, seen_w, candidate_w} <=
          {sessions[line], expected[line], seen[line], candidates[line]};
      far_w <= far_of(expected[line]);
      seen_far_w <= far_of(seen[line]);
      has_line <= 1'b1;
    end
    if (sequence_done) has_sequence <= 1'b1;
    if (count_done) has_count <= 1'b1;
    if (has_line & (sequence_done | has_sequence)) begin
      is_ahead <= is_above(sequence_number, expected_w);
      ahead_low <= {1'b0, sequence_number[31:0]} - {1'b0, expected_w[31:0]};
      ahead_high <= sequence_number[63:32] - expected_w[63:32];
      is_far <= {1'b0, sequence_number} > far_w;
      is_seen_far <= {1'b0, sequence_number} > seen_far_w;
      is_candidate <= candidate_w == sequence_number;
      is_same <= session_w == session;
      behind <= behind_now[15:0];
      behind_is_long <= ~(behind_now[16] ? is_one_more : high_e == high_s);
      has_line <= 1'b0;
      a_done <= 1'b1;
    end
    {stale, events, duplicates, gap_messages, c_seen, c_candidate} <= '0;
    if (decides) begin
      a_done <= 1'b0;
      decided_q <= 1'b1;
      // What is known of a packet that is taken is less than all of it.
      take <= wanted_w & ~is_refused & ~is_empty
          & (starts | is_ahead | (~behind_is_long & behind < message_count));
      skip <= behind;
      skips <= ~starts & ~is_ahead & behind != 0;
    end else if (ended & skips) begin
      skip <= skip - 16'd1;
      skips <= skip != 16'd1;
    end
    if (b) begin
      stale <= is_gap | (changes & orders_live);
      stale_line <= line_w;
      events[parse_counts::HEARTBEATS] <= is_beat & ~is_refused;
      events[parse_counts::END_OF_SESSION] <= is_end & ~is_refused;
      events[parse_counts::SESSION_CHANGES] <= changes;
      events[parse_counts::SEQUENCE_JUMPS] <= is_refused;
      events[parse_counts::GAPS] <= is_gap;
      duplicates <= old;
      if (is_gap) gap_messages <= ahead_by;
      known[line_w] <= 1'b1;
      if (starts) begin
        sessions[line_w] <= session;
        seen[line_w] <= sequence_number;
      end
      // A session that is new forgets nobody's candidate; a line that is new has none.
      if (~known_w) candidates[line_w] <= '0;
      if (starts | is_gap) begin
        expected[line_w] <= sequence_number;
        expected_w <= sequence_number;
      end
      end_c <= is_end ? sequence_number
          : {end_low[32] ? sequence_number[63:32] + 32'd1 : sequence_number[63:32], end_low[31:0]};
      c_seen <= is_gap;
      c_candidate <= is_refused;
    end
    if (c_seen & is_above(end_c, seen_w)) seen[line_w] <= end_c;
    if (c_candidate) candidates[line_w] <= end_c;
    if (message) begin
      expected[line_w] <= next_of(expected_w);
      expected_w <= next_of(expected_w);
    end
    if (rst) begin
      known <= '0;
      {has_line, has_sequence, has_count, a_done, decided_q, take, stale, c_seen, c_candidate} <= '0;
      {events, duplicates, gap_messages} <= '0;
    end
  end
endmodule
