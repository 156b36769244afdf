"""Train, open, predict and evaluate from Python, on a small made-up file: python examples/python_api.py [FOLDER].

Everything is written into FOLDER (`runs/python-api` by default). Run it twice: the second time, nothing is computed again.
"""

import csv
import random
import sys
from pathlib import Path

import bessemer

GOOD = ["lovely", "warm", "quick", "kind", "fresh", "bright"]
BAD = ["cold", "slow", "rude", "stale", "broken", "dull"]
THINGS = ["soup", "room", "waiter", "coffee", "train", "screen", "bread", "driver"]


def write_rows(file: Path, count: int, seed: int) -> None:
    """Write `count` rows of text and label; the label follows from two words of the text."""
    draw = random.Random(seed)
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["text", "label"])
        for number in range(count):
            label, words = draw.choice([("good", GOOD), ("bad", BAD)])
            first, second = draw.sample(THINGS, 2)
            rows.writerow([f"Visit {number}: the {first} was {draw.choice(words)}, the {second} {draw.choice(words)}.", label])


def recipe(folder: Path) -> dict:
    """Return the recipe as plain values: what a YAML file would hold."""
    return {
        "name": "example",
        "output_dir": str(folder / "run"),
        "threads": 1,
        "stages": {
            "prepare": {
                "sources": [{"kind": "csv", "path": str(folder / "train.csv")}],
                "inputs": {"text": {"kind": "text", "max_length": 32, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                "targets": {"label": {"kind": "category"}},
                "split": {"kind": "stratified", "validation": 0.2, "test": 0.2},
            },
            "finetune": {
                "model": {"kind": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
                          "max_position_embeddings": 32},
                "num_train_epochs": 8,
                "learning_rate": 5e-3,
            },
            "evaluate": {"models": ["finetune"]},
        },
    }


def main(folder: Path) -> None:
    """Make the files, bring the run up to date, and use the model."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.csv", 400, seed=1)
    write_rows(folder / "new.csv", 100, seed=2)

    result = bessemer.run(recipe(folder))
    for name, stage in result.stages.items():
        print(f"{name}: {stage.folder}")

    model = bessemer.Model.load(result.root)
    texts = ["The soup was lovely and the waiter kind.", "The room was cold, the driver rude."]
    for text, label, row in zip(texts, model.predict(texts), model.predict_proba(texts), strict=True):
        print(f"{label} ({row.max():.2f}): {text}")

    found = model.evaluate(folder / "new.csv")
    accuracy = found["metrics"]["accuracy"]
    print(f"accuracy on {found['rows']} new rows: {accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/python-api"))
