"""What the student networks of text share: where their word vectors start, and which tokens have one.

Legend: V vocabulary, R stored rows, S width of the vectors that are started from, E width of the network's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import plugin
from bessemer.core.types import BuildSpec, DataSet

if TYPE_CHECKING:
    import numpy as np
    import torch
    from tokenizers import Tokenizer

    Start = tuple[np.ndarray, np.ndarray]

Share = Annotated[float, Field(ge=0, lt=1)]
TEACHER_WORDS = "words.safetensors"
USUAL = 128


class Words(Config):
    """The word vectors of a student."""

    embedding_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Width of a word vector; by default 128, or that of the vectors to start from where these are narrower."""
    embeddings: Literal["teacher", "vectors", "random"] | None = None
    """Where they start: the teacher's own (of the stage's `teacher`, or those that `teach` keeps with its data), `vectors`, or random
    numbers; by default the first of these that is there. Wider ones are cut to embedding_size by their largest singular vectors."""
    vectors: str | None = None
    """Published word vectors: a name of the catalogue, or a file: text (`word number number …` a line), or .npz with `words`, `vectors`."""
    vocabulary: Literal["used", "all"] = "used"
    """Which tokens have a vector: those of the training rows, or all that the tokenizer knows; the others share one."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """With vocabulary: used, how often a token must occur in the training rows."""
    dropout: Share = 0.2
    """Dropout on what goes into the dense layers, in training."""
    word_dropout: Share = 0.0
    """Share of a text's tokens that are left out, in training (Iyyer et al. 2015)."""

    @model_validator(mode="after")
    def _source(self) -> Words:
        if (self.embeddings == "vectors") != (self.vectors is not None) and (self.embeddings is not None):
            raise ValueError("'vectors' names published word vectors for embeddings: vectors; give both or neither")
        return self

    def outside(self) -> tuple[Path | str, ...]:
        """Return the file of word vectors, or the pinned checksum of the catalogue's."""
        if self.vectors is None:
            return ()
        return (Path(self.vectors),) if _is_file(self.vectors) else (_entry(self.vectors).resource.sha256,)


def shape(config: Words, spec: BuildSpec, found: Start | None) -> tuple[dict[str, Any], torch.Tensor | None]:
    """Return the fields of a `WordsConfig`, and the token map int32 [V] (None where every token has a row); `found` as `given` tells."""
    import numpy as np
    import torch

    size, pad = int(spec.info["vocab_size"]), int(spec.info["pad_token_id"])
    fields: dict[str, Any] = {"vocab_size": size, "pad_token_id": pad, "embedding_size": _width(config, found),
                              "dropout": config.dropout, "word_dropout": config.word_dropout}
    if config.vocabulary == "all" or spec.data is None:
        config.model_dump()  # a count has no effect where all tokens are kept, and none to read where there are no rows
        return fields, None
    count_V = _counts(spec.data, spec, size)
    special = [item for item in spec.info["special_token_ids"] if item != pad]
    count_V[special] = config.min_count
    count_V[pad] = 0
    kept = np.flatnonzero(count_V >= config.min_count)
    map_V = np.ones(size, np.int32)
    map_V[kept] = np.arange(2, len(kept) + 2)
    map_V[pad] = 0
    return {**fields, "rows": len(kept) + 2}, torch.from_numpy(map_V)


def _width(config: Words, found: Start | None) -> int:
    """Return the width of the network's word vectors; a wider one than that of the vectors to start from is a UserError."""
    if found is None:
        return config.embedding_size or USUAL
    there = found[0].shape[1]
    if config.embedding_size is not None and there < config.embedding_size:
        raise UserError(f"embedding_size is {config.embedding_size}, but the vectors to start from have {there} numbers; lower the first, "
                        "or leave it out")
    return config.embedding_size or min(USUAL, there)


def _counts(data: Path, spec: BuildSpec, size: int) -> np.ndarray:
    """Return how often each token occurs in the training rows, int64 [V]."""
    import numpy as np

    from bessemer.core.schema import Role
    from bessemer.data.shards import ShardReader

    name = f"{spec.schema.only(Role.INPUT, 'text').name}.ids"
    count_V = np.zeros(size, np.int64)
    for part in ShardReader(data / "train").tables((name,), 65_536):
        count_V += np.bincount(part[name].combine_chunks().flatten().to_numpy(), minlength=size)
    return count_V


