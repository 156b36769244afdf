"""What the documents say is true: paths, commands, options, recipes, programs and the generated reference."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml

from bessemer.app import reference
from bessemer.cli import app
from bessemer.core.config import parse_yaml
from bessemer.core.pick import make
from bessemer.core.recipe import load_recipe, make_recipe
from bessemer.core.registry import plugins
from bessemer.stages.update import Method

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
RECIPES = sorted(ROOT.glob("recipes/*.yaml"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def every(language: str) -> list[Any]:
    return [pytest.param(page, body, id=f"{page.name}-{number}") for page in PAGES for number, body in enumerate(blocks(page, language))]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def tree(readme: str) -> list[str]:
    """Return the paths of the annotated tree; two spaces of indentation are one folder down."""
    drawn = next(body for body in blocks(ROOT / readme, "text") if body.startswith("bessemer/"))
    found: list[str] = []
    parents: list[str] = []
    for line in drawn.splitlines():
        name, note = re.fullmatch(r"( *\S+) {2,}(\S.*)", line).groups()  # type: ignore[union-attr]
        assert note
        depth = (len(name) - len(name.lstrip())) // 2
        parents[depth:] = [name.strip()]
        found.append("".join(parents))
    return found


def ignored(name: str) -> bool:
    rules = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line]
    return name == ".git" or any(fnmatch.fnmatch(name, rule) for rule in rules)


@pytest.mark.parametrize("readme", READMES)
def test_tree_is_true_and_whole(readme: str) -> None:
    drawn = tree(readme)
    assert len(set(drawn)) == len(drawn)
    for path in drawn:
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
    rooms = {f"bessemer/{path.parent.name}/" for path in ROOT.glob("bessemer/*/__init__.py")}
    assert rooms <= set(drawn)
    tracked = {path.name for path in ROOT.iterdir() if path.is_dir() and not ignored(path.name) and path.name != "shared"}
    assert {f"{name}/" for name in tracked} == {path for path in drawn if path.count("/") == 1 and path.endswith("/")}


def test_readmes_are_in_step() -> None:
    english, chinese = (ROOT / name for name in READMES)
    levels = [re.findall(r"^(#+) ", prose(page), re.MULTILINE) for page in (english, chinese)]
    assert levels[0] == levels[1]
    for language in ("bash", "yaml", "python"):
        assert blocks(english, language) == blocks(chinese, language)
    assert tree(READMES[0]) == tree(READMES[1])
    commands = [re.findall(r"^\| (`bessemer .*?`) \|", prose(page), re.MULTILINE) for page in (english, chinese)]
    assert commands[0] == commands[1]
    assert {command.split()[1].rstrip("`") for command in commands[0]} == set(COMMANDS.commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = prose(page)
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:bessemer|tests|docs|recipes|benchmarks|examples)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def lines(body: str) -> Iterator[list[str]]:
    for line in body.splitlines():
        yield shlex.split(line)


@pytest.mark.parametrize(("page", "body"), every("bash"))
def test_commands_exist(page: Path, body: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in lines(body):
        if words[0] == "make":
            assert set(words[1:]) <= targets
        if words[0] != "bessemer":
            continue
        command = COMMANDS.commands[words[1]]
        context = command.context_class(command, info_name=words[1])
        given, rest, _ = command.make_parser(context).parse_args(args=list(words[2:]))  # raises where an option does not exist
        assert rest == []
        missing = [item.name for item in command.params if item.required and given.get(item.name) is None]
        assert missing == [], f"{words} lacks {missing}"
        if words[1] in ("run", "plan"):
            check_overrides(page, given)


def check_overrides(page: Path, given: dict[str, Any]) -> None:
    """Apply the overrides of a command to the page's first recipe of that name."""
    name = Path(given["recipe"]).stem
    trees = [parse_yaml(body, page.name) for body in blocks(page, "yaml")]
    made = make_recipe(next(found for found in trees if found.get("name") == name), page.name, given["overrides"] or ())
    until = given.get("until")
    assert until is None or until in made.stages


