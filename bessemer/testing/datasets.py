"""The contract of an entry of the catalogue: what it is, whose it is, how good others were, and pinned checksums."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import ClassVar

from bessemer.core.types import DataSet
from bessemer.testing.plugin import PluginContract


class DataSetContract(PluginContract):
    """The contract of a plug-in of `datasets`; nothing is fetched."""

    folder: ClassVar[str] = "datasets"

    def data_set(self, folder: Path) -> DataSet:
        """Return the entry."""
        found: DataSet = self.made(folder)
        return found

    def test_it_says_what_it_is(self, tmp_path: Path) -> None:
        """Content, licence and reference scores, a line each; its config has defaults for everything."""
        found = self.data_set(tmp_path)
        assert type(self.config(tmp_path))() is not None
        for name in ("about", "licence", "reference"):
            text = getattr(found, name)
            assert text.strip() and "\n" not in text, name

    def test_its_bytes_are_pinned(self, tmp_path: Path) -> None:
        """The archive and each member have a SHA-256; members stay inside the folder."""
        first = self.data_set(tmp_path).resource
        for resource in (first, *first.more):
            assert resource.registry in ("pypi", "npm", "debian")
            assert resource.package and resource.version and resource.version.rpartition(":")[2] in resource.archive
            assert re.fullmatch("[0-9a-f]{64}", resource.sha256)
            assert resource.members
            for member, sha256 in resource.members.items():
                assert re.fullmatch("[0-9a-f]{64}", sha256), member
                assert not PurePosixPath(member).is_absolute() and ".." not in PurePosixPath(member).parts

    def test_it_is_rows_or_weights(self, tmp_path: Path) -> None:
        """Rows can be read; weights have a folder with a configuration; vectors of words have a folder."""
        found = self.data_set(tmp_path)
        assert found.kind in ("rows", "weights", "vectors")
        if found.kind == "rows":
            assert found.read is not None and not found.folder
        elif found.kind == "vectors":
            assert found.read is None and any(member.startswith(f"{found.folder}/") for member in found.resource.members)
        else:
            assert found.read is None and f"{found.folder}/config.json" in found.resource.members
