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


TABLE = {
    "name": "table", "threads": 1,
    "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": "table.csv"}],
                    "inputs": {"size": {"kind": "number"}, "colour": {"kind": "category"}, "day": {"kind": "date"}},
                    "targets": {"price": {"kind": "number"}, "kind": {"kind": "category"}}},
        "finetune": {"model": {"kind": "members", "members": 2, "hidden_sizes": [8], "number_embedding_size": 4},
                     "task": {"kind": "supervised", "quantiles": [0.1, 0.9]}, "num_train_epochs": 5, "learning_rate": 1e-2,
                     "replay_rows": 50},
        "linear": {"kind": "finetune", "model": {"kind": "linear"}},
        "compress": {}, "evaluate": {"models": ["finetune", "linear", "compress"], "resamples": 100}, "export": {"scores": "evaluate"},
        "report": {"stages": ["prepare", "finetune", "linear", "compress", "evaluate", "export"]}}}
ASKED = {"size": [1.5, None, 90.0], "colour": ["red", "a new colour", None], "day": ["2024-03-01", "2024-07-15", "2025-01-01"]}


def write_table(file: Path) -> None:
    rows = [f"{i % 37 + 0.5},{'red green blue'.split()[i % 3]},2024-{i % 12 + 1:02d}-{i % 28 + 1:02d},"
            f"{(i % 37) * 2 + i % 3},{'large' if i % 37 > 18 else 'small'}" for i in range(300)]
    file.write_text("size,colour,day,price,kind\n" + "\n".join(rows) + "\n", encoding="utf-8")


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
    write_table(Path("table.csv"))
    for recipe, name in ((RECIPE, "run"), (TABLE, "table")):
        bessemer.run(recipe)
        shutil.move(f"runs/{name}", name)
        for left in (".work", ".kept", "tensorboard", ".stamps.json", ".lock", "report.html"):
            path = Path(name) / left
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree("runs")
    answers = {stage: bessemer.Model.load(Path("run") / stage).predict_proba(TEXTS).tolist()
               for stage in ("finetune", "baseline", "export")}
    models = {stage: bessemer.Model.load(Path("table") / stage) for stage in ("finetune", "linear", "export")}
    tables = {stage: {target: answer.values.tolist() for target, answer in model.answers(ASKED).items()} for stage, model in models.items()}
    kept = {"texts": TEXTS, "answers": answers, "rows": ASKED, "tables": tables}
    Path("answers.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
