"""What every plug-in keeps, whatever its folder: a frozen, described, strict config that survives YAML; a light module."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from bessemer.core.config import Config
from bessemer.core.pick import dump_plugin, make, plugin_schemas
from bessemer.core.registry import Plugin, plugin_of

HEAVY = {"duckdb", "numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "scipy", "sklearn", "tensorflow", "tokenizers", "torch",
         "transformers"}


class PluginContract(ABC):
    """The contract of a plug-in of any folder; each folder's own kit adds to it.

    Attributes:
        folder: where the plug-in is registered, `"models"`.
    """

    folder: ClassVar[str]

    @abstractmethod
    def config(self, folder: Path) -> Config:
        """Return a small config of the plug-in.

        Args:
            folder: an empty folder, where it may write the files that the config names. The same content is asked for each time.
        """

    def plugin(self, config: Config) -> Plugin:
        """Return the registered plug-in that takes the config."""
        return plugin_of(self.folder, config)

    def full(self, folder: Path) -> Config:
        """Return the small config as a run's own recipe keeps it: every default is named."""
        return make(self.folder, json.loads(json.dumps(dump_plugin(self.folder, self.config(folder)))))

    def made(self, folder: Path, full: bool = False) -> Any:
        """Return what the plug-in's function makes of its config alone; of one that names every default where `full` is true."""
        config = self.full(folder) if full else self.config(folder)
        return self.plugin(config).function(config)

    def test_registered(self, tmp_path: Path) -> None:
        """A name, a revision for cache keys, a function with a docstring."""
        config = self.config(tmp_path)
        found = self.plugin(config)
        assert found.folder == self.folder and found.name.strip() == found.name != ""
        assert type(found.revision) is int and found.revision >= 1
        assert inspect.getdoc(found.function), f"the function of '{found.name}' has no docstring"

    def test_config_is_frozen_and_strict(self, tmp_path: Path) -> None:
        """A field cannot be changed, and an unknown key is refused."""
        config = self.config(tmp_path)
        for name in type(config).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(config, name, getattr(config, name))
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            type(config).model_validate({**config.model_dump(), "no_such_key": 1})

    def test_config_is_described(self, tmp_path: Path) -> None:
        """The class and every field say what they are; it becomes the reference and the editor's help."""
        config = self.config(tmp_path)
        assert type(config).__doc__
        missing = [name for name, field in type(config).model_fields.items() if not (field.description or "").strip()]
        assert not missing, f"fields without a docstring: {missing}"
        assert self.plugin(config).name in [schema["title"] for schema in plugin_schemas(self.folder)]

    def test_config_survives_a_recipe(self, tmp_path: Path) -> None:
        """Written as plain values and read again it is equal; so it is where only what was set is written."""
        config = self.config(tmp_path)
        plain = json.loads(json.dumps(dump_plugin(self.folder, config)))
        again = make(self.folder, plain)
        assert type(again) is type(config) and again == config
        short = {"kind": plain["kind"], **config.model_dump(mode="json", exclude_unset=True)}
        assert make(self.folder, short) == config
        assert dump_plugin(self.folder, again) == plain

    def test_module_is_light(self, tmp_path: Path) -> None:
        """At its top the module imports no heavy library, so that listing plug-ins is quick."""
        module = sys.modules[self.plugin(self.config(tmp_path)).function.__module__]
        top = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = [node.module or "" if isinstance(node, ast.ImportFrom) else item.name for node in top for item in node.names]
        heavy = sorted({name.split(".")[0] for name in names} & HEAVY)
        assert not heavy, f"{module.__name__} imports {', '.join(heavy)} at its top; import inside the function"
