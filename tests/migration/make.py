"""Make the run that later versions must open: python tests/migration/make.py VERSION. Run once a minor version, by that version."""

import json
import shutil
import sys
from pathlib import Path

import bessemer

HERE = Path(__file__).parent
TEXTS = ["a lovely warm day", "what a dull and broken thing", "happy and bright, truly", "poor service, awful food"]
RECIPE = {
    "name": "run", "threads": 1,
    "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": "rows.csv"}],
                    "inputs": {"said": {"kind": "text", "max_length": 16, "tokenizer": {"kind": "wordpiece", "vocab_size": 200}}},
                    "targets": {"mood": {"kind": "category"}}},
        "finetune": {"model": {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32,
                               "max_position_embeddings": 16},
                     "num_train_epochs": 10, "learning_rate": 5e-3},
        "baseline": {"kind": "finetune", "model": {"kind": "tfidf_linear"}},
        "compress": {}, "evaluate": {"models": ["finetune", "baseline", "compress"], "resamples": 100}, "export": {"scores": "evaluate"},
        "report": {"stages": ["prepare", "finetune", "baseline", "compress", "evaluate", "export"]}}}


def write_rows(file: Path) -> None:
    words = {"good": "lovely happy bright warm fine".split(), "bad": "dull awful poor broken sad".split()}
    rows = [f"the {words[mood][i % 5]} thing {i} felt {words[mood][(i // 5) % 5]},{mood}" for i in range(100) for mood in words]
    file.write_text("said,mood\n" + "\n".join(rows) + "\n", encoding="utf-8")


def main(version: str) -> None:
    folder = HERE / version
    folder.mkdir()
    write_rows(folder / "rows.csv")
    import os

    os.chdir(folder)
    bessemer.run(RECIPE)
    shutil.move("runs/run", "run")
    shutil.rmtree("runs")
    for name in (".work", ".kept", "tensorboard", ".stamps.json", ".lock"):
        path = Path("run") / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    answers = {stage: bessemer.Model.load(Path("run") / stage).predict_proba(TEXTS).tolist()
               for stage in ("finetune", "baseline", "export")}
    Path("answers.json").write_text(json.dumps({"texts": TEXTS, "answers": answers}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
