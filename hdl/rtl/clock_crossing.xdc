# Timing of clock_crossing.sv, for Vivado:  read_xdc -ref clock_crossing clock_crossing.xdc
#
# What goes from one clock to the other is in Gray code (pointers, the count of lost frames) or has
# stood for two cycles of the reader's clock when it is read (words).  A pointer must not be older
# in one bit than in another by more than a cycle of the clock that it comes from.
set s_period [get_property -min PERIOD [get_clocks -of_objects [get_ports s_clk]]]
set m_period [get_property -min PERIOD [get_clocks -of_objects [get_ports m_clk]]]

set_max_delay -datapath_only -from [get_cells w_gray_reg[*]] -to [get_cells w_seen_1_reg[*]] $s_period
set_bus_skew -from [get_cells w_gray_reg[*]] -to [get_cells w_seen_1_reg[*]] $s_period

set_max_delay -datapath_only -from [get_cells r_gray_reg[*]] -to [get_cells r_seen_1_reg[*]] $m_period
set_bus_skew -from [get_cells r_gray_reg[*]] -to [get_cells r_seen_1_reg[*]] $m_period

set_max_delay -datapath_only -from [get_cells lost_gray_reg[*]] -to [get_cells lost_seen_1_reg[*]] $s_period
set_bus_skew -from [get_cells lost_gray_reg[*]] -to [get_cells lost_seen_1_reg[*]] $s_period

# The memory is written by s_clk and read by m_clk, two cycles of m_clk later.
set_max_delay -datapath_only -from [get_clocks -of_objects [get_ports s_clk]] \
    -through [get_cells -hierarchical -filter {NAME =~ *words_reg*}] \
    -to [get_cells {m_axis_tdata_reg[*] m_axis_tkeep_reg[*] m_axis_tlast_reg m_axis_tuser_reg m_axis_tvalid_reg seeks_reg}] \
    [expr {2 * $m_period}]
