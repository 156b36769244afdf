"""Keys that a JSON object has twice: which of them counts is left open by the standard, so nobody is answered by either."""

from __future__ import annotations

import json
from typing import Any

ENDS = (b'":', b'" ', b'"\t', b'"\n', b'"\r')
"""How a key ends, with the colon behind it or a space before that."""


def twice(body: bytes, value: Any) -> str | None:
    """Return a key that an object of a body has twice, or None.

    Few bodies are read again for it: where no more quotation marks could end a key than the objects have keys, none was lost.

    Args:
        body: JSON.
        value: what it was parsed to, by a parser that keeps one of two equal keys.

    >>> twice(b'{"a": 1, "b": {"c" : 1, "c": 2}}', {"a": 1, "b": {"c": 2}}), twice(b'{"a": "b: c" , "c": 1}', {"a": "b: c", "c": 1})
    ('c', None)
    """
    if sum(body.count(end) for end in ENDS) <= _keys(value):
        return None
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(body, object_pairs_hook=look, parse_int=len, parse_float=len)
    return found[0] if found else None


def _keys(value: Any) -> int:
    """Return how many keys the objects of a JSON value have; lists that begin with no object or list are not looked into."""
    if isinstance(value, dict):
        return len(value) + sum(_keys(item) for item in value.values() if isinstance(item, (dict, list)))
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return sum(map(_keys, value))
    return 0
