"""`datasets.map(batched=True)` with a fast tokenizer, in turns: python -m benchmarks.peers.datasets_map DATA WEIGHTS {one|ids|two}.

one: as its documentation has it, the tokenizer's own threads; ids: without the two columns that BERT also takes; two: num_proc=2. A turn is
one pass over all prepared texts, already in memory.
"""

import sys
from pathlib import Path

from benchmarks.peers.turns import Turns


def texts(data: Path) -> list[str]:
    """Return the prepared texts of all splits."""
    from bessemer.data.shards import ShardReader

    folders = [data / name for name in ("train", "validation", "test") if (data / name).is_dir()]
    return [value for folder in folders for table in ShardReader(folder).tables(["text"]) for value in table["text"].to_pylist()]


def main() -> None:
    import datasets
    from transformers import AutoTokenizer
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
    found = datasets.Dataset.from_dict({"text": texts(Path(sys.argv[1]))})
    more = {"return_attention_mask": False, "return_token_type_ids": False} if sys.argv[3] == "ids" else {}
    turns, tokens = Turns(1), 0.0
    while True:
        turns.step(tokens=tokens)
        made = found.map(lambda batch: tokenizer(batch["text"], **more), batched=True, load_from_cache_file=False,
                         num_proc=2 if sys.argv[3] == "two" else None)
        tokens = float(sum(map(len, made["input_ids"])) - 2 * len(made)) if not tokens else tokens


if __name__ == "__main__":
    main()
