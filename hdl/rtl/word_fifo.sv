// Words of frames in front of the parser, which makes a word wait where it ends more than one
// message (only malformed messages are so short), or where it cannot be known yet whether a packet
// is wanted.  An empty FIFO is no cycle of delay.
//
// The wire does not wait: a frame that finds no room, or that begins before `ready`, is lost whole;
// one for which room ends within it is cut there and marked bad.  Both are told on `lost`.
//
// DEPTH: a word of four messages of no length takes four cycles, and a 10 Gb/s line brings one in
// 2.06; so a frame of 1,500 bytes leaves 97 words behind, and 4,096 words have room for the longest
// of 65,535 bytes, but no rate of such frames.  What ITCH sends never waits.
module word_fifo #(
    parameter int DW    = 64,
    parameter int DEPTH = 4096  // a power of two
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    ready,
    input  logic [DW-1:0]           in_data,   // byte 0 of the frame is the lowest
    input  logic [DW/8-1:0]         in_keep,   // all ones but in the last word: its first bytes
    input  logic                    in_valid,
    input  logic                    in_last,
    input  logic                    in_bad,    // with `in_last`: the frame is damaged
    output logic                    out_valid,
    input  logic                    out_ready,
    output logic [DW-1:0]           out_data,
    output logic [$clog2(DW/8):0]   out_bytes,
    output logic [DW/8:0]           out_has,   // bit n: it has n bytes
    output logic                    out_last,
    output logic                    out_bad,
    output logic                    lost,      // a pulse for each frame
    output logic [31:0]             peak
);
  localparam int B = DW / 8;
  localparam int BW = $clog2(B) + 1;
  localparam int AW = $clog2(DEPTH);
  logic [BW-1:0] bytes;
  always_comb begin
    bytes = '0;
    for (int i = 0; i < B; i = i + 1) if (in_keep[i]) bytes = BW'(i + 1);
  end
  logic midway, dropping;  // behind the first word of a frame; what comes of it is dropped
  logic [AW:0] waiting;
  logic full;              // one more word would be the last that has room
  logic has_head, has_queue;  // a word in `head`; words behind it
  logic [DW+BW+1:0] head;
  wire [DW+BW+1:0] word = {in_bad & in_last | cuts, in_last | cuts, bytes, in_data};
  wire drops = dropping | (~midway & (full | ~ready));
  wire cuts = ~dropping & midway & full & ~in_last;
  wire enters = in_valid & ~drops;
  // A word passes where none waits, or goes to the head; behind others it waits in the queue, whose
  // first goes to the head when there is room.  The parser's `out_ready` comes late: sums stand ready.
  wire is_free = ~has_head & ~has_queue;
  assign out_valid = has_head | (is_free & enters);
  assign out_has = {has_head ? head_has : in_keep, 1'b1};
  assign {out_bad, out_last, out_bytes, out_data} = has_head ? head : word;
  wire loads = ~has_head | out_ready;
  wire queues = enters & (has_queue | ~loads);
  logic queue_valid;
  logic [DW+BW+1:0] queue_word;
  logic [B-1:0] head_has;  // bit n: it has n + 1 bytes
  logic [AW:0] queued;
  wire leaves = out_valid & out_ready;
  wire unqueues = queue_valid & loads;
  // Less one is the inverse of the inverse and one: sums that a mapper does not make one of.
  wire [AW:0] queued_more = queued + 1'b1;
  wire [AW:0] queued_less = ~(~queued + 1'b1);
  wire [AW:0] waiting_more = waiting + 1'b1;
  wire [AW:0] waiting_less = ~(~waiting + 1'b1);
  // verilator lint_off PINCONNECTEMPTY
  book_fifo #(.W(DW + BW + 2), .DEPTH(DEPTH), .PASSES(0)) words (
      .clk(clk), .rst(rst), .in_valid(queues), .in_data(word), .out_valid(queue_valid),
      .out_ready(loads), .out_data(queue_word), .lost(), .dropped(), .peak());
  // verilator lint_on PINCONNECTEMPTY
  always_ff @(posedge clk) begin
    if (loads) begin
      has_head <= has_queue ? queue_valid : enters & ~(is_free & out_ready);
      head <= has_queue ? queue_word : word;
      for (int i = 0; i < B; i = i + 1)
        head_has[i] <= has_queue ? queue_word[DW+:BW] > BW'(i) : in_keep[i];
    end
    if (queues & ~unqueues) queued <= queued_more;
    if (unqueues & ~queues) queued <= queued_less;
    has_queue <= queues | queued > 1 | (queued != 0 & ~loads) | (queued != 0 & ~queue_valid);
    if (32'(waiting) > peak) peak <= 32'(waiting);
    if (enters & ~leaves) waiting <= waiting_more;
    if (leaves & ~enters) waiting <= waiting_less;
    full <= waiting >= (AW + 1)'(DEPTH - 4);  // a cycle late
    lost <= in_valid & ~dropping & (drops | cuts);
    if (in_valid) begin
      midway <= ~in_last;
      dropping <= ~in_last & (drops | cuts);
    end
    if (rst) {midway, dropping, waiting, full, lost, has_head, queued, has_queue, peak} <= '0;
  end
endmodule
