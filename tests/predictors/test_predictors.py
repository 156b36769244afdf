"""Predictors: answers equal the network's own, in the rows' order, whatever the batch; bad rows are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Answer, Predictor
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.checkpoint import save_network
from bessemer.predictors._rows import batches, softmax

WORDS = "a good film and a bad film were seen by the same people on one rainy day of may".split()
TEXTS = ["a good film", "bad", " ".join(WORDS), "the same film\tagain", "one rainy day", "good good good bad"]


def make_folder(folder: Path, labels: tuple[str, ...] = ("bad", "good")) -> Schema:
    torch.set_num_threads(1)
    torch.manual_seed(5)
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(TEXTS, WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False))
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=64, initializer_range=0.3)
    save_network(Bert(config, ("classification",), len(labels), labels), folder)
    text = {"kind": "text", "tokenizer": {"kind": "wordpiece"}, "max_length": 16}
    schema = Schema(columns=(Column(name="review", role=Role.INPUT, modality=text),
                             Column(name="mood", role=Role.TARGET, modality={"kind": "category"}, labels=labels)))
    schema.save(folder)
    return schema


def opened(folder: Path, kind: str = "torch", **settings: object) -> Predictor:
    config = make("predictors", {"kind": kind, **settings})
    predictor: Predictor = plugin_of("predictors", config).function(config)(folder, Schema.load(folder), "form")
    return predictor


def rows(texts: list[object]) -> pa.Table:
    return pa.table({"review": texts})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_folder(tmp_path)
    return tmp_path


def only(answers: dict[str, Answer]) -> Answer:
    (found,) = answers.values()
    return found


def test_torch_form_gives_the_networks_probabilities_in_the_order_of_the_rows(folder: Path) -> None:
    from bessemer.nn.checkpoint import load_network

    found = only(opened(folder, max_length=16).predict(rows(TEXTS)))
    network = load_network(folder, ("classification",)).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    for text, row in zip(TEXTS, found.values, strict=True):
        ids = torch.tensor([[cls, *tokenizer.encode(text).ids[:14], sep]])
        with torch.inference_mode():
            expected = network(ids, torch.ones_like(ids), torch.zeros_like(ids)).double().softmax(1)[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert found.labels == ("bad", "good")
    assert found.values.dtype == np.float32


def test_answers_do_not_depend_on_the_neighbours(folder: Path) -> None:
    predictor = opened(folder, max_length=16)
    texts = [" ".join(np.random.default_rng(i).choice(WORDS, 1 + i % 20)) for i in range(80)]
    together = only(predictor.predict(rows(texts))).values
    alone = np.concatenate([only(predictor.predict(rows([text]))).values for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert together.tobytes() == only(predictor.predict(rows(texts))).values.tobytes()


def test_no_rows_numbers_and_other_columns(folder: Path) -> None:
    predictor = opened(folder, max_length=16)
    assert only(predictor.predict(rows([]))).values.shape == (0, 2)
    numbers, words = (only(predictor.predict(rows(values))) for values in ([12, 7], ["12", "7"]))
    assert numbers.values.tobytes() == words.values.tobytes()
    chunked = pa.table({"review": pa.chunked_array([["bad"], ["a good film"]]), "other": [1, 2]})
    np.testing.assert_array_equal(only(predictor.predict(chunked)).values,
                                  only(predictor.predict(rows(["bad", "a good film"]))).values)


@pytest.mark.parametrize(("table", "message"), [
    (pa.table({"reviews": ["x"]}), "the rows have no column 'review', which the model reads; did you mean 'reviews'"),
    (rows(["good", None]),
     "row 2: the value of the column 'review' is missing; every row to predict needs a text: leave this row out"),
    (rows(["good", "bad", " \t "]), "row 3: the value of the column 'review' is empty; every row to predict needs a text"),
    (rows([["good"]]), "the column 'review' has type list<(item|element): string>; expected text or numbers"),
    (rows([b"\xff\xfe"]), "the column 'review' of type binary cannot be read as text"),
    (pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["review", "review"]),
     "the rows have 2 columns named 'review'"),
])
def test_bad_rows_are_named(folder: Path, table: pa.Table, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(folder, max_length=16).predict(table)


def test_damaged_weights_are_noticed(folder: Path) -> None:
    predictor = opened(folder, max_length=16)
    predictor.predict_batch = lambda arrays: np.full((len(arrays["input_ids"]), 2), np.nan, np.float32)  # type: ignore[attr-defined]
    with pytest.raises(GuardError, match="the form 'form' gives scores that are no finite numbers, first in row 1"):
        predictor.predict(rows(["good", "bad"]))


def test_batches_cover_every_row_once_within_the_limits() -> None:
    cost = np.random.default_rng(0).integers(2, 600, 500)
    found = list(batches(cost, 32))
    assert sorted(np.concatenate(found)) == list(range(500))
    assert all(len(part) <= 32 and (len(part) == 1 or len(part) * cost[part].max() <= 4096) for part in found)
    assert [len(part) for part in batches(np.full(3, 9000), 32)] == [1, 1, 1]
    assert list(batches(np.zeros(0, np.int64), 32)) == []


def test_softmax_equals_torch_and_survives_large_logits() -> None:
    logits = np.array([[1e4, -1e4, 3.0], [0.1, 0.2, 0.3]], np.float32)
    np.testing.assert_allclose(softmax(logits), torch.from_numpy(logits).double().softmax(1).numpy(), atol=1e-7)


def test_onnx_form_names_a_missing_and_a_damaged_file(folder: Path) -> None:
    with pytest.raises(UserError, match="there is no file .*gone.onnx', which predictor.json names; export again"):
        opened(folder, "onnx", file="gone.onnx")
    (folder / "broken.onnx").write_bytes(b"\x08\x07not a graph" * 20)
    with pytest.raises(UserError, match="broken.onnx' is damaged or needs another version of ONNX Runtime"):
        opened(folder, "onnx", file="broken.onnx")


def fit_linear(folder: Path) -> None:
    from bessemer.core.types import FitSpec

    schema = make_folder(folder)
    table = pa.table({"review": ["good film", "good day", "bad film", "bad day"] * 3, "mood": [1, 1, 0, 0] * 3})
    model = make("models", "tfidf_linear")
    spec = FitSpec(schema, lambda: iter([table]), lambda: iter([table]), 0, folder)
    plugin_of("models", model).function(model).fit(spec)


def test_linear_form_cleans_and_answers_as_the_fitted_model(tmp_path: Path) -> None:
    from bessemer.models.tfidf_linear import load_linear

    fit_linear(tmp_path)
    found = only(opened(tmp_path, "linear").predict(rows(["  good\x00 film ", "bad day"])))
    np.testing.assert_array_equal(found.values, load_linear(tmp_path)(["good film", "bad day"]))
    assert found.values.argmax(1).tolist() == [1, 0]
    assert only(opened(tmp_path, "linear").predict(rows([]))).values.shape == (0, 2)
    make_folder(tmp_path, ("a", "b", "c"))
    with pytest.raises(UserError, match="tells 2 classes apart, the schema beside it names 3"):
        opened(tmp_path, "linear")


def test_linear_form_answers_true_and_false(tmp_path: Path) -> None:
    """A target of true and false is a label like any other: by what the kind answers, not by its name."""
    fit_linear(tmp_path)
    expected = only(opened(tmp_path, "linear").predict(rows(["good film", "bad day"]))).values
    schema = Schema.load(tmp_path)
    target = schema.columns[1].model_copy(update={"modality": {"kind": "boolean"}, "labels": ("false", "true")})
    Schema(columns=(schema.columns[0], target)).save(tmp_path)
    found = only(opened(tmp_path, "linear").predict(rows(["good film", "bad day"])))
    assert (found.kind, found.labels) == ("label", ("false", "true"))
    np.testing.assert_array_equal(found.values, expected)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
import pyarrow as pa
from pathlib import Path
from bessemer.core.forms import open_form
(found,) = open_form(Path(sys.argv[1])).predict(pa.table({"review": ["good film", "bad day"]})).values()
print(found.values.tobytes().hex())
"""


