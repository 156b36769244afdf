"""Heads: which of a network's raw outputs belong to which target, and how they become answers. numpy only: serving runs it.

Legend: N rows, M members, O raw outputs, W outputs of one head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bessemer.core.errors import UserError
from bessemer.core.types import Answer

if TYPE_CHECKING:
    import numpy as np

FILE = "heads.json"


class Inverse(BaseModel):
    """How a scaled number becomes the number itself: z -> y."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["affine", "log", "knots"] = "affine"
    """affine: shift + scale z. log: exp(shift + scale z) - offset. knots: linear between (scaled[i], raw[i]), constant beyond."""
    shift: float = 0.0
    scale: float = 1.0
    offset: float = 0.0
    scaled: tuple[float, ...] = ()
    raw: tuple[float, ...] = ()

    def apply(self, scaled: np.ndarray) -> np.ndarray:
        """Return the numbers, float64, of scaled ones of any shape."""
        import numpy as np

        z = scaled.astype(np.float64)
        if self.kind == "affine":
            found: np.ndarray = self.shift + self.scale * z
            return found
        if self.kind == "log":
            found = np.exp(np.minimum(self.shift + self.scale * z, 700.0)) - self.offset
            return found
        found = np.interp(z, np.asarray(self.scaled), np.asarray(self.raw))
        return found


