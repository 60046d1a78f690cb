"""tickpath: exchange packets in, risk-checked orders out."""
