// The host's registers over AXI-Lite: see tickpath_backends.hdl.registers for what they are.
//
// The bus has its own registers and never waits for the pipeline, nor the pipeline for it: a table
// is written in the one cycle in which `commit_valid` meets `commit_ready`.  One write and one read
// are under way at a time.  A read takes six cycles; a write four, a fetch three more.
`include "layout.svh"
`include "registers.svh"
module registers #(
    parameter logic [31:0] PROFILE = 32'd0,
    parameter int STAGE_WORDS = 13,  // that are there; the others cannot be written
    parameter int BUCKETS = 128
) (
    input  logic        clk,
    input  logic        rst,
    input  logic [11:0] s_axil_awaddr,
    input  logic [2:0]  s_axil_awprot,
    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [31:0] s_axil_wdata,
    input  logic [3:0]  s_axil_wstrb,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    output logic [1:0]  s_axil_bresp,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    input  logic [11:0] s_axil_araddr,
    input  logic [2:0]  s_axil_arprot,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic [1:0]  s_axil_rresp,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready,
    // tables
    output logic [32*STAGE_WORDS-1:0] stage,
    output logic        commit_valid,
    input  logic        commit_ready,
    output logic [7:0]  command_table,
    output logic [15:0] command_entry,
    input  logic [32*STAGE_WORDS-1:0] fetched,  // that entry, within three cycles
    // control
    output logic        is_killed,
    output logic        ref_we,
    output logic [31:0] ref_value,
    input  logic [31:0] next_user_ref_num,
    output logic        clear_latency,
    output logic [63:0] clear_window,
    output logic [63:0] clear_orders,
    output logic [63:0] clear_stale,
    // what is read
    input  logic [register_map::COUNTERS-1:0] events,  // those of BUS_ERRORS are made here
    input  logic [31:0] intent_peak,
    input  logic [31:0] order_peak,
    input  logic [31:0] book_peak,
    input  logic [31:0] book_dropped,
    input  logic [1:0]  book_status,
    input  logic [31:0] latency_least,
    input  logic [31:0] latency_most,
    input  logic [31:0] latency_over,
    input  logic [63:0] latency_sum,
    input  logic [63:0] latency_count,
    output logic [63:0] cycle,
    input  logic [63:0] window_overflow,
    input  logic [63:0] orders_overflow,
    input  logic [63:0] stale,
    input  logic [63:0] halted,
    output logic [$clog2(BUCKETS)-1:0] bucket,
    input  logic [31:0] bucket_count,
    output logic [3:0]  book_select,   // their values, within two cycles
    input  logic [31:0] book_value,
    output logic [5:0]  front_select,
    input  logic [31:0] front_value
);
  localparam int N = register_map::COUNTERS;
  localparam logic [1:0] OKAY = 2'b00, SLVERR = 2'b10;

  // ------------------------------------------------ counters
  logic [N-1:0] counted;
  logic [N-1:0][63:0] counts;
  logic clear_counts, bad_read, bad_write;
  always_ff @(posedge clk) begin
    counted <= events;
    counted[register_map::COUNTER_BUS_ERRORS] <= bad_read | bad_write;
    // The high half counts where the low one comes to its end: no carry has to go through both.
    for (int i = 0; i < N; i = i + 1) begin
      counts[i][31:0] <= (clear_counts ? 32'd0 : counts[i][31:0]) + 32'(counted[i]);
      if (counted[i] & &counts[i][31:0]) counts[i][63:32] <= counts[i][63:32] + 32'd1;
      if (clear_counts) counts[i][63:32] <= '0;
    end
    cycle[31:0] <= cycle[31:0] + 32'd1;
    if (&cycle[31:0]) cycle[63:32] <= cycle[63:32] + 32'd1;
    if (rst) {counted, counts, cycle} <= '0;
  end

  // ------------------------------------------------ writes
  typedef enum logic [2:0] {TAKE, DECODE, COMMIT, FETCH, ANSWER} write_t;
  write_t writing;
  logic has_address, has_data;
  logic [11:0] w_address;
  logic [31:0] w_data;
  logic [3:0] w_strobes;
  logic [1:0] fetching;
  wire [7:0] told_operation = w_data[31:24];
  wire [7:0] told_table = w_data[23:16];
  wire [15:0] told_entry = w_data[15:0];
  logic commits, fetches;  // whether the table can be
  logic [16:0] entries;
  always_comb begin
    {commits, fetches} = 2'b11;
    entries = 17'd64;
    case (told_table)
      register_map::TABLE_TRIGGER, register_map::TABLE_LIMITS, register_map::TABLE_NAME: ;
      register_map::TABLE_GATE: entries = 17'(register_map::GATE_ENTRIES);
      register_map::TABLE_TEMPLATE: entries = 17'(register_map::TEMPLATE_ENTRIES);
      register_map::TABLE_SYMBOL: begin
        fetches = 1'b0;
        entries = 17'(register_map::SYMBOL_ENTRIES);
      end
      register_map::TABLE_GROUP: begin
        fetches = 1'b0;
        entries = 17'(register_map::GROUP_ENTRIES);
      end
      register_map::TABLE_RELEASE, register_map::TABLE_TRADING: fetches = 1'b0;
      register_map::TABLE_STATE: commits = 1'b0;
      default: {commits, fetches} = 2'b00;
    endcase
  end
  wire in_range = {1'b0, told_entry} < entries;
  wire is_commit = told_operation == register_map::OPERATION_COMMIT & commits & in_range;
  wire is_fetch = told_operation == register_map::OPERATION_FETCH & fetches & in_range;
  wire [5:0] w_word = w_address[7:2];
  wire to_stage = w_address[11:8] == 4'(register_map::STAGE_AT >> 8) & 32'(w_word) < STAGE_WORDS;
  wire whole = &w_strobes & w_address[1:0] == 0;
  wire half = w_address[2];  // the high word of two
  wire [63:0] ones = half ? {w_data, 32'd0} : {32'd0, w_data};
  assign s_axil_awready = writing == TAKE & ~has_address;
  assign s_axil_wready = writing == TAKE & ~has_data;
  assign s_axil_bvalid = writing == ANSWER;
  assign commit_valid = writing == COMMIT;
  always_ff @(posedge clk) begin
    {ref_we, clear_counts, clear_latency, bad_write} <= '0;
    {clear_window, clear_orders, clear_stale} <= '0;
    ref_value <= w_data;
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
        {command_table, command_entry} <= {told_table, told_entry};
        fetching <= 2'd3;
        if (whole & to_stage) stage[32*w_word+:32] <= w_data;
        else if (whole)
          case (32'(w_address))
            register_map::CONTROL_AT: is_killed <= w_data[0];
            register_map::USER_REF_NUM_AT: ref_we <= 1'b1;
            register_map::CLEAR_AT: begin
              clear_counts <= w_data[register_map::CLEAR_COUNTERS];
              clear_latency <= w_data[register_map::CLEAR_LATENCY];
            end
            register_map::WINDOW_OVERFLOW_AT, register_map::WINDOW_OVERFLOW_AT + 4:
            clear_window <= ones;
            register_map::ORDERS_OVERFLOW_AT, register_map::ORDERS_OVERFLOW_AT + 4:
            clear_orders <= ones;
            register_map::STALE_AT, register_map::STALE_AT + 4: clear_stale <= ones;
            register_map::COMMAND_AT:
            if (is_commit) writing <= COMMIT;
            else if (is_fetch) writing <= FETCH;
            else {bad_write, s_axil_bresp} <= {1'b1, SLVERR};
            default: {bad_write, s_axil_bresp} <= {1'b1, SLVERR};
          endcase
        else {bad_write, s_axil_bresp} <= {1'b1, SLVERR};
      end
      COMMIT: if (commit_ready) writing <= ANSWER;
      FETCH: begin
        fetching <= fetching - 2'd1;
        if (fetching == 0) begin
          stage <= fetched;
          writing <= ANSWER;
        end
      end
      ANSWER:
      if (s_axil_bready) begin
        writing <= TAKE;
        {has_address, has_data} <= '0;
      end
      default: writing <= TAKE;
    endcase
    if (rst) begin
      writing <= TAKE;
      {has_address, has_data, ref_we, clear_counts, clear_latency, bad_write} <= '0;
      {clear_window, clear_orders, clear_stale} <= '0;
      stage <= '0;
      is_killed <= 1'b1;
    end
  end

  // ------------------------------------------------ reads
  logic [2:0] reading;  // cycles since the address was taken; 0: none
  logic [11:0] r_address;
  logic [31:0] high, r_stage, r_bucket, r_external, r_single;
  logic [63:0] r_double;
  logic is_stage, is_double, is_single, is_bucket, is_external;
  wire [5:0] r_word = r_address[7:2];
  wire [4:0] r_counter = r_address[7:3];
  assign s_axil_arready = reading == 0;
  assign bucket = r_address[$clog2(BUCKETS)+1:2];
  assign book_select = r_address[5:2];
  assign front_select = r_address[7:2];
  always_ff @(posedge clk) begin
    bad_read <= 1'b0;
    if (reading == 0) begin
      if (s_axil_arvalid) {reading, r_address} <= {3'd1, s_axil_araddr};
    end else if (reading != 3'd5) reading <= reading + 3'd1;
    else if (s_axil_rready) reading <= '0;

    if (reading == 3'd3) begin
      r_stage <= 32'(r_word) < STAGE_WORDS ? stage[32*r_word+:32] : '0;
      r_bucket <= bucket_count;
      r_external <= r_address[8] ? front_value : book_value;
      is_stage <= r_address[11:8] == 4'(register_map::STAGE_AT >> 8) & 32'(r_word) < STAGE_WORDS;
      is_bucket <= r_address[11:9] == 3'(register_map::HISTOGRAM_AT >> 9);
      is_external <= r_address[11:8] == 4'(register_map::FRONT_COUNTS_AT >> 8)
                     | r_address[11:6] == 6'(register_map::BOOK_COUNTS_AT >> 6);
      is_double <= 1'b1;
      is_single <= 1'b1;
      case (32'({r_address[11:3], 3'b0}))
        register_map::LATENCY_SUM_AT: r_double <= latency_sum;
        register_map::LATENCY_COUNT_AT: r_double <= latency_count;
        register_map::CYCLE_AT: r_double <= cycle;
        register_map::WINDOW_OVERFLOW_AT: r_double <= window_overflow;
        register_map::ORDERS_OVERFLOW_AT: r_double <= orders_overflow;
        register_map::STALE_AT: r_double <= stale;
        register_map::HALTED_AT: r_double <= halted;
        default: begin
          r_double <= counts[r_counter];
          is_double <= r_address[11:8] == 4'(register_map::COUNTERS_AT >> 8) & 32'(r_counter) < N;
        end
      endcase
      case (32'(r_address))
        register_map::IDENTITY_AT: r_single <= register_map::ID;
        register_map::VERSION_AT: r_single <= register_map::MAP_VERSION;
        register_map::PROFILE_AT: r_single <= PROFILE;
        register_map::CONTROL_AT: r_single <= {31'd0, is_killed};
        register_map::USER_REF_NUM_AT: r_single <= next_user_ref_num;
        register_map::INTENT_QUEUE_PEAK_AT: r_single <= intent_peak;
        register_map::ORDER_QUEUE_PEAK_AT: r_single <= order_peak;
        register_map::BOOK_QUEUE_PEAK_AT: r_single <= book_peak;
        register_map::BOOK_QUEUE_DROPPED_AT: r_single <= book_dropped;
        register_map::BOOK_STATUS_AT: r_single <= {30'd0, book_status};
        register_map::LATENCY_LEAST_AT: r_single <= latency_least;
        register_map::LATENCY_MOST_AT: r_single <= latency_most;
        register_map::LATENCY_OVER_AT: r_single <= latency_over;
        default: is_single <= 1'b0;
      endcase
    end
    if (reading == 3'd4) begin
      s_axil_rresp <= OKAY;
      if (is_double) begin
        s_axil_rdata <= r_address[2] ? high : r_double[31:0];
        if (~r_address[2]) high <= r_double[63:32];
      end else if (is_single) s_axil_rdata <= r_single;
      else if (is_stage) s_axil_rdata <= r_stage;
      else if (is_bucket) s_axil_rdata <= r_bucket;
      else if (is_external) s_axil_rdata <= r_external;
      else s_axil_rdata <= '0;
      if (~(is_double | is_single | is_stage | is_bucket | is_external) | r_address[1:0] != 0) begin
        s_axil_rresp <= SLVERR;
        bad_read <= 1'b1;
      end
    end
    if (rst) {reading, bad_read, high} <= '0;
  end
  assign s_axil_rvalid = reading == 3'd5;
endmodule
