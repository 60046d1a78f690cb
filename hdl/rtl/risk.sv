// The gate around the kernel risk_check: six cycles from an intent to its verdict.
//
//     edge 1  S    the intent, from the input or from the queue
//     edge 2  R    the symbol's limits and state, the products of price and quantity
//     edge 3       the kernel's inputs: notional, halt, the states as they are now
//     edge 6       its outputs: the verdict; both states go back
//
// Every intent changes the gate's state, so one is checked in four cycles: the verdict of the one
// before is there when the kernel's inputs are loaded, and is forwarded to them.  Intents that come
// faster wait in a queue of DEPTH; the wait of the last is at most four cycles for each before it.
// On the wire the shortest message takes 5.4 cycles, so they only come faster where the book works
// off what waited in front of it.  An intent that finds the queue full is dropped and counted.
//
// | hazard                            | cycles behind | handling                                |
// |-----------------------------------|---------------|-----------------------------------------|
// | gate's state                      | 4             | the verdict's instead of the register's |
// | symbol's state                    | 4             | the verdict's, at the kernel's inputs   |
// |                                   | 5             | the verdict's, where R reads            |
// | a release, the symbol in flight   | up to 5       | added to what the next one's check gets |
//
// A release by the host waits for nothing but the symbol's check in flight and never holds up an
// intent: at most ten cycles.
//
// Halt: a trading action comes ahead of the book's operations that were in front of it, so it has
// its message's number.  Intents of earlier messages are judged by the state before it.  The state
// before that one is not known any more: two actions of one symbol have to be further apart than
// the book's wait.  Until the first action of a symbol it is halted.
`include "layout.svh"
module risk #(
    parameter int DEPTH = 64  // a power of two
) (
    input  logic                                  clk,
    input  logic                                  rst,
    input  logic                                  in_valid,
    input  logic [layout::INTENT_T_BITS-1:0]      in_intent,
    input  logic [31:0]                           in_reference_px,
    input  logic                                  is_killed,
    input  logic [47:0]                           gate_rate_interval,
    input  logic [47:0]                           gate_rate_burst,
    input  logic                                  limits_we,
    input  logic [5:0]                            limits_symbol,
    input  logic [layout::SYMBOL_LIMITS_T_BITS-1:0] limits_value,
    input  logic                                  action_valid,  // a trading action of the venue
    input  logic [5:0]                            action_symbol,
    input  logic [7:0]                            action_state,
    input  logic [63:0]                           action_number,
    input  logic                                  state_valid,   // the host's word on it
    output logic                                  state_ready,
    input  logic [5:0]                            state_symbol,
    input  logic [7:0]                            state_value,
    input  logic                                  release_valid,
    output logic                                  release_ready,
    input  logic [5:0]                            release_symbol,
    input  logic [33:0]                           release_long,
    input  logic [33:0]                           release_short,
    input  logic [5:0]                            r_symbol,
    output logic [layout::SYMBOL_LIMITS_T_BITS-1:0] r_limits,
    output logic [layout::SYMBOL_STATE_T_BITS-1:0]  r_state,
    output logic [63:0]                           halted,
    output logic                                  issued,        // S is loaded in this cycle
    output logic [15:0]                           issued_tag,
    output logic [5:0]                            issued_symbol,
    output logic                                  out_valid,
    output logic [layout::VERDICT_T_BITS-1:0]     out_verdict,
    output logic [layout::INTENT_T_BITS-1:0]      out_intent,
    output logic                                  dropped,
    output logic [31:0]                           peak           // most that ever waited
);
  localparam int AW = $clog2(DEPTH);
  localparam int IW = layout::INTENT_T_BITS;
  localparam int LW = layout::SYMBOL_LIMITS_T_BITS;
  localparam int MW = layout::SYMBOL_STATE_T_BITS - 1;  // without the halt

  // ------------------------------------------------ the queue, and S
  (* ram_style = "distributed" *) logic [IW+31:0] queue[0:DEPTH-1];
  logic [AW:0] queue_n;
  logic [AW-1:0] queue_w, queue_r;
  logic [2:0] busy;
  wire free = ~|busy;
  wire waits = queue_n != 0;
  wire issue = free & (waits | in_valid);
  wire leaves = free & waits;
  wire enters = in_valid & ~(free & ~waits) & (queue_n != (AW + 1)'(DEPTH) | leaves);
  wire [31:0] waiting = 32'(queue_n);
  layout::intent_t s_intent, r_intent, o_intent;
  logic [31:0] s_reference_px, r_reference_px;
  logic [6:1] v;
  always_ff @(posedge clk) begin
    if (enters) queue[queue_w] <= {in_intent, in_reference_px};
    if (issue) {s_intent, s_reference_px} <= waits ? queue[queue_r] : {in_intent, in_reference_px};
    queue_w <= queue_w + AW'(enters);
    queue_r <= queue_r + AW'(leaves);
    queue_n <= queue_n + (AW + 1)'(enters) - (AW + 1)'(leaves);
    if (waiting > peak) peak <= waiting;
    dropped <= in_valid & ~(free & ~waits) & ~enters;
    busy <= {busy[1:0], issue};
    v <= {v[5:1], issue};
    if (rst) {queue_w, queue_r, queue_n, peak, dropped, busy, v} <= '0;
  end
  assign issued = v[1];
  assign issued_tag = s_intent.sideband.tag;
  assign issued_symbol = s_intent.symbol;
  wire [5:0] s_symbol = s_intent.symbol;
  wire [5:0] r_symbol_ = r_intent.symbol;
  wire [5:0] o_symbol = o_intent.symbol;

  // ------------------------------------------------ trading states
  (* ram_style = "distributed" *) logic [63:0] since[0:63];
  logic [63:0] halted_before;
  logic [63:0] r_since;
  logic r_now, r_before;
  assign state_ready = ~action_valid;
  wire by_host = state_valid & state_ready;
  wire [5:0] told_symbol = action_valid ? action_symbol : state_symbol;
  wire told_halts = (action_valid ? action_state : state_value)
                    != layout::ITCH50_TRADING_STATE_TRADING;
  always_ff @(posedge clk) begin
    if (action_valid | by_host) begin
      since[told_symbol] <= action_valid ? action_number : '0;
      halted_before[told_symbol] <= halted[told_symbol];
      halted[told_symbol] <= told_halts;
    end
    r_since <= since[s_symbol];
    {r_now, r_before} <= {halted[s_symbol], halted_before[s_symbol]};
    if (rst) {halted, halted_before} <= '1;
  end

  // ------------------------------------------------ R: limits, state, products
  (* ram_style = "distributed" *) logic [LW-1:0] limits[0:63];
  (* ram_style = "distributed" *) logic [MW-1:0] states[0:63];
  logic [63:0] has_limits, has_state;
  logic [LW-1:0] r_given;
  logic [MW-1:0] r_known;
  logic [127:0] products, r_products;
  logic [63:0] notional;
  layout::gated_t gated;
  wire [MW-1:0] after = {gated.state.long_exposure, gated.state.short_exposure,
                         gated.state.rate_arrival};
  risk_products multiply (.price(s_intent.price), .quantity(s_intent.quantity), .out(products));
  risk_notional add (.products(r_products), .out(notional));
  always_ff @(posedge clk) begin
    if (v[1]) begin
      r_intent <= s_intent;
      r_reference_px <= s_reference_px;
      r_products <= products;
      r_given <= has_limits[s_symbol] ? limits[s_symbol] : '0;
      if (v[6] & o_symbol == s_symbol) r_known <= after;
      else r_known <= has_state[s_symbol] ? states[s_symbol] : '0;
    end
    o_intent <= r_intent;
    if (limits_we) limits[limits_symbol] <= limits_value;
    if (limits_we) has_limits[limits_symbol] <= 1'b1;
    if (rst) has_limits <= '0;
  end

  // ------------------------------------------------ the kernel's inputs
  // Which states and whether a release is known one cycle before.
  logic [49:0] gate;
  logic forwards, may_merge;
  always_ff @(posedge clk) begin
    forwards <= v[5] & o_symbol == s_symbol;
    may_merge <= release_valid & s_symbol == release_symbol;
  end
  wire [49:0] gate_now = v[6] ? gated.gate : gate;
  wire [MW-1:0] known = forwards ? after : r_known;
  wire is_halted = r_intent.sideband.input_number >= r_since ? r_now : r_before;
  wire merges = release_valid & v[2] & may_merge;
  logic [MW:0] relieved;
  risk_release relieve (.state({is_halted, known}), .long_change(release_long),
                        .short_change(release_short), .out(relieved));
  risk_check check (
      .clk(clk), .rst(rst), .in_valid(v[2]), .intent(r_intent), .notional(notional),
      .now(r_intent.sideband.ts_event), .reference_px(r_reference_px),
      .gate_limits({is_killed, gate_rate_interval, gate_rate_burst}), .limits(r_given),
      .gate(gate_now), .state(merges ? relieved : {is_halted, known}), .out_valid(out_valid),
      .out(gated));
  assign out_verdict = gated.verdict;
  assign out_intent = o_intent;

  // ------------------------------------------------ releases, and the states written back
  // With no check of the symbol under way the state is read in one cycle and written in the next.
  logic d_v;
  logic [MW-1:0] d_known;
  logic [MW:0] d_relieved;
  wire apart = release_valid & ~v[6] & ~(v[1] & s_symbol == release_symbol)
               & ~((|v[5:2]) & r_symbol_ == release_symbol);
  wire writes = d_v & apart;
  risk_release direct (.state({1'b0, d_known}), .long_change(release_long),
                       .short_change(release_short), .out(d_relieved));
  assign release_ready = merges | writes;
  always_ff @(posedge clk) begin
    d_v <= apart & ~writes;
    d_known <= has_state[release_symbol] ? states[release_symbol] : '0;
    if (v[6]) gate <= gated.gate;
    if (v[6] | writes) begin
      states[v[6] ? o_symbol : release_symbol] <= v[6] ? after : d_relieved[MW-1:0];
      has_state[v[6] ? o_symbol : release_symbol] <= 1'b1;
    end
    if (rst) begin
      d_v <= 1'b0;
      gate <= '0;
      has_state <= '0;
    end
  end
  assign r_limits = has_limits[r_symbol] ? limits[r_symbol] : '0;
  assign r_state = {halted[r_symbol], has_state[r_symbol] ? states[r_symbol] : {MW{1'b0}}};
endmodule
