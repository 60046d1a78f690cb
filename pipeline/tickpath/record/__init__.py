"""Recording lines as they come: datagrams of groups into pcapng, and nothing else done to them.

receiver    a group's socket, with the kernel's time of receipt and its drops
frames      the headers that a socket takes off, put back
file        a pcapng file with an interface for each line, whole at every moment
recorder    lines into a file, until there is a reason to stop
"""
