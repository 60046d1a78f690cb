// Stands in front of the book, which makes operations of a blocked symbol wait: a few entries in
// LUT memory, behind them DEPTH in block RAM.  An operation that finds it empty and the book ready
// passes through in the same cycle.
//
// Its input can not wait (the wire does not): what finds no room is dropped and counted, and from
// then on `lost` says that no book can be trusted.  `peak` is the most that ever waited.
//
// DEPTH: the shortest message is a delete, 19 bytes and 2 of length: 21 bytes, 5.41 cycles of
// 322.27 MHz at 10 Gb/s, back to back; a rescan of the store stops the book for 2 * (2^15 + 1,280)
// cycles and a little at most, in which 12,700 operations come (rescan.sv; nearly all rescans take
// a few hundred cycles; tests/test_hdl_book_fifo.py has the figures).
// So 16,384 have room for one rescan.  Without rescans a sweep of best levels makes the most wait:
// a delete then takes 6.3 cycles, so about one in six of the sweep (tests/test_hdl_book_fifo.py).
module book_fifo #(
    parameter int W     = 300,
    parameter int DEPTH = 16384, // a power of two
    parameter bit PASSES = 1     // 0: what comes is seen a cycle later, so no path leads through
) (
    input  logic         clk,
    input  logic         rst,
    input  logic         in_valid,
    input  logic [W-1:0] in_data,
    output logic         out_valid,
    input  logic         out_ready,
    output logic [W-1:0] out_data,
    output logic         lost,
    output logic [31:0]  dropped,
    output logic [31:0]  peak
);
  localparam int AW = $clog2(DEPTH);
  localparam int FRONT = 8;
  (* ram_style = "ultra" *) logic [W-1:0] mem[0:DEPTH-1];
  (* ram_style = "distributed" *) logic [W-1:0] front[0:FRONT-1];
  logic [AW:0] mem_n;           // words in `mem`
  logic [AW-1:0] mem_w, mem_r;
  logic [3:0] front_n, coming_n;  // words in `front`, and words on their way to it
  logic [2:0] front_w, front_r;
  logic c1, c2;
  logic [W-1:0] q1, q2;
  wire empty = front_n == 0 & mem_n == 0 & coming_n == 0;
  assign out_valid = front_n != 0 | (PASSES & empty & in_valid);
  assign out_data = front_n != 0 ? front[front_r] : in_data;
  // What comes may come late, and whether it is taken: sums stand ready.
  wire has_room = mem_n == 0 & coming_n == 0 & front_n != FRONT;
  wire to_front = in_valid & has_room & ~(PASSES & empty & out_ready);
  wire to_mem = in_valid & ~has_room & mem_n != DEPTH;
  wire drops = in_valid & ~has_room & mem_n == DEPTH;
  wire fetch = mem_n != 0 & front_n + coming_n < FRONT;
  wire leaves = front_n != 0 & out_ready;
  wire enters = to_front | c2;
  // Less one is the inverse of the inverse and one: sums that a mapper does not make one of.
  wire [AW:0] mem_more = mem_n + 1'b1;
  wire [AW:0] mem_less = ~(~mem_n + 1'b1);
  wire [AW-1:0] mem_w_next = mem_w + 1'b1;
  function automatic logic [2:0] next_of(input logic [2:0] n);
    next_of = {n[2] ^ &n[1:0], n[1] ^ n[0], ~n[0]};
  endfunction
  function automatic logic [3:0] less_one(input logic [3:0] n);
    less_one = {n[3] ^ ~|n[2:0], n[2] ^ ~|n[1:0], n[1] ^ ~n[0], ~n[0]};
  endfunction
  logic [AW+1:0] waiting;  // a cycle ago
  always_ff @(posedge clk) begin
    if (to_mem) mem[mem_w] <= in_data;
    q1 <= mem[mem_r];
    q2 <= q1;
    if (enters) front[front_w] <= c2 ? q2 : in_data;
    {c1, c2} <= {fetch, c1};
    if (to_mem) mem_w <= mem_w_next;
    mem_r <= mem_r + fetch;
    if (to_mem & ~fetch) mem_n <= mem_more;
    if (fetch & ~to_mem) mem_n <= mem_less;
    coming_n <= coming_n + fetch - c2;
    if (enters) front_w <= next_of(front_w);
    if (leaves) front_r <= next_of(front_r);
    if (enters & ~leaves) front_n <= {front_n[3] ^ &front_n[2:0], next_of(front_n[2:0])};
    else if (leaves & ~enters) front_n <= less_one(front_n);
    waiting <= mem_n + front_n + coming_n;
    if (32'(waiting) > peak) peak <= 32'(waiting);
    if (drops) begin
      lost <= 1'b1;
      dropped <= dropped + 32'd1;
    end
    if (rst) begin
      {mem_w, mem_r, mem_n, coming_n, front_w, front_r, front_n, c1, c2} <= '0;
      {lost, dropped, waiting, peak} <= '0;
    end
  end
endmodule
