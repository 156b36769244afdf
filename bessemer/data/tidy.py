"""Text without what nobody sees: one Unicode form, no control and invisible characters, single spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

CONTROL = r"[\x{0}-\x{8}\x{E}-\x{1F}\x{7F}-\x{84}\x{86}-\x{9F}\x{AD}\x{200B}\x{2060}\x{FEFF}\x{FFFE}]"
SPACE = r"\t\n\v\f\r \x{85}\pZ"
LINES = rf"[{SPACE}]*[\n\r\x{{85}}\x{{2028}}\x{{2029}}][{SPACE}]*"
UNTIDY = r"[^ -~]|  |^ | $"
"""What every text holds that `tidy` changes, and some that it does not: ASCII without line ends and double spaces stays as it is."""
SPACES = r"[\t\v\f \pZ]+"


def tidy(values: pa.Array, form: str) -> pa.Array:
    """Return text in a Unicode normal form, without control and invisible characters, and trimmed.

    Each run of spaces becomes one space, or one line end where it holds one. Null stays null; doing it twice changes nothing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = as_text(values)
    if isinstance(found, pa.ChunkedArray):
        return pa.chunked_array([tidy(chunk, form) for chunk in found.chunks], pa.string())
    moved = pc.fill_null(pc.match_substring_regex(found, UNTIDY), False)
    if not pc.any(moved).as_py():
        return found
    return pc.replace_with_mask(found, moved, _tidied(found.filter(moved), form))


def _tidied(found: pa.Array, form: str) -> pa.Array:
    """Return `tidy` of texts of which any may change."""
    import pyarrow.compute as pc

    found = pc.replace_substring_regex(found, CONTROL, "")
    if form != "none":
        found = pc.utf8_normalize(found, form)
    found = pc.replace_substring_regex(found, LINES, "\n")
    found = pc.replace_substring_regex(found, SPACES, " ")
    return pc.utf8_trim_whitespace(found)


def as_text(values: pa.Array) -> pa.Array:
    """Return values as strings; lists and mappings are a UserError."""
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_nested(values.type):
        raise UserError(f"a column of type {values.type} cannot be read as text; expected text or numbers")
    return values.cast(pa.string())