def start(found: Start | None, spec: BuildSpec, table_RE: torch.Tensor, map_V: torch.Tensor | None) -> None:
    """Fill the words' rows of a table with the vectors to start from; the padding row and further rows stay as they are."""
    import torch

    if found is None:
        return
    vectors_VS, known_V = found
    size = table_RE.shape[1]
    rows_V = torch.arange(len(vectors_VS)) if map_V is None else map_V.long()
    chosen = torch.from_numpy(known_V) & (rows_V != (int(spec.info["pad_token_id"]) if map_V is None else 0))
    chosen &= (rows_V != 1) | (map_V is None)
    kept_NS = torch.from_numpy(vectors_VS)[chosen]
    if kept_NS.shape[1] > size:
        kept_NS = narrowed(kept_NS, size)
    with torch.no_grad():
        # A row's length is that of the random start, so that one learning rate suits both.
        table_RE[rows_V[chosen]] = kept_NS / kept_NS.norm(dim=1).mean().clamp(min=1e-12)


def narrowed(vectors_NS: torch.Tensor, size: int) -> torch.Tensor:
    """Return vectors [N, size] whose inner products are nearest to those of [N, S] (Eckart & Young 1936): X times its largest right
    singular vectors, each turned so that its largest part is above 0.
    """
    import torch

    values, turned_SS = torch.linalg.eigh(vectors_NS.double().T @ vectors_NS.double())
    axes_SE = turned_SS[:, values.argsort(descending=True)[:size]]
    largest_E = axes_SE.gather(0, axes_SE.abs().argmax(0, keepdim=True))
    return (vectors_NS.double() @ (axes_SE * largest_E.sign())).float()


def given(config: Words, spec: BuildSpec) -> Start | None:
    """Return the vectors to start from, float32 [V, S] and which tokens have one, bool [V]; None for random ones."""
    import numpy as np

    if config.embeddings == "random":
        return None
    if config.vectors is not None:
        return _published(config.vectors, spec)
    own = None if spec.data is None else spec.data / TEACHER_WORDS
    if spec.teacher is not None:
        found = teacher_words(spec.teacher)
    elif own is not None and own.is_file():
        from safetensors.numpy import load_file

        found = load_file(own)["words"].astype(np.float32)
    elif config.embeddings == "teacher":
        raise UserError("embeddings: teacher needs a network to take word vectors from; give the stage's key 'teacher', or data of a "
                        "'teach' stage one of whose models is a network")
    else:
        return None
    size = int(spec.info["vocab_size"])
    if len(found) < size:
        raise UserError(f"the teacher has vectors of {len(found)} tokens, the prepared data {size} tokens; prepare the data with the "
                        "teacher's tokenizer")
    return np.ascontiguousarray(found[:size]), np.ones(size, bool)


def teacher_words(folder: Path) -> np.ndarray:
    """Return the word vectors [V, S] of a trained network's folder; one that has none is a UserError."""
    import torch

    from bessemer.nn.checkpoint import load_network
    from bessemer.nn.words import word_vectors

    with torch.random.fork_rng(devices=[]):  # the student's own random start is that of its seed, whoever was read before
        network = load_network(folder, ("classification",)).eval()
    found: np.ndarray = word_vectors(network, str(folder)).numpy()
    return found


def _is_file(name: str) -> bool:
    return "/" in name or "." in name


def _entry(name: str) -> DataSet:
    chosen = plugin("datasets", name)
    found: DataSet = chosen.function(chosen.config())
    return found


def _published(name: str, spec: BuildSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return published vectors of the tokens that are words of their own, and which tokens those are."""
    import numpy as np
    from tokenizers import Tokenizer

    from bessemer.data.word_vectors import read_word_vectors

    if _is_file(name):
        path = Path(name)
    else:
        from bessemer.core.fetch import fetch

        entry = _entry(name)
        if entry.kind != "vectors":
            raise UserError(f"vectors: '{name}' of the catalogue holds no word vectors; `bessemer datasets` lists what is there")
        path = fetch(entry.resource) / entry.folder
    assert spec.data is not None
    words_N, vectors_NS = read_word_vectors(path)
    tokens = _words_of(Tokenizer.from_file(str(spec.data / "tokenizer.json")), int(spec.info["vocab_size"]))
    place_V = place_of(words_N, tokens)
    known_V = place_V >= 0
    if not known_V.any():
        raise UserError(f"vectors: '{name}' has a vector of not one of the {len(tokens)} tokens; is it of another language?")
    found_VS = np.zeros((len(tokens), vectors_NS.shape[1]), np.float32)
    found_VS[known_V] = vectors_NS[place_V[known_V]]
    return found_VS, known_V


def _words_of(tokenizer: Tokenizer, size: int) -> list[str]:
    """Return each token as a word, lower case; a piece that goes on with a word keeps its mark, and so is found in no list of words."""
    names = {number: token for token, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    return [names.get(number, "").replace("Ġ", "").replace("▁", "").lower() for number in range(size)]


def place_of(words_N: Any, tokens: list[str]) -> np.ndarray:
    """Return where each token stands in a list of words, int64 [V]; -1 where it does not."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found: np.ndarray = pc.fill_null(pc.index_in(pa.array(tokens, pa.string()), value_set=words_N), -1).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)
