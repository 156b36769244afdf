"""Seconds until a validation accuracy of .97 on r8, from minilm's weights: the engine's stage finetune; Trainer, evaluating as often.

python -m benchmarks.peers.reaching DATA WEIGHTS SECONDS trains by Trainer and prints one line of JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

AIM, EVALUATIONS, EPOCHS = 0.97, 8, 4


def engine(stage: dict[str, Any], folder: Path, bf16: bool | str = False) -> dict[str, float]:
    """Train by the stage finetune: sorted batches, a higher rate for the new head, two gradient threads."""
    from bessemer.core.events import Events
    from bessemer.core.recipe import make_recipe
    from bessemer.core.run import Options, execute

    stages: dict[str, Any] = {"prepare": stage}
    finetune = {"model": {"kind": "pretrained", "name": "minilm", "new_heads": True}, "num_train_epochs": EPOCHS, "learning_rate": 1e-4,
                "head_learning_rate": 1e-3, "gradient_threads": 2, "evals_per_epoch": EVALUATIONS, "stop_at": AIM,
                "metric_for_best_model": "accuracy", "bf16": bf16}
    started = 0.0
    for more in ({}, {"finetune": finetune}):  # prepare first, which is not counted
        started = time.perf_counter()
        recipe = make_recipe({"name": "reach", "output_dir": str(folder), "threads": 1, "stages": {**stages, **more}}, "benchmark")
        result = execute(recipe, Events(), Options())
    seconds = time.perf_counter() - started
    facts = json.loads((result.stages["finetune"].folder / "manifest.json").read_text())["facts"]
    return {"seconds": seconds, "accuracy": facts["best_value"], "steps": facts["steps"]}


def child(python: str, data: Path, weights: str, most: float) -> dict[str, float]:
    """Train by Trainer, in an interpreter that has what it needs, for so many seconds at most."""
    command = [python, "-m", "benchmarks.peers.reaching", str(data), weights, str(most)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return found


def main() -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

    from benchmarks.peers.trainer import BATCH, LENGTH, classifying, rows

    data, weights, most = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    network, train, collator = classifying(data, weights)
    tokenizer = AutoTokenizer.from_pretrained(weights)
    columns = {"text": rows(data, "text", "validation")[0], "label": rows(data, "label", "validation")[0]}
    held = Dataset.from_dict(columns).map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=LENGTH), batched=True)

    class Stop(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **more: Any) -> None:
            control.should_training_stop = metrics["eval_accuracy"] >= AIM

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            control.should_training_stop |= time.perf_counter() - started > most

    every = max(1, len(train) // BATCH // EVALUATIONS)
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, num_train_epochs=EPOCHS, learning_rate=5e-5, weight_decay=0.01,
        optim="adamw_torch_fused", save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True, eval_strategy="steps",
        eval_steps=every, per_device_eval_batch_size=64)
    trainer = Trainer(model=network, args=arguments, train_dataset=train, eval_dataset=held, data_collator=collator, callbacks=[Stop()],
                      compute_metrics=lambda item: {"accuracy": float((item.predictions.argmax(-1) == item.label_ids).mean())})
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    last = max(item["eval_accuracy"] for item in trainer.state.log_history if "eval_accuracy" in item)
    print(json.dumps({"seconds": seconds, "accuracy": last, "steps": trainer.state.global_step}))


if __name__ == "__main__":
    main()
