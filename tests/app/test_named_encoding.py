"""Files that commands name and that are in an old encoding: read in that of the run's sources, or in the one that is said."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

from bessemer import cli
from bessemer.api import Model, run
from bessemer.app.embed import embed_file
from bessemer.app.updates import with_update
from bessemer.core.errors import UserError
from bessemer.core.recipe import load_recipe
from bessemer.data.named_file import named_source, run_encoding

WORDS = {"good": ("رائع", "جميل", "ممتاز"), "bad": ("قذر", "سيئ", "بارد")}


def rows(file: Path, count: int, seed: int, encoding: str = "cp1256") -> Path:
    rng = np.random.default_rng(seed)
    with file.open("w", newline="", encoding=encoding) as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number in range(count):
            label = ("good", "bad")[number % 2]
            writer.writerow([f"الفندق {rng.choice(WORDS[label])} والطعام {rng.choice(WORDS[label])} {rng.integers(10 ** 6)}", label])
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arabic")
    run({"name": "arabic", "output_dir": str(folder / "run"), "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": str(rows(folder / "old.csv", 160, 0)), "encoding": "cp1256"}],
                    "inputs": {"text": {"kind": "text", "max_length": 16, "tokenizer": {"kind": "wordpiece", "vocab_size": 200}}},
                    "targets": {"label": {"kind": "category"}}, "split": {"kind": "random", "validation": 0.2, "test": 0.1}},
        "finetune": {"model": {"kind": "ngrams"}, "num_train_epochs": 6, "learning_rate": 2e-2, "per_device_train_batch_size": 16}}})
    return folder


def test_commands_read_a_file_as_the_runs_sources_are(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = rows(tmp_path / "new.csv", 60, 1)
    assert Model.load(place / "run").evaluate(file)["metrics"]["accuracy"]["value"] > 0.9
    for words in (["evaluate", str(place / "run"), "--data", str(file)],
                  ["predict", str(place / "run" / "finetune"), "--file", str(file), "--output", str(tmp_path / "out.csv")]):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        said = " ".join(capsys.readouterr().err.split())
        assert ended.value.code == 0 and "new.csv: it is not UTF-8 and is read as CP1256, as the run's sources are" in said
    found = pyarrow.csv.read_csv(tmp_path / "out.csv")
    assert found["problem"].null_count == 60 and found["label"].to_pylist() == ["good", "bad"] * 30
    recipe, name, said = with_update(place / "run", [file], [])
    assert recipe.stages[name].sources[0].encoding == "cp1256" and "is read as CP1256" in said


def test_what_is_said_wins(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = rows(tmp_path / "new.csv", 60, 1, "iso8859_6")
    named = Model.load(place / "run").evaluate(file, encoding="iso8859_6")
    assert named["metrics"]["accuracy"]["value"] > 0.9 and named["left_out"]["rows"] == 0
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", str(place / "run"), "--file", str(file), "--encoding", "iso8859_6"])
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 0 and "60 rows of" in said and ", 0 without a prediction" in said and "not UTF-8" not in said
    with pytest.raises(UserError, match="--encoding goes with --file; texts are answered on the screen"):
        cli.predict(place / "run", ["الفندق"], encoding="cp1256")
    assert with_update(place / "run", [file], [], None, "iso8859_6")[0].stages["update-001"].sources[0].encoding == "iso8859_6"
    with pytest.raises(UserError, match="there is no encoding 'cp9999'; expected one such as"):
        named_source(file, "cp9999")
    (tmp_path / "new.parquet").write_bytes(b"PAR1" * 9)
    with pytest.raises(UserError, match="is read as parquet, of which no encoding is named; leave cp1256 out"):
        named_source(tmp_path / "new.parquet", "cp1256")


@pytest.mark.parametrize(("text", "encoding", "read"), [
    ("الفندق,good", "utf-8", None), ("الفندق,good", "utf-8-sig", None), ("الفندق,good", "utf-16", None), ("plain,good", "ascii", None),
    ("الفندق,good", "cp1256", "cp1256"), ("Гостиница чистая и дешёвая,good", "cp1251", "cp1256")])
def test_only_what_is_neither_utf8_nor_marked_is_read_as_the_runs_sources(place: Path, tmp_path: Path, text: str, encoding: str,
                                                                         read: str | None) -> None:
    (tmp_path / "new.csv").write_bytes(("text,label\n" + f"{text}\n" * 40).encode(encoding))
    config, said = named_source(tmp_path / "new.csv", None, place / "run" / "finetune")
    assert config.encoding == read and bool(said) == (read is not None)
    assert ("though its bytes look like CP1251" in said) == (encoding == "cp1251")


def test_a_folder_of_texts_is_read_as_the_runs_sources_unless_some_are_utf8(place: Path, tmp_path: Path) -> None:
    for label, words in WORDS.items():
        (tmp_path / "texts" / label).mkdir(parents=True)
        for number, word in enumerate(words):
            (tmp_path / "texts" / label / f"{number}.txt").write_bytes(f"الفندق {word}".encode("cp1256"))
    assert named_source(tmp_path / "texts", None, place / "run")[0].encoding == "cp1256"
    (tmp_path / "texts" / "good" / "9.txt").write_text("الفندق", encoding="utf-8")
    assert named_source(tmp_path / "texts", None, place / "run")[0].encoding is None


@pytest.mark.parametrize(("sources", "named"), [
    ([{"kind": "csv", "encoding": "latin-1"}, {"kind": "jsonl", "encoding": "ISO8859-1"}, {"kind": "csv"}], "ISO8859-1"),
    ([{"kind": "csv", "encoding": "cp1256"}, {"kind": "csv", "encoding": "cp1255"}], None),
    ([{"kind": "sql", "tables": {"a": {"kind": "csv", "encoding": "cp874"}}}], "cp874"),
    ([{"kind": "csv", "encoding": "utf-8"}], None)])
def test_the_encoding_of_a_run_is_that_which_all_its_sources_name(tmp_path: Path, sources: list[object], named: str | None) -> None:
    plain = {"stages": {"prepare": {"sources": sources, "inputs": {"x": {"kind": "category", "encoding": "hash"}}}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    assert run_encoding(tmp_path) == run_encoding(tmp_path / "prepare") == named
    assert run_encoding(tmp_path / "another") is None


def test_init_reads_a_file_in_the_encoding_that_is_said_and_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows(tmp_path / "data.csv", 60, 2)
    with pytest.raises(SystemExit) as ended:
        cli.main(["init", "data.csv"])
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        cli.main(["init", "data.csv", "--encoding", "cp1256"])
    assert ended.value.code == 0
    stages = load_recipe(tmp_path / "data.yaml").stages
    assert stages["prepare"].sources[0].encoding == "cp1256" and list(stages["prepare"].targets) == ["label"]


def test_embed_reads_in_the_encoding_of_the_run(place: Path, tmp_path: Path) -> None:
    class Embedder:
        folder, schema = place / "run" / "finetune", Model.load(place / "run").schema

        def embed(self, table: pyarrow.Table) -> np.ndarray:
            assert all("الفندق" in text for text in table["text"].to_pylist())
            return np.ones((len(table), 2), np.float32)

    embed_file(place / "run", rows(tmp_path / "new.csv", 60, 3), tmp_path / "out.parquet", Embedder())  # type: ignore[arg-type]
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["problem"].null_count == 60
