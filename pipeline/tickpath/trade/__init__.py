"""Trading live: the engine between a feed, an order session, an operator and a drop copy.

    feed (UDP) ----------> engine ----------> order session (SoupBinTCP) ----> exchange
    operator's socket ---> engine <---------- answers <-----------------'
    drop copy ----------> reconcile: a difference that stays latches the kill switch

`run` is the loop, `desk` what passes between engine and session, `line` their connection, `market`
the way into the engine: `feed` who receives, `sessions` which day is followed, `holes` what is done
about messages that no line brought.  `drop_copy` is the session of the second opinion that
`reconcile` compares with, `recovery` what an earlier process left, `latch` the kill switches that
outlive one, `operator_words` those of `tickpath ctl`, `screen` what a terminal shows.
"""
