"""A tokenizer that remembers words gives what the library gives, for every text."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bessemer.modalities import _memo
from bessemer.modalities.tokens import ids_of

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'-_$+<>=^`|~[]",
          *(f"##{sign}" for sign in "abcdefgxyzABC0123456789"), "the", "film", "##ing", "##ed", "good", "cls", "mask", "很", "é"]
SIGNS = [*"abcxyzABCZ019", *" \t\n\r  ", *".,!?'-_$+<>=^`|~[]{}@#%&*()/\\\"", "the", "film", " good ", "ing", "é", "很好", "\u0130", "\x7f",
         "\x00", "\x0b", "\u200b", "[CLS]", "[mask]", "[MASK]", "x" * 40, "9" * 120]


def bert(lowercase: bool = True) -> Tokenizer:
    found = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.add_special_tokens(SPECIAL)
    return found


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_are_those_of_the_library(lowercase: bool) -> None:
    tokenizer, generator = bert(lowercase), random.Random(0)
    texts = ["", " ", "".join(map(chr, range(128)))]
    texts += ["".join(generator.choices(SIGNS, k=generator.randrange(1, 30))) for _ in range(4000)]
    ascii_only = ["".join(generator.choices(SIGNS[:45], k=generator.randrange(1, 60))) for _ in range(5000)]
    quick = _memo.remembered(tokenizer, lambda found: ids_of(tokenizer, found))
    assert quick(texts) == ids_of(tokenizer, texts)
    assert quick(ascii_only) == ids_of(tokenizer, ascii_only)
    assert quick(ascii_only[:100]) == ids_of(tokenizer, ascii_only[:100])  # from memory


def test_a_word_is_cut_as_the_library_cuts_it() -> None:
    generator = random.Random(2)
    tokenizer = bert()
    tokenizer.model = models.WordPiece({piece: number for number, piece in enumerate(PIECES) if piece != "##g"}, unk_token="[UNK]",
                                       max_input_chars_per_word=12)

    def refused(texts: Sequence[str]) -> list[list[int]]:
        raise AssertionError(f"the library was asked for {texts}")

    quick = _memo.remembered(tokenizer, lambda texts: refused(texts) if texts else [])
    words = ["".join(generator.choices([*"abcxyzgq01", "the", "film", "ing", "ed"], k=generator.randrange(1, 9))) for _ in range(3000)]
    words = [word for word in words if len(word) <= _memo.LONGEST]
    found = [quick([word])[0] for word in words]
    assert found == ids_of(tokenizer, words)
    unknown = [1]
    assert sum(row == unknown for row in found) > 500 and sum(len(row) > 2 for row in found) > 500
    assert quick(["a" * 12, "a" * 13]) == [[5, *[PIECES.index("##a")] * 11], unknown]


def test_words_are_remembered_and_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = bert()
    asked: list[str] = []

    def ids(texts: Sequence[str]) -> list[list[int]]:
        asked.extend(texts)
        return ids_of(tokenizer, texts)

    quick = _memo.remembered(tokenizer, ids)
    assert quick(["good film", "Film good"]) == ids_of(tokenizer, ["good film", "film good"])
    assert asked == []  # a few new words are cut here
    monkeypatch.setattr(_memo, "MOST_WORDS", 3)
    assert quick(["a b"]) == ids_of(tokenizer, ["a b"])
    asked.clear()
    assert quick(["good", "x" * 33]) == ids_of(tokenizer, ["good", "x" * 33])
    assert asked == ["x" * 33]  # a long word is never kept
    assert quick(["x" * 33]) and asked[1:] == ["x" * 33]


@pytest.mark.parametrize("point", [True, False])
def test_many_new_words_are_read_together(point: bool) -> None:
    tokenizer, generator = bert(), random.Random(1)
    if not point:  # then a point is unknown as many words are, and divides nothing
        tokenizer.model = models.WordPiece({piece: number for number, piece in enumerate(PIECES) if piece != "."}, unk_token="[UNK]")
    asked: list[str] = []

    def ids(texts: Sequence[str]) -> list[list[int]]:
        asked.extend(texts)
        return ids_of(tokenizer, texts)

    words = ["".join(generator.choices("abcxyzq01", k=generator.randrange(1, 6))) for _ in range(1000)]
    texts = [" ".join(words[start:start + 200]) + " . ! ." for start in range(0, 1000, 200)]
    quick = _memo.remembered(tokenizer, ids)
    assert quick(texts) == ids_of(tokenizer, texts)
    assert (len(asked) < 50) == point
    asked.clear()
    assert quick(texts) == ids_of(tokenizer, texts) and asked == []


def test_a_flood_of_new_words_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = bert()
    asked: list[str] = []

    def ids(texts: Sequence[str]) -> list[list[int]]:
        asked.extend(texts)
        return ids_of(tokenizer, texts)

    monkeypatch.setattr(_memo, "FLOOD", 3)
    quick = _memo.remembered(tokenizer, ids)
    assert quick(["a b c z", "a a"]) == ids_of(tokenizer, ["a b c z", "a a"]) and asked == ["a b c z", "a a"]
    asked.clear()
    assert quick(["a b c " * 7 + "z"]) == ids_of(tokenizer, ["a b c " * 7 + "z"]) and asked == []


def test_other_tokenizers_are_left_alone() -> None:
    tokenizer = bert()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

    def ids(texts: Sequence[str]) -> list[list[int]]:
        return ids_of(tokenizer, texts)

    assert _memo.remembered(tokenizer, ids) is ids
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_tokens(["film"])  # found in the text before words are cut
    assert _memo.remembered(tokenizer, ids) is ids
