"""Metrics, one a file, and the score sheet and paired comparison that are built from them."""