@pytest.mark.parametrize(("page", "body"), every("yaml"))
def test_recipes_in_pages_are_valid(page: Path, body: str) -> None:
    parsed = parse_yaml(body, page.name)
    assert "stages" in parsed, "a recipe in a page is whole, so that it can be copied and checked"
    made = make_recipe(parsed, page.name)
    assert len(made.order()) == len(parsed["stages"])
    kept = make_recipe(parse_yaml(yaml.safe_dump(made.plain(), sort_keys=False), page.name), page.name)  # as a run keeps it
    assert kept == made and kept.plain() == made.plain()


def test_settings_in_the_tutorials_table_are_valid() -> None:
    section = (ROOT / "docs/tutorial-text.md").read_text(encoding="utf-8").split("## 7. ")[1].split("## 8. ")[0]
    found = re.findall(r"`(\w+: [^`]+)`", section)
    assert len(found) >= 8
    for setting in found:
        make("stages", {"kind": "finetune", "init": "pretrain", **parse_yaml(setting, "table")})


def test_the_page_about_tables_names_every_plugin_for_tables() -> None:
    page = ROOT / "docs/tables.md"
    told = set(re.findall(r"`(\w+)`", prose(page))) | {name for body in blocks(page, "yaml") for name in re.findall(r"\w+", body)}
    columns = set(plugins("modalities")) - {"text", "tags"}
    # `pretrained` and `probe` need a setting, and read text.
    others = {name: item for name, item in plugins("models").items() if name not in ("pretrained", "probe")}
    models = {name for name, item in others.items() if item.function(item.config()).table}
    assert len(columns) >= 7 and len(models) >= 4
    assert columns | models | set(plugins("data/streams")) | set(get_args(Method)) | {"join", "sql"} <= told


@pytest.mark.parametrize(("page", "body"), every("python"))
def test_programs_in_pages_compile(page: Path, body: str) -> None:
    compile(body, page.name, "exec")


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_recipes_that_ship_are_valid_and_say_their_command(file: Path) -> None:
    made = load_recipe(file)
    assert made.name == file.stem
    assert sorted(made.order()) == sorted(made.stages)
    head = file.read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith(f"# bessemer run recipes/{file.name}")


def test_the_table_of_texts_is_that_of_its_result_page() -> None:
    tables = [[line for line in (ROOT / page).read_text(encoding="utf-8").split("| set |")[-1].splitlines() if line.startswith("| ")]
              for page in ("docs/text.md", "benchmarks/results/text.md")]
    assert tables[0] == tables[1] and len(tables[0]) > 20


def test_reference_is_what_the_code_says() -> None:
    made = reference.render(COMMANDS)
    assert (ROOT / "docs/reference.md").read_text(encoding="utf-8") == made, "docs/reference.md is stale: run make reference"


def test_reference_covers_every_registry_folder_and_explains_every_key() -> None:
    folders = {found for path in ROOT.glob("bessemer/**/*.py")
               for found in re.findall(r'^@register\("([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)}
    assert folders == set(reference.FOLDERS)
    silent = [line for line in reference.render(COMMANDS).splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert silent == []


def test_worked_example_of_contributing_works(tmp_path: Path) -> None:
    """The example's metric, found beside its test instead of in the package, passes it and the contract of its folder."""
    plugin, test, contract = blocks(ROOT / "CONTRIBUTING.md", "python")
    (tmp_path / "mcc.py").write_text(plugin, encoding="utf-8")
    (tmp_path / "test_mcc.py").write_text(test.replace("bessemer.evaluate.mcc", "mcc"), encoding="utf-8")
    (tmp_path / "test_contract.py").write_text(contract.replace("my_package.mcc", "mcc"), encoding="utf-8")
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, str(tmp_path)], capture_output=True, text=True,
                          cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
