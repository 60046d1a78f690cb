`include "movers.svh"
// The kernel's AXI-Lite port: the lower half goes on to the chain, the upper half is the movers'
// (tickpath_backends.hdl.mover_registers).  One write and one read at a time.
//
// A reset that the host asks for waits until nothing is under way to the memory or on the chain's
// bus, so it breaks no protocol; until it is over the chain's half answers with SLVERR, as does all
// that is not declared.  The host never waits on the bus for it: STATE says when the chain is ready.
module mover_registers #(
    parameter int WORDS = 8
) (
    input  logic        clk,
    input  logic        rst,
    output logic        core_rst,    // of chain and movers
    output logic        halt,
    input  logic        is_answered,
    output logic        start,
    output logic        from_network,
    output logic        to_network,
    output logic [63:0] frames_address,
    output logic [31:0] frames_words,
    output logic [31:0] most_waiting,
    output logic [63:0] records_address,
    output logic [31:0] records_mask,
    output logic [31:0] records_taken,
    input  logic        ready,
    input  logic        reading,
    input  logic        rests,
    input  logic        read_fault,
    input  logic        frame_fault,
    input  logic        write_fault,
    input  logic [31:0] words_read,
    input  logic [31:0] frames_fed,
    input  logic [31:0] records_written,
    input  logic [31:0] verdicts_dropped,
    input  logic [31:0] copies_dropped,
    // the host
    input  logic [12:0] s_axil_awaddr,
    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [31:0] s_axil_wdata,
    input  logic [3:0]  s_axil_wstrb,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    output logic [1:0]  s_axil_bresp,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    input  logic [12:0] s_axil_araddr,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic [1:0]  s_axil_rresp,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready,
    // the chain
    output logic [11:0] m_axil_awaddr,
    output logic        m_axil_awvalid,
    input  logic        m_axil_awready,
    output logic [31:0] m_axil_wdata,
    output logic [3:0]  m_axil_wstrb,
    output logic        m_axil_wvalid,
    input  logic        m_axil_wready,
    input  logic [1:0]  m_axil_bresp,
    input  logic        m_axil_bvalid,
    output logic        m_axil_bready,
    output logic [11:0] m_axil_araddr,
    output logic        m_axil_arvalid,
    input  logic        m_axil_arready,
    input  logic [31:0] m_axil_rdata,
    input  logic [1:0]  m_axil_rresp,
    input  logic        m_axil_rvalid,
    output logic        m_axil_rready
);
  localparam logic [1:0] OKAY = 2'b00, SLVERR = 2'b10;
  typedef enum logic [1:0] {TAKE, DECODE, FORWARD, ANSWER} access_t;
  access_t writing, reads;
  logic [3:0] pulse;  // cycles of reset that are left
  logic resetting;
  assign halt = resetting;

  // ------------------------------------------------ writes
  logic has_address, has_data;
  logic [12:0] w_address;
  logic [31:0] w_data;
  logic [3:0] w_strobes;
  assign s_axil_awready = writing == TAKE & ~has_address;
  assign s_axil_wready = writing == TAKE & ~has_data;
  assign s_axil_bvalid = writing == ANSWER;
  assign {m_axil_awaddr, m_axil_wdata, m_axil_wstrb} = {w_address[11:0], w_data, w_strobes};
  assign m_axil_bready = writing == FORWARD;
  wire is_whole = &w_strobes & w_address[1:0] == 0;
  always_ff @(posedge clk) begin
    start <= 1'b0;
    case (writing)
      TAKE: begin
        if (s_axil_awvalid & s_axil_awready) {has_address, w_address} <= {1'b1, s_axil_awaddr};
        if (s_axil_wvalid & s_axil_wready)
          {has_data, w_data, w_strobes} <= {1'b1, s_axil_wdata, s_axil_wstrb};
        if (has_address & has_data) writing <= DECODE;
      end
      DECODE: begin
        writing <= ANSWER;
        s_axil_bresp <= OKAY;
        if (~w_address[12]) begin
          if (resetting) s_axil_bresp <= SLVERR;
          else begin
            writing <= FORWARD;
            {m_axil_awvalid, m_axil_wvalid} <= '1;
          end
        end else if (is_whole)
          case (32'(w_address[11:0]))
            mover_map::ACTION_AT: begin
              // What is under way goes on: another start is refused, a reset is not.
              start <= w_data[mover_map::ACTION_START] & ~reading & ~resetting;
              if (w_data[mover_map::ACTION_START] & (reading | resetting)) s_axil_bresp <= SLVERR;
              if (w_data[mover_map::ACTION_RESET]) {resetting, pulse} <= '1;
            end
            mover_map::ROUTE_AT: begin
              from_network <= w_data[mover_map::ROUTE_NETWORK_IN];
              to_network <= w_data[mover_map::ROUTE_NETWORK_OUT];
            end
            mover_map::FRAMES_ADDRESS_AT: frames_address[31:0] <= w_data;
            mover_map::FRAMES_ADDRESS_AT + 4: frames_address[63:32] <= w_data;
            mover_map::FRAMES_WORDS_AT: frames_words <= w_data;
            mover_map::MOST_WAITING_AT: most_waiting <= w_data;
            mover_map::RECORDS_ADDRESS_AT: records_address[31:0] <= w_data;
            mover_map::RECORDS_ADDRESS_AT + 4: records_address[63:32] <= w_data;
            mover_map::RECORDS_MASK_AT: records_mask <= w_data;
            mover_map::RECORDS_TAKEN_AT: records_taken <= w_data;
            default: s_axil_bresp <= SLVERR;
          endcase
        else s_axil_bresp <= SLVERR;
      end
      FORWARD: begin
        if (m_axil_awready) m_axil_awvalid <= 1'b0;
        if (m_axil_wready) m_axil_wvalid <= 1'b0;
        if (m_axil_bvalid) begin
          writing <= ANSWER;
          s_axil_bresp <= m_axil_bresp;
        end
      end
      ANSWER:
      if (s_axil_bready) begin
        writing <= TAKE;
        {has_address, has_data} <= '0;
      end
    endcase
    if (resetting & is_answered & writing != FORWARD & reads != FORWARD) begin
      if (pulse == 0) resetting <= 1'b0;
      else pulse <= pulse - 4'd1;
      core_rst <= pulse != 0;
      records_taken <= '0;
    end
    if (rst) begin
      writing <= TAKE;
      {has_address, has_data, start, m_axil_awvalid, m_axil_wvalid} <= '0;
      {from_network, to_network, frames_words, records_taken, records_mask} <= '0;
      most_waiting <= 32'(mover_map::WAITING);
      {resetting, core_rst} <= '1;
      pulse <= '1;
    end
  end

  // ------------------------------------------------ reads
  logic [12:0] r_address;
  assign s_axil_arready = reads == TAKE;
  assign s_axil_rvalid = reads == ANSWER;
  assign m_axil_araddr = r_address[11:0];
  assign m_axil_rready = reads == FORWARD;
  always_ff @(posedge clk) begin
    case (reads)
      TAKE:
      if (s_axil_arvalid) begin
        reads <= DECODE;
        r_address <= s_axil_araddr;
      end
      DECODE: begin
        reads <= ANSWER;
        s_axil_rresp <= OKAY;
        s_axil_rdata <= '0;
        if (~r_address[12]) begin
          if (resetting) s_axil_rresp <= SLVERR;
          else begin
            reads <= FORWARD;
            m_axil_arvalid <= 1'b1;
          end
        end else
          case (32'(r_address[11:0]))
            mover_map::MOVER_IDENTITY_AT: s_axil_rdata <= mover_map::ID;
            mover_map::MOVER_VERSION_AT: s_axil_rdata <= mover_map::MAP_VERSION;
            mover_map::RECORD_WORDS_AT: s_axil_rdata <= 32'(WORDS);
            mover_map::ROUTE_AT: begin
              s_axil_rdata[mover_map::ROUTE_NETWORK_IN] <= from_network;
              s_axil_rdata[mover_map::ROUTE_NETWORK_OUT] <= to_network;
            end
            mover_map::STATE_AT: begin
              s_axil_rdata[mover_map::STATE_READY] <= ready & ~resetting;
              s_axil_rdata[mover_map::STATE_READING] <= reading | start;
              s_axil_rdata[mover_map::STATE_REST] <= rests & ~start & ~resetting;
              s_axil_rdata[mover_map::STATE_READ_FAULT] <= read_fault;
              s_axil_rdata[mover_map::STATE_FRAME_FAULT] <= frame_fault;
              s_axil_rdata[mover_map::STATE_WRITE_FAULT] <= write_fault;
            end
            mover_map::FRAMES_ADDRESS_AT: s_axil_rdata <= frames_address[31:0];
            mover_map::FRAMES_ADDRESS_AT + 4: s_axil_rdata <= frames_address[63:32];
            mover_map::FRAMES_WORDS_AT: s_axil_rdata <= frames_words;
            mover_map::WORDS_READ_AT: s_axil_rdata <= words_read;
            mover_map::FRAMES_FED_AT: s_axil_rdata <= frames_fed;
            mover_map::MOST_WAITING_AT: s_axil_rdata <= most_waiting;
            mover_map::RECORDS_ADDRESS_AT: s_axil_rdata <= records_address[31:0];
            mover_map::RECORDS_ADDRESS_AT + 4: s_axil_rdata <= records_address[63:32];
            mover_map::RECORDS_MASK_AT: s_axil_rdata <= records_mask;
            mover_map::RECORDS_TAKEN_AT: s_axil_rdata <= records_taken;
            mover_map::RECORDS_WRITTEN_AT: s_axil_rdata <= records_written;
            mover_map::VERDICTS_DROPPED_AT: s_axil_rdata <= verdicts_dropped;
            mover_map::COPIES_DROPPED_AT: s_axil_rdata <= copies_dropped;
            default: s_axil_rresp <= SLVERR;
          endcase
      end
      FORWARD: begin
        if (m_axil_arready) m_axil_arvalid <= 1'b0;
        if (m_axil_rvalid) begin
          reads <= ANSWER;
          {s_axil_rdata, s_axil_rresp} <= {m_axil_rdata, m_axil_rresp};
        end
      end
      ANSWER: if (s_axil_rready) reads <= TAKE;
    endcase
    if (rst) begin
      reads <= TAKE;
      m_axil_arvalid <= 1'b0;
    end
  end
endmodule
