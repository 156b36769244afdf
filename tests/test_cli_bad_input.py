"""Every bad input ends as one clear sentence with exit code 2 and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.core.store import Lock
from tests.conftest import Command, left_over, sentences, write_csv, write_tiny


def recipe(folder: Path, source: dict[str, Any], **prepare: Any) -> Path:
    """Write a recipe that reads one source and trains nothing yet."""
    tree = {"name": "r", "threads": 1, "stages": {"prepare": {
        "sources": [source], "inputs": {"text": {"kind": "text", "max_length": 16, "tokenizer": {"kind": "wordpiece", "vocab_size": 200}}},
        "targets": {"label": {"kind": "category"}}, **prepare}}}
    file = folder / "r.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def funnel(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs/r/prepare/funnel.json").read_text(encoding="utf-8"))["sources"][0]
    return found


# ---- data ------------------------------------------------------------------------------------------------------------

def test_missing_file(bessemer: Command, here: Path) -> None:
    write_csv(here / "rows.csv", sentences(20))
    assert bessemer("run", recipe(here, {"kind": "csv", "path": "row.csv"})).error == "there is no file 'row.csv'; did you mean 'rows.csv'?"
    assert left_over(here) == []


def test_missing_column(bessemer: Command, here: Path) -> None:
    write_csv(here / "rows.csv", sentences(20), ("texts", "label"))
    found = bessemer("run", recipe(here, {"kind": "csv", "path": "rows.csv"})).error
    assert found == "'rows.csv' has no column 'text'; did you mean 'texts'? its columns are: texts, label"
    assert left_over(here) == []


def test_missing_labels(bessemer: Command, here: Path) -> None:
    write_csv(here / "rows.csv", [(text, "") for text, _ in sentences(20)])
    found = bessemer("run", recipe(here, {"kind": "csv", "path": "rows.csv"})).error
    assert "every row was set aside" in found and "missing label" in found and "20" in found
    assert left_over(here) == []


def test_listed_label_that_no_row_has(bessemer: Command, here: Path) -> None:
    write_csv(here / "rows.csv", sentences(60))
    file = recipe(here, {"kind": "csv", "path": "rows.csv"}, targets={"label": {"kind": "category", "labels": ["bad", "good", "fair"]}})
    assert "no training row has the label 'fair'" in bessemer("run", file).error
    assert left_over(here) == []


@pytest.mark.parametrize(("change", "said"), [
    ({"sorces": []}, "unknown key 'sorces'; did you mean 'sources'?"),
    ({"sources": ["rows.csv"]}, "sqlalchemy, sqlite; a path is written with its kind: {kind: …, path: rows.csv}"),
    ({"split": {"kind": "stratifid"}}, "there is no 'stratifid' among the data/splits; did you mean 'stratified'?"),
    ({"limit": "many"}, "'limit': input should be a whole number"),
    ({"duplicates": "drop"}, "'duplicates': input should be 'remove' or 'keep', not 'drop'"),
    ({"inputs": {"text": {"kind": "text", "max_length": 4}}}, "'max_length': expected a number greater than or equal to 8 or 'auto'"),
    ({"sources": []}, "'sources'"),
    ({"targets": {"text": {"kind": "category"}}}, "the column 'text' is an input and a target"),
])
def test_wrong_keys_and_types(bessemer: Command, here: Path, change: dict[str, Any], said: str) -> None:
    write_csv(here / "rows.csv", sentences(20))
    assert said in bessemer("run", recipe(here, {"kind": "csv", "path": "rows.csv"}, **change)).error
    assert sorted(path.name for path in here.iterdir()) == ["r.yaml", "rows.csv"]


@pytest.mark.parametrize("content", ["", "\ufeff", "\n\n"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "lines"])
def test_empty_file(bessemer: Command, here: Path, kind: str, content: str) -> None:
    (here / "rows").write_text(content, encoding="utf-8")
    assert "'rows' is empty; expected" in bessemer("run", recipe(here, {"kind": kind, "path": "rows"})).error
    assert left_over(here) == []


def test_header_alone(bessemer: Command, here: Path) -> None:
    (here / "rows.csv").write_text("text,label\n")
    assert bessemer("run", recipe(here, {"kind": "csv", "path": "rows.csv"})).error == (
        "'rows.csv' has a header but no rows; expected at least one")


def test_one_class(bessemer: Command, here: Path) -> None:
    write_csv(here / "rows.csv", [(text, "good") for text, _ in sentences(40)])
    assert bessemer("run", recipe(here, {"kind": "csv", "path": "rows.csv"})).error == (
        "the target 'label' has only one label ('good') in all 40 rows, so there is nothing to tell apart; expected at least two")
    assert left_over(here) == []


def test_every_row_quarantined(bessemer: Command, here: Path) -> None:
    write_csv(here / "rows.csv", [("\u200b ", label) for _, label in sentences(30)])
    found = bessemer("run", recipe(here, {"kind": "csv", "path": "rows.csv"})).error
    assert "nothing to learn from" in found and "empty text" in found and "30" in found
    assert left_over(here) == []


def test_truncated_parquet(bessemer: Command, here: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sentences(200)
    pq.write_table(pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]}), here / "rows.parquet")
    whole = (here / "rows.parquet").read_bytes()
    (here / "rows.parquet").write_bytes(whole[:len(whole) // 2])
    found = bessemer("run", recipe(here, {"kind": "parquet", "path": "rows.parquet"})).error
    assert "'rows.parquet'" in found and "Parquet" in found
    assert left_over(here) == []


@pytest.mark.parametrize("kind", ["csv", "jsonl", "lines"])
def test_undecodable_line_is_set_aside(bessemer: Command, here: Path, kind: str) -> None:
    lines = {"csv": [f'"{text}",{label}' for text, label in sentences(60)],
             "jsonl": [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in sentences(60)],
             "lines": [f"{label}\t{text}" for text, label in sentences(60)]}[kind]
    broken = [line.encode() for line in lines]
    broken[7] = broken[7].replace(b"The", b"Th\xe9").replace("第".encode(), b"\xff")
    (here / "rows").write_bytes((b"text,label\n" if kind == "csv" else b"") + b"\n".join(broken) + b"\n")
    said = bessemer("run", recipe(here, {"kind": kind, "path": "rows"}))
    assert said.code == 0, said.err
    assert funnel(here)["rejected"] == {"not valid UTF-8": 1} and funnel(here)["rows_out"] == 59


@pytest.mark.parametrize("kind", ["csv", "jsonl", "lines"])
def test_line_of_50_megabytes(bessemer: Command, here: Path, kind: str) -> None:
    rows = sentences(60)
    with (here / "rows").open("w", encoding="utf-8") as stream:
        stream.write("text,label\n" if kind == "csv" else "")
        for index, (text, label) in enumerate(rows):
            text = text if index != 30 else "x" * 50_000_000
            stream.write({"csv": f'"{text}",{label}\n', "jsonl": f'{{"text": "{text}", "label": "{label}"}}\n',
                          "lines": f"{label}\t{text}\n"}[kind])
    said = bessemer("run", recipe(here, {"kind": kind, "path": "rows"}))
    if kind == "csv":
        assert "'rows', line 32: a line longer than" in said.error and "max_row_bytes" in said.error
        assert left_over(here) == []
    else:
        assert said.code == 0, said.err
        assert list(funnel(here)["rejected"].values()) == [1] and funnel(here)["rows_out"] == 59


def test_labels_of_mixed_types(bessemer: Command, here: Path) -> None:
    rows = [json.dumps({"text": text, "label": label if index != 25 else 1}) for index, (text, label) in enumerate(sentences(40))]
    (here / "rows.jsonl").write_text("\n".join(rows) + "\n")
    found = bessemer("run", recipe(here, {"kind": "jsonl", "path": "rows.jsonl"})).error
    assert "the column 'label' holds labels of mixed types" in found and "row 26" in found
    assert left_over(here) == []


def test_test_label_never_seen_in_training(bessemer: Command, here: Path) -> None:
    rows = [(text, label, ("train", "train", "train", "dev", "test")[index % 5]) for index, (text, label) in enumerate(sentences(100))]
    rows[44] = (rows[44][0], "fair", "test")
    write_csv(here / "rows.csv", rows, ("text", "label", "part"))
    found = bessemer("run", recipe(here, {"kind": "csv", "path": "rows.csv"}, split={"kind": "given", "column": "part"})).error
    assert found.startswith("the label 'fair' of the target 'label' occurs in test (row 45 of 'rows.csv') but never in training")
    assert left_over(here) == []


# ---- the catalogue ---------------------------------------------------------------------------------------------------

@pytest.fixture
def own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point pip's settings and the cache at folders of this test's own."""
    for name in list(os.environ):
        if name.upper().startswith(("PIP_", "XDG_", "BESSEMER_")) or name == "HF_HUB_OFFLINE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("BESSEMER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index").as_uri())
    monkeypatch.setattr("bessemer.core.fetch_web.RETRY_SECONDS", (0.0, 0.0))
    return tmp_path / "index"


