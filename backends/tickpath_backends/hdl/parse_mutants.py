"""Known faults of the front's sources; `mutants` puts them in."""

from tickpath_backends.hdl.mutant import Mutant

MUTANTS = (
    Mutant("a fifth tag is taken", "ethernet_filter", "& tags != MAX_TAGS)", ")"),
    Mutant("fragments are taken", "ethernet_filter", "piece[FRAGMENT_LOW+:14] != 0", "1'b0"),
    Mutant("any port of the group", "ethernet_filter", "& ports[g] == port_q;", ";"),
    Mutant("any address", "ethernet_filter", "& addresses[g] == address_q", ""),
    Mutant("groups that are off", "ethernet_filter", "enabled[g] & addresses[g]", "addresses[g]"),
    Mutant(
        "a packet's header too short",
        "ethernet_filter",
        "is_mold_short = udp_length_q < MOLD_MIN;",
        "is_mold_short = udp_length_q < MOLD_MIN - 4;",
    ),
    Mutant(
        "tags are no bytes", "ethernet_filter", "17'(layout::FRAME_VLAN_TAG_LENGTH) *", "17'd0 *"
    ),
    Mutant(
        "UDP longer than IP",
        "ethernet_filter",
        "| {1'b0, udp_length_q} > ip_room;",
        ";",
    ),
    Mutant(
        "sequence without its last bytes",
        "ethernet_filter",
        "header[31:16] = {lanes[B], lanes[B+1]};",
        "",
    ),
    Mutant(
        "one option too few", "ethernet_filter", "options = less_one(options);", "options = '0;"
    ),
    Mutant("known messages come again", "line_check", "~is_ahead & behind != 0;", "1'b0;"),
    Mutant("all of a gap is believed", "line_check", "is_far & is_seen_far &", "1'b0 &"),
    Mutant(
        "far is one too near",
        "line_check",
        "sequence_number} > far_w;",
        "sequence_number} >= far_w;",
    ),
    Mutant(
        "a candidate is forgotten",
        "line_check",
        "if (c_candidate) candidates[line_w] <= end_c;",
        "",
    ),
    Mutant(
        "another session unseen",
        "line_check",
        "is_same <= session_w == session;",
        "is_same <= 1'b1;",
    ),
    Mutant(
        "an end is 65,535 messages",
        "line_check",
        "is_empty = is_end | is_beat;",
        "is_empty = is_beat;",
    ),
    Mutant(
        "a packet's lines mixed",
        "line_check",
        "if (verdict) begin\n      {known_w, wanted_w, line_w} <= {known[line], wanted, line};",
        "if (verdict) begin\n      {known_w, wanted_w, line_w} <= {known[line], wanted, 2'd0};",
    ),
    Mutant(
        "a gap is not counted", "line_check", "gap_messages <= ahead_by;", "gap_messages <= '0;"
    ),
    Mutant(
        "half a length is lost", "mold_splitter", "first_byte <= lanes[B-1];", "first_byte <= '0;"
    ),
    Mutant(
        "a block behind the last",
        "mold_splitter",
        "none_left <= (start ? start_count : left) == 16'd1;",
        "none_left <= (start ? start_count : left) == 16'd0;",
    ),
    Mutant(
        "a block beyond the payload", "mold_splitter", "{1'b0, length_open} > slack_q;", "1'b0;"
    ),
    Mutant(
        "a small block is not seen",
        "mold_splitter",
        "& is_tiny & fits[says[LB-1:0]];",
        "& 1'b0;",
    ),
    Mutant(
        "ends before the decision", "mold_splitter", "& body & ~(decided | decides);", "& 1'b0;"
    ),
    Mutant("trailing bytes go unsaid", "mold_splitter", "if (stop_trailing & take)", "if (1'b0)"),
    Mutant("wrong byte lane", "aligner", "= data[8*i+:8];", "= data[8*(i^1)+:8];"),
    Mutant(
        "lane of the word before", "aligner", "begun = swapped << {lane, 3'd0};", "begun = swapped;"
    ),
    Mutant(
        "a gap takes no number",
        "parse",
        "(NB + 1)'(is_new) + (NB + 1)'(stale);",
        "(NB + 1)'(is_new);",
    ),
    Mutant("time goes back", "parse", "is_known & ~is_late ? now", "is_known ? now"),
    Mutant("known ones are not passed over", "parse", "take & ~skips;", "take;"),
    Mutant(
        "locate 0 is a symbol",
        "symbol_filter",
        "cfg_subscribed & cfg_locate != 0",
        "cfg_subscribed",
    ),
    Mutant(
        "a cut frame looks whole", "word_fifo", "{in_bad & in_last | cuts,", "{in_bad & in_last,"
    ),
    Mutant("a lost frame goes unsaid", "word_fifo", "~dropping & (drops | cuts);", "1'b0;"),
)
