"""Text made plain before it is cleaned: markup of web pages taken off, encodings that were mixed up mended, personal data replaced.

Markup is found by RE2 through Arrow, whose time is linear in the text, whatever the text is. N: texts.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ROUNDS = 6
UNSETTLED = "text that is another each time it is cleaned"
_REST = r"""(?:"[^"]*"|'[^']*'|[^'">])*>"""
_HIDDEN = (r"(?s)<!--.*?-->", rf"(?is)<script\b{_REST}.*?</script\s*>", rf"(?is)<style\b{_REST}.*?</style\s*>")
_BREAKS = (r"(?i)</?(?:address|article|aside|blockquote|br|dd|div|dl|dt|fieldset|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|option|"
           rf"p|pre|section|table|title|tr|ul)(?:\s*/?>|\s{_REST})")
_CELLS = rf"(?i)</?(?:td|th)(?:\s*/?>|\s{_REST})"
_TAGS = (rf"</?[A-Za-z][^\s<>'\"]*(?:/?>|\s{_REST})", r"</?[A-Za-z][^<>]*>", r"<[!?][A-Za-z\[][^<>]*>")
_AMPERSANDS = r"(?i)&(?:(?:amp|#0*38|#x0*26);)+"  # escaped several times
_BETWEEN = "\x00"
_FOREIGN = r"[^\x00-\x7F\x{2010}-\x{2027}\x{2E80}-\x{D7FF}\x{F900}-\x{FFEF}\x{10000}-\x{10FFFF}]"
"""Signs that text of a mixed-up encoding has: none of ASCII, East Asia or plain typography alone."""

Step = Callable[["pa.Array"], "pa.Array"]


def strip_html(values: pa.Array) -> pa.Array:
    """Return texts without tags, comments, scripts and styles, and with entities as the signs that they stand for: string [N].

    Where a tag divides blocks stands a line end, between cells a space. A `<` that begins no tag stays.
    """
    import pyarrow.compute as pc

    marked = pc.fill_null(pc.match_substring_regex(values, r"[<&]"), False)
    if not pc.any(marked).as_py():
        return values
    rows = values.filter(marked)
    for pattern in _HIDDEN:
        rows = pc.replace_substring_regex(rows, pattern, " ")
    rows = pc.replace_substring_regex(rows, _BREAKS, "\n")
    rows = pc.replace_substring_regex(rows, _CELLS, " ")
    for pattern in _TAGS:
        rows = pc.replace_substring_regex(rows, pattern, "")
    return pc.replace_with_mask(values, marked, _unescaped(pc.replace_substring_regex(rows, _AMPERSANDS, "&")))


def _unescaped(values: pa.Array) -> pa.Array:
    """Return texts with their entities replaced: all are one text, so that no row costs a call."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.replace_substring(values, _BETWEEN, "")
    return pa.array(html.unescape(_BETWEEN.join(plain.to_pylist())).split(_BETWEEN), pa.string())


def mended(values: pa.Array) -> pa.Array:
    """Return texts in which UTF-8 that was read as another encoding (`cafÃ©`, `donâ€™t`) is put right: string [N].

    Source: ftfy (Speer 2019), its rules for encodings alone: quotes, widths, entities and normal forms stay.

    Raises:
        UserError: the package ftfy is not there.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        import ftfy
    except ImportError:
        raise UserError("'mend' needs the package ftfy; install it: pip install 'bessemer[readers]'") from None
    strange = pc.fill_null(pc.match_substring_regex(values, _FOREIGN), False)
    if not pc.any(strange).as_py():
        return values
    config = ftfy.TextFixerConfig(
        unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False,
        fix_line_breaks=False, fix_surrogates=False, remove_control_chars=False, normalization=None, explain=False)
    # The library takes one text a call. Few texts come here: those that have signs of none of the scripts passed over above.
    found = [ftfy.fix_text(text, config) for text in values.filter(strange).to_pylist()]
    return pc.replace_with_mask(values, strange, pa.array(found, pa.string()))


def settled(values: pa.Array, steps: Sequence[Step]) -> tuple[pa.Array, pa.Array]:
    """Apply steps in order, again and again where they changed a text, until they change it no more.

    So what is cleaned twice (rows that are stored clean and predicted again) is what is cleaned once.

    Returns:
        the texts, string [N], and which still change after ROUNDS rounds, bool [N].
    """
    import pyarrow.compute as pc

    found = _through(values, steps)
    moving = pc.fill_null(pc.not_equal(found, values), False)
    for _ in range(ROUNDS):
        if not pc.any(moving).as_py():
            break
        before = found.filter(moving)
        after = _through(before, steps)
        found = pc.replace_with_mask(found, moving, after)
        moving = pc.replace_with_mask(moving, moving, pc.not_equal(after, before))
    return found, moving


def _through(values: pa.Array, steps: Sequence[Step]) -> pa.Array:
    for step in steps:
        values = step(values)
    return values
