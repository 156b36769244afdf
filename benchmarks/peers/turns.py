"""Children that train some steps when they are told to, so that several can be measured in turn on one machine.

A child prints `ready` when it has trained its first steps, then for each line `STEPS` that it reads trains so many and prints one line of
JSON: seconds, the processor's seconds, rows, tokens (without padding) and, where it counts them, billions of operations of products.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

WARM = 2
"""Steps before a child is ready."""


class Turns:
    """The child's side: call `step` before each step, with what the step before it has done."""

    def __init__(self, warm: int = WARM) -> None:
        self.left, self.started, self.spent = warm, 0.0, 0.0
        self.done: dict[str, float] = {}

    def step(self, **done: float) -> None:
        """Count what is done; at the end of a turn report it and wait for the next one."""
        for name, value in done.items():
            self.done[name] = self.done.get(name, 0.0) + value
        if self.left == 0:
            spent = {"seconds": time.perf_counter() - self.started, "processor_seconds": time.process_time() - self.spent}
            print("ready" if not self.started else json.dumps({**spent, **self.done}), flush=True)
            line = sys.stdin.readline().strip()
            if not line:
                raise SystemExit
            self.left, self.done, self.started, self.spent = int(line), {}, time.perf_counter(), time.process_time()
        self.left -= 1


class Child:
    """The parent's side: start the child, wait until it is ready, take turns."""

    def __init__(self, python: str, module: str, *arguments: str, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen([python, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        self.line("ready")

    def line(self, start: str) -> str:
        """Return the child's next line that begins so; others are left out."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"the peer ended ({self.process.wait()})")

    def turn(self, steps: int) -> dict[str, Any]:
        """Have the child train so many steps."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.line("{"))
        return found

    def close(self) -> None:
        """End the child, which reads an empty line."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
