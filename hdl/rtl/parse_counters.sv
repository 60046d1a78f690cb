`include "parse_counts.svh"
// What the front met, counted: 32 bits that stay at their end for what comes one at a time, 64 bits
// for what comes in numbers.  Only the hardware has: frames that the MAC calls bad, frames without
// room (word_fifo.sv), frames of either kind some of whose messages had been handed on already.
module parse_counters (
    input  logic                             clk,
    input  logic                             rst,
    input  logic [parse_counts::STROBES-1:0] events,
    input  logic [15:0]                      duplicates,
    input  logic [15:0]                      trailing_bytes,
    input  logic [63:0]                      gap_messages,
    input  logic [5:0]                       select,
    output logic [63:0]                      value
);
  logic [parse_counts::STROBES-1:0] events_q;
  logic [parse_counts::STROBES-1:0][31:0] counts;
  logic [15:0] duplicates_q, trailing_q;
  logic [63:0] gap_q, duplicates_n, trailing_n, gap_n;
  // Large sums in two halves, one a cycle behind the other.
  logic [32:0] duplicates_low, trailing_low, gap_low;  // with what they carry
  logic [31:0] gap_high;
  always_ff @(posedge clk) begin
    {events_q, duplicates_q, trailing_q, gap_q} <= {events, duplicates, trailing_bytes, gap_messages};
    for (int i = 0; i < parse_counts::STROBES; i = i + 1)
      if (events_q[i] & ~&counts[i]) counts[i] <= counts[i] + 32'd1;
    duplicates_low <= 33'(duplicates_low[31:0]) + 33'(duplicates_q);
    duplicates_n <= {duplicates_n[63:32] + 32'(duplicates_low[32]), duplicates_low[31:0]};
    trailing_low <= 33'(trailing_low[31:0]) + 33'(trailing_q);
    trailing_n <= {trailing_n[63:32] + 32'(trailing_low[32]), trailing_low[31:0]};
    gap_low <= 33'(gap_low[31:0]) + 33'(gap_q[31:0]);
    gap_high <= gap_q[63:32];
    gap_n <= {gap_n[63:32] + gap_high + 32'(gap_low[32]), gap_low[31:0]};
    value <= '0;
    for (int i = 0; i < parse_counts::STROBES; i = i + 1) if (select == i) value <= 64'(counts[i]);
    if (select == parse_counts::DUPLICATE_MESSAGES) value <= duplicates_n;
    if (select == parse_counts::MOLD_TRAILING_BYTES) value <= trailing_n;
    if (select == parse_counts::GAP_MESSAGES) value <= gap_n;
    if (rst) {events_q, duplicates_q, trailing_q, gap_q, counts, duplicates_n, trailing_n, gap_n} <= '0;
    if (rst) {duplicates_low, trailing_low, gap_low, gap_high} <= '0;
  end
endmodule