def publish_other_bytes(index: Path, name: str) -> str:
    from bessemer.core.registry import plugin

    chosen = plugin("datasets", name)
    resource = chosen.function(chosen.config()).resource
    folder = index / resource.package.lower().replace("_", "-")
    folder.mkdir(parents=True)
    (folder / resource.archive).write_bytes(b"PK not what was pinned")
    (folder / "index.html").write_text(f'<html><body><a href="{resource.archive}">{resource.archive}</a></body></html>')
    return str(resource.archive)


@pytest.mark.parametrize("command", ["run", "get"])
def test_checksum_mismatch(bessemer: Command, here: Path, own_index: Path, command: str) -> None:
    archive = publish_other_bytes(own_index, "tweets")
    file = recipe(here, {"kind": "catalogue", "name": "tweets"})
    found = (bessemer("run", file) if command == "run" else bessemer("datasets", "get", "tweets")).error
    assert archive in found and "SHA-256" in found
    assert left_over(here) == [] and not list(own_index.parent.joinpath("cache").rglob("*.part"))


@pytest.mark.parametrize("command", ["run", "get"])
def test_no_network(bessemer: Command, here: Path, own_index: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    file = recipe(here, {"kind": "catalogue", "name": "tweets"})
    found = (bessemer("run", file) if command == "run" else bessemer("datasets", "get", "tweets")).error
    assert "http://127.0.0.1:9" in found
    assert left_over(here) == []


# ---- disks -----------------------------------------------------------------------------------------------------------

def leave_free(disk: Path, count: int) -> Path:
    """Fill a disk but for about so many bytes."""
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free - count
    with filler.open("wb") as stream:
        stream.write(b"\0" * max(0, free))
    return filler


@pytest.mark.parametrize(("stage", "before"), [("prepare", None), ("finetune", "prepare"), ("export", "evaluate")])
def test_full_disk(bessemer: Command, finished: Path, here: Path, small_disk: Any, stage: str, before: str | None) -> None:
    disk = small_disk("size=16m")
    shutil.copyfile(finished / "rows.csv", here / "rows.csv")
    shutil.copyfile(finished / "tiny.yaml", here / "tiny.yaml")
    settings = [here / "tiny.yaml", f"output_dir={disk}/run", *(["finetune.checkpoint_seconds=0.001"] if stage == "finetune" else [])]
    if before:
        shutil.copytree(finished / "runs/tiny", disk / "run")
        for name in {"finetune": ("finetune", "compress", "export", "evaluate"), "export": ("export",)}[stage]:
            shutil.rmtree(disk / "run" / name)
    filler = leave_free(disk, 60_000)
    found = bessemer("run", *settings, "--until", stage)
    assert f"the disk that holds '{disk}/run' is full" in found.error and "what was finished is kept" in found.error
    assert left_over(disk) == [] and not (disk / "run" / stage).exists()
    filler.unlink()
    again = bessemer("run", *settings, "--until", stage)
    assert again.code == 0, again.err
    assert left_over(disk) == []


def test_read_only_folder(bessemer: Command, copied: Path, small_disk: Any) -> None:
    disk = small_disk("size=16m")
    shutil.copytree(copied / "runs", disk / "runs")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for arguments in (("run", "tiny.yaml", f"output_dir={disk}/new"), ("plan", "tiny.yaml", f"output_dir={disk}/new"),
                      ("run", "tiny.yaml", f"output_dir={disk}/runs/tiny", "seed=3"), ("report", disk / "runs/tiny")):
        assert "is on a read-only disk; choose another place with output_dir=FOLDER" in bessemer(*arguments).error
    said = bessemer("predict", disk / "runs/tiny", "The room was lovely.")
    assert said.code == 0 and "good" in said.out  # asking a model writes nothing


def test_init_and_predictions_into_a_read_only_folder(bessemer: Command, copied: Path, small_disk: Any,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    disk = small_disk("size=1m,ro")
    found = bessemer("predict", "runs/tiny", "--file", "rows.csv", "--output", disk / "out.csv").error
    assert "read-only" in found and "output_dir" not in found
    monkeypatch.chdir(disk)
    assert "read-only" in bessemer("init", copied / "rows.csv", "--target", "label").error


# ---- artifacts -------------------------------------------------------------------------------------------------------

def test_changed_artifact(bessemer: Command, copied: Path) -> None:
    file = copied / "runs/tiny/finetune/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for arguments in (("run", "tiny.yaml"), ("predict", "runs/tiny/finetune", "text"), ("report", "runs/tiny"),
                      ("evaluate", "runs/tiny/finetune", "--data", "rows.csv")):
        found = bessemer(*arguments).error
        assert "model.safetensors' was changed after it was written" in found and "delete the folder" in found
    said = bessemer("doctor", "runs/tiny")
    assert said.code == 2 and "was changed after it was written" in " ".join(said.out.split()) and "Traceback" not in said.err


def test_damaged_manifest_and_missing_file(bessemer: Command, copied: Path) -> None:
    (copied / "runs/tiny/export/model.onnx").unlink()
    assert "model.onnx' has gone from a finished artifact" in bessemer("predict", "runs/tiny", "text").error
    (copied / "runs/tiny/export/manifest.json").write_text("{")
    assert "manifest.json' is damaged" in bessemer("predict", "runs/tiny", "text").error
    assert bessemer("doctor", "runs/tiny").code == 2


def test_checkpoint_with_a_pickle(bessemer: Command, copied: Path) -> None:
    key = json.loads((copied / "runs/tiny/finetune/manifest.json").read_text())["key"]
    shutil.rmtree(copied / "runs/tiny/finetune")
    checkpoint = copied / f"runs/tiny/.work/finetune-{key[:12]}/state/checkpoints/step-000000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.bin").write_bytes(pickle.dumps(Bomb(copied / "ran")))
    found = bessemer("run", "tiny.yaml").error
    assert "may hold a pickle" in found and "optimizer.bin" in found and "delete the folder" in found
    assert not (copied / "ran").exists()


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_weights_that_hold_code(bessemer: Command, copied: Path) -> None:
    import torch

    weights = copied / "weights"
    weights.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(copied / "runs/tiny/pretrain" / name, weights / name)
    torch.save({"bert.embeddings.word_embeddings.weight": Bomb(copied / "ran")}, weights / "pytorch_model.bin")
    write_tiny(copied, finetune={"init": "weights"}, pretrain=None, report=None)
    tree = yaml.safe_load((copied / "tiny.yaml").read_text())
    tree["stages"]["finetune"] = {"model": {"kind": "pretrained", "path": "weights"}}
    (copied / "tiny.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    found = bessemer("run", "tiny.yaml", "--until", "finetune").error
    assert "pytorch_model.bin' holds more than tensors" in found and "convert it to model.safetensors" in found
    assert not (copied / "ran").exists() and left_over(copied) == []


def test_run_folder_in_use(bessemer: Command, copied: Path) -> None:
    with Lock(copied / "runs/tiny"):
        found = bessemer("run", "tiny.yaml").error
        assert found == (f"the run folder 'runs/tiny' is in use by process {os.getpid()}; wait for it, stop it, or choose another folder "
                         "with output_dir=FOLDER")
        assert "in use" in bessemer("export", "runs/tiny").error


# ---- arguments -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("arguments", "said"), [
    (("run", "nothing.yaml"), "there is no file 'nothing.yaml'; expected a recipe"),
    (("run", "."), "expected a recipe"),
    (("run", "tiny.yaml", "finetune"), "'finetune' is no override; expected key.path=value"),
    (("run", "tiny.yaml", "finetuen.seed=1"), "there is no key or stage 'finetuen'; did you mean 'finetune'?"),
    (("run", "tiny.yaml", "finetune.learning_rat=1"), "unknown key 'learning_rat'; did you mean 'learning_rate'?"),
    (("run", "tiny.yaml", "finetune.learning_rate=fast"), "'learning_rate': input should be a number"),
    (("run", "tiny.yaml", "finetune.init=pretrian"), "there is no stage 'pretrian' and no folder of that name; did you mean 'pretrain'?"),
    (("run", "tiny.yaml", "pretrain.data=finetune"), "in a circle"),
    (("run", "tiny.yaml", "seed=-1"), "'seed'"),
    (("run", "tiny.yaml", "prepare.sources.7.path=x"), "'7' is no position in the list"),
    (("run", "tiny.yaml", "--until", "publish"), "--until publish: the recipe has no such stage"),
    (("run", "rows.csv"), "rows.csv"),
    (("plan", "nothing.yaml"), "there is no file 'nothing.yaml'"),
    (("plan", "tiny.yaml", "name=a/b"), "'name'"),
    (("predict", "nowhere", "text"), "there is no folder 'nowhere'; give a run's folder"),
    (("predict", "runs", "text"), "holds no finished model"),
    (("predict", "runs/tiny"), "give texts to predict, or --file FILE, one of the two"),
    (("predict", "runs/tiny", "text", "--file", "rows.csv"), "one of the two"),
    (("predict", "runs/tiny", "text", "--form", "onnx-int4"), "has no form 'onnx-int4'; did you mean 'onnx-int8'?"),
    (("predict", "runs/tiny", "text", "--output", "o.csv"), "--output goes with --file"),
    (("predict", "runs/tiny", "--file", "none.csv"), "there is no file 'none.csv'"),
    (("predict", "runs/tiny", "--file", "runs"), "'runs' is a folder; name a file"),
    (("predict", "runs/tiny", "--file", "rows.csv", "--output", "o.xlsx"), "predictions are written as .csv, .jsonl, .parquet"),
    (("predict", "runs/tiny", "--file", "rows.csv", "--output", "no/where/o.csv"), "there is no folder 'no/where'"),
    (("predict", "runs/tiny", "--file", "tiny.yaml"), "'.yaml'"),
    (("predict", "runs/tiny", "--file", "other.csv"), "the data have no column 'text'"),
    (("evaluate", "runs/tiny", "--data", "none.csv"), "there is no file 'none.csv'"),
    (("evaluate", "runs/tiny", "--data", "other.csv"), "the data have no column"),
    (("evaluate", "runs/tiny", "--data", "strange.csv"), "holds 'fair' (a label that the model does not know); it knows: bad, good"),
    (("report", "nowhere"), "'nowhere' has no recipe.yaml"),
    (("export", "."), "has no recipe.yaml"),
    (("init", "none.csv"), "there is no file 'none.csv'"),
    (("init", "tiny.yaml"), "'.yaml', which says nothing about its kind"),
    (("init", "rows.csv", "--target", "labl"), "has no column 'labl'; did you mean 'label'?"),
    (("init", "rows.csv", "--target", "text"), "is no category; choose another target"),
    (("datasets", "get", "tweet"), "there is no 'tweet' among the datasets; did you mean 'tweets'?"),
    (("datasets", "get"), "expected `bessemer datasets` or `bessemer datasets get NAME`"),
    (("datasets", "fetch", "tweets"), "expected `bessemer datasets`"),
    (("doctor", "nowhere"), "there is no folder 'nowhere'"),
], ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "")
def test_nonsense_arguments(bessemer: Command, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                            arguments: tuple[str, ...], said: str) -> None:
    for name in ("rows.csv", "tiny.yaml"):
        shutil.copyfile(finished / name, tmp_path / name)
    write_csv(tmp_path / "other.csv", sentences(10), ("body", "verdict"))
    write_csv(tmp_path / "strange.csv", [("The room.", "fair")])
    (tmp_path / "runs").mkdir()
    os.symlink(finished / "runs/tiny", tmp_path / "runs/tiny")
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert said in bessemer(*arguments).error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(("content", "said"), [
    (b"text,label\nhello,good\n", "expected a recipe: a mapping"),
    (b"PAR1\x00\xff\xfe", "is not UTF-8 text"),
    (b"x" * 1_000_001, "is this a data file?"),
    (b"name: a\nname: b\n", "the key 'name' is given twice"),
    (b"name: [a\n", "this is not valid YAML"),
    (b"- 1\n", "expected a recipe: a mapping"),
    (b"name: a\n", "the key 'stages' is missing"),
    (b"name: a\nstages: {}\n", "at least one stage"),
    (b"name: a\nstages: {prepre: {}}\n", "there is no stage kind 'prepre'; did you mean 'prepare'?"),
    (b"name: a\nstages: {prepare: {sources: 3, inputs: {}}}\n", "'sources'"),
    (b"", "expected a recipe"),
    (b"name: !!python/object/apply:os.system ['touch ran']\n", "this is not valid YAML"),
])
def test_recipe_that_is_none(bessemer: Command, here: Path, content: bytes, said: str) -> None:
    (here / "r.yaml").write_bytes(content)
    for command in ("run", "plan"):
        assert said in bessemer(command, "r.yaml").error
    assert [path.name for path in here.iterdir()] == ["r.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read every file")
