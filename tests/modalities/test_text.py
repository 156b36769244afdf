from __future__ import annotations

import json
import random

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column, Role
from bessemer.modalities import codec_of, column_folder
from bessemer.modalities.category import check_target, words_of


def modality(**settings):
    config = make("modalities", settings)
    return plugin_of("modalities", config).function(config)


def corpus(count=600):
    rng = random.Random(0)
    words = ["".join(rng.choice("abcdefghijklmé") for _ in range(rng.randint(2, 7))) for _ in range(400)]
    return [" ".join(rng.choices(words, k=9)) + rng.choice([".", " 这部电影很好看。"]) for _ in range(count)]


def fitted(folder, settings, texts):
    _, facts = modality(**settings).fit(iter([pa.array(texts)]), 0, column_folder(folder, "t"))
    column = Column(name="t", role=Role.INPUT, modality=settings, facts=facts)
    return codec_of(column, folder), facts


def test_cleaning_and_its_reasons():
    found = modality(kind="text", max_chars=12)
    values = pa.array(["  a\x00b\u200b \t c ", "e\u0301", "one \r\n\u3000 two", "\x07 ", None, "x" * 13, "ｆｕｌｌ"])
    clean, why = found.clean(values)
    assert clean.to_pylist() == ["ab c", "é", "one\ntwo", "", None, "x" * 13, "ｆｕｌｌ"]
    assert why.to_pylist() == [None, None, None, "empty text", "missing", "text longer than 12 characters", None]
    assert found.clean(clean)[0].to_pylist() == clean.to_pylist()
    assert modality(kind="text", unicode_form="NFKC").clean(values)[0].to_pylist()[-1] == "full"


def test_training_twice_gives_the_same_bytes(tmp_path):
    settings = {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 500}}
    texts = corpus()
    for name in "abc":
        codec, facts = fitted(tmp_path / name, settings, texts if name != "c" else texts[::-1])
    files = [(tmp_path / name / "columns/t/tokenizer.json").read_bytes() for name in "abc"]
    assert files[0] == files[1] == files[2]
    assert (facts["vocab_size"], facts["special_token_ids"]) == (500, [0, 1, 2, 3, 4])
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(files[0].decode())
    assert tokenizer.encode("这部").tokens == ["[CLS]", "这", "部", "[SEP]"]
    ids = codec.encode(pa.array([texts[0]]))["ids"].to_pylist()[0]
    assert tokenizer.encode(texts[0]).ids == [2, *ids, 3]
    assert tokenizer.decode(ids).replace(" ", "") == texts[0].replace(" ", "")


def test_sentences_start_where_they_start(tmp_path):
    codec, _ = fitted(tmp_path, {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 500}}, corpus())
    texts = ["ab cd. ef gh! 3.5 kl", "很好。很看！电影", "abc", "", "one\ntwo..."]
    stored = codec.encode(pa.array(texts))
    lone = [["ab cd.", "ef gh!", "3.5 kl"], ["很好。", "很看！", "电影"], ["abc"], [], ["one", "two..."]]
    for row, sentences in enumerate(lone):
        sizes = [len(ids) for ids in codec.encode(pa.array(sentences, pa.string()))["ids"].to_pylist()]
        assert stored["starts"][row].as_py() == [sum(sizes[:i]) for i in range(len(sizes))]
        assert len(stored["ids"][row]) == sum(sizes)


def test_batches_equal_the_tokenizers_own(tmp_path):
    codec, _ = fitted(tmp_path, {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 500}}, corpus())
    texts = [*corpus(20), "", "abc"]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tmp_path / "columns/t/tokenizer.json"))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    expected = tokenizer.encode_batch(texts)
    batch = codec.collate(codec.encode(pa.array(["skipped", *texts])) and
                          {"ids": codec.encode(pa.array(["skipped", *texts]))["ids"].slice(1)}, 16)
    assert np.array_equal(batch["input_ids"], [row.ids for row in expected])
    assert np.array_equal(batch["attention_mask"], [row.attention_mask for row in expected])
    assert batch["token_type_ids"].dtype == np.int64 and not batch["token_type_ids"].any()


def test_a_pretrained_folder_is_read_without_its_truncation(tmp_path):
    fitted(tmp_path, {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 500}}, corpus())
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tmp_path / "columns/t/tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding()
    (tmp_path / "hf").mkdir()
    tokenizer.save(str(tmp_path / "hf/tokenizer.json"))
    codec, _ = fitted(tmp_path / "new", {"kind": "text", "tokenizer": {"kind": "pretrained", "path": str(tmp_path / "hf")}}, [])
    assert len(codec.encode(pa.array([corpus(1)[0]]))["ids"][0]) > 8
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert/vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\n")
    codec, _ = fitted(tmp_path / "old", {"kind": "text", "tokenizer": {"kind": "pretrained", "path": str(tmp_path / "bert")}}, [])
    assert codec.encode(pa.array(["HELLOs you"]))["ids"].to_pylist() == [[5, 6, 1]]
    with pytest.raises(UserError, match="has no tokenizer.json and no vocab.txt"):
        fitted(tmp_path / "x", {"kind": "text", "tokenizer": {"kind": "pretrained", "path": str(tmp_path)}}, [])
    (tmp_path / "hf/tokenizer.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(UserError, match="is damaged or no tokenizer"):
        fitted(tmp_path / "y", {"kind": "text", "tokenizer": {"kind": "pretrained", "path": str(tmp_path / "hf")}}, [])


def test_a_folder_whose_tokenizer_file_pads_is_read_without_padding(tmp_path):
    from tokenizers import Tokenizer

    settings = {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 500}}
    codec, facts = fitted(tmp_path, settings, corpus())
    file = column_folder(tmp_path, "t") / "tokenizer.json"
    other = Tokenizer.from_file(str(file))
    other.enable_padding(length=128)
    other.enable_truncation(16)
    other.save(str(file))
    padded = codec_of(Column(name="t", role=Role.INPUT, modality=settings, facts=facts), tmp_path)
    text = " ".join(corpus(5))
    assert padded.ids([text, "abc"]) == codec.ids([text, "abc"])


def test_categories_of_every_type(tmp_path):
    assert words_of(pa.array([1.0, 2.5, float("nan"), None])).to_pylist() == ["1", "2.5", None, None]
    assert words_of(pa.array([1, -3], pa.int8())).to_pylist() == ["1", "-3"]
    assert words_of(pa.array([True, False])).to_pylist() == ["true", "false"]
    assert words_of(pa.array([" a ", "", "b"]).dictionary_encode()).to_pylist() == ["a", None, "b"]
    found = modality(kind="category")
    labels, facts = found.fit(iter([pa.array(["10", "9"]), pa.array(["10", "-1", None])]), 0, tmp_path)
    assert (labels, facts) == (("-1", "9", "10"), {"counts": {"-1": 1, "9": 1, "10": 2}, "missing": 1})
    codec = found.load(Column(name="y", role=Role.TARGET, modality={"kind": "category"}, labels=labels), tmp_path)
    assert codec.encode(pa.array([10, 9, 7, None]))["codes"].to_pylist() == [2, 1, -1, -1]
    with pytest.raises(UserError, match="150 different values in 200 rows, so it is a quantity or an identifier"):
        check_target(*found.fit(iter([pa.array([str(i % 150) for i in range(200)])]), 0, tmp_path))
    assert modality(kind="category", labels=["a", "b"]).clean(pa.array(["a", "c"]))[1].to_pylist() == [None, "label is not listed"]
