"""The contracts of a modality and of a tokenizer: what training prepared, serving encodes alike."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from bessemer.core.heads import Inverse
from bessemer.core.pick import dump_plugin
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Codec, Modality
from bessemer.modalities import column_folder, tokens
from bessemer.modalities.tokens import Tokens
from bessemer.testing.plugin import PluginContract

NAME = "a column"
TEXTS = [f"the {word} number {number} of a {word} is here. it was seen, again!" for word in ("film", "room", "day", "meal")
         for number in range(30)] + ["这部电影很好看。第二句也不错。"] * 5


class ModalityContract(PluginContract):
    """The contract of a plug-in of `modalities`."""

    folder: ClassVar[str] = "modalities"

    @abstractmethod
    def values(self) -> pa.Array:
        """Return raw values as a file gives them: nulls, and some that need cleaning, among them."""

    def modality(self, folder: Path) -> Modality:
        """Return the modality."""
        found: Modality = self.made(folder)
        return found

    def fitted(self, folder: Path, name: str) -> tuple[Column, Path]:
        """Return the column that fitting on the clean values gives, and the folder `name` of its files."""
        files, out = folder / "files", column_folder(folder / name, NAME)
        files.mkdir(exist_ok=True)
        config = self.config(files)
        modality: Modality = self.plugin(config).function(config)
        clean, why = modality.clean(self.values())
        good = clean.filter(why.is_null())
        out.mkdir(parents=True)
        labels, facts = modality.fit(iter([good.slice(0, 7), good.slice(7)]), 3, out)
        plain = dump_plugin(self.folder, config)
        assert plain is not None
        return Column(name=NAME, role=Role(modality.roles[0]), modality=plain, labels=labels, facts=facts), out

    def codecs(self, folder: Path) -> list[tuple[Role, Codec]]:
        """Return the fitted codec of each role that a column may have."""
        column, files = self.fitted(folder, "one")
        modality = self.modality(folder / "files")
        return [(Role(role), modality.load(_as(column, role), files)) for role in modality.roles]

    def test_cleaning_twice_changes_nothing(self, tmp_path: Path) -> None:
        """Clean values stay as they are; each value that is set aside has a reason, before and after."""
        modality, values = self.modality(tmp_path), self.values()
        clean, why = modality.clean(values)
        assert len(clean) == len(why) == len(values) and why.type == pa.string()
        again, why_again = modality.clean(clean)
        assert again.equals(clean)
        if modality.nulls:
            # What is set aside may be null when it is clean, and a missing value is a value.
            assert why_again.filter(why.is_null()).null_count == why.null_count
            assert clean.filter(why.is_null()).null_count > 0, "give a missing value among the values"
        else:
            assert why_again.equals(why) and clean.filter(why.is_null()).null_count == 0
        assert all(reason for reason in why.drop_null().to_pylist()) and why.null_count > 0

    def test_roles_are_known(self, tmp_path: Path) -> None:
        """One or more roles of the schema."""
        modality = self.modality(tmp_path)
        assert modality.roles and set(modality.roles) <= {role.value for role in Role}
        assert bool(modality.answer) == ("target" in modality.roles) and modality.answer in ("", "label", "number", "flags", "tags")
        assert not modality.vector or "input" in modality.roles

    def test_fitting_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """Labels, facts and every file are equal; the facts are JSON; the schema keeps them."""
        (first, one), (second, two) = self.fitted(tmp_path, "one"), self.fitted(tmp_path, "two")
        assert first == second
        names = sorted(file.relative_to(one) for file in one.rglob("*") if file.is_file())
        assert names == sorted(file.relative_to(two) for file in two.rglob("*") if file.is_file())
        assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
        assert json.loads(json.dumps(first.facts)) == first.facts
        Schema(columns=(first,)).save(tmp_path)
        assert Schema.load(tmp_path).columns == (first,)

    def test_encoding_cleans(self, tmp_path: Path) -> None:
        """Raw and clean values have the same codes, bit for bit, one stored row each; so does a codec that is loaded again."""
        column, files = self.fitted(tmp_path, "one")
        modality, values = self.modality(tmp_path / "files"), self.values()
        for role in modality.roles:
            codec = modality.load(_as(column, role), files)
            raw, clean = codec.encode(values), codec.encode(modality.clean(values)[0])
            again = modality.load(_as(column, role), files)
            assert raw and all(len(array) == len(values) for array in raw.values())
            for other in (clean, again.encode(values)):
                assert list(other) == list(raw) and all(_bits(other[name]) == _bits(raw[name]) for name in raw)
            assert again.info == codec.info
            assert codec.length is None or pa.types.is_list(raw[codec.length].type)

    def test_vectors_are_as_their_info_says(self, tmp_path: Path) -> None:
        """A vector input has numbers and codes of fixed widths, finite, without nulls, codes below their cardinalities, rising edges;
        a target what its kind of answer has, with its inverse.
        """
        modality, values = self.modality(tmp_path), self.values()
        for role, codec in self.codecs(tmp_path):
            stored, info = codec.encode(values), codec.info
            if role == Role.TARGET:
                _check_target(modality.answer, stored, info)
            elif modality.vector:
                _check_vectors(stored, info)
                json.dumps(info)

    def test_a_row_is_encoded_by_itself(self, tmp_path: Path) -> None:
        """A value's codes do not depend on its neighbours; no rows are encoded to no rows."""
        values = self.values()
        for _, codec in self.codecs(tmp_path):
            whole = codec.encode(values)
            for row in range(0, len(values), 5):
                alone = codec.encode(values.slice(row, 1))
                assert all(_bits(alone[name]) == _bits(array.slice(row, 1)) for name, array in whole.items()), f"row {row}"
            assert all(len(array) == 0 for array in codec.encode(values.slice(0, 0)).values())

    def test_a_batch_has_a_row_for_each_row(self, tmp_path: Path) -> None:
        """Collated arrays begin with B; in the first places they hold what the row alone gives."""
        for _, codec in self.codecs(tmp_path):
            stored = {name: array.slice(0, 6) for name, array in codec.encode(self.values()).items()}
            together = codec.collate(stored, None)
            assert together
            for name, array in together.items():
                assert isinstance(array, np.ndarray) and len(array) == 6, name
            for row in range(6):
                alone = codec.collate({name: array.slice(row, 1) for name, array in stored.items()}, None)
                for name, array in alone.items():
                    part: Any = together[name][row][tuple(slice(size) for size in array.shape[1:])]
                    if "mask" in name:
                        assert together[name][row].sum() == array.sum()
                    assert np.array_equal(array[0], part, equal_nan=array.dtype.kind == "f"), f"{name} of row {row}"


