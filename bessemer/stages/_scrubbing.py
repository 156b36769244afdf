"""Personal data on its way through prepare: what is scrubbed in which column, and how much of it was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.data.clean import Clean
from bessemer.data.scrub import KINDS, counts
from bessemer.modalities.text import joined

if TYPE_CHECKING:
    import pyarrow as pa


class Scrubbed:
    """Counts what the columns' modalities scrub.

    Attributes:
        kinds: of personal data that any column scrubs; quarantine is scrubbed of them.
        found: column -> kind -> how many were replaced so far.
    """

    def __init__(self, inputs: Mapping[str, Config]) -> None:
        self.asked = {name: tuple(getattr(config, "scrub", ())) for name, config in inputs.items()}
        self.kinds = tuple(kind for kind in KINDS if any(kind in kinds for kinds in self.asked.values()))
        self.found: dict[str, dict[str, int]] = {}

    def counted(self, name: str, clean: Clean) -> Clean:
        """Return a column's clean, counted where it scrubs."""
        kinds = self.asked[name]
        if not kinds:
            return clean

        def both(values: pa.Array) -> tuple[pa.Array, pa.Array]:
            import pyarrow as pa

            found, why = clean(values)
            total = self.found.setdefault(name, dict.fromkeys(kinds, 0))
            for kind, count in counts(joined(values).cast(pa.string()), found, kinds).items():
                total[kind] += count
            return found, why

        return both

    def notes(self) -> list[str]:
        """Return what was replaced, a line a column."""
        return [f"{name}: personal data replaced: {', '.join(f'{kind} {count:,}' for kind, count in found.items())}"
                for name, found in self.found.items()]
