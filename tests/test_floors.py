"""A room imports only from lower floors; rooms on one floor never meet."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bessemer"
FLOORS = {
    "core": 0, "nn": 1, "data": 1, "datasets": 1, "modalities": 2, "models": 2, "tasks": 2, "engine": 3, "predictors": 3,
    "adapt": 4, "evaluate": 4, "compress": 4, "export": 4, "report": 4, "measure": 4, "search": 4, "serve": 4, "stages": 5,
    "app": 6, "api": 6, "testing": 6, "cli": 7, "estimators": 7, "__main__": 8}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [item.name for item in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("bessemer.")}
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        return
    allowed = {own, *(name for name, floor in FLOORS.items() if floor < FLOORS[own])}
    if own == "app":
        allowed |= {"api"}  # the commands about finished models stand on the Python interface
    assert imported(path) <= allowed


def test_every_room_has_a_floor() -> None:
    rooms = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__"} == set(FLOORS)
