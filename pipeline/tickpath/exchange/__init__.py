"""A simulated Nasdaq-like venue: OUCH over SoupBinTCP in, ITCH over MoldUDP64 out.

    matching     price-time matching of many symbols, integers only
    itch_feed    what the market sees of it, as ITCH 5.0 messages in MoldUDP64 packets
    ouch_port    what one account asks and is told, as OUCH 5.0 or 4.2
    flow         other people's orders: generated from a seed, or recorded
    venue        all of these as one machine without sockets, clock or chance of its own
    journal      what a restart needs
    server       the only module with sockets and a clock

The invariant of `venue`: configuration, inputs and their exchange times decide every byte that
comes out, however the calls that let time pass are cut.  Recovery after a crash is that invariant
applied to the journal.
"""
