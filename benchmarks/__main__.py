"""python -m benchmarks [NAME ...]: run benchmarks one after another; nothing else should be running."""

import importlib
import sys

NAMES = ("startup", "engine", "checkpoint", "int8", "columns", "members", "sparse", "stream", "serve")

for name in sys.argv[1:] or NAMES:
    importlib.import_module(f"benchmarks.{name}").main()
