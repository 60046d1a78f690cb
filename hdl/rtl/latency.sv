// How many cycles orders took: a histogram of one cycle a bucket, and what lies beyond it.
//
// A bucket that was not counted in since the last `clear` is 0, whatever its memory holds, so
// clearing takes one cycle.  A bucket is read in one cycle and written in the next: samples are two
// cycles apart or more, as every order has more than one word.
module latency #(
    parameter int BUCKETS = 128  // a power of two
) (
    input  logic                       clk,
    input  logic                       rst,
    input  logic                       clear,
    input  logic                       in_valid,
    input  logic [31:0]                in_cycles,
    input  logic [$clog2(BUCKETS)-1:0] r_bucket,
    output logic [31:0]                r_count,
    output logic [31:0]                over,      // samples beyond the last bucket
    output logic [31:0]                most,
    output logic [31:0]                least,     // all bits set where there is none
    output logic [63:0]                sum,
    output logic [63:0]                count
);
  localparam int AW = $clog2(BUCKETS);
  (* ram_style = "distributed" *) logic [31:0] counts[0:BUCKETS-1];
  logic [BUCKETS-1:0] used;
  logic valid, counts_it, was_beyond;
  // Sums of 64 bits in halves: the high one counts what the low one carries.
  wire [32:0] sum_low = {1'b0, clear ? 32'd0 : sum[31:0]} + {1'b0, valid ? cycles : 32'd0};
  logic [31:0] cycles, was;
  logic [AW-1:0] counted_bucket;
  wire [AW-1:0] bucket = cycles[AW-1:0];
  wire beyond = |cycles[31:AW];
  wire counted = valid & ~beyond;
  assign r_count = used[r_bucket] ? counts[r_bucket] : '0;
  always_ff @(posedge clk) begin
    valid <= in_valid;
    cycles <= in_cycles;
    was <= used[bucket] & ~clear ? counts[bucket] : '0;
    counts_it <= counted;
    counted_bucket <= bucket;
    if (counts_it & ~clear) counts[counted_bucket] <= was + 32'd1;
    used <= (clear ? {BUCKETS{1'b0}} : used);
    if (counts_it & ~clear) used[counted_bucket] <= 1'b1;
    was_beyond <= valid & beyond;
    over <= clear ? 32'd0 : over + 32'(was_beyond);
    count[31:0] <= (clear ? 32'd0 : count[31:0]) + 32'(valid);
    if (valid & &count[31:0]) count[63:32] <= count[63:32] + 32'd1;
    sum[31:0] <= sum_low[31:0];
    if (sum_low[32]) sum[63:32] <= sum[63:32] + 32'd1;
    if (clear) {sum[63:32], count[63:32]} <= '0;
    if (valid & (clear | cycles > most)) most <= cycles;
    else if (clear) most <= '0;
    if (valid & (clear | cycles < least)) least <= cycles;
    else if (clear) least <= '1;
    if (rst) begin
      {valid, counts_it, was_beyond, over, count, sum, most} <= '0;
      used <= '0;
      least <= '1;
    end
  end
endmodule
