"""Tier 0 as named rules: what can be told from the letters of one row, each rule a small function from a read row to its reason or None."""
