"""Known faults of the back's sources; `mutants` puts them in."""

from tickpath_backends.hdl.mutant import Mutant

MUTANTS = (
    Mutant("verdict not forwarded at 4", "risk", "forwards ? after : r_known", "r_known"),
    Mutant(
        "verdict not forwarded at 5",
        "risk",
        "if (v[6] & o_symbol == s_symbol) r_known <= after;\n      else r_known",
        "r_known",
    ),
    Mutant("verdict forwarded to any symbol", "risk", "v[5] & o_symbol == s_symbol", "v[5]"),
    Mutant("gate not forwarded", "risk", "v[6] ? gated.gate : gate;", "gate;"),
    Mutant("intents three cycles apart", "risk", "free = ~|busy;", "free = ~|busy[1:0];"),
    Mutant("switch stuck", "risk", ".gate_limits({is_killed,", ".gate_limits({1'b0,"),
    Mutant("only the last action", "risk", "r_since ? r_now : r_before", "r_since ? r_now : r_now"),
    Mutant(
        "action of its own message", "risk", "input_number >= r_since", "input_number > r_since"
    ),
    Mutant("release twice", "risk", "release_ready = merges | writes", "release_ready = writes"),
    Mutant("release lost", "risk", "merges ? relieved : {is_halted, known}", "{is_halted, known}"),
    Mutant(
        "release under a check",
        "risk",
        "               & ~((|v[5:2]) & r_symbol_ == release_symbol);",
        ";",
    ),
    Mutant("release as R reads", "risk", " & ~(v[1] & s_symbol == release_symbol)", ""),
    Mutant("queue runs over", "risk", "(queue_n != (AW + 1)'(DEPTH) | leaves)", "1'b1"),
    Mutant(
        "what held is kept too long",
        "trigger",
        "if (was_top) held[last_symbol]",
        "if (out_valid) held[last_symbol]",
    ),
    Mutant("parameters leave what held", "trigger", "held[counted_symbol] <= 2'b00;", ";"),
    Mutant("parameters see what held", "trigger", "is_new ? 2'b00 :", ""),
    Mutant("what held is not forwarded", "trigger", "is_again ? last_holds :", ""),
    Mutant(
        "parameters of the top before",
        "trigger",
        "chosen <= parameters[next_symbol];",
        "chosen <= parameters[symbol];",
    ),
    Mutant("gap from the next cycle on", "trigger", "stale[symbol] | gapped |", "stale[symbol] |"),
    Mutant(
        "rescanned tops do not fire",
        "trigger",
        "out_valid <= in_valid & fired.fires;",
        "out_valid <= in_valid & ~in_rescanned & fired.fires;",
    ),
    Mutant(
        "large level passes once",
        "trigger",
        "in_flags[3] | in_flags[2] | in_flags[1];",
        "in_flags[3] | in_flags[1];",
    ),
    Mutant(
        "dropped intent goes unsaid",
        "trigger",
        "if (dropped) orders_overflow[dropped_symbol] <= 1'b1;",
        "",
    ),
    Mutant(
        "dropped order goes unsaid",
        "trigger",
        "if (refused) orders_overflow[refused_symbol] <= 1'b1;",
        "",
    ),
    Mutant(
        "dropped intent of another symbol",
        "back_top",
        "fired_symbol <= intent[layout::INTENT_T_BITS-1-:6];",
        "fired_symbol <= in_symbol;",
    ),
    Mutant("full store is forgotten", "trigger", "if (in_valid & in_flags[0])", "if (0)"),
    Mutant("short sales not marked", "encode", "in_is_short ?", "1'b0 ?"),
    Mutant(
        "refused orders are numbered",
        "encode",
        "if (taken | in_refused) next",
        "if (in_valid | in_refused) next",
    ),
    Mutant("bytes the other way round", "serialiser", "word[DW-1-8*i-:8]", "word[8*i+:8]"),
    Mutant("a byte too many", "serialiser", "left > 9'(i)", "left >= 9'(i)"),
    Mutant("FIFO runs over", "serialiser", "(queue_n != (AW + 1)'(DEPTH) | leaves)", "1'b1"),
    Mutant("word not held", "serialiser", "~m_axis_tvalid | m_axis_tready;", "1'b1;"),
    Mutant(
        "an order overtakes", "serialiser", "between & ~waits & is_message", "between & is_message"
    ),
    Mutant("counted twice", "latency", "was + 32'd1", "was + 32'd2"),
    Mutant("longest is the last", "latency", "clear | cycles > most", "1'b1"),
    Mutant(
        "halves of two moments",
        "registers",
        "r_address[2] ? high :",
        "r_address[2] ? r_double[63:32] :",
    ),
    Mutant("switch never on", "registers", "is_killed <= w_data[0];", "is_killed <= 1'b0;"),
    Mutant("entry beyond the table", "registers", "fetches & in_range;", "fetches;"),
    Mutant("tick of another bit", "back_top", "SYMBOL_LIMITS_T_BITS-2", "SYMBOL_LIMITS_T_BITS-1"),
    Mutant("name too late", "back_top", "name <= names[judged.symbol];", "name <= names[symbol];"),
)