def _as(column: Column, role: str) -> Column:
    return column.model_copy(update={"role": Role(role)})


def _bits(array: pa.Array) -> str:
    """Return the values, of which not-a-number is itself."""
    return repr(array.to_pylist())


def _check_vectors(stored: dict[str, pa.Array], info: dict[str, Any]) -> None:
    assert set(stored) <= {"numbers", "codes"} and stored
    assert len(info["names"]) == len(info["edges"]) == info["numbers"]
    assert all(2 <= len(edges) <= 64 and (np.diff(np.float32(edges)) > 0).all() for edges in info["edges"])
    for name, width, kind in (("numbers", info["numbers"], pa.float32()), ("codes", len(info["cardinalities"]), pa.int32())):
        assert (name in stored) == (width > 0)
        if width:
            assert stored[name].type == pa.list_(kind, width) and stored[name].null_count == stored[name].flatten().null_count == 0
            flat = stored[name].flatten().to_numpy().reshape(-1, width)
            assert np.isfinite(flat).all()
            assert name == "numbers" or ((flat >= 0) & (flat < np.array(info["cardinalities"]))).all()


def _check_target(answer: str, stored: dict[str, pa.Array], info: dict[str, Any]) -> None:
    if answer == "label":
        codes = stored["codes"].to_numpy()
        assert stored["codes"].type == pa.int32() and codes.min() >= -1 and codes.max() < len(info["labels"])
    elif answer == "number":
        value, scaled = stored["value"].to_numpy(), stored["scaled"].to_numpy()
        assert value.dtype == np.float64 and scaled.dtype == np.float32 and np.array_equal(np.isnan(value), np.isnan(scaled))
        inverse, known = Inverse(**info["inverse"]), np.isfinite(value)
        spread = float(np.ptp(value[known]))
        assert np.allclose(inverse.apply(scaled[known]), value[known], rtol=1e-5, atol=1e-5 * spread)
    elif answer == "tags":
        codes = stored["codes"].flatten().to_numpy()
        assert stored["codes"].type == pa.list_(pa.int32()) and codes.min() >= -2 and codes.max() < len(info["labels"])
    else:
        flags = stored["flags"].flatten().to_numpy().reshape(-1, len(info["labels"]))
        assert flags.dtype == np.int8 and set(np.unique(flags)) <= {-1, 0, 1}
        assert ((flags == -1).all(axis=1) | (flags >= 0).all(axis=1)).all()


class TokenizerContract(PluginContract):
    """The contract of a plug-in of `modalities/tokenizers`."""

    folder: ClassVar[str] = "modalities/tokenizers"

    def tokens(self, folder: Path) -> Tokens:
        """Return the tokenizer's origin."""
        found: Tokens = self.made(folder)
        return found

    def texts(self) -> Iterator[list[str]]:
        """Yield the training texts, list by list."""
        yield TEXTS[:50]
        yield TEXTS[50:]

    def test_made_twice_it_is_the_same(self, tmp_path: Path) -> None:
        """The same texts give the same `tokenizer.json`, whatever was made before."""
        origin = self.tokens(tmp_path)
        assert origin.make(self.texts()).to_str() == origin.make(self.texts()).to_str()

    def test_special_tokens_and_ids(self, tmp_path: Path) -> None:
        """It has the five special tokens, each its own; ids are inside the vocabulary; no text begins with a frame."""
        tokenizer = self.tokens(tmp_path).make(self.texts())
        info = tokens.info_of(tokenizer, "the test", 16)
        special = [info[f"{role}_token_id"] for role in tokens.NAMES]
        assert len(set(special)) == len(special) and set(special) <= set(info["special_token_ids"])
        ids, starts = tokens.encode(tokenizer, TEXTS)
        flat = ids.flatten().to_numpy()
        assert len(flat) and 0 <= flat.min() and flat.max() < info["vocab_size"]
        assert not set(flat.tolist()) & (set(special) - {info["unk_token_id"]})
        assert all(row and row[0] == 0 and row == sorted(set(row)) for row in starts.to_pylist())

    def test_a_text_is_cut_by_itself(self, tmp_path: Path) -> None:
        """A text's tokens do not depend on its neighbours; it neither cuts nor pads."""
        tokenizer = self.tokens(tmp_path).make(self.texts())
        whole = tokens.encode(tokenizer, TEXTS[:12])[0].to_pylist()
        assert whole == [tokens.encode(tokenizer, [text])[0].to_pylist()[0] for text in TEXTS[:12]]
        short, long = tokens.encode(tokenizer, [TEXTS[0], " ".join([TEXTS[0]] * 50)])[0].to_pylist()
        assert len(long) == 50 * len(short)

    def test_files_exist(self, tmp_path: Path) -> None:
        """The files outside the run that it is read from are there."""
        assert all(file.is_file() for file in self.tokens(tmp_path).files())
