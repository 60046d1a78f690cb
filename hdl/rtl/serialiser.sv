// Whole messages to the words of an AXI-Stream, the first byte in the lowest lane.
//
// The first word stands in the output register one edge after its message came, if nothing is in
// front of it.  Else the message waits in a FIFO of DEPTH; one that finds it full is refused in the
// same cycle and leaves nothing on the wire: `refused`.  A message of length 0 is none.
//
// `first` is high in the cycle in which a message's first word is transferred, with its sideband.
module serialiser #(
    parameter int BYTES = 47,
    parameter int DW    = 64,  // of the stream: any multiple of 8 below 8 * BYTES
    parameter int DEPTH = 16,  // a power of two
    parameter int SBW   = 32
) (
    input  logic               clk,
    input  logic               rst,
    input  logic               in_valid,
    input  logic [8*BYTES-1:0] in_message,  // its first byte highest
    input  logic [8:0]         in_length,
    input  logic [SBW-1:0]     in_sideband,
    output logic               refused,
    output logic [31:0]        peak,        // most messages that ever waited
    output logic               first,
    output logic [SBW-1:0]     first_sideband,
    output logic [DW-1:0]      m_axis_tdata,
    output logic [DW/8-1:0]    m_axis_tkeep,
    output logic               m_axis_tvalid,
    input  logic               m_axis_tready,
    output logic               m_axis_tlast
);
  localparam int KW = DW / 8;
  localparam int WORDS = (BYTES + KW - 1) / KW;
  localparam int W = WORDS * DW;
  localparam int AW = $clog2(DEPTH);
  localparam int QW = 8 * BYTES + 9 + SBW;
  (* ram_style = "distributed" *) logic [QW-1:0] queue[0:DEPTH-1];
  logic [AW:0] queue_n;
  logic [AW-1:0] queue_w, queue_r;
  logic [W-DW-1:0] rest;  // words behind the one at the output, the next one highest
  logic [8:0] rest_length;
  logic is_first;

  wire moves = ~m_axis_tvalid | m_axis_tready;
  wire between = moves & rest_length == 0;
  wire waits = queue_n != 0;
  wire is_message = in_valid & in_length != 0;
  wire passes = between & ~waits & is_message;
  wire leaves = between & waits;
  wire enters = is_message & ~passes & (queue_n != (AW + 1)'(DEPTH) | leaves);
  assign refused = is_message & ~passes & ~enters;

  logic [8*BYTES-1:0] message;
  logic [8:0] length;
  logic [SBW-1:0] sideband;
  assign {message, length, sideband} = waits ? queue[queue_r]
                                             : {in_message, in_length, in_sideband};
  wire [W-1:0] padded = {message, {(W - 8 * BYTES) {1'b0}}};
  wire [DW-1:0] word = between ? padded[W-1-:DW] : rest[W-DW-1-:DW];
  wire [8:0] left = between ? length : rest_length;  // with the word itself
  wire loads = moves & (passes | leaves | rest_length != 0);
  logic [KW-1:0] keep;
  logic [DW-1:0] swapped;
  always_comb
    for (int i = 0; i < KW; i = i + 1) begin
      keep[i] = left > 9'(i);
      swapped[8*i+:8] = word[DW-1-8*i-:8];
    end

  assign first = m_axis_tvalid & m_axis_tready & is_first;
  wire [31:0] waiting = 32'(queue_n);
  always_ff @(posedge clk) begin
    if (enters) queue[queue_w] <= {in_message, in_length, in_sideband};
    queue_w <= queue_w + AW'(enters);
    queue_r <= queue_r + AW'(leaves);
    queue_n <= queue_n + (AW + 1)'(enters) - (AW + 1)'(leaves);
    if (waiting > peak) peak <= waiting;
    if (moves) begin
      m_axis_tvalid <= loads;
      m_axis_tdata <= swapped;
      m_axis_tkeep <= keep;
      m_axis_tlast <= left <= 9'(KW);
      is_first <= between;
      if (loads) begin
        rest <= between ? padded[W-DW-1:0] : {rest[W-2*DW-1:0], {DW{1'b0}}};
        rest_length <= left <= 9'(KW) ? 9'd0 : left - 9'(KW);
      end
      if (between) first_sideband <= sideband;
    end
    if (rst) {queue_w, queue_r, queue_n, peak, rest_length, m_axis_tvalid} <= '0;
  end
endmodule
