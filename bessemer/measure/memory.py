"""Memory of a form in a process of its own, in which nothing else was ever loaded.

`python -m bessemer.measure.memory FOLDER FORM ROWS.arrow` is that process: it opens the form, answers the rows, and prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SECONDS = 600.0
PAUSE = 0.002
STATUS = Path("/proc/self/status")
# The last is the most that this program held; `ru_maxrss` would be at least what the process that started it held.
PARTS = {"RssAnon": "anonymous", "RssFile": "mapped", "VmHWM": "peak"}


def peak_memory(folder: Path, form: str, rows: pa.Table) -> dict[str, Any]:
    """Open a form in a fresh process, let it answer rows, and return what it held in memory.

    Args:
        folder: the model's folder.
        form: its name there.
        rows: raw rows; they are answered in one call.

    Returns:
        JSON values, bytes: `loaded` and `answering`, each `anonymous` (its own: weights that were read, intermediate results) and `mapped`
        (of files: libraries, graphs that are mapped), the second the largest that was seen; `peak`: the largest sum that the system saw;
        `torch`: whether torch was imported.

    Raises:
        UserError: the process failed or the system tells no memory.
    """
    import pyarrow as pa

    if not STATUS.is_file():
        raise UserError("this system tells no process how much memory it holds (no /proc/self/status); memory is measured on Linux")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "rows.arrow"
        with pa.OSFile(str(file), "wb") as stream, pa.ipc.new_file(stream, rows.schema) as writer:
            writer.write_table(rows)
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        found = subprocess.run([sys.executable, "-m", "bessemer.measure.memory", str(folder), form, str(file)], capture_output=True,
                               text=True, timeout=SECONDS, check=False, env={**os.environ, "PYTHONPATH": paths})
    if found.returncode:
        last = (found.stderr.strip().splitlines() or [f"it ended with code {found.returncode}"])[-1]
        raise UserError(f"the memory of the form {form} in '{folder}' cannot be measured: {last}")
    measured: dict[str, Any] = json.loads(found.stdout)
    return measured


def held() -> dict[str, int]:
    """Return the bytes that this process holds now, anonymous and mapped, and the peak of their sum."""
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    return {part: int(fields[name].split()[0]) * 1024 for name, part in PARTS.items()}


def measure(folder: Path, form: str, rows: pa.Table) -> dict[str, Any]:
    """Open the form in this process and answer the rows; see `peak_memory`."""
    from bessemer.core.forms import open_form

    predictor = open_form(folder, form)
    loaded = held()
    most, over = dict(loaded), threading.Event()

    def watch() -> None:
        while not over.wait(PAUSE):
            most.update({part: max(most[part], count) for part, count in held().items()})

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    predictor.predict(rows)
    over.set()
    watcher.join()
    most.update({part: max(most[part], count) for part, count in held().items()})
    peak = max(loaded.pop("peak"), most.pop("peak"))
    return {"loaded": loaded, "answering": most, "peak": peak, "torch": "torch" in sys.modules}


def main(folder: str, form: str, file: str) -> None:
    """Measure and print."""
    import pyarrow as pa

    with pa.OSFile(file) as stream:
        rows = pa.ipc.open_file(stream).read_all()
    print(json.dumps(measure(Path(folder), form, rows)))


if __name__ == "__main__":
    main(*sys.argv[1:])
