"""The contract of a stage: what it needs are fields that refer to artifacts; it is a plain function of four arguments."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import ClassVar

from bessemer.core.config import Config
from bessemer.core.recipe import StageConfig
from bessemer.testing.plugin import PluginContract


class StageContract(PluginContract):
    """The contract of a plug-in of `stages`; what it computes is its own tests' matter."""

    folder: ClassVar[str] = "stages"

    def test_needs_are_fields_that_hold_references(self, tmp_path: Path) -> None:
        """Each is a field of the config and holds a name, several, or None."""
        config = self.config(tmp_path)
        assert isinstance(config, StageConfig)
        assert isinstance(config.needs, tuple) and len(set(config.needs)) == len(config.needs)
        for name in config.needs:
            assert name in type(config).model_fields, f"needs names '{name}', which is no field"
            value = getattr(config, name)
            values = value if isinstance(value, tuple) else (value,)
            assert all(item is None or isinstance(item, str) for item in values), name

    def test_outside_is_paths_and_checksums(self, tmp_path: Path) -> None:
        """What decides the result from outside the run: paths and plain text."""
        config = self.config(tmp_path)
        assert isinstance(config, StageConfig)
        found = config.outside()
        assert isinstance(found, tuple) and all(isinstance(item, (Path, str)) for item in found)

    def test_function_takes_what_a_run_hands_over(self, tmp_path: Path) -> None:
        """(config, inputs, out, run), in this order."""
        config: Config = self.config(tmp_path)
        function = self.plugin(config).function
        assert list(inspect.signature(function).parameters) == ["config", "inputs", "out", "run"]
