`include "layout.svh"
`include "movers.svh"
// Verdicts and orders to a ring of slots in the card's memory: an AXI4 write master, one burst a
// record (tickpath_backends.hdl.mover_registers).
//
// Orders that only go to memory wait for room (`order_ready`), as they would for a network.  Those
// that go to the network too are copied as far as there is room: a copy never holds them up, and one
// that finds none is dropped whole and counted.  So are verdicts.
//
// A record is written when its write is answered: `written` counts those, in order, and the host reads
// up to there.  Up to 15 wait for their answer.  One that is answered with an error sets `fault`; it
// is counted as written, and its slot holds whatever was there, whose number is another one.
//
// Room: a frame of mover_map::LONGEST_FRAME brings at most 438 operations of 21 bytes, each of which
// may become a verdict and an order, and mover_map::WAITING may be before it.
module record_writer #(
    parameter int WORDS    = 8,     // of a slot, the trailer too
    parameter int ORDERS   = 512 * WORDS,  // words of orders that wait, a power of two
    parameter int VERDICTS = 1024   // verdicts that wait, a power of two
) (
    input  logic        clk,
    input  logic        rst,
    input  logic [63:0] address,
    input  logic [31:0] mask,
    input  logic [31:0] taken,
    output logic [31:0] written,
    output logic        fault,
    output logic        busy,
    input  logic        halt,          // begin nothing more: a reset is coming
    output logic        is_answered,   // nothing is under way to the memory
    output logic        has_room,      // for all that one frame more can bring
    output logic [31:0] verdicts_dropped,
    output logic [31:0] copies_dropped,
    input  logic        verdict_valid,
    input  logic [layout::VERDICT_T_BITS-1:0] verdict,
    input  logic [layout::INTENT_T_BITS-1:0]  intent,
    input  logic [63:0] order_data,
    input  logic [7:0]  order_keep,
    input  logic        order_valid,   // with `order_ready`: taken
    input  logic        order_last,
    input  logic        is_copy,
    output logic        order_ready,
    output logic [63:0] m_axi_awaddr,
    output logic [7:0]  m_axi_awlen,
    output logic        m_axi_awvalid,
    input  logic        m_axi_awready,
    output logic [63:0] m_axi_wdata,
    output logic        m_axi_wlast,
    output logic        m_axi_wvalid,
    input  logic        m_axi_wready,
    input  logic [1:0]  m_axi_bresp,
    input  logic        m_axi_bvalid,
    output logic        m_axi_bready
);
  localparam int OW = $clog2(ORDERS), VW = $clog2(VERDICTS), CW = $clog2(WORDS);
  localparam int VB = layout::VERDICT_T_BITS + layout::INTENT_T_BITS;
  localparam int VERDICT_WORDS = (VB + 63) / 64;

  // ------------------------------------------------ what waits
  logic [OW:0] order_words;
  logic [VW:0] verdicts;
  logic midway, dropping;
  logic [15:0] whole;  // orders that wait whole
  wire is_full = order_words > (OW + 1)'(ORDERS - WORDS);
  assign order_ready = is_copy | midway | ~is_full;
  wire drops = is_copy & (dropping | (~midway & is_full));
  wire order_in = order_valid & order_ready & ~drops;
  wire drops_copy = order_valid & drops & ~midway;
  wire verdict_in = verdict_valid & verdicts != (VW + 1)'(VERDICTS);
  wire drops_verdict = verdict_valid & ~verdict_in;
  logic order_there, order_out, verdict_there, verdict_out;
  logic [63:0] order_word;
  logic [3:0] order_bytes, bytes;
  logic order_ends;
  logic [VB-1:0] judged;
  always_comb begin
    bytes = '0;
    for (int i = 0; i < 8; i = i + 1) if (order_keep[i]) bytes = 4'(i + 1);
  end
  // Nothing is dropped in the FIFOs: `order_words` and `verdicts` count.
  // verilator lint_off PINCONNECTEMPTY
  book_fifo #(.W(69), .DEPTH(ORDERS)) orders_fifo (
      .clk(clk), .rst(rst), .in_valid(order_in), .in_data({order_last, bytes, order_data}),
      .out_valid(order_there), .out_ready(order_out),
      .out_data({order_ends, order_bytes, order_word}), .lost(), .dropped(), .peak());
  book_fifo #(.W(VB), .DEPTH(VERDICTS)) verdicts_fifo (
      .clk(clk), .rst(rst), .in_valid(verdict_in), .in_data({verdict, intent}),
      .out_valid(verdict_there), .out_ready(verdict_out), .out_data(judged), .lost(), .dropped(),
      .peak());
  // verilator lint_on PINCONNECTEMPTY
  always_ff @(posedge clk) begin
    has_room <= order_words <= (OW + 1)'(ORDERS / 4) & verdicts <= (VW + 1)'(VERDICTS / 4);
    order_words <= order_words + (OW + 1)'(order_in) - (OW + 1)'(order_out);
    verdicts <= verdicts + (VW + 1)'(verdict_in) - (VW + 1)'(verdict_out);
    whole <= whole + 16'(order_in & order_last) - 16'(order_out & order_ends);
    if (order_valid & order_ready) begin
      midway <= ~order_last;
      dropping <= drops & ~order_last;
    end
    copies_dropped <= copies_dropped + 32'(drops_copy);
    verdicts_dropped <= verdicts_dropped + 32'(drops_verdict);
    if (rst) begin
      {order_words, verdicts, whole, midway, dropping, copies_dropped, verdicts_dropped} <= '0;
      has_room <= 1'b0;
    end
  end

  // ------------------------------------------------ a record
  logic active, is_order, is_over;  // `is_over`: the order's last word has passed
  logic [CW-1:0] at;
  logic [31:0] begun;
  logic [3:0] unanswered;
  logic [15:0] length;
  logic [7:0] kind;
  wire is_free = begun - taken <= mask & unanswered != 4'd15 & ~m_axi_awvalid;
  wire starts = ~active & is_free & ~halt & (verdict_there | whole != 0);
  wire is_trailer = at == CW'(WORDS - 1);
  // The order is there as a whole, but its FIFO may be a moment behind.
  wire has_next = ~is_order | is_over | is_trailer | order_there;
  wire moves = active & (~m_axi_wvalid | m_axi_wready) & has_next;
  wire [64*VERDICT_WORDS-1:0] padded = (64 * VERDICT_WORDS)'(judged);
  assign order_out = moves & is_order & ~is_over & ~is_trailer;
  assign verdict_out = moves & ~is_order & is_trailer;
  assign m_axi_awlen = 8'(WORDS - 1);
  assign m_axi_bready = 1'b1;
  assign is_answered = ~active & ~m_axi_awvalid & ~m_axi_wvalid & unanswered == 0;
  assign busy = ~is_answered | order_words != 0 | verdicts != 0;
  always_ff @(posedge clk) begin
    if (m_axi_awready) m_axi_awvalid <= 1'b0;
    if (m_axi_wready) m_axi_wvalid <= 1'b0;
    if (starts) begin
      active <= 1'b1;
      is_order <= ~verdict_there;
      kind <= verdict_there ? mover_map::KIND_VERDICT : mover_map::KIND_ORDER;
      length <= verdict_there ? 16'(8 * VERDICT_WORDS) : 16'd0;
      is_over <= 1'b0;
      at <= '0;
      m_axi_awvalid <= 1'b1;
      m_axi_awaddr <= address + 64'(begun & mask) * 64'(8 * WORDS);
    end
    if (moves) begin
      at <= at + 1'b1;
      m_axi_wvalid <= 1'b1;
      m_axi_wlast <= is_trailer;
      m_axi_wdata <= '0;
      if (is_trailer) begin
        m_axi_wdata <= {8'd0, kind, length, begun};
        active <= 1'b0;
        begun <= begun + 32'd1;
      end else if (is_order & ~is_over) begin
        m_axi_wdata <= order_word;
        length <= length + 16'(order_bytes);
        is_over <= order_ends;
      end else if (~is_order & 32'(at) < VERDICT_WORDS)
        m_axi_wdata <= padded[64*at[$clog2(VERDICT_WORDS)-1:0]+:64];
    end
    unanswered <= unanswered + 4'(starts) - 4'(m_axi_bvalid);
    if (m_axi_bvalid) begin
      written <= written + 32'd1;
      if (m_axi_bresp[1]) fault <= 1'b1;
    end
    if (rst) begin
      {active, at, begun, unanswered, written, fault, m_axi_awvalid, m_axi_wvalid} <= '0;
    end
  end
endmodule
