"""Every plug-in of `models` keeps the contract: of networks, or of models that fit themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import dump_plugin, make
from bessemer.core.registry import plugin_of, plugins
from bessemer.core.types import BuildSpec
from bessemer.nn.checkpoint import save_network
from bessemer.testing import rows
from bessemer.testing.models import FitContract, NetworkContract
from bessemer.testing.table_models import TableFitContract
from tests.contract.each import Examples, example, kinds
from tests.predictors.test_predictors import make_folder

torch.set_num_threads(1)


def _saved(folder: Path) -> dict[str, Any]:
    save_network(rows.network(("mlm",)), folder)
    return {"path": str(folder)}


def _probed(folder: Path) -> dict[str, Any]:
    if not (folder / "tokenizer.json").is_file():  # its trainer numbers tokens otherwise each time
        make_folder(folder, rows.LABELS)
    return {"path": str(folder), "c": [1.0]}


EXAMPLES: Examples = {
    "bert": lambda folder: {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                            "max_position_embeddings": 32},
    "slim_bert": lambda folder: {"hidden_size": 16, "head_size": 8, "num_attention_heads": (2, 1), "intermediate_size": 16, "rank": 4,
                                 "embedding_size": 8, "hash_buckets": 40, "max_position_embeddings": 32, "initializer_range": 0.3},
    "pretrained": _saved,
    "tfidf_linear": lambda folder: {"c": [1.0]},
    "probe": _probed,
    "lightgbm": lambda folder: {"num_boost_round": 20},
    "linear": lambda folder: {"c": [1.0]}}

STUDENTS = ("text_cnn", "text_rnn", "ngrams")  # they learn labels alone


def fits(kind: str) -> bool:
    """Whether a model fits itself; one without default settings, but for a probe's, is taken for a network."""
    found = plugins("models")[kind]
    try:
        return found.function(found.config()).fit is not None
    except ValidationError:
        return kind == "probe"


def table(kind: str) -> bool:
    """Whether a model reads tables."""
    found = plugins("models")[kind]
    try:
        return bool(found.function(found.config()).table)
    except ValidationError:
        return False


class TestEachNetwork(NetworkContract):
    @pytest.fixture(autouse=True, params=[kind for kind in kinds("models") if not fits(kind) and not table(kind) and kind not in STUDENTS])
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("models", self.kind, EXAMPLES, folder)


class TestEachStudent(NetworkContract):
    heads = ("classification",)

    @pytest.fixture(autouse=True, params=STUDENTS)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("models", self.kind, EXAMPLES, folder)


class TestEachFit(FitContract):
    @pytest.fixture(autouse=True, params=[kind for kind in kinds("models") if fits(kind) and not table(kind)])
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("models", self.kind, EXAMPLES, folder)


class TestEachTableFit(TableFitContract):
    @pytest.fixture(autouse=True, params=[kind for kind in kinds("models") if fits(kind) and table(kind)])
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("models", self.kind, EXAMPLES, folder)


def every_spec(kind: str) -> list[BuildSpec]:
    """What a network is built from: each head that one of text may have, or the outputs of a table."""
    if table(kind):
        found = rows.table_of()
        return [BuildSpec(found.schema, dict(found.info), (), outputs=6)]
    return [BuildSpec(rows.SCHEMA, rows.INFO, (head,), labels) for head, labels in (("classification", rows.LABELS), ("tags", rows.LABELS),
                                                                                   ("mlm", ()))]


def built(config: Config, spec: BuildSpec) -> dict[str, Any] | str:
    """The tensors of a seeded network, or why there is none."""
    torch.manual_seed(3)
    try:
        return dict(plugin_of("models", config).function(config).build(spec).state_dict())
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("kind", [kind for kind in kinds("models") if not fits(kind)])
def test_a_recipe_that_names_every_default_builds_the_same(kind: str, tmp_path: Path) -> None:
    """A run keeps such a recipe, and it must run again: of each head the same tensors, or the same refusal."""
    short = example("models", kind, EXAMPLES, tmp_path)
    full = make("models", json.loads(json.dumps(dump_plugin("models", short))))
    pairs = [(built(short, spec), built(full, spec)) for spec in every_spec(kind)]
    for one, two in pairs:
        if isinstance(one, str) or isinstance(two, str):
            assert one == two
        else:
            assert one.keys() == two.keys() and all(torch.equal(item, two[name]) for name, item in one.items())
    assert not all(isinstance(one, str) for one, _ in pairs)
