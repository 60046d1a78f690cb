# Packages the kernel for v++:  vivado -mode batch -source package.tcl -tclargs OUT.xo PROTOCOL PART
#
# kernel.tcl, which make writes here first, has the files and the registers.  The kernel is user
# managed: XRT neither starts nor stops it, the host writes its registers (native/alveo.cpp).
if {$argc != 3} {
  puts stderr "package.tcl: give OUT.xo PROTOCOL PART; make does"
  exit 2
}
lassign $argv xo protocol part
source kernel.tcl
set top tickpath_kernel
set work [file join [file dirname $xo] package]
file delete -force $work

create_project -force $top $work/project -part $part
add_files -norecurse $sources
add_files -norecurse $headers
set_property file_type {Verilog Header} [get_files *.svh]
set_property top $top [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $work/ip -vendor tickpath -library kernel -taxonomy /KernelIP \
    -import_files -set_current true
set core [ipx::current_core]
set_property core_revision 1 $core
set_property sdx_kernel true $core
set_property sdx_kernel_type rtl $core
set_property vitis_drc {ctrl_protocol user_managed} $core
set_property ipi_drc {ignore_freq_hz true} $core
ipx::infer_bus_interface ap_clk xilinx.com:signal:clock_rtl:1.0 $core
ipx::infer_bus_interface ap_rst_n xilinx.com:signal:reset_rtl:1.0 $core
foreach bus {s_axi_control m_axi s_axis_net m_axis_net} {
  if {[ipx::get_bus_interfaces $bus -of_objects $core] eq ""} {
    puts stderr "package.tcl: Vivado did not infer the interface $bus"
    exit 1
  }
  ipx::associate_bus_interfaces -busif $bus -clock ap_clk $core
}
set_property value $protocol [ipx::get_user_parameters PROTOCOL -of_objects $core]
set_property value $protocol [ipx::get_hdl_parameters PROTOCOL -of_objects $core]

set map [ipx::get_memory_maps s_axi_control -of_objects $core]
if {$map eq ""} {
  set map [ipx::add_memory_map s_axi_control $core]
  set_property slave_memory_map_ref s_axi_control \
      [ipx::get_bus_interfaces s_axi_control -of_objects $core]
}
set block [ipx::get_address_blocks reg0 -of_objects $map]
if {$block eq ""} { set block [ipx::add_address_block reg0 $map] }
set_property range [expr {1 << $address_bits}] $block
set_property width 32 $block
foreach {name offset bits port} $registers {
  set register [ipx::add_register $name $block]
  set_property address_offset $offset $register
  set_property size $bits $register
  if {$port ne "-"} {
    set parameter [ipx::add_register_parameter ASSOCIATED_BUSIF $register]
    set_property value $port $parameter
  }
}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity -kernel -xrt $core
ipx::save_core $core
close_project -delete
package_xo -force -xo_path $xo -kernel_name $top -ip_directory $work/ip \
    -ctrl_protocol user_managed
