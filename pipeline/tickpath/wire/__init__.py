"""Wire layouts: each protocol's messages declared once, in the words and order of its spec."""
