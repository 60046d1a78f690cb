"""Trading live: the engine between a feed, an order session, an operator and a drop copy.

    feed (UDP) ----------> engine ----------> order session (SoupBinTCP) ----> exchange
    operator's socket ---> engine <---------- answers <-----------------------'
    drop copy ----------> reconcile: a difference that stays latches the kill switch

`run` is the loop, `desk` what passes between engine and session, `feed` the sockets of the market,
`recovery` what an earlier process left, `reconcile` the second opinion, `operator_words` those of
`tickpath ctl`, `operator_socket` where they arrive, `screen` what a terminal shows.
"""
