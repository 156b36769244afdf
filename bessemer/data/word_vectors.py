"""Published word vectors read from disk: lines of text, .npz, or a folder of .npy with the words as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

EXPECTED = "expected lines of 'word number number …', an .npz with 'words' and 'vectors', or a folder of one .npy and one .parquet"


def read_word_vectors(path: Path) -> tuple[pa.Array, np.ndarray]:
    """Return the words, string [N], and their vectors, float32 [N, S]; of a word that comes twice the first counts (index_in's rule)."""
    import numpy as np

    if path.is_dir():
        words, vectors = _folder(path)
    elif not path.is_file():
        raise UserError(f"there is no file '{path}' of word vectors; {EXPECTED}")
    else:
        words, vectors = _npz(path) if path.suffix == ".npz" else _text(path)
    if vectors.ndim != 2 or len(words) != len(vectors) or not len(words):
        raise UserError(f"'{path}' has {len(words)} words and vectors of the shape {list(vectors.shape)}; {EXPECTED}")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise UserError(f"'{path}': the vectors of {len(broken):,} words are not finite numbers, first that of '{words[int(broken[0])]}'; "
                        "leave these words out")
    return words, vectors


def _folder(path: Path) -> tuple[pa.Array, np.ndarray]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays, tables = sorted(path.glob("*.npy")), sorted(path.glob("*.parquet"))
    if len(arrays) != 1 or len(tables) != 1:
        raise UserError(f"'{path}' holds {len(arrays)} .npy and {len(tables)} .parquet files; {EXPECTED}")
    table = pq.read_table(tables[0])
    return table.column(0).combine_chunks().cast(pa.string()), np.load(arrays[0], allow_pickle=False).astype(np.float32)


def _npz(path: Path) -> tuple[pa.Array, np.ndarray]:
    import numpy as np
    import pyarrow as pa

    try:
        with np.load(path, allow_pickle=False) as found:
            return pa.array(found["words"].astype(str), pa.string()), found["vectors"].astype(np.float32)
    except (KeyError, ValueError) as error:
        raise UserError(f"'{path}' cannot be read ({error}); {EXPECTED}") from None


def _text(path: Path) -> tuple[pa.Array, np.ndarray]:
    """Read lines; a first line of two numbers (how many words, how wide) is passed over, as word2vec's format has it."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    with path.open("rb") as stream:
        line = stream.readline()
        head = line.split()
        line = stream.readline() if len(head) == 2 else line
        width = len(line.split()) - 1
    if width < 1:
        raise UserError(f"'{path}' holds no word vectors; {EXPECTED}")
    names = ["word", *(str(index) for index in range(width))]
    end = ["end"] if line.rstrip(b"\r\n").endswith(b" ") else []  # fastText's own files have a space at the end of each line
    try:
        table = csv.read_csv(
            path, read_options=csv.ReadOptions(column_names=names + end, skip_rows=int(len(head) == 2)),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
            convert_options=csv.ConvertOptions(strings_can_be_null=False, column_types={
                "word": pa.string(), "end": pa.string(), **dict.fromkeys(names[1:], pa.float32())}))
    except pa.ArrowInvalid as error:
        raise UserError(f"'{path}' cannot be read as word vectors ({str(error).splitlines()[0]}); {EXPECTED}") from None
    vectors = np.stack([table[name].to_numpy() for name in names[1:]], axis=1)
    return pc.cast(table["word"].combine_chunks(), pa.string()), vectors
