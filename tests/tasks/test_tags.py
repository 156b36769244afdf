"""A tag for each unit of a text: from a recipe to answers without torch, longer texts than the network reads, spans as seqeval has them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pytest
import torch

from bessemer import Model, run
from bessemer.app.answers import predict_file
from bessemer.core.errors import UserError
from bessemer.core.heads import joined, part_of
from bessemer.core.types import Answer
from bessemer.data.windows import windows
from bessemer.evaluate._tags import has_spans, span_counts
from bessemer.evaluate.score import measure, named, score
from bessemer.modalities._units import firsts
from bessemer.nn.bert import Bert, BertConfig
from bessemer.serve.answers import plain_rows
from bessemer.serve.why import why
from bessemer.serve.work import work_of

WORDS = ["北京", "天气", "好", "今天", "我们", "去", "公园", "散步", "图书馆", "看", "书", "大学生"]
RNN = {"kind": "text_rnn", "embedding_size": 24, "hidden_size": 24}
NGRAMS = {"kind": "ngrams", "sizes": [1, 2, 3], "buckets": 5000, "embedding_size": 8, "hidden_size": 0, "dropout": 0.1}
BERT = {"kind": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def cut(word):
    return "S" if len(word) == 1 else "B" + "M" * (len(word) - 2) + "E"


def segmented(count, seed=0, longest=9):
    """Return texts without spaces and the place of each character in its word."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(WORDS, rng.integers(2, longest)).tolist() for _ in range(count)]
    return pa.table({"text": ["".join(row) for row in rows], "tags": [" ".join("".join(cut(word) for word in row)) for row in rows]})


def recipe(folder, model, unit="character", tokenizer="characters", **more):
    return {"name": "tags", "output_dir": str(folder / "run"), "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "parquet", "path": str(folder / "rows.parquet")}],
                    "targets": {"tags": {"kind": "tags", "unit": unit}},
                    "inputs": {"text": {"kind": "text", "max_length": 16, "tokenizer": {"kind": tokenizer}}},
                    "split": {"kind": "random", "validation": 0.15, "test": 0.15}},
        "finetune": {"model": model, "num_train_epochs": 6, "learning_rate": 1e-2, "per_device_train_batch_size": 16, **more},
        "compress": {}, "evaluate": {"models": ["finetune", "compress"], "resamples": 100}}}


@pytest.mark.parametrize("model", [{**RNN, "bigrams": 500, "bigram_size": 8}, BERT, NGRAMS])
def test_words_are_found_in_texts_longer_than_the_network_reads(tmp_path, model, capsys):
    table = segmented(240, longest=24)
    parquet.write_table(table, tmp_path / "rows.parquet")
    result = run(recipe(tmp_path, model))
    scores = json.loads((result.stages["evaluate"].folder / "scores.json").read_text())["forms"]
    assert set(scores) == {"finetune torch-float32", "compress onnx-float32", "compress onnx-int8"}
    for form in scores.values():
        assert form["metrics"]["span_f1"]["value"] > 0.9 and form["metrics"]["span_f1"]["low"] is not None
    trained, small = Model.load(result.stages["finetune"].folder), Model.load(result.stages["compress"].folder, "onnx-float32")
    rows = table.slice(0, 30)
    first, second = trained.answers(rows)["tags"], small.answers(rows)["tags"]
    np.testing.assert_allclose(first.values, second.values, atol=1e-4)
    said = small.predict(rows)
    assert [len(row) for row in said] == [len(text) for text in rows["text"].to_pylist()]
    proba = small.predict_proba(rows)
    assert [len(part) for part in proba] == [len(row) for row in said]
    np.testing.assert_allclose(proba[3].sum(1), 1, atol=1e-5)
    served = plain_rows(small.answers(rows))[0]["tags"]
    assert served["kind"] == "tags" and served["tags"] == said[0] and len(served["probabilities"]) == len(said[0])
    work = work_of(small._predictor, 1000)
    work.rehearse()
    assert work.answer(work.prepare(rows["text"].to_pylist())) == plain_rows(small.answers(rows))
    rng = np.random.default_rng(5)
    odd = small.predict(["".join(rng.choice(list("".join(WORDS)), 12)) for _ in range(40)])
    assert not [row for row in odd if any(pair in "".join(row) for pair in ("BB", "BS", "MB", "MS", "SM", "SE", "EM", "EE"))
                or row[0] in "ME" or row[-1] in "BM"], "tags that never follow each other are never said"
    with pytest.raises(UserError, match="'tags' has a tag for each unit of a text, and reasons are told of one answer a row"):
        why(small._predictor, {"text": "北京好"})
    predict_file(result.stages["compress"].folder, tmp_path / "rows.parquet", tmp_path / "out.csv", "onnx-float32")
    out = csv.read_csv(tmp_path / "out.csv")
    assert out["tags"].to_pylist()[:30] == [" ".join(row) for row in said]
    assert [words.replace(" ", "") for words in out["words"].to_pylist()] == table["text"].to_pylist()
    assert out["words"][0].as_py().split(" ")[0] in WORDS
    sheet = small.evaluate(table)
    assert sheet["rows"] == 240 and sheet["metrics"]["accuracy"]["value"] > 0.9


