"""The nouns that plug-ins are made of: frozen dataclasses of plain functions. A plug-in function takes its config and returns one.

Legend: B rows in a batch, L tokens a row, C classes, N rows in a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from bessemer.core.config import Config
    from bessemer.core.heads import Head
    from bessemer.core.schema import Column, Schema


# ---- rows ------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Chunk:
    """Some rows of one source.

    Attributes:
        table: the rows; every column as its source gives it (text formats: strings).
        numbers: int64 [len(table)], the 1-based number of each row in its source, by which a person finds it: the line, or the data row.
        rejected: rows that could not be read: columns row (int64), reason (string), content (string).
        notes: what a person should know of what was read, sentences.
    """

    table: pa.Table
    numbers: np.ndarray
    rejected: pa.Table | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where rows come from.

    Attributes:
        name: shown to people and kept in quarantine.
        files: the files that it reads, whose bytes are part of the cache key.
        read: yields chunks of bounded size, in the source's order.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], Iterator[Chunk]]


@dataclass(frozen=True)
class RowStream:
    """Rows that are read block by block, any block on its own, and never held or stored whole.

    Attributes:
        name: shown to people and kept in quarantine.
        files: what it reads, whose bytes are part of the cache key; empty for rows that are computed.
        starts: int64 [blocks + 1], rising: block i has the rows starts[i] to starts[i + 1], rejected ones among them.
        columns: names of its columns.
        read: (block, columns or None for all) -> its rows; the same rows whenever and wherever it is called, from any thread.
        place: (block) -> the file that its rows' numbers count in; None where all count in the stream.
        rejected: int64 [blocks], rows of each that could not be read; None where there are none.
    """

    name: str
    files: tuple[Path | str, ...]
    starts: np.ndarray
    columns: tuple[str, ...]
    read: Callable[[int, tuple[str, ...] | None], Chunk]
    place: Callable[[int], str] | None = None
    rejected: np.ndarray | None = None


@dataclass(frozen=True)
class Resource:
    """Files inside one published package, by pinned checksum.

    Attributes:
        registry: `"pypi"` or `"npm"` or `"debian"`.
        package: its name there.
        version: its exact version.
        archive: the file name of the distribution.
        sha256: of the archive.
        members: path inside the archive -> SHA-256 of that file; a path that ends in a slash is a folder with all that is in it, its
            checksum that of its files' checksums and paths (`core.fetch.listing`).
        more: further archives, whose members are put beside these.
    """

    registry: str
    package: str
    version: str
    archive: str
    sha256: str
    members: Mapping[str, str]
    more: tuple[Resource, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """A real data set or set of weights that the catalogue can fetch.

    Attributes:
        kind: `"rows"`, `"weights"` (of a network), or `"vectors"` (of words).
        about: one sentence: content, language, counts.
        licence: its licence, shown before the first use.
        reference: published or measured scores to hold against, one sentence.
        resource: where its files are.
        read: for rows: (folder of the fetched members) -> chunks with plain columns.
        folder: for weights and vectors: the path inside the fetched folder that holds them, for weights with config.json.
    """

    kind: str
    about: str
    licence: str
    reference: str
    resource: Resource
    read: Callable[[Path], Iterator[Chunk]] | None = None
    folder: str = ""


# ---- columns ---------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Codec:
    """A fitted modality: the same functions prepare, training and serving run. numpy and Arrow only.

    Attributes:
        encode: (Arrow array of raw values) -> columns to store beside it (`{"ids": list<int32>, …}`; lengths equal). A vector
            modality's input gives `numbers` (fixed-size list<float32>[w]) and/or `codes` (fixed-size list<int32>[v]), finite and
            without nulls. As a target: `codes` (int32, -1 where missing) of a category; `value` (float64 raw) and `scaled`
            (float32, what is learnt; both nan where missing) of a number; `flags` (fixed-size list<int8>[L], -1 where missing).
        collate: (stored columns of B rows, max length or None) -> numpy arrays of a batch
            (text: input_ids, attention_mask, token_type_ids, all int64 [B, L]).
        length: name of the stored column whose list lengths are a row's cost, or None.
        tidy: of text: (texts) -> clean texts, as `Modality.clean` gives them; quick where they are few.
        ids: of text: (clean texts) -> each one's token ids without special tokens, as `encode` gives them.
        firsts: of text: (clean texts, `"word"` or `"character"`) -> each one's token ids, as `ids` gives them, and for each of its units
            (what stands between spaces, or characters that are no space) the place of its first token among them.
        info: facts that a model needs to be built: text: `vocab_size`, ids of special tokens. Vector: `numbers` (w),
            `names` (w feature names), `cardinalities` (v sizes), `edges` (w lists of rising bin edges of the stored numbers, over
            the training split). A number as a target: `inverse` (see `core/heads.py`).
    """

    encode: Callable[[pa.Array], dict[str, pa.Array]]
    collate: Callable[[Mapping[str, pa.Array], int | None], dict[str, np.ndarray]]
    length: str | None
    info: dict[str, Any]
    tidy: Callable[[Sequence[str]], list[str]] | None = None
    ids: Callable[[Sequence[str]], list[list[int]]] | None = None
    firsts: Callable[[Sequence[str], str], list[tuple[list[int], list[int]]]] | None = None


@dataclass(frozen=True)
class Modality:
    """What a column is.

    Attributes:
        clean: (raw Arrow array) -> (clean Arrow array, reasons: string array, null where the value is fine).
        fit: (clean arrays of the training split, one after another; seed; folder to save to) -> (labels, facts) for the schema's Column.
        load: (Column, folder that fit saved to) -> Codec.
        roles: which roles it may have.
        answer: the kind of answer that it has as a target (`"label"`, `"number"`, `"flags"`, `"tags"`); empty where it is never one.
        vector: whether a row is numbers and codes of a fixed width (tables), which are stored together; see Codec.
        nulls: whether a missing value is a value like others (clean keeps it as null, without a reason).
        lists: whether its values may be lists; elsewhere a list of JSON lines is no value.
        misfit: of tags: (clean values, clean texts of the input) -> why a value does not fit its row's text, null where it does.
    """

    clean: Callable[[pa.Array], tuple[pa.Array, pa.Array]]
    fit: Callable[[Iterator[pa.Array], int, Path], tuple[tuple[str, ...], dict[str, Any]]]
    load: Callable[[Column, Path], Codec]
    roles: tuple[str, ...]
    answer: str = ""
    vector: bool = False
    nulls: bool = False
    lists: bool = False
    misfit: Callable[[pa.Array, pa.Array], pa.Array] | None = None


# ---- learning --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Batch:
    """What a task's loss sees; tensors on the training device.

    Attributes:
        inputs: column -> its collated tensors.
        targets: target -> tensor whose first dimension is B (or the number of predicted positions).
        present: target -> bool [B], False where a row has no label for it.
        weights: float [B].
        row_ids: int64 [B].
        task_ids: int64 [B], which task a row belongs to when several are mixed.
        parts: batches that hold its rows, where several threads compute it (`engine/parts.py`); then it holds nothing else but row_ids.
    """

    inputs: dict[str, dict[str, torch.Tensor]]
    targets: dict[str, torch.Tensor] = field(default_factory=dict)
    present: dict[str, torch.Tensor] = field(default_factory=dict)
    weights: torch.Tensor | None = None
    row_ids: torch.Tensor | None = None
    task_ids: torch.Tensor | None = None
    parts: tuple[Batch, ...] = ()


@dataclass(frozen=True)
class Loss:
    """The result of one loss call.

    Attributes:
        total: scalar tensor with a graph.
        sums: name -> (sum, count) as detached 0-d tensors or floats: mergeable parts, for curves and validation.
        per_row: detached float tensor [B], by which a guard names the rows of a loss that is not finite; may be None.
    """

    total: torch.Tensor
    sums: dict[str, tuple[Any, Any]]
    per_row: torch.Tensor | None = None


@dataclass(frozen=True)
class Task:
    """What is learned: one objective over one data set.

    Attributes:
        name: its name in curves.
        heads: names of the heads that the network must have (`("mlm", "nsp")`, `("classification",)`).
        batch: (positions of rows, epoch; epoch -1 is validation: no randomness but a fixed one) -> Batch.
        loss: (network, Batch) -> Loss.
        costs: int64 [N], tokens of each row, for bucketing; None where every row costs the same.
        count: rows N.
        predict: (network, Batch) -> target -> Answer for B rows; None where the task has no prediction.
        outputs: what of the network's raw outputs belongs to which target; empty where the network has named heads instead.
        naive: () -> the loss, on these rows, of a predictor that knows no input; None where there is none.
        mass: (Batch) -> what its loss is a mean over, known before anything is computed (the weight of its rows, its masked tokens): the
            loss of two batches together is the mean of theirs, weighed by it. None where that does not hold.
        settings: the task's own config, kept with the network that learns it.
    """

    name: str
    heads: tuple[str, ...]
    batch: Callable[[np.ndarray, int], Batch]
    loss: Callable[[torch.nn.Module, Batch], Loss]
    costs: np.ndarray | None
    count: int
    predict: Callable[[torch.nn.Module, Batch], dict[str, Answer]] | None = None
    outputs: tuple[Head, ...] = ()
    naive: Callable[[], float] | None = None
    mass: Callable[[Batch], float] | None = None
    settings: Config | None = None


@dataclass(frozen=True)
class Model:
    """One architecture.

    Attributes:
        build: (schema, codec info of its input column, heads, number of classes) -> torch module with initial weights;
            seeded by the caller. None where the model is no network.
        fit: for a model that is no network: see `models/tfidf_linear.py`.
        max_length: longest input in tokens that it takes, or None.
        predictor: the predictor that opens what `fit` wrote.
        table: whether it reads tables (vector columns) and not text.
    """

    build: Callable[[BuildSpec], torch.nn.Module] | None = None
    fit: Callable[[FitSpec], dict[str, Any]] | None = None
    max_length: int | None = None
    predictor: str = "linear"
    table: bool = False


@dataclass(frozen=True)
class BuildSpec:
    """What a network is built from.

    Attributes:
        schema: of the prepared data.
        info: the input column's codec info.
        heads: names of the heads that it must have.
        labels: class names, in code order (empty for pretraining).
        weights: a folder with config.json + model.safetensors to start from (an earlier stage's artifact), or None.
        outputs: raw outputs O that the heads of a network for tables have together.
        data: the folder of the prepared data, or None.
        teacher: the folder of a trained network whose word vectors this one may start from, or None.
    """

    schema: Schema
    info: dict[str, Any]
    heads: tuple[str, ...]
    labels: tuple[str, ...] = ()
    weights: Path | None = None
    outputs: int = 0
    data: Path | None = None
    teacher: Path | None = None


@dataclass(frozen=True)
class FitSpec:
    """What a model that is no network is fitted from.

    Attributes:
        schema: of the prepared data.
        train: iterator over tables of the training split as they are stored: raw clean columns, int codes of category targets,
            float64 number targets; of tables also `.numbers` (fixed-size lists float32 [F]) and `.codes` (int32 [K]).
        validation: the same of the validation split, by which it chooses its own settings.
        seed: of the run.
        out: folder to write to.
        info: of tables, what `Vectors.info` says: numbers, cardinalities, names, columns, edges.
        data: the folder of the prepared data.
        threads: for arithmetic, or None for the library's default.
        codec: of the text that is read; None of tables.
    """

    schema: Schema
    train: Callable[[], Iterator[pa.Table]]
    validation: Callable[[], Iterator[pa.Table]]
    seed: int
    out: Path
    info: Mapping[str, Any] = field(default_factory=dict)
    data: Path = Path()
    threads: int | None = None
    codec: Codec | None = None


# ---- predictions -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Answer:
    """What a model says about one target for N rows.

    Attributes:
        kind: `"label"` (one of several classes), `"number"`, `"flags"` (each of several labels holds or does not), or `"tags"` (one of
            several classes for each unit of a text).
        values: label: probabilities float32 [N, C]; flags: the probability of each label, float32 [N, L]; number: float64
            [N, 1 + Q], the estimate, then its quantiles; tags: probabilities float32 [U, C] of the units of all rows, row by row.
        labels: names in code order; empty for a number.
        quantiles: levels of the columns after the first, rising.
        spread: float32 [N], how far the model's members disagree (standard deviation of the estimate, or of the probability of
            the most probable class); None where it has one member.
        offsets: of tags: int64 [N + 1], rising from 0 to U: row i has the units offsets[i] to offsets[i + 1]; None otherwise.
    """

    kind: str
    values: np.ndarray
    labels: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    spread: np.ndarray | None = None
    offsets: np.ndarray | None = None


class Predictor(Protocol):
    """What evaluate, explain, export and serve share: rows in, predictions out, free of torch in its interface."""

    schema: Schema
    form: str

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Predict raw rows, a table that has the schema's input columns: target -> Answer, the targets in the schema's order."""
        ...


@dataclass(frozen=True)
class Calibration:
    """Rows that show a method of compression what a graph's activations look like.

    Attributes:
        rows: how many there are.
        batches: () -> feeds of a batch by the names of an exported graph's inputs, of which it may read fewer; the same ones each time.
    """

    rows: int
    batches: Callable[[], Iterator[dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Metric:
    """A score over a whole set, from mergeable state.

    Attributes:
        update: (state or None, truth, `Answer.values` [n, …]) -> state. Truth (of a row without one below 0, or nan): label: int [n];
            number: float [n]; flags: int [n, L] of 0 and 1; tags: int [n, T] codes, -1 beyond a row's last, as are the values.
        merge: (state, state) -> state.
        finalise: (state, optional row weights float [R, N]) -> float, or float [R] for R weightings (the bootstrap).
        higher_is_better: whether more is better.
        kind: the kind of answer that it scores.
        share: whether it is a share of what is right: 1 where all is, 0 where nothing is.
    """

    update: Callable[[Any, np.ndarray, np.ndarray], Any]
    merge: Callable[[Any, Any], Any]
    finalise: Callable[..., Any]
    higher_is_better: bool = True
    kind: str = "label"
    share: bool = False
