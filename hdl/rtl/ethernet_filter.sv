`include "layout.svh"
`include "parse_counts.svh"
// From the words of a frame to where its MoldUDP64 messages begin: Ethernet II, up to four VLAN
// tags, IPv4 with options, UDP to one of the configured groups, the packet's header.
//
// All headers behind the Ethernet type are multiples of four bytes, and so is its distance from
// two bytes before the frame: the frame is walked in such pieces of four, DW/32 in a word, each of
// which has a bit of its own in `here`.  The walk goes on as far as the headers' lengths allow; what
// they say is judged from registers one cycle later (`verdict`), and why a frame is passed over is
// counted once it is over (`passed`), because a frame that ends too early is that before it is
// anything else.
//
// Taken as the software does: lengths have to agree, no fragments; checksums are not looked at (a
// capture has them before they are filled in, and the MAC has checked the frame).  A word is walked
// when it comes first (`fresh`); the splitter may hold it longer.
module ethernet_filter #(
    parameter int DW     = 64,
    parameter int GROUPS = 8,
    parameter int LINES  = 4
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      cfg_we,
    input  logic [$clog2(GROUPS)-1:0] cfg_group,
    input  logic                      cfg_enabled,
    input  logic [31:0]               cfg_address,
    input  logic [15:0]               cfg_port,
    input  logic [$clog2(LINES)-1:0]  cfg_line,   // two groups of one line are its A and its B
    input  logic                      fresh,
    input  logic [DW-1:0]             data,
    input  logic [$clog2(DW/8):0]     bytes,
    input  logic [DW/8:0]             has,        // bit n: the word has n bytes
    input  logic                      last,
    input  logic                      bad,
    output logic                      is_next,    // the messages begin in the next word ...
    output logic [$clog2(DW/8)-1:0]   next_lane,  // ... in this lane, behind the header
    output logic                      starts,     // a register: they begin in this word
    output logic [15:0]               start_count,
    output logic [15:0]               payload,    // bytes behind it, by the UDP length
    // registers
    output logic                      judged,     // a pulse, one cycle before `verdict`
    output logic                      verdict,    // a pulse: `wanted` and `line` are of this frame
    output logic                      wanted,
    output logic [$clog2(LINES)-1:0]  line,
    output logic                      sequence_done,  // a pulse: session and sequence stand
    output logic                      count_done,     // a pulse: the count too
    output logic [79:0]               session,
    output logic [63:0]               sequence_number,
    output logic [15:0]               message_count,
    output logic [15:0]               tag,        // the frame's number, the first is 1
    // once a frame is over
    output logic                      over,       // a pulse
    output logic                      over_bad,
    output logic                      over_damaged,  // bad or short, and it had begun to be taken
    output logic [parse_counts::MOLD_INVALID:0] passed  // why it was not taken; bit PACKETS always
);
  localparam int B = DW / 8;
  localparam int PIECES = DW / 32;
  localparam int LB = $clog2(B);
  // Numbers of the pieces.
  localparam int ETHER = (layout::FRAME_ETHERNET_ETHER_TYPE_AT + 2) / 4;
  localparam int IP = ETHER + 1;
  localparam int IP_END = IP + layout::FRAME_IPV4_LENGTH / 4;
  localparam int OPTION = IP_END;
  localparam int UDP = OPTION + 1;
  localparam int UDP_END = UDP + layout::FRAME_UDP_LENGTH / 4;
  localparam int MOLD = UDP_END;
  localparam int MOLD_LAST = MOLD + layout::MOLDUDP64_DOWNSTREAM_PACKET_LENGTH / 4 - 1;
  localparam int REST = MOLD_LAST + 1;
  localparam int LENGTH_HERE = IP + layout::FRAME_IPV4_TOTAL_LENGTH_AT / 4;
  localparam int FRAGMENT_HERE = IP + layout::FRAME_IPV4_FLAGS_FRAGMENT_OFFSET_AT / 4;
  localparam int PROTOCOL_HERE = IP + layout::FRAME_IPV4_PROTOCOL_AT / 4;
  localparam int ADDRESS_HERE = IP + layout::FRAME_IPV4_DESTINATION_ADDRESS_AT / 4;
  localparam int PORT_HERE = UDP + layout::FRAME_UDP_DESTINATION_PORT_AT / 4;
  localparam int UDP_LENGTH_HERE = UDP + layout::FRAME_UDP_LENGTH_AT / 4;
  // Where a field's lowest bit is in its piece.
  localparam int VERSION_LOW = 8 * (3 - layout::FRAME_IPV4_VERSION_IHL_AT % 4);
  localparam int TOTAL_LOW = 8 * (2 - layout::FRAME_IPV4_TOTAL_LENGTH_AT % 4);
  localparam int FRAGMENT_LOW = 8 * (2 - layout::FRAME_IPV4_FLAGS_FRAGMENT_OFFSET_AT % 4);
  localparam int PROTOCOL_LOW = 8 * (3 - layout::FRAME_IPV4_PROTOCOL_AT % 4);
  localparam int PORT_LOW = 8 * (2 - layout::FRAME_UDP_DESTINATION_PORT_AT % 4);
  localparam int UDP_LENGTH_LOW = 8 * (2 - layout::FRAME_UDP_LENGTH_AT % 4);
  localparam int MAX_TAGS = 4;
  // In narrow words the word before the messages has pieces only that are followed by the next one,
  // whatever stands in them: where the walk will be is known from where it is.
  localparam bit IS_NARROW = MOLD_LAST - 2 * PIECES + 1 >= UDP;

  function automatic logic is_tag(input logic [15:0] ether_type);
    is_tag = ether_type == layout::FRAME_ETHER_TYPE_VLAN | ether_type == layout::FRAME_ETHER_TYPE_QINQ
        | ether_type == layout::FRAME_ETHER_TYPE_QINQ_OLD;
  endfunction

  // A small step in look-up tables: a carry chain is slower.
  function automatic logic [3:0] less_one(input logic [3:0] n);
    less_one = {n[3] ^ ~|n[2:0], n[2] ^ ~|n[1:0], n[1] ^ ~n[0], ~n[0]};
  endfunction
  function automatic logic [3:0] options_of(input logic [3:0] words);
    options_of = '0;
    for (int n = 0; n < 16; n = n + 1)
      if (words == 4'(n)) options_of = 4'(n - layout::FRAME_IPV4_LENGTH / 4);
  endfunction

  // ------------------------------------------------------------ the walk
  logic first;
  logic [REST:0] here_q;
  logic [2:0] tags_q;
  logic [3:0] options, options_q;
  logic [15:0] tail;  // the last two bytes of the word before
  logic [16:0] length_q;
  logic has_type_q, is_ipv6_q, is_other_q, has_ip_q, has_mold_q;

  logic [REST:0] here, after;
  logic takes_tag, is_ip_type;
  logic [2:0] tags;
  logic has_type, is_ipv6, is_other, has_ip, has_mold;
  logic has_udp, has_sequence, has_count;
  logic [3:0] version, header_words, version_q, header_words_q;
  logic [15:0] total, total_q, udp_length, udp_length_q, port, port_q;
  logic is_fragment, is_fragment_q;
  logic [7:0] protocol, protocol_q;
  logic [31:0] address, address_q;
  logic [159:0] header, header_q;  // of the MoldUDP64 packet
  logic [31:0] piece;
  logic [PIECES-1:0] ends_at;      // so many pieces behind this word is the header's last one
  logic [PIECES-1:0] start_piece;  // the last piece of the header is this one of the word
  logic [7:0] lanes[0:B+1];  // two bytes of the word before, then the word

  always_comb begin
    lanes[0] = tail[15:8];
    lanes[1] = tail[7:0];
    for (int i = 0; i < B; i = i + 1) lanes[i+2] = data[8*i+:8];
    here = here_q;
    tags = first ? 3'd0 : tags_q;
    {has_type, is_ipv6, is_other, has_ip, has_mold} =
        first ? 5'd0 : {has_type_q, is_ipv6_q, is_other_q, has_ip_q, has_mold_q};
    options = options_q;
    {version, header_words, total, is_fragment, protocol, address, port, udp_length, header} =
        {version_q, header_words_q, total_q, is_fragment_q, protocol_q, address_q, port_q,
         udp_length_q, header_q};
    {has_udp, has_sequence, has_count} = '0;
    piece = '0;
    after = '0;
    {takes_tag, is_ip_type} = '0;
    for (int j = 0; j < PIECES; j = j + 1) begin
      piece = {lanes[4*j], lanes[4*j+1], lanes[4*j+2], lanes[4*j+3]};
      if (has[4*j+2]) begin
        if (here[LENGTH_HERE]) begin
          {version, header_words} = piece[VERSION_LOW+:8];
          total = piece[TOTAL_LOW+:16];
        end
        if (here[FRAGMENT_HERE]) is_fragment = piece[FRAGMENT_LOW+:14] != 0;
        if (here[PROTOCOL_HERE]) protocol = piece[PROTOCOL_LOW+:8];
        if (here[ADDRESS_HERE]) address = piece;
        if (here[PORT_HERE]) port = piece[PORT_LOW+:16];
        if (here[UDP_LENGTH_HERE]) udp_length = piece[UDP_LENGTH_LOW+:16];
        for (int k = 0; k <= MOLD_LAST - MOLD; k = k + 1)
          if (here[MOLD+k]) header[32*(MOLD_LAST-MOLD-k)+:32] = piece;
        is_ip_type = piece[15:0] == layout::FRAME_ETHER_TYPE_IPV4;
        takes_tag = here[ETHER] & (is_tag(piece[15:0]) & tags != MAX_TAGS);
        if (takes_tag) tags = {tags[2] ^ &tags[1:0], tags[1] ^ tags[0], ~tags[0]};
        if (here[ETHER] & ~takes_tag) begin
          has_type = 1'b1;
          is_ipv6 = piece[15:0] == layout::FRAME_ETHER_TYPE_IPV6;
          is_other = ~is_ipv6 & ~is_ip_type;
        end
        if (here[IP_END-1]) begin
          has_ip = 1'b1;
          options = options_of(header_words);
        end
        if (here[OPTION]) options = less_one(options);
        if (here[UDP_END-1]) has_udp = 1'b1;
        if (here[MOLD_LAST]) begin
          {has_mold, has_count} = '1;
          has_sequence = j != 0;  // else its last bytes came with the word before
        end
        after = here << 1;
        after[ETHER] = after[ETHER] | takes_tag;
        after[IP] = here[ETHER] & is_ip_type;
        after[OPTION] = (here[IP_END-1] | here[OPTION]) & options != 0;
        after[UDP] = (here[IP_END-1] | here[OPTION]) & options == 0;
        after[REST] = here[REST] | here[MOLD_LAST] | (here[ETHER] & ~takes_tag & ~is_ip_type);
        here = after;
      end
    end
    // From the UDP header on every piece is followed by the next.
    for (int j = 0; j < PIECES; j = j + 1)
      ends_at[j] = IS_NARROW ? here_q[MOLD_LAST-j-PIECES] : here[MOLD_LAST-j];
    {is_next, next_lane} = '0;
    for (int j = 0; j < PIECES; j = j + 1)
      if (fresh & ~last & has[B-2] & ends_at[j]) begin
        is_next = 1'b1;
        next_lane = next_lane | LB'(4 * j + 2);
      end
    start_count = '0;
    for (int j = 0; j < PIECES; j = j + 1)
      if (start_piece[j]) start_count = start_count | {lanes[4*j+2], lanes[4*j+3]};
    if (ends_at[0] & has[B]) begin
      has_sequence = 1'b1;
      header[31:16] = {lanes[B], lanes[B+1]};
    end
  end

  always_ff @(posedge clk) begin
    {judged, sequence_done, count_done, over_1} <= '0;
    if (fresh) begin
      first <= last;
      starts <= is_next;
      start_piece <= ends_at;
      if (first) tag <= tag + 16'd1;
      tail <= {lanes[B], lanes[B+1]};
      length_q <= (first ? 17'd0 : length_q) + 17'(bytes);
      {here_q, tags_q, options_q} <= {last ? (REST + 1)'(1) : here, tags, options};
      {has_type_q, is_ipv6_q, is_other_q, has_ip_q, has_mold_q} <=
          {has_type, is_ipv6, is_other, has_ip, has_mold};
      {version_q, header_words_q, total_q, is_fragment_q, protocol_q, address_q, port_q} <=
          {version, header_words, total, is_fragment, protocol, address, port};
      {udp_length_q, header_q} <= {udp_length, header};
      judged <= has_udp;
      sequence_done <= has_sequence;
      count_done <= has_count;
      over_1 <= last;
      bad_1 <= bad;
    end
    if (rst) begin
      {judged, sequence_done, count_done, over_1} <= '0;
      first <= 1'b1;
      here_q <= (REST + 1)'(1);
      starts <= 1'b0;
      tag <= '0;
    end
  end
  assign session = header_q[159:80];
  assign sequence_number = header_q[79:16];
  assign message_count = header_q[15:0];

  // ------------------------------------------------------------ the verdict, a cycle later
  logic [GROUPS-1:0] enabled, hits;
  logic [GROUPS-1:0][31:0] addresses;
  logic [GROUPS-1:0][15:0] ports;
  logic [GROUPS-1:0][$clog2(LINES)-1:0] lines;
  logic [$clog2(LINES)-1:0] line_now;
  localparam int MOLD_MIN = layout::FRAME_UDP_LENGTH + layout::MOLDUDP64_DOWNSTREAM_PACKET_LENGTH;
  wire [15:0] payload_now = udp_length_q - 16'(MOLD_MIN);
  assign payload = payload_now;
  logic over_1, bad_1;
  wire [16:0] ip_bytes = {11'd0, header_words_q, 2'd0};
  // Bytes behind the IP header; negative: in bit 16.  In narrow words its length is known long before
  // that of UDP, or before the header is over.
  wire [16:0] ip_room_now = {1'b0, total_q} - ip_bytes;
  logic [16:0] ip_room_q;
  wire [16:0] ip_room = IS_NARROW ? ip_room_q : ip_room_now;
  wire is_invalid = version_q != 4 | header_words_q < layout::FRAME_IPV4_LENGTH / 4 | ip_room[16];
  wire is_udp = protocol_q == layout::FRAME_IP_PROTOCOL_UDP;
  wire is_udp_wrong = ip_room < layout::FRAME_UDP_LENGTH
      | udp_length_q < layout::FRAME_UDP_LENGTH
      | {1'b0, udp_length_q} > ip_room;
  wire is_mold_short = udp_length_q < MOLD_MIN;
  always_comb begin
    line_now = '0;
    for (int g = 0; g < GROUPS; g = g + 1) begin
      hits[g] = enabled[g] & addresses[g] == address_q & ports[g] == port_q;
      if (hits[g]) line_now = lines[g];
    end
  end

  // Registers of the second cycle: a frame that is over has all it said in them.
  logic over_2, bad_2, invalid_2, fragment_2, udp_2, tcp_2, udp_wrong_2, hit_2, mold_short_2;
  logic has_type_2, ipv6_2, other_2, has_ip_2, has_mold_2, short_2;
  wire is_headed = ~invalid_2 & ~fragment_2 & udp_2 & ~udp_wrong_2 & hit_2;
  assign over = over_2;
  assign over_bad = over_2 & bad_2;
  assign over_damaged = over_2 & (bad_2 | short_2) & has_mold_2 & is_headed & ~mold_short_2;
  always_comb begin
    passed = '0;
    passed[parse_counts::PACKETS] = over_2;
    if (over_2 & ~bad_2) begin
      if (~has_type_2) passed[parse_counts::FRAME_TRUNCATED] = 1'b1;
      else if (ipv6_2) passed[parse_counts::IPV6] = 1'b1;
      else if (other_2) passed[parse_counts::ETHER_TYPE_OTHER] = 1'b1;
      else if (~has_ip_2) passed[parse_counts::FRAME_TRUNCATED] = 1'b1;
      else if (invalid_2) passed[parse_counts::IPV4_INVALID] = 1'b1;
      else if (short_2) passed[parse_counts::FRAME_TRUNCATED] = 1'b1;
      else if (fragment_2) passed[parse_counts::IPV4_FRAGMENT] = 1'b1;
      else if (~udp_2)
        passed[tcp_2 ? parse_counts::TCP : parse_counts::IP_PROTOCOL_OTHER] = 1'b1;
      else if (udp_wrong_2) passed[parse_counts::UDP_INVALID] = 1'b1;
      else if (~hit_2) passed[parse_counts::UDP_OTHER_GROUP] = 1'b1;
      else if (mold_short_2) passed[parse_counts::MOLD_INVALID] = 1'b1;
    end
  end
  always_ff @(posedge clk) begin
    if (cfg_we) begin
      enabled[cfg_group] <= cfg_enabled;
      addresses[cfg_group] <= cfg_address;
      ports[cfg_group] <= cfg_port;
      lines[cfg_group] <= cfg_line;
    end
    verdict <= judged;
    wanted <= ~is_invalid & ~is_fragment_q & is_udp & ~is_udp_wrong & |hits & ~is_mold_short;
    line <= line_now;
    ip_room_q <= ip_room_now;
    {over_2, bad_2, invalid_2, fragment_2, udp_2} <=
        {over_1, bad_1, is_invalid, is_fragment_q, is_udp};
    tcp_2 <= protocol_q == layout::FRAME_IP_PROTOCOL_TCP;
    {udp_wrong_2, hit_2, mold_short_2} <= {is_udp_wrong, |hits, is_mold_short};
    {has_type_2, ipv6_2, other_2} <= {has_type_q, is_ipv6_q, is_other_q};
    {has_ip_2, has_mold_2} <= {has_ip_q, has_mold_q};
    short_2 <= length_q < 17'(layout::FRAME_ETHERNET_LENGTH) + 17'(total_q)
        + 17'(layout::FRAME_VLAN_TAG_LENGTH) * tags_q;
    if (rst) begin
      enabled <= '0;
      {verdict, over_2} <= '0;
    end
  end
endmodule
