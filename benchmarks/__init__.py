"""Benchmarks: each module measures one claim beside a peer in the same run and writes results/<name>.md."""
