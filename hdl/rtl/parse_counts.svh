// Numbers of the counters of the front, by the names that the software gives them where it has
// them.  The last ones are the hardware's own: see parse_counters.sv.
`ifndef TICKPATH_PARSE_COUNTS_SVH
`define TICKPATH_PARSE_COUNTS_SVH

// verilator lint_off UNUSEDPARAM
package parse_counts;
  localparam int PACKETS = 0;
  localparam int FRAME_TRUNCATED = 1;
  localparam int ETHER_TYPE_OTHER = 2;
  localparam int IPV6 = 3;
  localparam int IPV4_INVALID = 4;
  localparam int IPV4_FRAGMENT = 5;
  localparam int TCP = 6;
  localparam int IP_PROTOCOL_OTHER = 7;
  localparam int UDP_INVALID = 8;
  localparam int UDP_OTHER_GROUP = 9;
  localparam int MOLD_INVALID = 10;
  localparam int MOLD_TRUNCATED = 11;
  localparam int HEARTBEATS = 12;
  localparam int END_OF_SESSION = 13;
  localparam int SESSION_CHANGES = 14;
  localparam int SEQUENCE_JUMPS = 15;
  localparam int GAPS = 16;
  localparam int MESSAGES = 17;
  localparam int UNKNOWN_TYPE = 18;
  localparam int WRONG_LENGTH = 19;
  localparam int SIDE_INVALID = 20;
  localparam int SYMBOL_OUT_OF_RANGE = 21;
  localparam int TIME_BACKWARDS = 22;
  localparam int FRAMES_BAD = 23;
  localparam int FRAMES_LOST = 24;
  localparam int FRAMES_DAMAGED = 25;
  localparam int OPERATIONS = 26;
  localparam int TRADING_ACTIONS = 27;
  localparam int NOT_SUBSCRIBED = 28;
  localparam int MESSAGES_OVERLONG = 29;
  localparam int STROBES = 30;  // those before it count by one
  localparam int DUPLICATE_MESSAGES = 30;
  localparam int MOLD_TRAILING_BYTES = 31;
  localparam int GAP_MESSAGES = 32;
  localparam int COUNTERS = 33;
endpackage
// verilator lint_on UNUSEDPARAM

`endif
