"""Labels from the vectors of a network that is not trained further: by class names alone, by a few rows, or by all of them.

- zero_shot: a class is the vector of its name or description; no row is learnt from.
- prototypes: a class is the mean vector of its rows (Snell, Swersky & Zemel 2017).
- linear: logistic regression over the vectors (a linear probe).

All three are one product: softmax(vector @ coef + intercept). The network's mean-pooled vectors have length 1.

Legend: N rows, D width, C classes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import plugin, register
from bessemer.core.schema import Role
from bessemer.core.types import FitSpec, Model

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.types import Codec

SCALES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
MAX_ROWS, MAX_TOKENS = 32, 4096


class Probe(Config):
    """Whose vectors, and how classes are told apart."""

    name: str | None = None
    """Weights of the catalogue."""
    path: str | None = None
    """Or the folder of a network: a Hugging Face folder, or that of a finished pretrain or finetune stage."""
    method: Literal["zero_shot", "prototypes", "linear"] = "linear"
    """How a class is represented."""
    names: dict[str, str] | None = None
    """zero_shot: label -> what describes it in words; the label itself by default."""
    shots: Annotated[int, Field(ge=1)] | None = None
    """prototypes and linear: rows of each class that are learnt from, drawn at random by the seed; all by default."""
    c: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 10.0, 100.0)
    """linear: inverse strengths of the L2 penalty to try, chosen by the validation rows."""

    @model_validator(mode="after")
    def _fits(self) -> Probe:
        if (self.path is None) == (self.name is None):
            raise ValueError("give exactly one of 'name' (weights of the catalogue) and 'path' (a folder with a network)")
        if self.names is not None and self.method != "zero_shot":
            raise ValueError("names has an effect with method: zero_shot alone")
        if self.shots is not None and self.method == "zero_shot":
            raise ValueError("shots has no effect with method: zero_shot, which learns from no row")
        return self

    def outside(self) -> tuple[Path | str, ...]:
        """Return the folder, or the pinned checksum of the catalogue's weights."""
        if self.path is not None:
            return (Path(self.path),)
        entry = plugin("datasets", str(self.name))
        return (entry.function(entry.config()).resource.sha256,)


@register("models", "probe")
def probe(config: Probe) -> Model:
    """Return a model that fits itself: the network stays as it is."""
    return Model(fit=lambda spec: _fit(config, spec), predictor="probe")


def _fit(config: Probe, spec: FitSpec) -> dict[str, Any]:
    """Write the network, the classes' vectors and their scale; return facts."""
    import numpy as np
    from safetensors.numpy import save_file

    text, target = spec.schema.only(Role.INPUT, "text"), spec.schema.only(Role.TARGET, "category")
    folder = _folder(config)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"'{folder}' has no {name}; expected the folder of a network")
        shutil.copyfile(folder / name, spec.out / name)
    codec = spec.codec
    if codec is None:
        raise ValueError("FitSpec.codec: the stage must hand over the codec of the text")
    embed = embedder(spec.out, codec)
    valid_ND, valid_N = _rows(spec.validation, text.name, target.name, embed)
    if not len(valid_N):
        raise UserError(f"the validation split has no row with a label for '{target.name}', by which the settings are chosen")
    facts: dict[str, Any] = {"method": config.method}
    if config.method == "zero_shot":
        unknown = sorted(set(config.names or {}) - set(target.labels))
        if unknown:
            raise UserError(f"names: '{target.name}' has no label '{unknown[0]}'{nearest(unknown[0], target.labels)}")
        words = [(config.names or {}).get(label, label) for label in target.labels]
        coef_CD = embed(_array(words))
        facts["rows_learnt"] = 0
    else:
        code_N = np.concatenate([np.zeros(0, np.int64), *(table[target.name].to_numpy() for table in spec.train())])
        chosen = np.flatnonzero(code_N >= 0)[few(code_N[code_N >= 0], len(target.labels), config.shots, spec.seed)]
        if len(np.unique(code_N[chosen])) < len(target.labels):
            missing = next(label for code, label in enumerate(target.labels) if not (code_N[chosen] == code).any())
            raise UserError(f"the label '{missing}' of '{target.name}' never occurs in the training data; remove it or give rows that have "
                            "it")
        train_ND, train_N = _rows(spec.train, text.name, target.name, embed, chosen)
        facts["rows_learnt"] = len(train_N)
        if config.method == "linear":
            coef_CD, intercept_C, facts["c"] = _regression(config, (train_ND, train_N), (valid_ND, valid_N), spec.seed)
            return _kept(spec, coef_CD, intercept_C, facts, save_file)
        coef_CD = np.stack([train_ND[train_N == code].mean(0) for code in range(len(target.labels))])
    coef_CD = coef_CD / np.maximum(np.linalg.norm(coef_CD, axis=1, keepdims=True), 1e-12)
    losses = [_log_loss(valid_ND @ coef_CD.T * scale, valid_N) for scale in SCALES]
    facts["scale"] = SCALES[int(np.argmin(losses))]
    return _kept(spec, coef_CD * facts["scale"], np.zeros(len(coef_CD), np.float32), facts, save_file)


