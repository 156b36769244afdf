"""One report with every section filled, hostile and Chinese texts among them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bessemer.evaluate.paired import paired
from bessemer.evaluate.score import score
from bessemer.report.data import Comparison, Evaluation, ReportData, Value

HOSTILE = "<script>alert('x')</script> & \"quotes\" \x00\x1b[31m <img src=http://evil.example/a.png onerror=alert(1)>"


def _probabilities(truth: np.ndarray, sharpness: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logit = (truth * 2 - 1) * sharpness + rng.normal(0, 1.6, len(truth))
    yes = 1 / (1 + np.exp(-1.2 * logit))
    return np.stack([1 - yes, yes], axis=1)


def _curve(stage: str, steps: int, level: float, best: int | None, alarm: str = "") -> dict[str, object]:
    points: list[dict[str, float | None]] = []
    rng = np.random.default_rng(len(stage))
    for step in range(0, steps + 1, 10):
        done = step / steps
        rate = 3e-5 * min(1.0, done / 0.1) * (1 - max(0.0, done - 0.1) / 0.9)
        point: dict[str, float | None] = {
            "step": step, "epoch": 3 * done, "learning_rate": rate,
            "train_loss": level * math.exp(-2.6 * done) + 0.12 + rng.normal(0, 0.02),
            "grad_norm": 1.1 + math.exp(-3 * done) + abs(rng.normal(0, 0.25))}
        if step % 50 == 0:
            point["validation_loss"] = level * math.exp(-2.2 * done) + 0.16 + 0.14 * max(0.0, done - 0.55)
            point["validation_accuracy"] = 0.91 - 0.3 * math.exp(-6 * done)
        points.append(point)
    return {"stage": stage, "points": points, "best_step": best, "alarm": alarm}


def make_sample() -> ReportData:
    """Return the sample; the numbers come from the package's own scoring."""
    truth = np.random.default_rng(0).integers(0, 2, 1500)
    named = {"torch fp32": (1.75, 1), "ONNX fp32": (1.75, 1), "ONNX int8": (1.72, 1), "TF-IDF + linear": (1.05, 3),
             "no pretraining": (1.5, 5)}
    prob = {name: _probabilities(truth, *setting) for name, setting in named.items()}
    labels = ("negative", "positive")
    sheets = {name: score(truth, found, labels, seed=1, resamples=300) for name, found in prob.items()}
    extra = {"torch fp32": (90_900_000, 27.5, 31.2, 1.0), "ONNX fp32": (90_700_000, 21.6, 24.0, 1.27),
             "ONNX int8": (23_400_000, 13.2, 14.9, 2.08), "TF-IDF + linear": (4_120_000, 0.41, 0.62, 67.1)}
    forms = [{"name": name, **{key: sheets[name]["metrics"][key] for key in ("accuracy", "recall", "f1")},
              "size_bytes": size, "latency_median_ms": median,
              "latency_p95_ms": slow, "speedup": ratio, "final": name == "ONNX int8",
              "note": "labels agree with torch on 99.4% of rows" if "int8" in name else ""}
             for name, (size, median, slow, ratio) in extra.items()]

    def compare(question: str, a: str, b: str) -> Comparison:
        found = paired(truth, prob[a], prob[b], seed=1, resamples=300)
        part = found["accuracy"]
        return Comparison(question=question, a=a, b=b, a_value=part["a"], b_value=part["b"], p=found["mcnemar"]["p"],
                          difference=Value(value=part["difference"], low=part["low"], high=part["high"]),
                          verdict=part["verdict"])

    alarm = "Validation loss rose for 3 evaluations after step 300 while training loss fell; "\
            "the weights of step 300 are kept."
    return ReportData.model_validate({
        "title": "Sentiment of posts", "data_name": "Posts & reviews", "finished": "2025-03-01 12:00 UTC",
        "summary": "Small BERT, pretrained further on the training text and fine-tuned on 10,000 posts, compressed to int8 "
                   "and exported. It beats the classical baseline trained on the same split, and runs twice as fast as "
                   "the network that it was made from.",
        "forms": forms, "evaluation": Evaluation.model_validate(sheets["ONNX int8"]), "looks": 1,
        "comparisons": [compare("Is it better than the classical baseline?", "ONNX int8", "TF-IDF + linear"),
                        compare("Did pretraining help?", "torch fp32", "no pretraining"),
                        compare("What did int8 cost?", "ONNX int8", "torch fp32")],
        "curves": [_curve("pretrain", 400, 2.4, None), _curve("finetune", 600, 0.6, 300, alarm)],
        "overlaps": [{"metric": "accuracy", "everything": {"value": 0.9045, "low": 0.891, "high": 0.917}, "rows": 1500,
                      "distinct": {"value": 0.9021, "low": 0.888, "high": 0.915}, "overlapping": 37}],
        "funnel": [{"source": "posts.csv", "rows_in": 12_431, "rows_out": 11_802,
                    "rejected": {"exact duplicate": 402, "empty text": 35, "conflicting labels": 181, "too long": 11}},
                   {"source": "评论.jsonl", "rows_in": 3000, "rows_out": 2950, "rejected": {HOSTILE: 50}}],
        "splits": [{"name": name, "rows": rows, "labels": {"negative": rows // 2, "positive": rows - rows // 2}}
                   for name, rows in (("train", 10_000), ("validation", 1200), ("test", 1500))],
        "quarantine": [{"source": "posts.csv", "row": 17, "reason": "exact duplicate", "content": "great movie"},
                       {"source": "posts.csv", "row": 40_112, "reason": "too long", "content": "word " * 200},
                       {"source": "评论.jsonl", "row": 3, "reason": "undecodable", "content": HOSTILE}],
        "examples": [{"text": "finally friday, best week in ages :)", "predicted": "positive", "truth": "positive",
                      "confidence": 0.993},
                     {"text": "酒店的服务非常好，房间也很干净，下次还会再来。", "predicted": "positive", "truth": "positive",
                      "confidence": 0.981},
                     {"text": "هذا رائع جدا", "predicted": "negative", "truth": None, "confidence": 0.55}],
        "errors": [{"text": HOSTILE, "predicted": "positive", "truth": "negative", "confidence": 0.997},
                   {"text": "oh great, my phone died again. love it", "predicted": "positive", "truth": "negative",
                    "confidence": 0.991}],
        "stages": [{"name": "prepare", "seconds": 9.2, "peak_memory_bytes": 610_000_000, "disk_bytes": 3_200_000},
                   {"name": "pretrain", "seconds": 182.0, "peak_memory_bytes": 2_210_000_000, "disk_bytes": 91_000_000},
                   {"name": "finetune", "seconds": 275.4, "peak_memory_bytes": 2_050_000_000, "disk_bytes": 91_000_000},
                   {"name": "evaluate", "seconds": 21.0, "peak_memory_bytes": 900_000_000, "disk_bytes": 88_000}],
        "host": {"processor": "2 cores, AVX2", "memory": "16 GB", "threads": "2"},
        "environment": {"bessemer": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.0"},
        "recipe": "name: sentiment\nstages:\n  prepare:\n    kind: prepare\n    note: '</pre><script>1</script>'\n",
        "commands": [{"command": "bessemer predict runs/sentiment \"what a day\"", "about": "Judge a text."},
                     {"command": "bessemer evaluate runs/sentiment --data more.csv", "about": "Score it on your rows."}],
        "card": {"licence": "apache-2.0", "language": ["en"], "tags": ["sentiment"], "training": "Two stages.",
                 "limitations": ["Sarcasm is often read literally."]}})


@pytest.fixture(scope="session")
def hostile() -> str:
    """Return a text that tries to break out of the page."""
    return HOSTILE


@pytest.fixture(scope="session")
def sample() -> ReportData:
    """Return the sample report."""
    return make_sample()
