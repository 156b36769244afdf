"""The hub's layout of a data set's folder: what README.md and the files' names say of configurations, splits and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from bessemer.core.config import parse_yaml
from bessemer.core.errors import UserError, nearest
from bessemer.data.rows import KINDS, kind_of, split_name

README = "README.md"
READ = ("parquet", "csv", "jsonl", "arrow")
_SPLIT = re.compile(r"(?:^|[\W_\d])(train(?:ing)?|test(?:ing)?|valid(?:ation)?|val|dev|eval(?:uation)?)(?=$|[\W_\d])", re.IGNORECASE)


@dataclass(frozen=True)
class Card:
    """What README.md says.

    Attributes:
        files: configuration -> split -> patterns of files.
        classes: configuration -> column -> names of its classes.
    """

    files: Mapping[str, Mapping[str, tuple[str, ...]]]
    classes: Mapping[str, Mapping[str, tuple[str, ...]]]


def classes_of(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of features as the library writes them (`{label: {names: [...], _type: ClassLabel}}`)."""
    return {str(name): tuple(map(str, item["names"])) for name, item in features.items()
            if isinstance(item, dict) and isinstance(item.get("names"), list) and item.get("_type", "ClassLabel") == "ClassLabel"}


def card_of(root: Path) -> Card:
    """Return what README.md's front matter says of files and columns."""
    readme = root / README
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() and readme.stat().st_size < 1 << 22 else ""
    match = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*$", text, re.DOTALL | re.MULTILINE)
    tree = parse_yaml(match[1], str(readme)) if match else {}
    if not isinstance(tree, dict):
        return Card({}, {})
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for item in tree.get("configs") or ():
        if isinstance(item, dict) and item.get("data_files") is not None:
            files[str(item.get("config_name", "default"))] = _patterns(item["data_files"], str(item.get("data_dir", "")))
    classes = {}
    info = tree.get("dataset_info")
    for item in [info] if isinstance(info, dict) else info if isinstance(info, list) else []:
        if isinstance(item, dict):
            classes[str(item.get("config_name", "default"))] = _stated(item.get("features"))
    return Card(files, classes)


def _patterns(stated: Any, folder: str) -> dict[str, tuple[str, ...]]:
    """Return split -> patterns of `data_files`: a pattern, a list, a mapping, or a list of {split, path}."""
    def within(paths: Any) -> tuple[str, ...]:
        listed = [paths] if isinstance(paths, str) else list(paths or ())
        return tuple(str(PurePosixPath(folder, str(path))) if folder else str(path) for path in listed)

    if isinstance(stated, dict):
        return {str(split): within(paths) for split, paths in stated.items()}
    listed = stated if isinstance(stated, list) else [stated]
    if listed and all(isinstance(item, dict) for item in listed):
        return {str(item.get("split", "train")): within(item.get("path")) for item in listed}
    return {"train": within(listed)}


def _stated(features: Any) -> dict[str, tuple[str, ...]]:
    """Return the classes that `dataset_info` names: `{name: label, dtype: {class_label: {names: {'0': a, '1': b}}}}`."""
    found = {}
    for item in features if isinstance(features, list) else ():
        kind = item.get("dtype") if isinstance(item, dict) else None
        label = kind.get("class_label") if isinstance(kind, dict) else None
        names = label.get("names") if isinstance(label, dict) else None
        if isinstance(names, dict):
            names = [name for _, name in sorted(names.items(), key=lambda entry: int(entry[0]) if str(entry[0]).isdigit() else 0)]
        if isinstance(names, list):
            found[str(item.get("name"))] = tuple(map(str, names))
    return found


def layout(root: Path, config_name: str | None, parts: Sequence[str] | None) -> list[tuple[str, tuple[Path, ...]]]:
    """Return each split that is read and its files, training first.

    Args:
        root: the folder.
        config_name: the configuration; the only one, or `default`.
        parts: the splits; all by default.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder '{root}'; expected a data set in the hub's layout")
    card = card_of(root)
    every = sorted(file for file in root.rglob("*") if file.is_file() and not any(part.startswith(".") for part in
                                                                                  file.relative_to(root).parts))
    chosen = _chosen(root, card, config_name)
    if chosen is not None:
        found = {split: tuple(file for pattern in patterns for file in every if _fits(file.relative_to(root), pattern))
                 for split, patterns in chosen.items()}
        lost = next((split for split, files in found.items() if not files), None)
        if lost is not None:
            raise UserError(f"'{root / README}' names '{', '.join(chosen[lost])}' for the split '{lost}', and there is no such file")
    else:
        found = _by_name(root, [file for file in every if kind_of(file) in READ and file.name not in
                                ("dataset_infos.json", "dataset_dict.json", "dataset_info.json", "state.json")])
    odd = next((file for files in found.values() for file in files if kind_of(file) not in READ), None)
    if odd is not None:
        ends = ", ".join(end for end, kind in KINDS.items() if kind in READ)
        raise UserError(f"'{odd}' is of no kind that can be read here; expected {ends}")
    if not found:
        code = [file.name for file in every if file.suffix == ".py"]
        why = (f", only code ({code[0]}), which is never run: look for the data set's parquet branch (revision: refs/convert/parquet)"
               if code else "; expected Parquet, CSV or JSON lines as the hub lays them out")
        raise UserError(f"'{root}' has no file of rows{why}")
    for part in parts or ():
        if part not in found:
            raise UserError(f"'{root.name}' has no split '{part}'{nearest(part, found)}")
    order = {"train": 0, "validation": 1, "test": 2}
    splits = sorted(parts or found, key=lambda split: (order.get(split_name(split) or "", 3), split))
    return [(split, found[split]) for split in splits]


def _chosen(root: Path, card: Card, config_name: str | None) -> Mapping[str, tuple[str, ...]] | None:
    """Return split -> patterns of the configuration that is asked for; None where the files' names decide."""
    if config_name is None:
        if len(card.files) > 1 and "default" not in card.files:
            raise UserError(f"'{root.name}' has the configurations {', '.join(card.files)}; name one: 'config_name: "
                            f"{next(iter(card.files))}'")
        return card.files.get("default") or next(iter(card.files.values()), None)
    if config_name in card.files:
        return card.files[config_name]
    if (root / config_name).is_dir():
        files = _by_name(root, sorted(file for file in (root / config_name).rglob("*") if kind_of(file) in READ))
        return {split: tuple(file.relative_to(root).as_posix() for file in group) for split, group in files.items()} or None
    raise UserError(f"'{root.name}' has no configuration '{config_name}'{nearest(config_name, card.files)}")


def _fits(file: Path, pattern: str) -> bool:
    parts, wanted = file.parts, PurePosixPath(pattern).parts
    if "**" in wanted:
        return fnmatch(file.as_posix(), pattern) or fnmatch(file.as_posix(), pattern.replace("**/", ""))
    return len(parts) == len(wanted) and all(fnmatch(part, want) for part, want in zip(parts, wanted, strict=True))


def _by_name(root: Path, files: list[Path]) -> dict[str, tuple[Path, ...]]:
    """Return split -> files by the words in their paths; all are training where none says otherwise."""
    found: dict[str, list[Path]] = {}
    for file in files:
        name = file.relative_to(root).as_posix()
        word = (_SPLIT.findall(name) or ["train"])[-1].lower()
        split = split_name(word) or ("validation" if word.startswith("eval") else "train")
        found.setdefault(split, []).append(file)
    return {split: tuple(group) for split, group in found.items()}