def _kept(spec: FitSpec, coef_CD: np.ndarray, intercept_C: np.ndarray, facts: dict[str, Any], save: Callable[..., None]) -> dict[str, Any]:
    import numpy as np

    save({"coef": np.ascontiguousarray(coef_CD, np.float32), "intercept": np.ascontiguousarray(intercept_C, np.float32)},
         spec.out / "probe.safetensors")
    (spec.out / "probe.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return facts


def _folder(config: Probe) -> Path:
    from bessemer.core.fetch import fetch

    if config.path is not None:
        if not Path(config.path).is_dir():
            raise UserError(f"path: there is no folder '{config.path}'; give one with config.json and model.safetensors")
        return Path(config.path)
    entry = plugin("datasets", str(config.name))
    weights = entry.function(entry.config())
    if weights.kind != "weights":
        raise UserError(f"'{config.name}' is a data set, no weights; take a name that `bessemer datasets` lists as weights")
    return fetch(weights.resource) / weights.folder


def embedder(folder: Path, codec: Codec) -> Callable[[pa.Array], np.ndarray]:
    """Return (clean texts) -> vectors of length 1, float32 [N, D], by the network of a folder."""
    import torch

    from bessemer.nn.checkpoint import load_network, read_config
    from bessemer.nn.pooled import of_length_1, vectors

    known = int(read_config(folder).get("vocab_size", codec.info["vocab_size"]))
    if not 0 <= known - codec.info["vocab_size"] < 128:  # published vocabularies are padded to a multiple of 64 or 128
        raise UserError(f"the network has a vocabulary of {known} tokens, the prepared data one of {codec.info['vocab_size']}; prepare the "
                        "data with that network's tokenizer: tokenizer: {kind: pretrained, …}")
    torch.manual_seed(0)  # a pooler that the folder lacks begins at random; nothing here reads it
    network, max_length = load_network(folder, ()).eval(), int(codec.info["max_length"])

    def embed(texts: pa.Array) -> np.ndarray:
        import numpy as np

        ids = codec.encode(texts)["ids"]
        cost_N = np.minimum(np.diff(ids.offsets.to_numpy()) + 2, max_length)
        order_N = np.argsort(cost_N, kind="stable")
        cuts, start = [], 0
        for stop in range(1, len(order_N) + 1):
            if stop == len(order_N) or stop - start == MAX_ROWS or (stop - start + 1) * int(cost_N[order_N[stop]]) > MAX_TOKENS:
                cuts.append(order_N[start:stop])
                start = stop
        return of_length_1(vectors(network, cuts, lambda rows: codec.collate({"ids": ids.take(rows)}, max_length), len(ids)))

    return embed


def _rows(read: Callable[[], Any], text: str, target: str, embed: Callable[[pa.Array], np.ndarray],
          chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors and codes of the labelled rows, or of those of them whose positions are chosen, rising."""
    import numpy as np

    parts, codes, start = [], [np.zeros(0, np.int64)], 0
    for table in read():
        code_N = table[target].to_numpy().astype(np.int64)
        here = np.flatnonzero(code_N >= 0) if chosen is None else chosen[(chosen >= start) & (chosen < start + len(code_N))] - start
        start += len(code_N)
        if len(here):
            parts.append(embed(table[text].take(_array(here)).combine_chunks()))
            codes.append(code_N[here])
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32), np.concatenate(codes)


def _array(values: Any) -> pa.Array:
    import pyarrow as pa

    return pa.array(values)


def few(code_N: np.ndarray, classes: int, shots: int | None, seed: int) -> np.ndarray:
    """Return the positions of `shots` rows of each class (all that it has where it has fewer), drawn by the seed; rising.

    A larger number of shots has every row of a smaller one, so that a curve over shots adds rows and changes none.
    """
    import numpy as np

    if shots is None:
        return np.arange(len(code_N))
    order = np.random.Generator(np.random.Philox(key=[seed, 2**35])).permutation(len(code_N))
    return np.sort(np.concatenate([order[code_N[order] == code][:shots] for code in range(classes)]))


def _regression(config: Probe, train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray],
                seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return coef [C, D], intercept [C] and the penalty of the regression that is best on validation rows."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    found = []
    for c in config.c:
        with threadpool_limits(1):
            linear = LogisticRegression(C=c, max_iter=2000, random_state=seed).fit(*train)
        coef_CD, intercept_C = linear.coef_, linear.intercept_
        if len(coef_CD) == 1:  # of two classes scikit-learn keeps the second's logit alone
            coef_CD, intercept_C = np.concatenate([0 * coef_CD, coef_CD]), np.concatenate([0 * intercept_C, intercept_C])
        found.append((_log_loss(valid[0] @ coef_CD.T + intercept_C, valid[1]), coef_CD, intercept_C, c))
    best = min(range(len(found)), key=lambda index: found[index][0])
    return found[best][1:]


def _log_loss(logits_NC: np.ndarray, code_N: np.ndarray) -> float:
    import numpy as np

    top_N1 = logits_NC.max(axis=1, keepdims=True)
    log_NC = logits_NC - top_N1 - np.log(np.exp(logits_NC - top_N1).sum(axis=1, keepdims=True))
    return float(-log_NC[np.arange(len(code_N)), code_N].mean())
