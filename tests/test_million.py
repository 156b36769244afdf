"""recipes/million.yaml as it ships: a million computed rows, one pass, beside the linear law itself."""

import json
from pathlib import Path

from bessemer.core.events import Events
from bessemer.core.recipe import load_recipe
from bessemer.core.run import Options, execute

RECIPE = Path(__file__).parents[1] / "recipes" / "million.yaml"


def test_a_million_rows_in_one_pass(tmp_path: Path) -> None:
    result = execute(load_recipe(RECIPE), Events(), Options(root=tmp_path / "million"))
    facts = result.stages["finetune"].manifest.facts
    assert facts["rows"] == 1_000_000 - 8_192 - 16_384 and facts["steps"] == facts["total_steps"]
    scores = json.loads((result.stages["evaluate"].folder / "scores.json").read_text(encoding="utf-8"))
    network, linear = scores["forms"].values()
    assert network["rows"] == 16_384 and network["metrics"]["r2"]["low"] >= 0.999
    assert linear["metrics"]["r2"]["value"] > 1 - 1e-9
    stored = sum(item.stat().st_size for item in (tmp_path / "million" / "stream").rglob("*") if item.is_file())
    assert stored < 400e6  # validation and test alone: the rows themselves are 4 GB