def test_words_of_a_sentence_have_parts_of_speech_whatever_pieces_they_are_cut_into(tmp_path):
    rng = np.random.default_rng(1)
    nouns, verbs, fill = ["gardener", "elephants", "tables"], ["watched", "painting", "carry"], ["the", "a", "old"]
    rows = [[(str(rng.choice(part)), tag) for part, tag in ((fill, "AT"), (nouns, "NN"), (verbs, "VB"), (fill, "AT"), (nouns, "NN"))][
        :rng.integers(2, 6)] for _ in range(200)]
    table = pa.table({"text": [" ".join(word for word, _ in row) + f" {rng.integers(9999)}" for row in rows],
                      "tags": [[*(tag for _, tag in row), "CD"] for row in rows]})
    parquet.write_table(table, tmp_path / "rows.parquet")
    plain = recipe(tmp_path, RNN, unit="word", tokenizer="wordpiece")
    plain["stages"]["prepare"]["inputs"]["text"]["tokenizer"]["vocab_size"] = 100
    result = run(plain)
    sheet = json.loads((result.stages["evaluate"].folder / "scores.json").read_text())["forms"]["finetune torch-float32"]
    assert sheet["metrics"]["accuracy"]["value"] > 0.95 and "span_f1" not in sheet["metrics"]
    assert Model.load(result.stages["finetune"].folder).predict(["the elephants painting a gardener 77"]) == [
        ["AT", "NN", "VB", "AT", "NN", "CD"]]


def test_a_row_whose_tags_do_not_fit_its_text_is_set_aside(tmp_path):
    table = segmented(60)
    tags = table["tags"].to_pylist()
    parquet.write_table(table.set_column(1, "tags", pa.array([tags[0] + " S", None, *tags[2:]])), tmp_path / "rows.parquet")
    result = run(recipe(tmp_path, RNN), until="prepare")
    kept = parquet.read_table(result.stages["prepare"].folder / "quarantine.parquet").to_pylist()
    assert sorted(row["reason"] for row in kept if "duplicate" not in row["reason"]) == ["missing label",
                                                                                        "not one tag for each character of the text"]


def test_tags_stand_alone(tmp_path):
    parquet.write_table(segmented(60), tmp_path / "rows.parquet")
    plain = recipe(tmp_path, RNN)
    plain["stages"]["prepare"]["targets"]["text"] = {"kind": "category"}
    with pytest.raises(UserError, match="needs one input of kind text, and no other target beside it"):
        run(plain, until="prepare")
    for kind in ("text_cnn", "transformer"):
        with pytest.raises(UserError, match=f"the model '{kind}' has one answer for a text and none for each unit"):
            run(recipe(tmp_path, {"kind": kind}), until="finetune")


def test_keys_of_models_without_effect_are_refused(tmp_path):
    parquet.write_table(segmented(60), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"model.pooling has no effect on tags, whose n-grams are added up; remove it"):
        run(recipe(tmp_path, {"kind": "ngrams", "pooling": "attention"}), until="finetune")
    with pytest.raises(UserError, match=r"model.pooling has no effect on tags, each of which is told by the state at its own token"):
        run(recipe(tmp_path, {"kind": "text_rnn", "pooling": ["mean"]}), until="finetune")
    parquet.write_table(segmented(60).append_column("label", [["a", "b"] * 30]), tmp_path / "rows.parquet")
    whole = recipe(tmp_path, {"kind": "ngrams", "window": 3})
    whole["stages"]["prepare"]["targets"] = {"label": {"kind": "category"}}
    with pytest.raises(UserError, match=r"model.window has no effect on a text that is answered as a whole; remove it"):
        run(whole, until="finetune")


@pytest.mark.parametrize("size", [0, 1, 6, 7, 30, 61])
def test_every_unit_is_read_in_the_window_in_whose_middle_it_is_nearest(size):
    info = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
    ids = [list(range(10, 10 + size)), [7]]
    found = windows(ids, [list(range(size)), [0]], 8, info)
    read = found.arrays["input_ids"][found.window, found.place]
    assert read.tolist() == [*ids[0], 7] and found.offsets.tolist() == [0, size, size + 1]
    starts = [row[1] - 10 for row in found.arrays["input_ids"][:-1].tolist()]
    for unit in range(size if size > 6 else 0):
        edge = [min(unit - start, start + 5 - unit) for start in starts]
        assert edge[found.window[unit]] == max(edge)


