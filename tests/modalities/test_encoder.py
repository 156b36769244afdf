"""Encoding for prepared rows, with a memory of words: the library's ids and sentences' starts; and texts that are tidy stay as they are."""

import random
from itertools import product

import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from bessemer.data import tidy as column
from bessemer.modalities.tokens import encode, encoder
from tests.modalities.test_memo import SIGNS, bert


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_and_starts_are_those_of_the_library(lowercase: bool) -> None:
    tokenizer, generator = bert(lowercase), random.Random(0)
    signs = [*SIGNS, ". ", "!\n", "?) ", "; ", "\u3002", "...", '." ']
    texts = ["", " ", ".", ". ", "a. b", "a.b", "a. ", ". . .", "the film. good; the! film", "the film\u3002good", "the\nfilm"]
    texts += ["".join(generator.choices(signs, k=generator.randrange(1, 40))) for _ in range(4000)]
    texts += ["".join(generator.choices([*SIGNS[:45], ". ", "! ", "\n"], k=generator.randrange(1, 60))) for _ in range(4000)]
    quick = encoder(tokenizer)
    for _ in range(2):  # the second time from memory
        assert [part.to_pylist() for part in quick(texts)] == [part.to_pylist() for part in encode(tokenizer, texts)]
    assert [part.type for part in quick([])] == [part.type for part in encode(tokenizer, [])]


def test_another_tokenizer_is_left_to_the_library() -> None:
    plain = bert().to_str().replace('"type":"BertPreTokenizer"', '"type":"Whitespace"')
    tokenizer = Tokenizer.from_str(plain)
    assert [part.to_pylist() for part in encoder(tokenizer)(["the film. good"])] == [
        part.to_pylist() for part in encode(tokenizer, ["the film. good"])]


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD", "none"])
def test_what_is_left_untouched_would_not_have_changed(form: str) -> None:
    texts = ["".join(signs) for size in (1, 2, 3) for signs in product("a .\n\t\r\x0b\x0c~\x7f\x00\u00e9\u3000\u200b", repeat=size)]
    values = pa.array([*texts, None, ""], pa.string())
    expected = column._tidied(values, form)
    assert column.tidy(values, form).equals(expected)
    assert column.tidy(pa.chunked_array([values, values.slice(0, 5)]), form).to_pylist() == [
        *expected.to_pylist(), *expected.to_pylist()[:5]]
