"""A few texts tidied one by one are, character for character, what Arrow's vectorised cleaning makes of them."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from bessemer.modalities._plain import _PLAIN, tidied
from bessemer.modalities.text import tidy

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
SPACES = list("\t\n\v\f\r  ")
TEXTS = ["", " ", "a", "  a  b ", "a\r\n\n b\t", "Ça va?", "e\u0301", "\u1100\u1161", "가\u11a8", "ﬁn", "Ω\u2126", "房间很好。",
         "שלום", "नमस्ते",
         "a\x00b", "\x1c", "\u2028x", "👍🏽", "ｈｉ", "ก็", "\ufeffa", "a\u00a0b", "x\u0345\u0301"]


def slow(form: str, texts: list[str]) -> list[str]:
    found: list[str] = tidy(pa.array(texts, pa.string()), form).to_pylist()
    return found


def refuse(texts: list[str]) -> list[str]:
    raise AssertionError("a text of plain characters took the slow way")


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD", "none"])
def test_plain_characters_alone_and_together_are_as_arrow_has_them(form: str) -> None:
    plain = [sign for sign in EVERY if _PLAIN[form].fullmatch(sign)]
    assert len(plain) > 90
    assert tidied(plain, form, refuse) == slow(form, plain)
    generator = random.Random(0)
    signs = plain + SPACES * (len(plain) // 30)
    texts = ["".join(generator.choices(signs, k=generator.randrange(40))) for _ in range(4000)]
    assert tidied(texts, form, refuse) == slow(form, texts)


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD", "none"])
def test_texts_of_all_scripts_are_as_arrow_has_them(form: str) -> None:
    generator = random.Random(1)
    signs = EVERY[:9000] + SPACES * 50
    texts = TEXTS + ["".join(generator.choices(signs, k=generator.randrange(30))) for _ in range(4000)]
    assert tidied(texts, form, lambda some: slow(form, some)) == slow(form, texts)
