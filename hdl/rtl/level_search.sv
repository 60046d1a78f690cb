// The next levels of a symbol behind a position, best first: one a cycle within a word of bits,
// three cycles from word to word.
//
// Positions are ticks modulo 1,024, so a window that moves leaves its levels where they are, and
// the order of positions goes around a circle, from the window's base (`origin`) back to it.  Its
// word is met twice: the bits from the origin on first, those before it last.
module level_search #(
    parameter int PW = 10
) (
    input  logic          clk,
    input  logic          rst,
    input  logic          start,      // a pulse; the others have to stand from here on
    input  logic          inclusive,  // whether a level at `from` itself is wanted
    input  logic [PW-1:0] from,
    input  logic [PW-1:0] origin,
    output logic [PW-6:0] group,      // to levels.sv, whose word comes an edge later
    input  logic [31:0]   word,
    input  logic [31:0]   groups,
    output logic          found,      // `pos` is the next one; stands until `taken`
    output logic [PW-1:0] pos,
    input  logic          taken,
    output logic          finished    // none is left, and the last one was taken
);
  localparam logic [2:0] IDLE = 0, READ = 1, MASK = 2, RUN = 3, NEXT = 4, LOAD = 5;
  logic [2:0] state;
  logic [31:0] bits, ahead, around;
  logic tail, in_tail;
  wire [4:0] from_group = from[PW-1:5], origin_group = origin[PW-1:5];
  wire at_origin = from_group == origin_group;
  wire first = at_origin & (from[4:0] >= origin[4:0]);
  wire last = at_origin & ~first;
  function automatic logic [4:0] lowest(input logic [31:0] x);
    integer k;
    begin
      lowest = '0;
      for (k = 31; k >= 0; k = k - 1) if (x[k]) lowest = k[4:0];
    end
  endfunction
  function automatic logic [31:0] above(input logic [4:0] x);
    above = 32'hfffffffe << x;
  endfunction
  function automatic logic [31:0] below(input logic [4:0] x);
    below = ~(32'hffffffff << x);
  endfunction
  wire [31:0] from_bit = inclusive ? 32'd1 << from[4:0] : 32'd0;
  wire [31:0] origin_mask = below(origin[4:0]);
  wire free = ~found | taken;
  assign finished = state == RUN && bits == 0 && ahead == 0 && around == 0 && !tail && !found;
  always_ff @(posedge clk) begin
    if (taken) found <= 1'b0;
    case (state)
      IDLE: ;
      READ: state <= MASK;
      MASK: begin
        bits <= word & (above(from[4:0]) | from_bit) & (last ? origin_mask : 32'hffffffff);
        ahead <= last ? 32'd0
            : groups & above(from_group) & (from_group < origin_group ? below(origin_group) : 32'hffffffff);
        around <= last | (from_group < origin_group) ? 32'd0 : groups & below(origin_group);
        tail <= ~last & (origin[4:0] != 0);
        in_tail <= 1'b0;
        state <= RUN;
      end
      RUN:
        if (bits != 0) begin
          if (free) begin
            found <= 1'b1;
            pos   <= {group, lowest(bits)};
            bits  <= bits & (bits - 32'd1);
          end
        end else if (ahead != 0) begin
          group <= lowest(ahead);
          ahead <= ahead & (ahead - 32'd1);
          state <= NEXT;
        end else if (around != 0) begin
          ahead  <= around;
          around <= '0;
        end else if (tail) begin
          group   <= origin_group;
          tail    <= 1'b0;
          in_tail <= 1'b1;
          state   <= NEXT;
        end
      NEXT: state <= LOAD;
      LOAD: begin
        bits  <= word & (in_tail ? origin_mask : 32'hffffffff);
        state <= RUN;
      end
      default: state <= IDLE;
    endcase
    if (start) begin
      group <= from_group;
      found <= 1'b0;
      state <= READ;
    end
    if (rst) begin
      state <= IDLE;
      found <= 1'b0;
    end
  end
endmodule
