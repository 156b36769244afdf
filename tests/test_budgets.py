"""Budgets: a file has at most 400 lines, a function at most 60 lines and 6 parameters."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bessemer"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_its_budget(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            command = any("app.command" in ast.unparse(item) for item in node.decorator_list)
            count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} has too many lines"
            count -= bool(node.args.args) and node.args.args[0].arg == "self"
            assert command or count <= 6, f"{node.name} has {count} parameters"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_refused_habits(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.name != "utils.py"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None and ast.unparse(node.type) != "Exception", "a broad except hides faults"
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(("Manager", "Trainer", "Mixin"))
    assert "import pickle" not in text or "weights_only=True" in text
    assert "yaml.load(" not in text or "SafeLoader" in text
