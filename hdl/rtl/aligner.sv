// Bytes of a message that begins anywhere in a word, put to the start of rows of one word each.
//
// Row r of a message that began in lane s is made of two words: with the first its lowest bytes are
// written, with the second all.  So each word writes two rows: the one that it ends and the one that
// it begins.  What a message has behind the last row is left out (no type is as long).
module aligner #(
    parameter int DW   = 64,
    parameter int ROWS = 7
) (
    input  logic                    clk,
    input  logic                    in_valid,
    input  logic                    passes,   // the word goes
    input  logic [DW-1:0]           data,
    input  logic [$clog2(DW/8)-1:0] lane,
    input  logic [ROWS:0]           row,
    output logic [DW-1:0]           first_row,  // row 0, as it is written
    output logic [DW*ROWS-1:0]      message   // its first byte is the highest
);
  localparam int B = DW / 8;
  logic [DW-1:0] earlier;
  logic [2*DW-1:0] both;  // the word before and this one, their first bytes highest
  logic [DW-1:0] swapped;
  logic [ROWS-1:0][DW-1:0] rows;
  always_comb for (int i = 0; i < B; i = i + 1) swapped[DW-8-8*i+:8] = data[8*i+:8];
  assign both = {earlier, swapped} << {lane, 3'd0};
  wire [DW-1:0] ended = both[2*DW-1:DW];
  wire [DW-1:0] begun = swapped << {lane, 3'd0};
  assign first_row = row[0] ? begun : ended;
  always_ff @(posedge clk) begin
    if (passes) earlier <= swapped;
    for (int r = 0; r < ROWS; r = r + 1)
      if (in_valid & (row[r] | row[r+1])) rows[r] <= row[r+1] ? ended : begun;
  end
  always_comb for (int r = 0; r < ROWS; r = r + 1) message[DW*(ROWS-1-r)+:DW] = rows[r];
endmodule
