"""Two texts that are learnt together: as transformers reads them, from a recipe to answers without torch."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pytest

from bessemer import Model, run
from bessemer.app.answers import predict_file
from bessemer.app.embed import Embedder
from bessemer.core.errors import UserError
from bessemer.core.registry import plugin
from bessemer.modalities import tokens
from bessemer.modalities.pairs import collated, framed
from bessemer.serve.versions import shape
from bessemer.serve.why import why
from bessemer.serve.work import work_of

BERT = {"kind": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CITIES = ["rome", "oslo"]


def rows(count, seed=0):
    """Return a place, a question about a place, and whether they are the same: neither text alone says it."""
    rng = np.random.default_rng(seed)
    place, asked = rng.integers(0, len(CITIES), (2, count))
    return pa.table({"premise": [f"{CITIES[code]} {number}" for number, code in enumerate(place)],
                     "hypothesis": [f"{CITIES[code]}" for code in asked], "label": np.where(place == asked, "yes", "no")})


def recipe(folder, **finetune):
    text = {"kind": "text", "max_length": 16, "tokenizer": {"kind": "words", "min_frequency": 2}}
    return {"name": "pairs", "output_dir": str(folder / "run"), "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "parquet", "path": str(folder / "rows.parquet")}], "targets": {"label": {"kind": "category"}},
                    "inputs": {"premise": text, "hypothesis": text}, "split": {"kind": "random", "validation": 0.15, "test": 0.2}},
        "finetune": {"model": BERT, "num_train_epochs": 14, "learning_rate": 5e-3, "per_device_train_batch_size": 16, **finetune},
        "compress": {}, "evaluate": {"models": ["finetune", "compress"], "resamples": 100}}}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    parquet.write_table(rows(400), folder / "rows.parquet")
    return run(recipe(folder)), folder


def test_what_both_texts_say_together_is_learnt(learnt):
    result, _ = learnt
    scores = json.loads((result.stages["evaluate"].folder / "scores.json").read_text())["forms"]
    assert set(scores) == {"finetune torch-float32", "compress onnx-float32", "compress onnx-int8"}
    for form in scores.values():
        assert form["metrics"]["accuracy"]["value"] > 0.95


def test_every_form_answers_pairs(learnt):
    result, folder = learnt
    trained, small = Model.load(result.stages["finetune"].folder), Model.load(result.stages["compress"].folder, "onnx-float32")
    table = rows(40, 1)
    assert small.inputs == ("premise", "hypothesis")
    np.testing.assert_allclose(trained.predict_proba(table), small.predict_proba(table), atol=1e-4)
    assert small.predict([{"premise": "oslo 5", "hypothesis": "oslo"}, {"premise": "rome 5", "hypothesis": "oslo"}]) == ["yes", "no"]
    assert small.evaluate(table)["metrics"]["accuracy"]["value"] > 0.9
    assert small.problems([{"premise": "oslo", "hypothesis": ""}]).to_pylist() == ["hypothesis: empty text"]
    predict_file(result.stages["compress"].folder, folder / "rows.parquet", folder / "out.csv", "onnx-float32")
    assert np.mean([a == b for a, b in zip(csv.read_csv(folder / "out.csv")["label"].to_pylist(),
                                           rows(400)["label"].to_pylist(), strict=True)]) > 0.95


def test_a_server_takes_both_fields(learnt):
    result, _ = learnt
    work = work_of(Model.load(result.stages["compress"].folder, "onnx-float32")._predictor, 1000)
    taken = [work.take({"hypothesis": "rome", "premise": "rome 7"}), work.take({"premise": "rome 7", "hypothesis": "oslo"})]
    assert [item["label"]["label"] for item in work.answer(work.prepare(taken))] == ["yes", "no"]


def test_either_text_may_be_the_reason(learnt):
    predictor = Model.load(learnt[0].stages["compress"].folder, "onnx-float32")._predictor
    found = why(predictor, {"premise": "rome 7", "hypothesis": "rome"})
    assert {reason.column for reason in found} <= {"premise", "hypothesis"} and shape(predictor.schema)["reads"] == "table"


def test_vectors_of_pairs_are_one_sentence(learnt):
    with pytest.raises(UserError, match="the model reads pairs of texts \\('premise' and 'hypothesis'\\)"):
        Embedder.load(learnt[0].stages["finetune"].folder)


@pytest.mark.parametrize("max_length", [8, 11, 12, 17, 40])
def test_pairs_are_framed_and_cut_as_transformers_does(max_length):
    from transformers import PreTrainedTokenizerFast

    rng = np.random.default_rng(max_length)
    texts = [" ".join(rng.choice(["one", "two", "three", "four", "five"], size).tolist()) for size in rng.integers(1, 20, 120)]
    origin = plugin("modalities/tokenizers", "wordpiece")
    made = origin.function(origin.config.model_validate({"vocab_size": 100})).make(iter([texts]))
    info = tokens.info_of(made, "the test", max_length)
    ids = tokens.ids_of(made, texts)
    theirs = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]")(
        texts[:60], texts[60:], truncation="longest_first", max_length=max_length, padding=True, return_tensors="np",
        return_token_type_ids=True)
    stored = {"ids": pa.array(ids[:60], pa.list_(pa.int32())), "second": pa.array(ids[60:], pa.list_(pa.int32()))}
    for mine in (framed(ids[:60], ids[60:], max_length, info), collated(stored, max_length, info)):
        assert list(mine) == ["input_ids", "attention_mask", "token_type_ids"]
        for name, array in mine.items():
            assert np.array_equal(array, theirs[name]), name


def test_one_tokenizer_is_fitted_on_both(learnt):
    folder = learnt[0].stages["prepare"].folder
    files = [(folder / "columns" / name / "tokenizer.json").read_bytes() for name in ("premise", "hypothesis")]
    assert files[0] == files[1] == (folder / "tokenizer.json").read_bytes()
    vocabulary = json.loads(files[0])["model"]["vocab"]
    assert set(CITIES) <= set(vocabulary)


def test_what_is_no_pair_is_one_sentence(tmp_path):
    parquet.write_table(rows(60).append_column("more", pa.array(["x y"] * 60)), tmp_path / "rows.parquet")
    for extra, said in (({"more": {"kind": "text"}}, "3 columns of running text"),
                        ({"more": {"kind": "category"}}, "a pair of texts beside")):
        plain = recipe(tmp_path)
        plain["stages"]["prepare"]["inputs"].update(extra)
        with pytest.raises(UserError, match=said):
            run(plain, until="prepare")
    plain = recipe(tmp_path)
    plain["stages"]["prepare"]["inputs"]["hypothesis"] = {"kind": "text"}
    with pytest.raises(UserError, match="give 'premise' and 'hypothesis' the same settings"):
        run(plain, until="prepare")
    with pytest.raises(UserError, match="found 2 \\(premise, hypothesis\\)"):
        run(recipe(tmp_path, model={"kind": "tfidf_linear"}), until="finetune")
