"""Pairs of sentences: the paragraphs of LibreOffice's help in English and in another language, which have the same names in both."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.types import Chunk, DataSet, Resource

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION, _PLACE = "7.4.7-1+deb12u14", "usr/share/libreoffice/help"
_ENGLISH = Resource(
    registry="debian",
    package="libreoffice-help-en-us",
    version=f"4:{_VERSION}",
    archive=f"libreoffice-help-en-us_{_VERSION}_all.deb",
    sha256="8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712",
    members={f"{_PLACE}/en-US/text/": "4b36917ca956d5e389972b79fcd8b038f28b9d8140e4fb96245f6c294cac407d"},
)
_PARAGRAPH = re.compile(r'<(p|h[1-6])\b[^>]*?\bid="((?:par|hd)_id[^"]*)"[^>]*>(.*?)</\1>', re.DOTALL)
_BETWEEN = "\x00"


def pairs(language: str, sums: tuple[str, str], about: str, letters: str = "") -> DataSet:
    """Return the pairs of one language: columns en, that language's (`zh`), page.

    Args:
        language: as the package names it (`zh-cn`).
        sums: checksums of the archive and of its pages.
        about: one sentence.
        letters: a pattern of which a translation has something; else it is none.
    """
    name, _, land = language.partition("-")
    there = f"{name}-{land.upper()}" if land else name

    def read(folder: Path) -> Iterator[Chunk]:
        yield _joined(folder / _PLACE, there, name, letters)

    return DataSet(
        kind="rows",
        about=about,
        licence="MPL-2.0 (LibreOffice's contributors)",
        reference="none measured here: for pairs, for pretraining in two languages and for translation",
        resource=Resource(
            registry="debian",
            package=f"libreoffice-help-{language}",
            version=f"4:{_VERSION}",
            archive=f"libreoffice-help-{language}_{_VERSION}_all.deb",
            sha256=sums[0],
            members={f"{_PLACE}/{there}/text/": sums[1]},
            more=(_ENGLISH,),
        ),
        read=read,
    )


def _joined(folder: Path, there: str, name: str, letters: str) -> Chunk:
    """Return the English paragraphs beside those of the same name; those without a translation are refused."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.datasets import chunk

    english, other = (_paragraphs(folder / part / "text") for part in ("en-US", there))
    place = pc.index_in(english["key"], value_set=other["key"])
    said = other["text"].take(place)
    same = pc.fill_null(pc.or_(pc.equal(said, english["text"]), pc.equal(said, "")), True)
    if letters:
        same = pc.or_(same, pc.invert(pc.fill_null(pc.match_substring_regex(said, letters), False)))
    page = pc.replace_substring_regex(english["key"], r"\.html#.*$", "")
    return chunk({"en": english["text"], name: said, "page": page}, pa.array(np.arange(1, len(place) + 1)), same,
                 "the paragraph is not translated", english["text"])


def _paragraphs(folder: Path) -> dict[str, pa.Array]:
    """Return `key` (page and name) and `text` of all paragraphs that hold text, page by page; of two of one name the first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    keys: list[str] = []
    bodies: list[str] = []
    for file in sorted(folder.rglob("*.html")):
        page = file.relative_to(folder).as_posix()
        found = _PARAGRAPH.findall(file.read_text(encoding="utf-8"))
        keys += [f"{page}#{name}" for _, name, _ in found]
        bodies += [body for _, _, body in found]
    plain = pc.replace_substring_regex(pa.array(bodies, pa.string()), "<[^>]*>", "")
    plain = pa.array(html.unescape(_BETWEEN.join(plain.to_pylist())).split(_BETWEEN) if keys else [], pa.string())
    text = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, r"[\s\pZ]+", " "))
    codes = pa.array(keys, pa.string()).dictionary_encode().indices.to_numpy()
    first = np.sort(np.unique(codes, return_index=True)[1])
    first = first[pc.not_equal(text, "").to_numpy(zero_copy_only=False)[first]]
    return {"key": pa.array(keys, pa.string()).take(pa.array(first)), "text": text.take(pa.array(first))}
