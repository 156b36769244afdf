"""The contracts of a modality and of a tokenizer: what training prepared, serving encodes alike."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

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

    def codec(self, folder: Path) -> Codec:
        """Return the fitted codec."""
        column, files = self.fitted(folder, "one")
        return self.modality(folder / "files").load(column, files)

    def test_cleaning_twice_changes_nothing(self, tmp_path: Path) -> None:
        """Clean values stay as they are; each value that is set aside has a reason, before and after."""
        modality, values = self.modality(tmp_path), self.values()
        clean, why = modality.clean(values)
        assert len(clean) == len(why) == len(values) and why.type == pa.string()
        again, why_again = modality.clean(clean)
        assert again.equals(clean) and why_again.equals(why)
        assert all(reason for reason in why.drop_null().to_pylist()) and why.null_count > 0
        assert clean.filter(why.is_null()).null_count == 0

    def test_roles_are_known(self, tmp_path: Path) -> None:
        """One or more roles of the schema."""
        roles = self.modality(tmp_path).roles
        assert roles and set(roles) <= {role.value for role in Role}

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
        codec = modality.load(column, files)
        raw, clean = codec.encode(values), codec.encode(modality.clean(values)[0])
        again = modality.load(column, files)
        assert raw and all(len(array) == len(values) for array in raw.values())
        for other in (clean, again.encode(values)):
            assert list(other) == list(raw) and all(other[name].equals(raw[name]) for name in raw)
        assert again.info == codec.info
        assert codec.length is None or pa.types.is_list(raw[codec.length].type)

    def test_a_row_is_encoded_by_itself(self, tmp_path: Path) -> None:
        """A value's codes do not depend on its neighbours; no rows are encoded to no rows."""
        codec, values = self.codec(tmp_path), self.values()
        whole = codec.encode(values)
        for row in range(0, len(values), 5):
            alone = codec.encode(values.slice(row, 1))
            assert all(alone[name].to_pylist() == array.slice(row, 1).to_pylist() for name, array in whole.items()), f"row {row}"
        assert all(len(array) == 0 for array in codec.encode(values.slice(0, 0)).values())

    def test_a_batch_has_a_row_for_each_row(self, tmp_path: Path) -> None:
        """Collated arrays begin with B; in the first places they hold what the row alone gives."""
        codec, values = self.codec(tmp_path), self.values()
        stored = {name: array.slice(0, 6) for name, array in codec.encode(values).items()}
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
                assert np.array_equal(array[0], part), f"{name} of row {row}"


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
