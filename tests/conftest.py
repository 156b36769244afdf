"""What tests of the whole command share: synthetic rows in two languages, a tiny finished run, the command line in this process."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's matter and fails no test.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

WORDS = {
    "good": (["lovely", "superb", "friendly", "brilliant"], ["很好", "满意", "喜欢", "精彩"]),
    "bad": (["awful", "rotten", "rude", "dreadful"], ["很差", "失望", "讨厌", "糟糕"])}
THINGS = (["room", "meal", "flight", "staff", "film", "battery"], ["房间", "饭菜", "航班", "服务", "电影", "电池"])
TINY = """\
name: tiny
threads: 1
stages:
  prepare:
    sources: [{kind: csv, path: rows.csv}]
    inputs: {text: {kind: text, max_length: 24, tokenizer: {kind: wordpiece, vocab_size: 300}}}
    targets: {label: {kind: category}}
    split: {kind: stratified, validation: 40, test: 40}
  pretrain:
    model: {kind: bert, num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, max_position_embeddings: 32}
    num_train_epochs: 1
    learning_rate: 1.0e-3
  finetune: {init: pretrain, num_train_epochs: 6, learning_rate: 5.0e-3}
  baseline: {kind: finetune, model: {kind: tfidf_linear, analyzers: [word], c: [1.0]}}
  compress: {min_agreement: 0.5, max_accuracy_drop: 0.5}
  evaluate: {models: [finetune, baseline, compress], resamples: 100}
  export: {scores: evaluate}
  report: {stages: [prepare, pretrain, finetune, baseline, compress, evaluate, export]}
"""


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return (text, label) of different sentences, English and Chinese by turns, whose label a word decides."""
    generator = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        label = ("good", "bad")[len(found) // 2 % 2]
        language = len(found) % 2
        word, thing = generator.choice(WORDS[label][language]), generator.choice(THINGS[language])
        number = generator.randrange(10_000)
        text = (f"The {thing} number {number} was {word} today.", f"第{number}次，{thing}{word}。")[language]
        found[text] = label
    return list(found.items())


def write_csv(file: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...] = ("text", "label"), delimiter: str = ",") -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_tiny(folder: Path, rows: int = 320, **stages: dict[str, Any] | None) -> Path:
    """Write rows.csv and tiny.yaml (settings of stages changed, None leaves one out) to a folder and return the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "rows.csv", sentences(rows))
    tree = yaml.safe_load(TINY)
    for name, changes in stages.items():
        if changes is None:
            del tree["stages"][name]
        else:
            tree["stages"][name] = {**tree["stages"].get(name, {}), **changes}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder / "tiny.yaml"


@dataclass(frozen=True)
class Said:
    """What a command said: its exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the sentence of the error, on one line, having checked that it is one and no traceback."""
        assert self.code == 2, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err and self.err.count("error: ") == 1, self.err
        sentence = self.err[self.err.index("error: "):].strip()
        assert "\n" not in sentence, sentence
        return sentence.removeprefix("error: ")


Command = Callable[..., Said]


@pytest.fixture
def bessemer(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process."""
    from bessemer.cli import main

    def command(*arguments: object) -> Said:
        capsys.readouterr()
        code: Any = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return Said(int(code), said.out, said.err)

    return command


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows.csv, tiny.yaml and its finished runs/tiny, made once for all processes; to be read only."""
    from bessemer.api import run

    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = base / "finished"
    with (base / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "finished.done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            write_tiny(folder)
            with contextlib.chdir(folder):
                run("tiny.yaml")
            (base / "finished.done").touch()
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished folder, the current one, to be changed."""
    folder = tmp_path / "copied"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that mounts a small disk (`size=1m`, `ro` with `remount`) for the test; skips where that is not permitted."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        if shutil.which("mount") is None:
            pytest.skip("there is no mount command")
        found = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False)
        if found.returncode:
            pytest.skip(f"mounting a small disk is not permitted here: {found.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def left_over(folder: Path) -> list[str]:
    """Return what a failed command must not leave under a folder: unfinished stages, scratch and partial files."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        stage = path.is_dir() and path.parent.parent.name == "runs" and not path.name.startswith(".") and path.name != "tensorboard"
        unfinished = stage and not (path / "manifest.json").is_file()
        work = path.parent.parent.name == ".work" and path.name in ("out", "scratch")
        if unfinished or work or path.name.endswith((".part", ".tmp")) or ".bessemer-plan" in name:
            found.append(name)
    return found
