// Live orders by reference: a d-left hash, 2 tables x 4 ways, both read in one access.
//
// Halves of operations come one a cycle: the *reducing* half looks for an order (execute, cancel,
// delete, the first of a replace), the *inserting* half for a free slot (add, the second of a
// replace).  Nothing is ever moved, so every half takes the same time:
//
//   edge  1    the memories sample the address, the hash of s0_ref
//   edge  3    8 ways of read data
//   edge  4    hit and occupied, bit by way; which of the halves in flight is of the same reference
//   edge  5    the order found (s5_*), or the way where there is room; book.sv decides w_* in the
//              cycle that follows
//   edge  6    the write in a register, edge 7: in the memory
//
// A half d cycles behind another one does not see its write for d = 1..6: it comes from the queue
// instead.  d = 1 are the two halves of one replace, or an inserting half and the reducing half of
// the next operation.  A replace's old order still counts as occupying its slot while the new one
// is placed.  So what the store holds, and when it is full, follows from the order of the
// operations alone, never from their distance in time.
module order_store #(
    parameter int IW = 15,
    parameter int OW = 82  // an order: symbol 6, is_sell 1, on_grid 1, slot 10, price 32, shares 32
) (
    input  logic          clk,
    input  logic          rst,
    input  logic          clr,
    input  logic [IW-1:0] clr_a,
    input  logic          recall,    // all halves on their way are struck out, but their first's are not written
    input  logic          s0_v,
    input  logic          s0_ins,
    input  logic [5:0]    s0_sym,
    input  logic [63:0]   s0_ref,
    output logic          s5_v,
    output logic          s5_ins,
    output logic          s5_found,  // the reference is known
    output logic          s5_own,    // ... and of the operation's symbol
    output logic          s5_room,
    output logic [OW-1:0] s5_order,
    input  logic          w_we,
    input  logic          w_val,
    input  logic [OW-1:0] w_order,
    input  logic          new_we,     // the same, where s5_ins: a shorter way to the half behind
    input  logic [OW-1:0] new_order,
    // An order comes to a row.
    output logic          put,
    output logic [IW-1:0] put_row,
    output logic [6:0]    put_side,   // symbol, is_sell
    // What the rescan of the whole store sees: the entries read three edges ago.
    output logic [7:0]         row_valid,
    output logic [7:0][OW-1:0] row_order
);
  `include "hash.svh"
  localparam int TW = 64 - IW;
  localparam int EW = 1 + TW + OW;
  localparam int NW = 5;  // writes that are remembered

  function automatic logic [IW-1:0] h1(input logic [63:0] r);
    logic [15:0] t;
    begin
      t  = hash1(r >> IW);
      h1 = r[IW-1:0] ^ t[IW-1:0];
    end
  endfunction
  function automatic logic [IW-1:0] h2(input logic [63:0] r);
    logic [15:0] t;
    begin
      t  = hash2(r >> IW);
      h2 = r[IW-1:0] ^ t[IW-1:0];
    end
  endfunction

  // ------------------------------------------------ the halves on their way
  (* shreg_extract = "no" *) logic [5:1]         v, ins;
  (* shreg_extract = "no" *) logic [5:1][63:0]   rf;
  (* shreg_extract = "no" *) logic [5:1][5:0]    sy;
  (* shreg_extract = "no" *) logic [5:1][IW-1:0] i1, i2;
  wire [IW-1:0] a1 = h1(s0_ref);
  wire [IW-1:0] a2 = h2(s0_ref);
  always_ff @(posedge clk) begin
    v   <= {v[4:1], s0_v};
    ins <= {ins[4:1], s0_ins};
    rf  <= {rf[4:1], s0_ref};
    sy  <= {sy[4:1], s0_sym};
    i1  <= {i1[4:1], a1};
    i2  <= {i2[4:1], a2};
    if (rst | recall) v <= '0;
  end
  assign s5_v   = v[5];
  assign s5_ins = ins[5];

  // ------------------------------------------------ the writes on their way; wq 0 is the youngest
  logic [NW-1:0]         q_we, q_val;
  logic                  q_ins;
  logic [NW-1:0][2:0]    q_loc;
  (* shreg_extract = "no" *) logic [NW-1:0][IW-1:0] q_i1, q_i2;
  (* shreg_extract = "no" *) logic [NW-1:0][63:0]   q_ref;
  (* shreg_extract = "no" *) logic [NW-1:0][OW-1:0] q_order;
  logic [2:0] loc, way;
  always_ff @(posedge clk) begin
    // A recall finds the first of those behind it at stage 6: its write is in wq 0, or not made yet.
    q_we    <= recall ? {q_we[NW-2:1], 2'b00} : {q_we[NW-2:0], w_we};
    q_ins   <= s5_ins;
    q_val   <= {q_val[NW-2:0], w_val};
    q_loc   <= {q_loc[NW-2:0], s5_ins ? way : loc};
    q_i1    <= {q_i1[NW-2:0], i1[5]};
    q_i2    <= {q_i2[NW-2:0], i2[5]};
    q_ref   <= {q_ref[NW-2:0], rf[5]};
    q_order <= {q_order[NW-2:0], w_order};
    if (rst) q_we <= '0;
  end

  wire writes = q_we[0] & ~recall;
  assign put = writes & q_ins;
  assign put_row = q_loc[0] < 4 ? q_i1[0] : q_i2[0];
  assign put_side = q_order[0][OW-1-:7];
  logic [7:0][EW-1:0] q;
  genvar g;
  generate
    for (g = 0; g < 8; g = g + 1) begin : ways
      ram #(.W(EW), .AW(IW)) store (
          .clk(clk),
          .we(clr | (writes & (q_loc[0] == g))),
          .wa(clr ? clr_a : (g < 4) ? q_i1[0] : q_i2[0]),
          .wd(clr ? {EW{1'b0}} : {q_val[0], q_ref[0][63:IW], q_order[0]}),
          .ra((g < 4) ? a1 : a2),
          .q(q[g]));
      assign row_valid[g] = q[g][EW-1];
      assign row_order[g] = q[g][OW-1:0];
    end
  endgenerate

  // ------------------------------------------------ edge 3: same bucket as a half d cycles ahead
  logic [6:2] b1, b2;
  always_ff @(posedge clk) begin
    for (int d = 2; d <= 3; d = d + 1) begin
      b1[d] <= i1[2] == i1[2+d];
      b2[d] <= i2[2] == i2[2+d];
    end
    for (int d = 4; d <= 6; d = d + 1) begin
      b1[d] <= i1[2] == q_i1[d-4];
      b2[d] <= i2[2] == q_i2[d-4];
    end
  end

  // ------------------------------------------------ edge 4: hits, occupation, same reference
  logic [7:0] hit, hit_own, occ, occ_n;
  logic [7:0][OW-1:0] found_in;
  logic [6:1] same, same_sym;
  always_comb begin
    for (int w = 0; w < 8; w = w + 1) begin
      occ_n[w] = q[w][EW-1];
      for (int d = 6; d >= 3; d = d - 1)
        if (q_we[d-3] && q_loc[d-3] == w[2:0] && (w < 4 ? b1[d] : b2[d])) occ_n[w] = q_val[d-3];
      if (new_we && s5_ins && way == w[2:0] && (w < 4 ? b1[2] : b2[2])) occ_n[w] = 1'b1;
    end
  end
  always_ff @(posedge clk) begin
    for (int w = 0; w < 8; w = w + 1) begin
      hit[w]      <= q[w][EW-1] && q[w][OW+:TW] == rf[3][63:IW];
      hit_own[w]  <= q[w][EW-1] && q[w][OW+:TW] == rf[3][63:IW] && q[w][OW-1-:6] == sy[3];
      found_in[w] <= q[w][OW-1:0];
    end
    occ <= occ_n;
    same[1] <= v[4] && ins[4] && rf[4] == rf[3];
    same[2] <= v[5] && rf[5] == rf[3];
    same_sym[1] <= sy[4] == sy[3];
    same_sym[2] <= sy[5] == sy[3];
    for (int d = 3; d <= 6; d = d + 1) begin
      same[d] <= q_we[d-3] && q_ref[d-3] == rf[3];
      same_sym[d] <= q_order[d-3][OW-1-:6] == sy[3];
    end
  end

  // ------------------------------------------------ edge 5: the youngest write decides, or the hit
  logic f_any, f_val, f_own;
  logic [2:0] f_loc, h_loc, n1, n2;
  logic [OW-1:0] f_order, h_order;
  always_comb begin
    f_any = 1'b0; f_val = 1'b0; f_own = 1'b0; f_loc = '0; f_order = '0;
    for (int d = 6; d >= 2; d = d - 1)
      if (same[d] && q_we[d-2]) begin
        f_any = 1'b1; f_val = q_val[d-2]; f_own = same_sym[d];
        f_loc = q_loc[d-2]; f_order = q_order[d-2];
      end
    if (same[1] && new_we) begin  // the inserting half just ahead
      f_any = 1'b1; f_val = 1'b1; f_own = same_sym[1]; f_loc = way; f_order = new_order;
    end
    h_loc = '0; h_order = '0;
    for (int w = 0; w < 8; w = w + 1) begin
      h_order = h_order | ({OW{hit[w]}} & found_in[w]);
      h_loc   = h_loc | ({3{hit[w]}} & w[2:0]);
    end
    n1 = {2'b0, occ[0]} + {2'b0, occ[1]} + {2'b0, occ[2]} + {2'b0, occ[3]};
    n2 = {2'b0, occ[4]} + {2'b0, occ[5]} + {2'b0, occ[6]} + {2'b0, occ[7]};
  end
  always_ff @(posedge clk) begin
    s5_found <= f_any ? f_val : |hit;
    s5_own   <= f_any ? f_val & f_own : |hit_own;
    s5_order <= f_any ? f_order : h_order;
    loc      <= f_any ? f_loc : h_loc;
    s5_room  <= ~&occ;
    if (n2 < n1) way <= !occ[4] ? 3'd4 : !occ[5] ? 3'd5 : !occ[6] ? 3'd6 : 3'd7;
    else         way <= !occ[0] ? 3'd0 : !occ[1] ? 3'd1 : !occ[2] ? 3'd2 : 3'd3;
  end
endmodule
