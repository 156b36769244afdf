"""A smaller network that answers something else than the trained one is never chosen."""

from __future__ import annotations

import json
from pathlib import Path

from bessemer.stages._budget_try import other_heads


def _folder(path: Path, **head: object) -> Path:
    path.mkdir()
    (path / "heads.json").write_text(json.dumps([
        {"target": "y", "link": "softmax", "width": 5, "quantiles": [], **head}]), encoding="utf-8")
    return path


def test_heads_that_say_the_same_pass_and_others_are_named(tmp_path: Path) -> None:
    plain = _folder(tmp_path / "plain")
    assert other_heads(plain, _folder(tmp_path / "same", offsets=[1.0])) == ""
    assert other_heads(_folder(tmp_path / "ordinal", link="ordinal", width=4), plain) == (
        "it answers something else (y: softmax, 5 outputs) than the trained network (y: ordinal, 4 outputs)")
    assert other_heads(_folder(tmp_path / "band", quantiles=[0.05, 0.95]), plain).endswith("quantiles [0.05, 0.95])")
    bare = tmp_path / "bare"
    bare.mkdir()
    assert other_heads(bare, bare) == ""
    assert other_heads(plain, bare) == ""
    assert other_heads(tmp_path / "ordinal", bare).startswith("it answers something else (no heads of its own)")
