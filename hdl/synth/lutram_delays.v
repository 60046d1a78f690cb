// Delays of LUT memory, for mapping and for static timing analysis: yosys' own cell has none.
// Reading takes 642 ps from the address, our value (a slow LUT6 and the output multiplexer), not
// one from a data base; writing is not a path.
(* abc9_box *)
module RAM64M8 (
    output DOA,
    output DOB,
    output DOC,
    output DOD,
    output DOE,
    output DOF,
    output DOG,
    output DOH,
    input DIA,
    input DIB,
    input DIC,
    input DID,
    input DIE,
    input DIF,
    input DIG,
    input DIH,
    input [5:0] ADDRA,
    input [5:0] ADDRB,
    input [5:0] ADDRC,
    input [5:0] ADDRD,
    input [5:0] ADDRE,
    input [5:0] ADDRF,
    input [5:0] ADDRG,
    input [5:0] ADDRH,
    input WE,
    (* clkbuf_sink *) input WCLK
);
  parameter [63:0] INIT_A = 64'h0;
  parameter [63:0] INIT_B = 64'h0;
  parameter [63:0] INIT_C = 64'h0;
  parameter [63:0] INIT_D = 64'h0;
  parameter [63:0] INIT_E = 64'h0;
  parameter [63:0] INIT_F = 64'h0;
  parameter [63:0] INIT_G = 64'h0;
  parameter [63:0] INIT_H = 64'h0;
  parameter [0:0] IS_WCLK_INVERTED = 1'b0;
  specify
    (ADDRA *> DOA) = 642;
    (ADDRB *> DOB) = 642;
    (ADDRC *> DOC) = 642;
    (ADDRD *> DOD) = 642;
    (ADDRE *> DOE) = 642;
    (ADDRF *> DOF) = 642;
    (ADDRG *> DOG) = 642;
    (ADDRH *> DOH) = 642;
  endspecify
endmodule
