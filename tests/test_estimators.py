"""scikit-learn's own checks of an estimator, and what they leave out: texts, data frames' columns, files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from bessemer import Classifier, Model, Regressor
from bessemer.core.errors import GuardError, UserError
from tests.conftest import sentences

QUICK = {"model": {"kind": "mlp", "hidden_sizes": [32]}, "num_train_epochs": 30,
         "settings": {"early_stopping_patience": None, "per_device_train_batch_size": 16}}
EXPECTED = {"check_sample_weight_equivalence_on_dense_data":
            "a weight scales a row's loss in its batch; a repeated row is met in two batches: mini-batch training tells them apart",
            "check_methods_subset_invariance":
            "a product of matrices in float32 adds up in an order that depends on how many rows there are: on some processors a row alone "
            "differs from the same row in a batch by 2e-7, and the check allows 1e-7"}


@pytest.mark.slow
@parametrize_with_checks([Classifier(**QUICK), Regressor(**QUICK)], expected_failed_checks=lambda _: EXPECTED)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_labels_are_learnt_and_survive_pickling(tmp_path):
    x, y = load_breast_cancer(return_X_y=True)
    names = np.array(["malignant", "benign"])[y]
    model = Classifier(model={"kind": "mlp", "hidden_sizes": [32]}, num_train_epochs=10).fit(x[:400], names[:400])
    assert model.score(x[400:], names[400:]) > 0.93
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x[400:]), model.predict_proba(x[400:]))
    model.save(tmp_path / "kept")
    opened = Model.load(tmp_path / "kept")
    np.testing.assert_allclose(opened.predict_proba({f"x{i}": x[400:, i] for i in range(30)}), model.predict_proba(x[400:]), atol=1e-6)
    with pytest.raises(UserError, match="is there already"):
        model.save(tmp_path / "kept")


def test_numbers_are_learnt_inside_a_pipeline_by_cross_validation():
    x, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), Regressor(model={"kind": "mlp", "hidden_sizes": [16]}, num_train_epochs=8))
    assert cross_val_score(model, x, y, cv=2).mean() > 0.2


def test_texts_are_learnt_by_a_list_of_texts():
    texts, labels = zip(*sentences(400), strict=True)
    small = {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    model = Classifier(model=small, num_train_epochs=6, learning_rate=3e-3, settings={"per_device_train_batch_size": 8})
    model.fit(list(texts[:320]), list(labels[:320]))
    assert model.score(list(texts[320:]), list(labels[320:])) > 0.9
    with pytest.raises(ValueError, match="the model was fitted on texts; give a list of texts"):
        model.predict(np.zeros((2, 3)))


def test_missing_values_are_taken_and_infinite_ones_refused():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = (x[:, 0] > 0).astype(int)
    x[::7, 1] = np.nan
    model = Classifier(**QUICK).fit(x, y)
    assert model.score(x, y) > 0.9
    x[0, 0] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(x)


def test_rows_that_are_left_out_are_told_and_a_class_without_any_is_refused():
    texts, labels = [f"{word} thing {i}" for i in range(60) for word in ("lovely", "awful")], ["good", "bad"] * 60

    def classifier() -> Classifier:
        return Classifier(model={"kind": "ngrams"}, num_train_epochs=1, learning_rate=1e-2)

    with pytest.warns(UserWarning, match=r"20 of 120 rows were left out: .* \(20\); the first is row 0 \(from 0\)"):
        classifier().fit([""] * 20 + texts[20:], labels)
    with pytest.warns(UserWarning, match="3 of 120 rows"), pytest.raises(ValueError, match="every row of the class 'c' was left out"):
        classifier().fit([*texts[:-3], "", "", ""], [*labels[:-3], "c", "c", "c"])


@pytest.mark.parametrize("classes", [["хорошо", "سيئ", "กลาง"], [10, 9, 2], [1.0, 2.0, 3.0], ["a", "a ", ""], ["c00001", "c00000", "b"]])
def test_what_is_saved_says_the_labels_that_were_given(tmp_path, classes):
    rng = np.random.default_rng(0)
    y = np.array(classes)[rng.integers(0, 3, 150)]
    x = np.stack([y == label for label in classes], 1) + rng.normal(0, 0.3, (150, 3))
    model = Classifier(model={"kind": "linear"}).fit(x, y)
    model.save(tmp_path / "kept")
    opened, table = Model.load(tmp_path / "kept"), {f"x{place}": x[:, place] for place in range(3)}
    np.testing.assert_array_equal(opened.predict_proba(table), model.model_.predict_proba(table))
    assert model.score(x, y) > 0.9
    words = dict(zip(opened.labels, model.classes_.tolist(), strict=True))
    assert [words[word] for word in opened.predict(table)] == model.predict(x).tolist()
    plain = {"хорошо": "хорошо", 10: "10", 1.0: "1", "a": "a (1)", "c00001": "c00001"}
    assert {value: word for word, value in words.items()}[classes[0]] == plain[classes[0]]


def test_truth_values_are_labels_as_recipes_write_them():
    x = np.arange(60.0)[:, None]
    model = Classifier(model={"kind": "linear"}).fit(x, x[:, 0] > 30)
    assert model.model_.labels == ("false", "true") and model.predict(x[:1]).tolist() == [False]


class Frame:
    """Columns with names and types, as a data frame of pandas shows them."""

    def __init__(self, **columns):
        self.held, self.columns = columns, list(columns)
        self.dtypes = [values.dtype for values in columns.values()]

    def __getitem__(self, name):
        return self.held[name]

    def __len__(self):
        return len(self.held[self.columns[0]])


def test_a_data_frames_dates_and_truth_values_are_learnt_as_such():
    rng = np.random.default_rng(0)
    day, paid = rng.integers(0, 2000, 300), rng.random(300) > 0.5
    frame = Frame(day=np.datetime64("2020-01-01") + day, paid=paid, city=np.array(["Oslo", "Rome", None], object)[day % 3])
    y = day / 100 + 3 * paid
    model = Regressor(model={"kind": "mlp", "hidden_sizes": [32]}, num_train_epochs=20, learning_rate=1e-2).fit(frame, y)
    assert [column.modality["kind"] for column in model.model_.schema.columns] == ["date", "boolean", "category", "number"]
    assert model.score(frame, y) > 0.97
    written = Frame(day=np.array(["2021-05-06"], object), paid=np.array(["yes"], object), city=np.array(["Oslo"], object))
    typed = Frame(day=np.array(["2021-05-06"], "datetime64[ns]"), paid=np.array([True]), city=np.array(["Oslo"], object))
    assert model.predict(written) == model.predict(typed)


def test_a_data_frames_column_of_another_type_is_refused():
    frame = Frame(x=np.arange(4.0), wait=np.arange(4).astype("timedelta64[s]"))
    with pytest.raises(ValueError) as caught:
        Regressor(**QUICK).fit(frame, np.arange(4))
    assert str(caught.value) == ("the column 'wait' holds values of type duration[s]; expected numbers, true and false, dates, texts or "
                                 "categories: convert the column or leave it out")
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[4, 3\]"):
        Regressor(**QUICK).fit(frame, np.arange(3))


@pytest.mark.parametrize("kind", ["linear", "lightgbm"])
def test_a_model_that_fits_itself_takes_no_settings_of_a_network(kind):
    pytest.importorskip("lightgbm" if kind == "lightgbm" else "sklearn")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    assert Regressor(model={"kind": kind}).fit(x, 2 * x[:, 0] - x[:, 1]).score(x, 2 * x[:, 0] - x[:, 1]) > 0.8
    with pytest.raises(GuardError, match="stages.finetune: nothing reads the key 'num_train_epochs' with these settings"):
        Regressor(model={"kind": kind}, num_train_epochs=7).fit(x, x[:, 0])


def test_a_linear_model_of_texts_and_a_model_that_is_none():
    texts, labels = zip(*sentences(200), strict=True)
    assert Classifier(model={"kind": "tfidf_linear"}).fit(list(texts), list(labels)).score(list(texts), list(labels)) > 0.9
    with pytest.raises(UserError, match="there is no 'liner' among the models; did you mean 'linear'"):
        Classifier(model={"kind": "liner"}).fit(list(texts), list(labels))


@pytest.mark.parametrize("y", [["a", None, "b", None], ["a", float("nan"), "b", None], np.array(["a", None, "b", np.nan], object)])
@pytest.mark.parametrize("x", [np.arange(8.0).reshape(4, 2), ["one", "two", "three", "four"]])
def test_labels_that_are_missing_are_refused(x, y):
    with pytest.raises(ValueError) as caught:
        Classifier(**QUICK).fit(x, y)
    assert str(caught.value) == "y holds no label in 2 of 4 rows, the first being row 1 (from 0); leave these rows out of X and y"


def test_two_columns_of_one_name_are_refused():
    frame = Frame(a=np.arange(4.0), b=np.arange(4.0))
    frame.columns = ["a", "a"]
    with pytest.raises(UserError, match=r"^the rows have 2 columns named 'a'; rename or remove all but one$"):
        Regressor(**QUICK).fit(frame, np.arange(4))


@pytest.mark.parametrize(("given", "message"), [
    ([], "X has no rows (0 texts), while a minimum of 1 is required; give at least one text"),
    (["good", None], "row 1 (from 0) of X is no text but NoneType; the model was fitted on texts: give a text, or leave the row out"),
])
def test_what_is_no_list_of_texts_is_named(given, message):
    fitted = Classifier()
    fitted.reads_text_ = True
    with pytest.raises(ValueError) as error:
        fitted._inputs(given, reset=False)
    assert str(error.value) == message


@pytest.mark.parametrize(("given", "message"), [
    ([None, "good"], "row 0 (from 0) of X is no text but NoneType, and others are texts: give a text in every row, or leave the row out"),
    (np.array(["good", 1.5], object), "row 1 (from 0) of X is no text but float, and others are texts: give a text in every row, or leave "
                                      "the row out"),
    (np.array([["good"], ["bad"]], object), "row 0 (from 0) of X is a row of 1 with the text 'good' in it; give texts as a list or an "
                                            "array [N] of one text a row, and a table with words in it as a data frame"),
    (np.array([["good"], ["bad"]]), "row 0 (from 0) of X is a row of 1 with the text 'good' in it; give texts as a list or an array [N] of "
                                    "one text a row, and a table with words in it as a data frame"),
    ([b"good", b"bad"], "row 0 (from 0) of X is no text but bytes: decode it, as b.decode('utf-8')"),
    ([[1, 2], [3, "bad"]], "row 1 (from 0) of X is a row of 2 with the text 'bad' in it; give texts as a list or an array [N] of one text "
                           "a row, and a table with words in it as a data frame"),
])
def test_texts_that_cannot_be_learnt_are_named(given, message):
    with pytest.raises(ValueError) as error:
        Classifier(**QUICK).fit(given, ["a", "b"])
    assert str(error.value) == message
