// A top of book in, an intent where the symbol's trigger fires: one cycle.
//
// A top's parameters are read one cycle before it comes, by `next_symbol`; those that are written in
// that cycle count from the top behind it on.  What held at the symbol's last top is written one cycle
// behind it and forwarded until then: tops of one symbol in a row see each other.  New parameters
// start with nothing held: they fire at the first top they count for where the condition holds.
//
// A symbol is not usable, which counts as not holding, once its book cannot be trusted:
//     window_overflow    an order is off the grid, or a level too large to be counted
//     orders_overflow    the order store had no room, or what waits behind it for one of its orders
//     stale              messages were missed
// These stay until the host clears them, whatever later tops say; where both come in one cycle the
// cause stays.  A symbol that has no parameters yet is not usable either.
`include "layout.svh"
module trigger (
    input  logic                                  clk,
    input  logic                                  rst,
    input  logic [5:0]                            next_symbol,  // of the next cycle's top, if any
    input  logic                                  in_valid,
    input  logic [layout::TOP_T_BITS-1:0]         in_top,
    input  logic [3:0]                            in_flags,  // as book.sv's out_flags
    input  logic                                  in_rescanned,
    input  logic                                  dropped,  // an intent for which there was no room
    input  logic [5:0]                            dropped_symbol,
    input  logic                                  refused,  // an order for which there was none
    input  logic [5:0]                            refused_symbol,
    input  logic                                  gap_valid,
    input  logic                                  gap_all,
    input  logic [5:0]                            gap_symbol,
    input  logic [63:0]                           clear_window,
    input  logic [63:0]                           clear_orders,
    input  logic [63:0]                           clear_stale,
    output logic [63:0]                           window_overflow,
    output logic [63:0]                           orders_overflow,
    output logic [63:0]                           stale,
    input  logic                                  we,
    input  logic [5:0]                            w_symbol,
    input  logic [layout::TRIGGER_PARAMETERS_T_BITS-1:0] w_parameters,
    input  logic [5:0]                            r_symbol,
    output logic [layout::TRIGGER_PARAMETERS_T_BITS-1:0] r_parameters,
    output logic                                  out_valid,
    output logic [layout::INTENT_T_BITS-1:0]      out_intent,
    output logic [31:0]                           out_reference_px,
    output logic                                  was_top,       // pulses, one cycle behind
    output logic                                  was_unusable,
    output logic                                  was_rescanned
);
  localparam int PW = layout::TRIGGER_PARAMETERS_T_BITS;
  (* ram_style = "distributed" *) logic [PW-1:0] parameters[0:63];
  logic [PW-1:0] chosen;
  logic counts, counted;  // what was written one cycle ago, and two
  logic [5:0] counts_symbol, counted_symbol, last_symbol;
  logic [1:0] last_holds;
  logic [63:0] written;
  logic [63:0][1:0] held;
  layout::top_t top, judged;
  layout::fired_t fired;
  assign top = in_top;
  wire [5:0] symbol = top.symbol;

  wire gapped = gap_valid & (gap_all | gap_symbol == symbol);
  wire window_now = window_overflow[symbol] | in_flags[3] | in_flags[2] | in_flags[1];
  wire orders_now = orders_overflow[symbol] | in_flags[0];
  wire stale_now = stale[symbol] | gapped | ~written[symbol];
  always_comb begin
    judged = top;
    judged.window_overflow = window_now | stale_now;
    judged.orders_overflow = orders_now;
  end
  wire is_new = counted & counted_symbol == symbol;
  wire is_again = was_top & last_symbol == symbol;
  wire [1:0] held_now = is_new ? 2'b00 : is_again ? last_holds : held[symbol];
  trigger_step step (.book(judged), .parameters(chosen), .held(held_now), .out(fired));

  assign r_parameters = written[r_symbol] ? parameters[r_symbol] : '0;
  always_ff @(posedge clk) begin
    out_valid <= in_valid & fired.fires;
    out_intent <= fired.intent;
    out_reference_px <= fired.reference_px;
    was_top <= in_valid;
    was_unusable <= in_valid & (window_now | orders_now | stale_now);
    was_rescanned <= in_valid & in_rescanned;
    if (we) parameters[w_symbol] <= w_parameters;
    chosen <= parameters[next_symbol];
    {counts, counts_symbol} <= {we, w_symbol};
    {counted, counted_symbol} <= {counts, counts_symbol};
    {last_symbol, last_holds} <= {symbol, fired.holds};
    if (was_top) held[last_symbol] <= last_holds;
    if (counted) held[counted_symbol] <= 2'b00;
    if (counts) written[counts_symbol] <= 1'b1;
    window_overflow <= window_overflow & ~clear_window;
    orders_overflow <= orders_overflow & ~clear_orders;
    stale <= stale & ~clear_stale;
    if (in_valid & (in_flags[3] | in_flags[2] | in_flags[1])) window_overflow[symbol] <= 1'b1;
    if (in_valid & in_flags[0]) orders_overflow[symbol] <= 1'b1;
    if (dropped) orders_overflow[dropped_symbol] <= 1'b1;
    if (refused) orders_overflow[refused_symbol] <= 1'b1;
    if (gap_valid) begin
      if (gap_all) stale <= '1;
      else stale[gap_symbol] <= 1'b1;
    end
    if (rst) begin
      {counts, counted, out_valid, was_top, was_unusable, was_rescanned} <= '0;
      {window_overflow, orders_overflow, stale, written, held} <= '0;
    end
  end
endmodule
