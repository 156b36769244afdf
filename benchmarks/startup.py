"""How long the package takes to import, the command line to answer, and a finished recipe to be found finished."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import record, spread

ROUNDS = 11


def timed(command: list[str], folder: Path | None = None) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - started


def main() -> None:
    python = sys.executable
    tool = str(Path(python).parent / "bessemer")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = tiny(folder)
        timed([tool, "run", str(recipe)], folder)
        commands = {
            "python -c pass": [python, "-c", "pass"], "python -c 'import bessemer'": [python, "-c", "import bessemer"],
            "bessemer --help": [tool, "--help"], "bessemer run (finished recipe)": [tool, "run", str(recipe)]}
        taken: dict[str, list[float]] = {label: [] for label in commands}
        for _ in range(ROUNDS):
            for label, command in commands.items():
                taken[label].append(timed(command, folder))
    bare = taken["python -c pass"]
    rows = [(label, spread(values), spread([a - b for a, b in zip(values, bare, strict=True)])) for label, values in taken.items()]
    record("startup", "Start-up", ("command", "seconds, median (range)", "over bare Python, same round"), rows,
           f"{ROUNDS} rounds, the commands in turn. Targets: import ≤ 0.2 s over bare Python, --help ≤ 0.4 s, a finished recipe ≤ 2 s.")


def tiny(folder: Path) -> Path:
    """Write a small labelled file and a recipe of every stage; return the recipe."""
    words = {"good": "fine great lovely happy bright", "bad": "poor sad awful dull broken"}
    lines = ["text,label"]
    for index in range(300):
        label = ("good", "bad")[index % 2]
        picked = words[label].split()
        lines.append(f"{picked[index % 5]} thing number {index} was {picked[(index // 5) % 5]},{label}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    recipe = folder / "tiny.yaml"
    recipe.write_text("""name: tiny
stages:
  prepare:
    sources: [{kind: csv, path: rows.csv}]
    inputs: {text: {kind: text, max_length: 32, tokenizer: {kind: wordpiece, vocab_size: 600}}}
    targets: {label: {kind: category}}
  finetune:
    model: {kind: bert, num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, max_position_embeddings: 64}
    num_train_epochs: 8
    learning_rate: 2.0e-3
  compress: {}
  evaluate: {models: [finetune, compress]}
  export: {scores: evaluate}
  report: {stages: [prepare, finetune, compress, evaluate, export]}
""")
    return recipe


if __name__ == "__main__":
    main()
