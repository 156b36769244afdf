"""One version of a model, opened to be asked: its files verified, its own checks answered again, warmed up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bessemer.core import artifact
from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.serve.answers import plain_rows
from bessemer.serve.batching import Batcher
from bessemer.serve.settings import Settings
from bessemer.serve.work import input_columns, work_of

if TYPE_CHECKING:

    from bessemer.core.types import Answer, Predictor

CHECKS = "checks.json"
CLOSE, LOSSY = 1e-4, 0.05


class Place(NamedTuple):
    """A folder that may hold a version of a model.

    Attributes:
        model: the model's name.
        version: the version's name; for a run the first digits of its key.
        folder: where it lies.
        stamp: changes when its files do.
    """

    model: str
    version: str
    folder: Path
    stamp: str


@dataclass(eq=False)
class Version:
    """A version in memory.

    Attributes:
        place: where it came from.
        predictor: what answers.
        batcher: its queue.
        users: requests that are under way; it is closed when they have ended.
        examples: rows that it was seen to answer.
        levels: quantiles that are answered of each target that is a number, as answers name them.
        content: digest of its files, the same in every process that holds the same version.
    """

    place: Place
    predictor: Predictor
    batcher: Batcher
    examples: tuple[dict[str, Any], ...]
    content: str = ""
    users: int = 0
    retired: bool = False
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the version's name."""
        return self.place.version

    def leave(self) -> None:
        """End one use; the last one of a retired version closes it."""
        self.users -= 1
        self.close()

    def close(self) -> None:
        """Close it once nobody uses it any more."""
        if self.retired and self.users == 0:
            self.batcher.close()


def stamp_of(folder: Path) -> str:
    """Return what changes with a folder's files: the manifest, and each file's size and time; a missing one counts as well."""
    manifest = folder / artifact.MANIFEST
    try:
        names = list(json.loads(manifest.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        names = []
    parts = []
    for path in (manifest, *(folder / str(name) for name in names)):
        try:
            stat = path.stat()
            parts.append(f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}")
        except OSError:
            parts.append("gone")
    return artifact.digest(parts)


def load_version(place: Place, settings: Settings) -> Version:
    """Open a version; one that is half-written, altered, or does not answer its own checks is a UserError."""
    from bessemer.core.forms import open_form, read_forms

    manifest = artifact.load_manifest(place.folder)
    if manifest is None:
        raise UserError(f"'{place.folder}' has no {artifact.MANIFEST}, so it is not finished; it is served when it is")
    artifact.verify(place.folder, manifest)
    forms = {form.name: form for form in read_forms(place.folder)}
    predictor = open_form(place.folder, settings.form)
    examples = _replayed(place.folder, predictor, forms[predictor.form].lossy)
    work = work_of(predictor, settings.max_chars)
    work.rehearse()
    if not examples:
        examples = (example(predictor.schema),)
    batcher = Batcher(work, settings.max_queue, settings.max_wait_ms)
    return Version(place, predictor, batcher, examples, artifact.digest([manifest.key, manifest.files]),
                   levels=_levels(predictor, examples[0]))


def _levels(predictor: Predictor, row: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the quantiles that a model answers of each number, by answering a row: no schema says them."""
    from bessemer.data.given import table_of
    from bessemer.modalities import modality_of

    if all(modality_of(column).answer != "number" for column in predictor.schema.by_role(Role.TARGET)):
        return {}
    try:
        (said,) = plain_rows(predictor.predict(table_of([row], [column.name for column in input_columns(predictor.schema)])))
    except UserError:  # an example that was made up, of no column's own values
        return {}
    return {target: tuple(answer.get("quantiles", ())) for target, answer in said.items()}


def _replayed(folder: Path, predictor: Predictor, lossy: bool) -> tuple[dict[str, Any], ...]:
    """Return the rows that the model's folder was checked with, having asked them again."""
    from bessemer.data.given import table_of

    file = folder / CHECKS
    if not file.is_file():
        return ()
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        rows, expected = list(found["rows"]), dict(found["forms"].get(predictor.form, {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{file}' is damaged ({error!a:.80}); run again to make it anew") from None
    if rows and expected:
        answers = predictor.predict(table_of(rows, [column.name for column in input_columns(predictor.schema)]))
        for target, values in expected.items():
            wrong = _differs(answers[target], values, lossy) if target in answers else 0
            if wrong is not None:
                raise UserError(f"'{folder}': the form {predictor.form} does not answer for '{target}' what it answered when it was made, "
                                f"first in row {wrong + 1} of {CHECKS}; another version of the runtime or another machine computes it "
                                "otherwise: compress or export again here")
    return tuple(dict(row) for row in rows[:3])


def _differs(answer: Answer, expected: Sequence[Sequence[float]], lossy: bool) -> int | None:
    """Return the first row whose answer is not the expected one, or None."""
    import numpy as np

    wanted = np.asarray(expected, np.float64)
    values = answer.values.astype(np.float64)
    if wanted.shape != values.shape:
        return 0
    allowed = (LOSSY if lossy else CLOSE) * np.maximum(1.0, np.abs(wanted))
    wrong: Any = (~(np.abs(values - wanted) <= allowed)).any(axis=1)
    if lossy and answer.kind == "label":
        # Two classes within the margin of each other may swap without anything being amiss.
        best, said = wanted.argmax(axis=1), values.argmax(axis=1)
        gap = wanted.max(axis=1) - np.take_along_axis(wanted, said[:, None], axis=1)[:, 0]
        wrong |= (best != said) & (gap > LOSSY)
    first = np.flatnonzero(wrong)
    return int(first[0]) if len(first) else None


def example(schema: Schema) -> dict[str, Any]:
    """Return a row that the model can read, made of what fitting found in each column."""
    return {column.name: _value(column) for column in input_columns(schema)}


def _value(column: Column) -> Any:
    kind, facts = column.modality["kind"], column.facts
    if kind == "text":
        return "a text of yours"
    if kind == "number":
        found = facts.get("quantiles", {}).get("p50", facts.get("mean", 0.0))
        return float(f"{found:.4g}")
    if kind == "boolean":
        return True
    if kind == "date":
        return facts.get("first", "2026-01-31")
    if kind == "vector":
        return [0.0] * int(facts.get("width", 1))
    counts = facts.get("counts") or dict.fromkeys(column.labels, 0)
    return max(counts, key=counts.__getitem__) if counts else "a"


def asked(schema: Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the columns that are read, and those of the targets with the kinds of their answers, sorted."""
    from bessemer.modalities import modality_of

    targets = (f"{column.name} ({modality_of(column).answer})" for column in schema.by_role(Role.TARGET))
    return tuple(sorted(column.name for column in input_columns(schema))), tuple(sorted(targets))


def shape(schema: Schema) -> dict[str, Any]:
    """Return what a page needs to know of a model: `reads`, `inputs` and `targets`."""
    from bessemer.modalities import modality_of

    inputs = input_columns(schema)
    given = example(schema)
    return {
        "reads": "text" if [column.modality["kind"] for column in inputs] == ["text"] else "table",
        "inputs": [{"name": column.name, "kind": column.modality["kind"], **({"labels": list(column.labels)} if column.labels else {}),
                    "example": given[column.name], "missing": modality_of(column).nulls} for column in inputs],
        "targets": [{"name": column.name, "kind": modality_of(column).answer, "labels": list(column.labels)}
                    for column in schema.by_role(Role.TARGET)]}
