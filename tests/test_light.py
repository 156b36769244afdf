"""Plug-ins and the command line load no heavy library before they are used."""

import json
import subprocess
import sys

HEAVY = ("torch", "transformers", "duckdb", "sklearn", "pyarrow", "onnxruntime", "numpy", "tokenizers")
FOLDERS = ("datasets", "data/sources", "data/splits", "modalities", "modalities/tokenizers", "models", "tasks", "adapt", "evaluate",
           "compress", "export", "predictors", "stages")


def loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport sys, json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    assert loaded_after("import bessemer, bessemer.api, bessemer.cli") == set()


def test_every_plugin_is_light() -> None:
    calls = "\n".join(f"registry.plugins({folder!r})" for folder in FOLDERS)
    assert loaded_after(f"from bessemer.core import registry\n{calls}") == set()


def test_recipe_is_read_without_heavy_libraries() -> None:
    assert loaded_after("from bessemer.core.recipe import load_recipe; load_recipe('recipes/sentiment.yaml').order()") == set()
