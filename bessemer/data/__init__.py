"""Rows: reading them, cleaning them, setting the bad ones aside, splitting them and storing them in shards."""
