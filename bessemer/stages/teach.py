"""teach: what teachers answer over the training rows, and over rows made new from them: data from which a small model learns a large one.

The folder is a drop-in for prepare's: the same schema, columns, validation and test rows. Its training rows hold, beside prepare's
columns, `<target>.teacher`, and `.made`: 0 a row of the data, 1 one made new, 2 one of a further source. Rows that are not of the data have
no label. (Hinton et al. 2015; Tang et al. 2019, https://arxiv.org/abs/1903.12136; TinyBERT, Jiao et al. 2020.)
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import Pick
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import register
from bessemer.core.run import RunContext

if TYPE_CHECKING:
    from bessemer.core.schema import Schema
    from bessemer.stages._teaching import Maker

Share = Annotated[float, Field(ge=0, le=1)]


class Teach(StageConfig):
    """Teachers' answers, and new rows to ask them about."""

    needs: ClassVar[tuple[str, ...]] = ("data", "models", "masked_model")
    later: ClassVar[Mapping[str, Any]] = {"source_rows": None}

    data: str = "prepare"
    """The prepared data."""
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("finetune",)
    """The teachers: stages whose models predict; the answers of several are averaged."""
    masked_model: str | None = None
    """Of text: a pretrain stage or its folder, whose masked-language head says what may stand in a word's place."""
    bf16: bool | Literal["auto"] = False
    """Whether teachers of text compute in bfloat16; auto: where the processor multiplies such numbers itself. Their answers then differ in
    the third digit."""
    copies: Annotated[int, Field(ge=0, le=1000)] = 3
    """Rows made new from each training row; fewer where they come out equal to others. 0 asks about the training rows alone."""
    replace: Literal["model", "neighbours", "words"] | None = None
    """Of text, what stands in for a token: what the masked_model expects there; a neighbour among the first teacher's word vectors (Jiao et
    al. 2020); any token, as often as it occurs. By default the first of these that can be had."""
    replaced: Share = 0.2
    """Share of a text's tokens, or of a table's cells, that are replaced in a copy."""
    candidates: Annotated[int, Field(ge=1, le=1000)] = 10
    """Of text: how many likely tokens a replacement is drawn from."""
    spans: Share = 0.25
    """Of text: share of the copies that are cut to a part of the text, of any length (Tang et al. 2019)."""
    jump: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Of tables: numbers that are not replaced move by at most this part of the ranks of their column."""
    like: Share = 0.5
    """Of tables: share of the copies whose replaced cells come from a row that the teachers answer alike; the others' come from any row."""
    sources: tuple[Annotated[Config, Pick("data/sources")], ...] = ()
    """Further rows without labels, which need the input columns alone: files or data sets of the catalogue, as in prepare."""
    source_rows: Annotated[int, Field(ge=0)] | None = None
    """Of those at most so many are asked about, evenly spread; None: all."""
    word_vectors: Annotated[int, Field(ge=0, le=4096)] = 256
    """Of text: numbers of each word vector of the first teacher that is a network, kept for students to start from; 0 keeps none."""


@register("stages", "teach")
def teach(config: Teach, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write prepare's artifact again, its training rows answered by the teachers and joined by new ones; return facts."""
    from bessemer.core.schema import Schema
    from bessemer.stages._learning import use_threads
    from bessemer.stages._streams import STREAM
    from bessemer.stages._tables import is_table
    from bessemer.stages._teaching import Session, Teachers

    use_threads(run)
    data = inputs["data"]
    if (data / "train" / STREAM).is_file():
        raise UserError("data: teachers are asked about stored training rows, and these are a stream; prepare some of them with 'prepare'")
    schema = Schema.load(data)
    folders = [inputs[f"models.{index}"] for index in range(len(config.models))]
    teachers = Teachers(schema, data, folders, config.models, _rounded(config, schema))
    maker = (_table_maker if is_table(schema) else _text_maker)(config, schema, inputs, folders, run)
    session = Session(schema, data, out, run, teachers, maker)
    session.given()
    for copy in range(config.copies):
        session.copies(copy, config.copies)
    if config.sources:
        session.sources(config.sources, config.source_rows)
    facts = session.write()
    _carry_over(data, out)
    if not is_table(schema):
        facts["word_vectors"] = _keep_words(config.word_vectors, folders, out)
    return {**facts, "teachers": list(config.models), **maker.facts()}


def _rounded(config: Teach, schema: Schema) -> bool:
    """Return whether the teachers compute in bfloat16; a table's are a UserError with `true`."""
    from bessemer.engine.precision import native
    from bessemer.stages._tables import is_table

    if is_table(schema):
        if config.bf16 is True:
            raise UserError("bf16 is true, but networks of tables are computed in float32 alone; remove the key or set bf16: auto")
        return False
    return config.bf16 is True or (config.bf16 == "auto" and native("cpu"))


def _text_maker(config: Teach, schema: Schema, inputs: Mapping[str, Path], folders: list[Path], run: RunContext) -> Maker:
    from bessemer.stages._teaching_text import TextMaker

    network = next((folder for folder in folders if is_network(folder)), None)
    masked = inputs.get("masked_model")
    way = config.replace or ("model" if masked else "neighbours" if network else "words")
    if way == "model" and masked is None:
        raise UserError("replace: model needs 'masked_model', a stage or folder with a masked-language head")
    if way == "neighbours" and network is None:
        raise UserError("replace: neighbours needs a network among 'models', whose word vectors tell what is near; say replace: words")
    return TextMaker(config, schema, inputs["data"], (way, masked if way == "model" else network), run)


def _table_maker(config: Teach, schema: Schema, inputs: Mapping[str, Path], folders: list[Path], run: RunContext) -> Maker:
    from bessemer.stages._teaching_table import TableMaker

    if "masked_model" in inputs:
        raise UserError("masked_model replaces words of running text; the data are a table: remove it")
    return TableMaker(config, schema, inputs["data"], run)


def is_network(folder: Path) -> bool:
    """Tell whether a model's folder holds a network of text, whose word vectors can be read."""
    from bessemer.nn.table import is_table_network

    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file() and not is_table_network(folder)


def _carry_over(data: Path, out: Path) -> None:
    """Copy what stays as prepare made it: everything but the training rows and what tells of the sources."""
    own = {"manifest.json", "timings.json", "train", "funnel.json", "quarantine.parquet", *(item.name for item in out.iterdir())}
    for item in sorted(data.iterdir()):
        if item.name in own:
            continue
        if item.is_dir():
            shutil.copytree(item, out / item.name)
        else:
            shutil.copyfile(item, out / item.name)


def _keep_words(size: int, folders: list[Path], out: Path) -> int:
    """Keep the first network's word vectors, float16 [V, size], narrowed by their largest singular vectors; return their width."""
    import torch
    from safetensors.numpy import save_file

    from bessemer.models._words import TEACHER_WORDS, narrowed, teacher_words

    network = next((folder for folder in folders if is_network(folder)), None)
    if not size or network is None:
        return 0
    found = torch.from_numpy(teacher_words(network))
    found = narrowed(found, size) if found.shape[1] > size else found
    save_file({"words": found.to(torch.float16).numpy()}, out / TEACHER_WORDS)
    return int(found.shape[1])
