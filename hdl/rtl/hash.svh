// Two hashes of an order reference's upper bits (H3: each bit is the parity of a fixed choice of
// bits, chosen once at random, at most 25 of them: two levels of LUT6).  book_reference.py reads
// the masks from here.
function automatic logic [15:0] hash1(input logic [63:0] r);
  begin
    hash1[0] = ^(r & 64'h0000c09c8ebca33b);
    hash1[1] = ^(r & 64'h0001e21d1cb0c63a);
    hash1[2] = ^(r & 64'h00006cbe86e41815);
    hash1[3] = ^(r & 64'h0000123a22b5a748);
    hash1[4] = ^(r & 64'h0001bcd54881939e);
    hash1[5] = ^(r & 64'h0000225353f26123);
    hash1[6] = ^(r & 64'h000014c515af7b28);
    hash1[7] = ^(r & 64'h0000eaac040ae763);
    hash1[8] = ^(r & 64'h0000c469351a1c86);
    hash1[9] = ^(r & 64'h00009a03e8d95849);
    hash1[10] = ^(r & 64'h0000413c7cd8450e);
    hash1[11] = ^(r & 64'h0000e319721c621b);
    hash1[12] = ^(r & 64'h0000c9297b5034e7);
    hash1[13] = ^(r & 64'h0000610f5c30acb5);
    hash1[14] = ^(r & 64'h0001d1c04ce40ce6);
    hash1[15] = ^(r & 64'h00019474e4995701);
  end
endfunction
function automatic logic [15:0] hash2(input logic [63:0] r);
  begin
    hash2[0] = ^(r & 64'h000001b377316732);
    hash2[1] = ^(r & 64'h0000a114cec33a7a);
    hash2[2] = ^(r & 64'h00013f860545271b);
    hash2[3] = ^(r & 64'h0000119bbf496404);
    hash2[4] = ^(r & 64'h0000de46ea1ba330);
    hash2[5] = ^(r & 64'h00001f3db3504833);
    hash2[6] = ^(r & 64'h0001cbfc22052cca);
    hash2[7] = ^(r & 64'h0001900bb9295fc4);
    hash2[8] = ^(r & 64'h00003841f41fca49);
    hash2[9] = ^(r & 64'h00000fd2c22203b3);
    hash2[10] = ^(r & 64'h00013605ee1233d9);
    hash2[11] = ^(r & 64'h0001f5d07182ca53);
    hash2[12] = ^(r & 64'h000180d259d21932);
    hash2[13] = ^(r & 64'h000155326432a9ea);
    hash2[14] = ^(r & 64'h00008a0d7725915c);
    hash2[15] = ^(r & 64'h0000dc0091df24d8);
  end
endfunction
