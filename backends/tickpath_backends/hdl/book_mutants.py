"""Known faults of the book's sources; `mutants` puts them in."""

from tickpath_backends.hdl.mutant import Mutant

MUTANTS = (
    Mutant("row not forwarded at 2", "side", "by7 ? next7 : by8", "by8"),
    Mutant("row not forwarded at 3", "side", "by8 ? row8 : row_read", "row_read"),
    Mutant("order not forwarded at 1", "order_store", "same[1] && new_we", "same[1] && 1'b0"),
    *(
        Mutant(
            f"order not forwarded at {d}",
            "order_store",
            "if (same[d] && q_we[d-2])",
            f"if (d != {d} && same[d] && q_we[d-2])",
        )
        for d in range(2, 7)
    ),
    Mutant("bucket not forwarded at 2", "order_store", "if (new_we && s5_ins &&", "if (1'b0 &&"),
    *(
        Mutant(
            f"bucket not forwarded at {d}",
            "order_store",
            "if (q_we[d-3] && q_loc[d-3] == w[2:0]",
            f"if (d != {d} && q_we[d-3] && q_loc[d-3] == w[2:0]",
        )
        for d in range(3, 7)
    ),
    *(
        Mutant(f"level not forwarded at {d}", "levels", f"is{d} = e{d + 2} &&", f"is{d} = 1'b0 &&")
        for d in range(1, 5)
    ),
    Mutant("bits not forwarded", "levels", "e5 && a5[AW-1:5] == a4[AW-1:5] ? word5 :", ""),
    Mutant("groups not forwarded", "levels", "e6 && a6[AW-1:PW] == a5[AW-1:PW] ? groups6 :", ""),
    Mutant("group bit lost", "levels", "any6 <= |word5", "any6 <= some5"),
    Mutant("empty level stays", "levels", "was != d3", "1'b1"),
    Mutant("drain one less", "book", "parameter int DRAIN = 6", "parameter int DRAIN = 5"),
    Mutant("critical one less", "book", "parameter int CRITICAL = 5", "parameter int CRITICAL = 4"),
    Mutant("never blocked", "book", "r0_v & ~(blocked_b[r0_sym] | blocked_a[r0_sym])", "r0_v"),
    Mutant(
        "refill's write lost",
        "window",
        "if (!v7) begin  // no operation writes a row",
        "begin  // -",
    ),
    Mutant(
        "tables' write lost",
        "window",
        "if (!v6) begin  // no operation writes its counts",
        "begin  // -",
    ),
    Mutant("refill reads in others' slots", "window", "wanted != 0 & level_free", "wanted != 0"),
    Mutant("row read in others' slots", "window", "if (row_free) begin", "begin"),
    Mutant("pushed out, and forgotten", "cache_update", "(enters & ~leaves & valid[N-1]) |", ""),
    Mutant("below the cache", "cache_update", "| ~row[MORE])", "| 1'b1)"),
    Mutant("net change as two", "side", "ins6 & red6 & same6", "1'b0"),
    Mutant("change not published", "cache_update", "| (enters & ~ins_after[0])", ""),
    Mutant("limit off by one", "book", "{1'b0, new_key5} >= limit5", "{1'b0, new_key5} > limit5"),
    Mutant(
        "old limit off by one", "book", "{1'b0, old_key5} >= limit5", "{1'b0, old_key5} > limit5"
    ),
    Mutant("base off by one", "book", "{1'b0, new_key5} < base5", "{1'b0, new_key5} <= base5"),
    Mutant("far orders not dropped", "window", "(reach < limit) & ~reach[KW]", "1'b0"),
    Mutant("dropped not remembered", "window", "if (did_drop & moving) begin", "if (0) begin"),
    Mutant("far order not counted", "window", "far_op ? far_next : far;", "far;"),
    Mutant(
        "near level not written",
        "window",
        "assign put = collecting | (",
        "assign put = collecting | (dropping & ",
    ),
    Mutant(
        "window follows over far orders",
        "window",
        "reach <= new_limit < far[KW:0] ? new_limit : far[KW:0];",
        "reach <= new_limit;",
    ),
    Mutant(
        "first word only once",
        "level_search",
        "tail <= ~last & (origin[4:0] != 0);",
        "tail <= 1'b0;",
    ),
    Mutant("search does not go around", "level_search", "around <= last |", "around <= 1'b1 |"),
    Mutant(
        "stuck valid",
        "book",
        "assign out_valid = v[8] & ~recall",
        "assign out_valid = (v[8] | (v[7] & `OP(7) == DELETE)) & ~recall",
    ),
    Mutant(
        "more than the rest taken",
        "book",
        "red_qty6 <= gone5 ? old_qty : `QTY(5);",
        "red_qty6 <= all5 ? old_qty : `QTY(5);",
    ),
    Mutant(
        "last share left behind", "book", "all5 | `QTY(5) >= old_qty", "all5 | `QTY(5) > old_qty"
    ),
    Mutant("zero added", "book", "& ~zero5 & ~recall;", "& ~recall;"),
    Mutant("duplicate added", "book", "want6 & s5_room & ~duplicate6;", "want6 & s5_room;"),
    Mutant(
        "own reference refused", "book", "s5_found & ~(`SELF(6) & `OP(6) == REPLACE)", "s5_found"
    ),
    Mutant(
        "wrong symbol taken",
        "book",
        "s5_v & ~s5_ins & s5_found & s5_own;\n  wire red5",
        "s5_v & ~s5_ins & s5_found;\n  wire red5",
    ),
    Mutant("ninth way", "order_store", "s5_room  <= ~&occ;", "s5_room  <= 1'b1;"),
    Mutant("fuller bucket", "order_store", "if (n2 < n1)", "if (n2 <= n1)"),
    Mutant("grid of 25", "book", "times3 <= 12'd163", "times3 <= 12'd164"),
    Mutant("reset leaves the pipeline", "book", "    if (rst) v <= '0;\n", ""),
    Mutant(
        "rescan skips a way",
        "rescan",
        "{ways, held} <= {mine, row_order};",
        "{ways, held} <= {mine & 8'h7f, row_order};",
    ),
    Mutant(
        "rescan skips a row", "rescan", "sub <= a4[GW-1:0] + 1'b1;", "sub <= a4[GW-1:0] + 2'd2;"
    ),
    Mutant("rescan forgets rows", "rescan", "found[hit_bit] <= 1'b1;", ""),
    Mutant("rescan runs twice", "rescan", "if (wanted != 0 & ~publish)", "if (wanted != 0)"),
    Mutant("rows not forwarded at 2", "side_rows", "v5 && a5 == a[3] ? w5 : word", "word"),
    Mutant(
        "orders of another side",
        "order_store",
        "q_order[0][OW-1-:7];",
        "{q_order[0][OW-1-:6], 1'b0};",
    ),
    Mutant("recall leaves stage 6 in the store", "order_store", "q_we[0] & ~recall;", "q_we[0];"),
    Mutant(
        "recall leaves halves in the store",
        "order_store",
        "if (rst | recall) v <=",
        "if (rst) v <=",
    ),
    Mutant("recall leaves the pipeline", "book", "v  <= recall ? '0 : {", "v  <= {"),
    Mutant("recall leaves a reduction", "book", "red5 & ~recall,", "red5,"),
    Mutant("recall leaves levels", "side", "red6 & ~red_near6 & ~recall;", "red6 & ~red_near6;"),
    Mutant("recall leaves counts", "side", "{row6, v6 & ~recall, sym6}", "{row6, v6, sym6}"),
    Mutant("recall leaves an insertion", "side", "ins6 & ~recall, net6", "ins6, net6"),
    Mutant("recalled from one too late", "book", "recent_p + 3'd1", "recent_p + 3'd2"),
    Mutant("recalled from one too early", "book", "recall ? recent_p + 3'd1", "recall ? recent_p"),
    Mutant("others overtake", "book", "& ~r0_v & ~held & ~recall;", "& ~r0_v & ~recall;"),
    Mutant("lost sideband", "book", "publish ? lost_sb : r0_sb", "r0_sb"),
    Mutant("live orders not counted", "book", "live <= live_next;", "live <= live;"),
    Mutant(
        "large level unsaid", "book", "if (v[8] & (out_bid_sz[QW-1]", "if (1'b0 & (out_bid_sz[QW-1]"
    ),
)