def without_torch(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", BLOCKED, str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_linear_form_needs_no_torch(tmp_path: Path) -> None:
    from bessemer.core.forms import Form, write_forms

    fit_linear(tmp_path)
    write_forms(tmp_path, (Form(name="linear", predictor=make("predictors", "linear"), files=("linear.json",)),))
    expected = only(opened(tmp_path, "linear").predict(rows(["good film", "bad day"]))).values
    assert without_torch(tmp_path) == expected.tobytes().hex()


SCRIPTS = ["a good film", "  a\tgood \n film ", "Ça était très bon", "e\u0301te\u0301", "这部电影很好看，我很喜欢。", "とても良い映画",
           "아주 좋은 영화", "фильм хороший",
           "فيلم جيد", "बहुत अच्छी फिल्म", "👍🏽 film", "x", "ﬁlm", "a\x00b", "One. Two! Three? Four", " ".join(WORDS * 9)]


def test_a_row_alone_reads_what_it_reads_in_a_table_in_all_scripts(folder: Path) -> None:
    """The quick way of a few rows gives the arrays of the vectorised way (codec.encode, collate), bit for bit."""
    from bessemer.predictors._rows import FEW, NetworkPredictor, clean_texts, input_column

    predictor = opened(folder, max_length=16)
    assert isinstance(predictor, NetworkPredictor)
    seen: list[dict[str, np.ndarray]] = []

    def spy(arrays: dict[str, np.ndarray]) -> np.ndarray:
        seen.append(arrays)
        return np.zeros((len(arrays["input_ids"]), 2), np.float32)

    predictor.predict_batch = spy
    column = input_column(predictor.schema)
    for text in SCRIPTS:
        predictor.predict(rows([text]))
        stored = predictor.codec.encode(clean_texts(rows([text]), column))
        expected = predictor.codec.collate({"ids": stored["ids"]}, 16)
        got = seen.pop()
        assert sorted(got) == sorted(expected)
        assert all(got[name].tobytes() == expected[name].tobytes() and got[name].dtype == expected[name].dtype for name in got), text
    many = SCRIPTS * (FEW // len(SCRIPTS) + 1)
    assert predictor.clean(rows(many)) == [predictor.clean(rows([text]))[0] for text in many]
    assert predictor.encode(many) == [predictor.encode([text])[0] for text in many]
    several = [predictor.encode(predictor.clean(rows([text])))[0] for text in SCRIPTS]
    predictor.answer(several[:5])
    stored = predictor.codec.encode(clean_texts(rows(SCRIPTS[:5]), column))["ids"]
    order = np.argsort([predictor.cost(ids) for ids in several[:5]], kind="stable")
    assert seen.pop()["input_ids"].tobytes() == predictor.codec.collate({"ids": stored.take(order)}, 16)["input_ids"].tobytes()