class Head(BaseModel):
    """One target's part of the raw outputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    """The column."""
    kind: Literal["label", "number", "flags", "tags"]
    """What the outputs are: a logit a class; a scaled estimate (and then scaled quantiles); a logit a label; a logit a class of a token."""
    width: int
    """How many outputs it has."""
    labels: tuple[str, ...] = ()
    """Names in code order."""
    quantiles: tuple[float, ...] = ()
    """Levels of the outputs after the first; rising."""
    offsets: tuple[float, ...] = ()
    """Added to the scaled quantiles, so that on validation they cover what they say (Romano et al. 2019); empty for none."""
    inverse: Inverse = Inverse()
    """From scaled to raw numbers."""
    link: Literal["softmax", "ordinal"] = "softmax"
    """Of a label: softmax over the logits; ordinal: logit k is that of a label beyond the k-th, one less than there are labels."""
    unit: Literal["word", "character"] = "word"
    """Of tags: what of a text has one."""
    chain: tuple[tuple[float, ...], ...] = ()
    """Of tags: what is added for a tag (row) before another (column), the last row the text's beginning, the last column its end, so that
    neighbours fit (`core/chain.py`); empty for none."""


def answers(heads: Sequence[Head], outputs_NMO: np.ndarray) -> dict[str, Answer]:
    """Return what raw outputs say: probabilities are averaged over the members, so are numbers; the spread is their disagreement."""
    import numpy as np

    if outputs_NMO.shape[-1] != sum(head.width for head in heads):
        raise UserError(f"the network gives {outputs_NMO.shape[-1]} outputs, its heads have {sum(head.width for head in heads)}; the two "
                        "are not of the same run: train again")
    found, start = {}, 0
    for head in heads:
        part_NMW = outputs_NMO[:, :, start:start + head.width].astype(np.float64)
        start += head.width
        found[head.target] = _number(head, part_NMW) if head.kind == "number" else _names(head, part_NMW)
    return found


def tag_answers(heads: Sequence[Head], outputs_UW: np.ndarray, offsets: np.ndarray) -> dict[str, Answer]:
    """Return what the raw outputs of the units of all rows say of the one target; offsets int64 [N + 1] as in `Answer`."""
    import numpy as np

    (head,) = heads
    if head.chain and len(outputs_UW):
        from bessemer.core.chain import fitted_scores

        outputs_UW = fitted_scores(outputs_UW, np.array(head.chain), offsets)
    return {target: replace(answer, offsets=offsets) for target, answer in answers(heads, outputs_UW[:, None, :]).items()}


def _names(head: Head, logits_NMW: np.ndarray) -> Answer:
    # The ufuncs' own reductions: what `max`, `mean` and `std` do, without their checks, which cost a single row more than the sums.
    import numpy as np

    total, members = np.add.reduce, logits_NMW.shape[1]
    if head.kind == "label" and head.link == "ordinal":
        beyond = np.minimum.accumulate(1.0 / (1.0 + np.exp(-np.clip(logits_NMW, -60, 60))), axis=2)
        edge = np.ones_like(beyond[:, :, :1])
        each_NMW = np.concatenate([edge, beyond], axis=2) - np.concatenate([beyond, 0 * edge], axis=2)
    elif head.kind in ("label", "tags"):
        power = np.exp(logits_NMW - np.maximum.reduce(logits_NMW, axis=2, keepdims=True, initial=-np.inf))
        each_NMW = power / total(power, axis=2, keepdims=True)
    else:
        each_NMW = 1.0 / (1.0 + np.exp(-np.clip(logits_NMW, -60, 60)))
    mean_NW = total(each_NMW, axis=1) / members
    spread = None
    if members > 1:
        apart_NMW = each_NMW - mean_NW[:, None]
        apart_NMW *= apart_NMW
        spread_NW = np.sqrt(total(apart_NMW, axis=1) / members)
        spread = spread_NW[np.arange(len(mean_NW)), mean_NW.argmax(axis=1)].astype(np.float32)
    return Answer(head.kind, mean_NW.astype(np.float32), head.labels, spread=spread)


def _number(head: Head, scaled_NMW: np.ndarray) -> Answer:
    import numpy as np

    mean_NW = scaled_NMW.mean(axis=1)
    if head.quantiles:
        shifted = mean_NW[:, 1:] + (np.asarray(head.offsets) if head.offsets else 0.0)
        mean_NW = np.concatenate([mean_NW[:, :1], np.sort(shifted, axis=1)], axis=1)
    spread = None
    if scaled_NMW.shape[1] > 1:
        spread = head.inverse.apply(scaled_NMW[:, :, 0]).std(axis=1).astype(np.float32)
    return Answer("number", head.inverse.apply(mean_NW), quantiles=head.quantiles, spread=spread)


def joined(parts: Sequence[dict[str, Answer]]) -> dict[str, Answer]:
    """Return the answers of several parts of the rows, one part at least, as those of all rows."""
    import numpy as np

    found = {}
    for target, first in parts[0].items():
        each = [part[target] for part in parts]
        spread = None if first.spread is None else np.concatenate([item.spread for item in each if item.spread is not None])
        offsets = None
        if first.offsets is not None:
            sizes = np.concatenate([np.diff(item.offsets) for item in each if item.offsets is not None])
            offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        found[target] = Answer(first.kind, np.concatenate([item.values for item in each]), first.labels, first.quantiles, spread, offsets)
    return found


def part_of(answer: Answer, rows: np.ndarray) -> Answer:
    """Return the answer of some rows: bool [N] or positions."""
    if answer.offsets is not None:
        import numpy as np

        chosen = np.flatnonzero(rows) if rows.dtype == bool else np.asarray(rows)
        sizes = np.diff(answer.offsets)[chosen]
        ends = np.cumsum(sizes)
        units = np.repeat(answer.offsets[chosen] - (ends - sizes), sizes) + np.arange(int(sizes.sum()))
        return replace(answer, values=answer.values[units], offsets=np.concatenate([[0], ends]).astype(np.int64))
    return replace(answer, values=answer.values[rows], spread=None if answer.spread is None else answer.spread[rows])


def shown(answer: Answer, truth: np.ndarray, row: int) -> dict[str, Any]:
    """Return one row's truth, prediction, probability (None for a number) and spread, as people read them; truth as metrics take it."""
    if answer.offsets is not None:
        true = [answer.labels[code] if code >= 0 else "?" for code in truth[row].tolist() if code != -1]
        said = answer.values[answer.offsets[row]:answer.offsets[row + 1]].argmax(axis=1)
        return {"truth": " ".join(true) or None, "prediction": " ".join(answer.labels[code] for code in said.tolist()),
                "probability": None, "spread": None}
    spread = None if answer.spread is None else float(f"{answer.spread[row]:.6g}")
    values, right = answer.values[row], truth[row]
    if answer.kind == "number":
        known = None if right != right else float(f"{right:.6g}")
        return {"truth": known, "prediction": float(f"{values[0]:.6g}"), "probability": None, "spread": spread}
    if answer.kind == "flags":
        names = [[label for label, on in zip(answer.labels, flags, strict=True) if on] for flags in (right > 0, values >= 0.5)]
        return {"truth": ", ".join(names[0]), "prediction": ", ".join(names[1]), "probability": None, "spread": spread}
    code = int(values.argmax())
    return {"truth": answer.labels[right] if right >= 0 else None, "prediction": answer.labels[code],
            "probability": round(float(values[code]), 6), "spread": spread}


def save_heads(folder: Path, heads: Sequence[Head]) -> None:
    """Write `heads.json`."""
    plain = [head.model_dump(mode="json") for head in heads]
    (folder / FILE).write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_heads(folder: Path) -> tuple[Head, ...]:
    """Read `heads.json`; a missing or damaged one is a UserError."""
    file = folder / FILE
    try:
        plain: Sequence[Mapping[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return tuple(Head.model_validate(item) for item in plain)
    except (OSError, ValueError, ValidationError) as error:
        raise UserError(f"'{file}' is missing or damaged ({str(error).splitlines()[0]}); run the recipe again to make it anew") from None