def test_unreadable_recipe(bessemer: Command, here: Path) -> None:
    (here / "r.yaml").write_text("name: a\n")
    (here / "r.yaml").chmod(0)
    assert "no permission to read" in bessemer("run", "r.yaml").error


# ---- settings that would fail after hours ----------------------------------------------------------------------------

@pytest.mark.parametrize(("setting", "said"), [
    ("finetune.metric_for_best_model=acuracy", "metric_for_best_model: there is no validation metric 'acuracy'; did you mean 'accuracy'?"),
    ("pretrain.metric_for_best_model=mlm_los", "metric_for_best_model: there is no validation metric 'mlm_los'; did you mean 'mlm_loss'?"),
    ("finetune.adaptation={kind: lora, target_modules: [qeury]}", "target_modules: no linear layer's name ends with 'qeury'"),
    ("prepare.inputs.text.max_length=64", "the column 'text' is prepared with max_length 64, but the model reads 32 tokens at most"),
    ("finetune.learning_rate=0", "learning_rate"),
    ("finetune.tokens_per_batch=8", "tokens_per_batch is 8, but one row may have max_length 24 tokens"),
])
def test_found_before_training(bessemer: Command, copied: Path, setting: str, said: str) -> None:
    stage = setting.split(".")[0]
    planned = bessemer("plan", "tiny.yaml", setting)
    assert planned.code == 2 and said in planned.err, planned.err
    assert said in bessemer("run", "tiny.yaml", setting, "--until", "pretrain" if stage == "prepare" else stage).error
    if setting != "finetune.learning_rate=0":  # what a few steps alone can show
        assert not (copied / "runs/tiny/.work").exists()
    assert left_over(copied) == []
