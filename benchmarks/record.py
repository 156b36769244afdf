"""Writes a result with what it was measured on."""

import datetime
import importlib.metadata
import statistics
from pathlib import Path

from bessemer.core.run import host

RESULTS = Path(__file__).parent / "results"


def spread(values: list[float]) -> str:
    """Return median (smallest to largest)."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def record(name: str, title: str, head: tuple[str, ...], rows: list[tuple[str, ...]], notes: str,
           command: str = "") -> None:
    """Write results/<name>.md and print it."""
    machine = host()
    versions = ", ".join(f"{item} {importlib.metadata.version(item)}" for item in ("torch", "onnxruntime", "transformers"))
    lines = [f"# {title}", "", notes, "", f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
             f"{machine['system']}, Python {machine['python']}, {versions}. Date: {datetime.date.today()}. "
             f"Command: `{command or f'python -m benchmarks {name}'}`.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]
    text = "\n".join(lines)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
