"""Early exit: the graphs of one network's parts in turn; a row leaves after the part whose exit is sure enough of it.

Each row's answer depends on that row alone. Thresholds are chosen on validation rows (stage `early_exit`). Legend: B rows, L tokens,
D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Predictor

if TYPE_CHECKING:
    import numpy as np


class EarlyExitForm(Config):
    """The graphs and how sure each exit must be."""

    graphs: Annotated[tuple[str, ...], Field(min_length=2)]
    """The graphs, relative to the folder, in the order of the network's layers."""
    thresholds: tuple[float, ...]
    """For each graph but the last: the probability of the most probable label from which a row leaves."""
    max_length: Annotated[int, Field(ge=3)] = 128
    """Longest input in tokens, special ones included; what is beyond is cut."""

    @model_validator(mode="after")
    def _fit(self) -> EarlyExitForm:
        if len(self.thresholds) != len(self.graphs) - 1:
            raise ValueError(f"expected {len(self.graphs) - 1} thresholds for {len(self.graphs)} graphs, not {len(self.thresholds)}")
        return self


@dataclass(frozen=True)
class Steps:
    """The parts of the network as sessions.

    Attributes:
        sessions: in the order of the layers.
        thresholds: of all but the last.
    """

    sessions: Sequence[Any]
    thresholds: Sequence[float]

    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Return float32 logits [B, C], each row's from the exit at which it left."""
        import numpy as np

        from bessemer.predictors._rows import softmax

        feeds, open_B = arrays, np.arange(len(arrays["input_ids"]))
        logits_BC = np.zeros((len(open_B), 0), np.float32)
        for place, session in enumerate(self.sessions):
            found = session.run(None, {item.name: feeds[item.name] for item in session.get_inputs()})
            logits_BC = found[0].copy() if place == 0 else logits_BC
            logits_BC[open_B] = found[0]
            if place == len(self.thresholds):
                break
            on = softmax(found[0]).max(axis=1) < self.thresholds[place]
            open_B = open_B[on]
            if not len(open_B):
                break
            feeds = {"hidden": found[1][on], "attention_mask": feeds["attention_mask"][on]}
        return logits_BC

    def through(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what a part after all of these would read."""
        feeds = arrays
        for session in self.sessions:
            found = session.run(None, {item.name: feeds[item.name] for item in session.get_inputs()})
            feeds = {"hidden": found[1], "attention_mask": feeds["attention_mask"]}
        return feeds

    def every(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the logits [B, C] of every exit for every row, whatever the thresholds."""
        feeds, answers = arrays, []
        for session in self.sessions:
            found = session.run(None, {item.name: feeds[item.name] for item in session.get_inputs()})
            answers.append(found[0])
            if len(found) > 1:
                feeds = {"hidden": found[1], "attention_mask": feeds["attention_mask"]}
        return answers


@register("predictors", "early_exit")
def early_exit_form(config: EarlyExitForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.modalities import codec_of
        from bessemer.predictors._rows import MAX_ROWS, NetworkPredictor, heads_of
        from bessemer.predictors._units import of_texts
        from bessemer.predictors.onnx_form import ROWS_AT_ONCE, open_session

        steps = Steps([open_session(folder / name) for name in config.graphs], config.thresholds)
        heads = heads_of(folder, schema)
        width = sum(head.width for head in heads)
        for name, session in zip(config.graphs, steps.sessions, strict=True):
            found = session.get_outputs()[0].shape[-1]
            if found != width:
                raise UserError(f"'{folder / name}' tells {found} classes apart, the schema beside it names {width}; the two are not of "
                                "the same run: run the stage again")
        rows = min(int(session.get_modelmeta().custom_metadata_map.get(ROWS_AT_ONCE, MAX_ROWS)) for session in steps.sessions)
        return of_texts(NetworkPredictor(schema, form, codec_of(schema.texts()[0], folder), config.max_length, steps, heads, rows))

    return open_folder