def test_first_pieces_are_those_of_transformers(tmp_path):
    from transformers import PreTrainedTokenizerFast

    from bessemer.core.registry import plugin

    origin = plugin("modalities/tokenizers", "wordpiece")
    texts = ["don't unhappily go, 1998!", "读书 is reading", "a  b"]
    made = origin.function(origin.config.model_validate({"vocab_size": 100})).make(iter([texts]))
    theirs = PreTrainedTokenizerFast(tokenizer_object=made)
    for text, (ids, first) in zip(texts, firsts(made, texts, "word"), strict=True):
        split = theirs(text.split(), is_split_into_words=True, add_special_tokens=False)
        assert ids == split["input_ids"]
        assert first == [split.word_ids().index(word) for word in range(len(text.split()))]


def test_the_head_is_that_of_transformers(tmp_path):
    from transformers import AutoModelForTokenClassification

    from bessemer.nn.checkpoint import load_network, save_network

    torch.manual_seed(0)
    network = Bert(BertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48),
                   ("tags",), 3, ("B", "I", "O")).eval()
    save_network(network, tmp_path)
    theirs = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    ids = torch.randint(5, 40, (2, 9))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad():
        assert torch.allclose(network(**given), theirs(**given).logits, atol=1e-6)
        assert torch.equal(load_network(tmp_path, ("tags",)).eval()(**given), network(**given))


def chunks(tags):
    """Return seqeval's spans of one row (its get_entities, default mode; M is read as I)."""
    found, prev, prev_type, begin = [], "O", "", 0
    for place, item in enumerate([*tags, "O"]):
        tag, kind = item[0].replace("M", "I"), item[1:].split("-", maxsplit=1)[-1] or "_"
        ends = prev in "ES" or (prev in "BI" and tag in "BSO") or (prev != "O" and prev_type != kind)
        begins = tag in "BS" or (prev in "ESO" and tag in "EI") or (tag != "O" and prev_type != kind)
        if ends:
            found.append((prev_type, begin, place - 1))
        if begins:
            begin = place
        prev, prev_type = tag, kind
    return set(found)


@pytest.mark.parametrize("labels", [("B", "E", "M", "S"), ("B-A", "B-B", "I-A", "I-B", "O"), ("B-A", "E-A", "I-A", "O", "S-A", "I-B")])
def test_spans_are_those_of_seqeval(labels):
    rng = np.random.default_rng(2)
    truth, guess = rng.integers(0, len(labels), (200, 12)), rng.integers(0, len(labels), (200, 12))
    guess = np.where(rng.random(guess.shape) < 0.7, truth, guess)
    beyond = np.arange(12) >= rng.integers(1, 13, 200)[:, None]
    truth[beyond], guess[beyond] = -1, -1
    hits, said, there = span_counts(truth, guess, labels)
    names = [[[labels[code] for code in row if code >= 0] for row in side.tolist()] for side in (truth, guess)]
    sets = [[chunks(row) for row in side] for side in names]
    assert hits.tolist() == [len(a & b) for a, b in zip(*sets, strict=True)]
    assert said.tolist() == [len(b) for b in sets[1]] and there.tolist() == [len(a) for a in sets[0]]
    f1 = named("span_f1", "tags", labels=labels)
    assert f1.finalise(f1.update(None, truth, guess)) == pytest.approx(2 * hits.sum() / (said.sum() + there.sum()))


def test_words_of_bmes_are_spans():
    labels = ("B", "E", "M", "S")
    truth = np.array([[labels.index(tag) for tag in "BESBME"]])
    guess = np.array([[labels.index(tag) for tag in "BEBEBE"]])  # 北京|好|图书馆 read as 北京|好图|书馆
    hits, said, there = span_counts(truth, guess, labels)
    assert (hits.tolist(), said.tolist(), there.tolist()) == ([1], [3], [3])
    assert has_spans(labels) and not has_spans(("NN", "VB"))


def test_answers_of_tags_are_joined_and_parted_by_row():
    values = np.random.default_rng(0).dirichlet(np.ones(3), 9).astype(np.float32)
    whole = Answer("tags", values, ("a", "b", "c"), offsets=np.array([0, 2, 2, 5, 9]))
    parts = [part_of(whole, np.array([0, 1])), part_of(whole, np.array([False, False, True, True]))]
    again = joined([{"y": part} for part in parts])["y"]
    assert np.array_equal(again.values, values) and again.offsets.tolist() == [0, 2, 2, 5, 9]
    back = part_of(whole, np.array([3, 0]))
    assert np.array_equal(back.values, values[[5, 6, 7, 8, 0, 1]]) and back.offsets.tolist() == [0, 4, 6]
    truth = np.full((4, 4), -1)
    truth[0, :2], truth[3] = values[:2].argmax(1), [values[5].argmax(), -2, -2, -2]
    assert measure(truth, whole) == {"accuracy": pytest.approx(0.5)}
    assert score(truth, whole, 0, 100)["rows"] == 2
