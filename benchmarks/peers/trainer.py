"""Hugging Face's Trainer in turns (see `turns.py`).

python -m benchmarks.peers.trainer {finetune|mlm} DATA WEIGHTS {random|group_by_length} SEED

As its documentation sets it up: `run_glue` with DataCollatorWithPadding (dynamic padding), `run_mlm` with texts joined and cut into blocks
of 128 tokens, adamw_torch_fused. It needs accelerate and datasets beside transformers.
"""

import sys
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.peers.turns import Turns

LENGTH, BLOCK, BATCH = 256, 128, 32


def rows(data: Path, column: str, split: str = "train") -> tuple[list[Any], tuple[str, ...]]:
    """Return the prepared rows of a column, and its labels."""
    from bessemer.core.schema import Schema
    from bessemer.data.shards import ShardReader

    schema = {item.name: item for item in Schema.load(data).columns}
    values = [value for table in ShardReader(data / split).tables([column]) for value in table[column].to_pylist()]
    return values, schema[column].labels


def classifying(data: Path, weights: str) -> tuple[Any, Any, Any]:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(weights)
    texts, (codes, labels) = rows(data, "text")[0], rows(data, "label")
    found = Dataset.from_dict({"text": texts, "label": codes}).map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=LENGTH), batched=True, remove_columns=["text"])
    network = AutoModelForSequenceClassification.from_pretrained(weights, num_labels=len(labels))
    return network, found, DataCollatorWithPadding(tokenizer)


def masked(data: Path, weights: str) -> tuple[Any, Any, Any]:
    from datasets import Dataset
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling

    tokenizer = AutoTokenizer.from_pretrained(weights)
    tokenised = Dataset.from_dict({"text": rows(data, "text")[0]}).map(
        lambda batch: tokenizer(batch["text"], return_special_tokens_mask=True), batched=True, remove_columns=["text"])

    def group(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {name: list(chain.from_iterable(parts)) for name, parts in batch.items()}
        total = len(joined["input_ids"]) // BLOCK * BLOCK
        return {name: [part[start:start + BLOCK] for start in range(0, total, BLOCK)] for name, part in joined.items()}

    network = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                                         intermediate_size=1024))
    return network, tokenised.map(group, batched=True), DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)


def main() -> None:
    kind, data, weights, strategy, seed = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
    import datasets
    from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

    datasets.disable_progress_bars()
    set_seed(seed)
    network, found, collator = (classifying if kind == "finetune" else masked)(data, weights)
    turns = Turns()
    size = {"rows": float(BATCH), "tokens": float(BATCH * BLOCK)} if kind == "mlm" else {"rows": float(BATCH)}

    class InTurns(TrainerCallback):
        def __init__(self) -> None:
            self.done: dict[str, float] = {}

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            turns.step(**self.done)
            self.done = size

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, learning_rate=5e-5, weight_decay=0.01, optim="adamw_torch_fused",
        lr_scheduler_type="constant", max_steps=100_000, save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True, seed=seed,
        train_sampling_strategy=strategy)
    Trainer(model=network, args=arguments, train_dataset=found, data_collator=collator, callbacks=[InTurns()]).train()


if __name__ == "__main__":
    main()
