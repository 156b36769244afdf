"""One report with every section filled, hostile and Chinese texts among them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bessemer.core.types import Answer
from bessemer.evaluate.paired import paired
from bessemer.evaluate.score import score
from bessemer.report.data import ReportData
from bessemer.report.part import Value
from bessemer.report.sheets import Comparison, Evaluation

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
    labels = ("negative", "positive")
    prob = {name: Answer("label", _probabilities(truth, *setting), labels) for name, setting in named.items()}
    sheets = {name: score(truth, found, seed=1, resamples=300) for name, found in prob.items()}
    extra = {"torch fp32": (90_900_000, 27.5, 31.2, 1.0), "ONNX fp32": (90_700_000, 21.6, 24.0, 1.27),
             "ONNX int8": (23_400_000, 13.2, 14.9, 2.08), "TF-IDF + linear": (4_120_000, 0.41, 0.62, 67.1)}
    forms = [{"name": name, "metrics": {key: sheets[name]["metrics"][key] for key in ("accuracy", "recall", "f1")},
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
        "fronts": [make_front()],
        "curves": [_curve("pretrain", 400, 2.4, None), _curve("finetune", 600, 0.6, 300, alarm)],
        "overlaps": [{"metric": "accuracy", "everything": {"value": 0.9045, "low": 0.891, "high": 0.917}, "rows": 1500,
                      "distinct": {"value": 0.9021, "low": 0.888, "high": 0.915}, "overlapping": 37}],
        "funnel": [{"source": "posts.csv", "rows_in": 12_431, "rows_out": 11_802,
                    "rejected": {"exact duplicate": 402, "empty text": 35, "conflicting labels": 181, "too long": 11}},
                   {"source": "评论.jsonl", "rows_in": 3000, "rows_out": 2950, "rejected": {HOSTILE: 50}}],
        "splits": [{"name": name, "rows": rows, "labels": {"negative": rows // 2, "positive": rows - rows // 2}}
                   for name, rows in (("train", 10_000), ("validation", 1200), ("test", 1500))],
        "suspects": [{"sentence": "4.1% [3.6%, 4.7%] of the labels of 'label' look wrong or open to dispute", "note": "Judged by 5 parts.",
                      "total": 88, "rows": [{"text": HOSTILE, "predicted": "positive", "truth": "negative", "right": False,
                                             "confidence": 0.98}]}],
        "quarantine": [{"source": "posts.csv", "row": 17, "reason": "exact duplicate", "content": "great movie"},
                       {"source": "posts.csv", "row": 40_112, "reason": "too long", "content": "word " * 200},
                       {"source": "评论.jsonl", "row": 3, "reason": "undecodable", "content": HOSTILE}],
        "examples": [{"text": "finally friday, best week in ages :)", "predicted": "positive", "truth": "positive", "right": True,
                      "confidence": 0.993},
                     {"text": "酒店的服务非常好，房间也很干净，下次还会再来。", "predicted": "positive", "truth": "positive", "right": True,
                      "confidence": 0.981},
                     {"text": "هذا رائع جدا", "predicted": "negative", "truth": None, "confidence": 0.55}],
        "errors": [{"text": HOSTILE, "predicted": "positive", "truth": "negative", "right": False, "confidence": 0.997},
                   {"text": "oh great, my phone died again. love it", "predicted": "positive", "truth": "negative", "right": False,
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


def make_front() -> dict[str, object]:
    """Return what a search under a budget found, the name of one candidate hostile."""
    shown = [("trained network; int8", 0.9035, 23_400_000, 12.1, True, False, False),
             ("slim: 3 layers; int8", 0.9021, 9_100_000, 4.4, True, True, True),
             (HOSTILE, 0.871, 4_000_000, 0.4, True, False, False), ("text_cnn; float32", 0.86, 9_000_000, 0.5, False, False, False)]
    found = [{"name": name, "status": "finished", "quality": {"value": value, "low": value - 0.014, "high": value + 0.014},
              "drop": {"value": 0.9045 - value, "low": 0.895 - value, "high": 0.913 - value}, "size_bytes": size, "latency_ms": late,
              "latency_16_ms": 14 * late, "front": front, "fits": fits, "chosen": chosen}
             for name, value, size, late, front, fits, chosen in shown]
    return {"stage": "compress", "sentence": "slim: 3 layers; int8 loses least of the 1 candidate within the budget", "reached": True,
            "limits": {"size_mb": 10.0, "latency_ms": 5.0, "accuracy_drop": 0.005}, "speedup": {"value": 6.1, "low": 5.9, "high": 6.3},
            "reference": {"name": "trained network", "quality": {"value": 0.9045}, "size_bytes": 90_900_000, "latency_ms": 27.5},
            "candidates": [*found, {"name": "text_rnn", "status": "dropped", "size_bytes": 14_000_000, "latency_ms": 3.1,
                                    "reason": "untrained, it is over the budget already: 14.0 MB of 10"}]}


@pytest.fixture(scope="session")
def hostile() -> str:
    """Return a text that tries to break out of the page."""
    return HOSTILE


@pytest.fixture(scope="session")
def sample() -> ReportData:
    """Return the sample report."""
    return make_sample()


def make_tables() -> ReportData:
    """Return a report of a table with a number and flags as targets; the numbers come from the package's own scoring."""
    rng = np.random.default_rng(5)
    truth = np.exp(rng.normal(12.2, 0.5, 900))
    answers, tagged = {}, {}
    flags = (rng.random((900, 3)) < (0.2, 0.5, 0.05)).astype(int)
    for name, noise in (("finetune torch-float32", 0.14), ("baseline lightgbm", 0.18)):
        guess = truth * np.exp(rng.normal(0, noise, 900))
        values = np.stack([guess, guess * np.exp(-1.3 * noise), guess, guess * np.exp(1.7 * noise)], axis=1)
        answers[name] = Answer("number", values, quantiles=(0.05, 0.5, 0.95))
        prob = np.clip(0.25 + 0.4 * flags + rng.normal(0, noise, flags.shape), 0, 1)
        tagged[name] = Answer("flags", prob, ("garden", HOSTILE, "带电梯"))
    sheets = {name: score(truth, answer, seed=1, resamples=200) for name, answer in answers.items()}
    others = {name: score(flags, answer, seed=1, resamples=200) for name, answer in tagged.items()}
    first, second = answers
    pair = paired(truth, answers[first], answers[second], seed=1, resamples=200)
    forms = [{"name": name, "metrics": {key: sheets[name]["metrics"][key] for key in ("r2", "rmse", "mae")}, "size_bytes": 3_500_000,
              "latency_median_ms": 2.31, "latency_p95_ms": 2.6, "speedup": 1.0 + index, "final": not index}
             for index, name in enumerate(answers)]
    further = [{"name": name, "metrics": {key: others[name]["metrics"][key] for key in ("f1_micro", "f1_macro", "subset_accuracy")},
                "final": name == first} for name in others]
    shown = [{"text": f"rooms={index}, street=Hill", "row": {"rooms": str(index), "street": "Hill & Dale", "area": "82.5"},
              "predicted": f"{guess:,.0f}", "truth": f"{true:,.0f}", "spread": "1,204"}
             for index, (guess, true) in enumerate(zip(answers[first].values[:4, 0], truth[:4], strict=True))]
    counts, edges = np.histogram(truth, 20)
    return ReportData.model_validate({
        "title": "Prices of homes", "data_name": "homes.csv", "reads": "table", "task": "tabular-regression", "reference": second,
        "forms": forms, "evaluation": {**sheets[first], "target": "price"}, "looks": 2,
        "comparisons": [{"question": "Is stage finetune better than stage baseline?", "a": first, "b": second, "metric": metric,
                         "target": "price", "a_value": pair[metric]["a"], "b_value": pair[metric]["b"],
                         "difference": {"value": pair[metric]["difference"], "low": pair[metric]["low"], "high": pair[metric]["high"]},
                         "verdict": pair[metric]["verdict"]} for metric in ("rmse", "r2", "mae")],
        "others": [{"name": "extras", "forms": further, "evaluation": {**others[first], "target": "extras"}}],
        "examples": shown, "errors": shown[::-1],
        "columns": [{"name": "area", "kind": "number", "missing": 0.021, "missing_test": 0.04, "distinct": 412, "edges": edges.tolist(),
                     "train": (counts / 900).tolist(), "test": (counts[::-1] / 900).tolist(), "drift": 0.031,
                     "associations": [{"target": "price", "measure": "pearson", "value": 0.71}]},
                    {"name": HOSTILE, "kind": "category", "missing": 0.0, "distinct": 3, "values": ["Hill", HOSTILE, "路"],
                     "train": [0.55, 0.33, 0.12], "drift": 0.27, "flags": ["constant", HOSTILE],
                     "associations": [{"target": "price", "measure": "eta", "value": 0.12},
                                      {"target": HOSTILE, "measure": "cramers_v", "value": 0.5}]},
                    {"name": "id", "kind": "number", "flags": ["every value is different"]}],
        "updates": [{"stage": "update", "decision": "kept aside", "reason": "It is worse on the old rows: RMSE +812.",
                     "table": [{"data": "old", "metric": "rmse", "before": 40210.5, "after": 41022.2,
                                "difference": {"value": 811.7, "low": 210.0, "high": 1400.0}},
                               {"data": "new", "metric": "r2", "before": 0.81, "after": 0.87,
                                "difference": {"value": 0.06, "low": 0.02, "high": 0.09}}],
                     "drift": [{"column": "street", "psi": 0.44, "note": "2 new values"}, {"column": HOSTILE, "psi": None}]}]})


@pytest.fixture(scope="session")
def tables() -> ReportData:
    """Return the report of a table."""
    return make_tables()
