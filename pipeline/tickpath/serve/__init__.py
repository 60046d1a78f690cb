"""The other side of a feed: lines with faults on purpose, and the servers that mend them.

Everything serves from `stream.Stream`, the numbered messages of a capture, of which so many are
published.  A server knows nothing that was not published yet, as on the day itself.

    source             a capture into streams
    publisher          packets of all streams at a pace, over lines that lose and repeat
    line_faults        what a line does to packets; unruly: what a server does to those who ask
    requests           MoldUDP64 re-request; glimpse: GLIMPSE 5.0 over SoupBinTCP
    grp, spin          Cboe's Gap Request Proxy and Spin server
    itch_image, pitch_image        the open orders after so many messages, as snapshots give them
    sockets            all of it on real sockets

No core has a socket or a clock; all chance comes from seeds.
"""
