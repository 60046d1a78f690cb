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
// Of a packet that is taken the splitter's messages come back by `message` (the ones to be skipped
// are not among them), which moves the line on, one by one: a packet cut short leaves the rest to
// be missed by the next.
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
    input  logic                     message,
    output logic                     decides,
    output logic                     decided,
    output logic                     take,
    output logic [15:0]              skip,
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
  logic [63:0] ahead_by, end_c;
  logic [15:0] behind;
  wire [63:0] ahead_now = sequence_number - expected_w;
  wire [63:0] behind_now = expected_w - sequence_number;

  wire is_beat = message_count == layout::MOLDUDP64_HEARTBEAT;
  wire is_end = message_count == layout::MOLDUDP64_END_OF_SESSION;
  wire [15:0] number = is_end ? 16'd0 : message_count;
  wire changes = known_w & ~is_same;
  wire starts = ~known_w | changes;
  wire is_refused = ~starts & is_ahead & is_far & is_seen_far & ~is_candidate;
  wire is_gap = ~starts & is_ahead & ~is_refused;
  wire [15:0] old = starts | is_ahead ? 16'd0 : behind_is_long | behind > number ? number : behind;
  assign decided = decided_q & ~judged;
  assign decides = a_done & (has_count | count_done);
  wire b = decides & wanted_w;

  always_ff @(posedge clk) begin
    if (judged) {has_line, has_sequence, has_count, a_done, decided_q} <= '0;
    if (verdict) begin
      {known_w, wanted_w, line_w} <= {known[line], wanted, line};
      {session_w, expected_w, seen_w, candidate_w} <=
          {sessions[line], expected[line], seen[line], candidates[line]};
      far_w <= {1'b0, expected[line]} + {1'b0, MAX_JUMP};
      seen_far_w <= {1'b0, seen[line]} + {1'b0, MAX_JUMP};
      has_line <= 1'b1;
    end
    if (sequence_done) has_sequence <= 1'b1;
    if (count_done) has_count <= 1'b1;
    if (has_line & (sequence_done | has_sequence)) begin
      is_ahead <= is_above(sequence_number, expected_w);
      ahead_by <= ahead_now;
      is_far <= {1'b0, sequence_number} > far_w;
      is_seen_far <= {1'b0, sequence_number} > seen_far_w;
      is_candidate <= candidate_w == sequence_number;
      is_same <= session_w == session;
      behind <= behind_now[15:0];
      behind_is_long <= |behind_now[63:16];
      has_line <= 1'b0;
      a_done <= 1'b1;
    end
    {stale, events, duplicates, gap_messages, c_seen, c_candidate} <= '0;
    if (decides) begin
      a_done <= 1'b0;
      decided_q <= 1'b1;
      take <= wanted_w & ~is_refused & old < number;
      skip <= old;
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
      end_c <= sequence_number + 64'(number);
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
