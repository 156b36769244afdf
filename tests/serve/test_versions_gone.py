"""Versions whose folders went or hold something else: clients get what they got, /models says what is the case, commands go on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.serve.kit import Process, process, run, write_table_model, write_text_model
from tests.serve.test_problems import ROW, is_problem
from tests.serve.test_registry import state


@pytest.fixture
def store(tmp_path: Path, graph: bytes) -> Path:
    """A folder of models with the versions 1, 2 and 3 of `mood`."""
    write_text_model(tmp_path / "store" / "mood" / "1", graph, "one")
    for name in ("2", "3"):
        shutil.copytree(tmp_path / "store" / "mood" / "1", tmp_path / "store" / "mood" / name)
    return tmp_path / "store"


async def told(server: Process) -> dict[str, tuple[str, str]]:
    """Return version -> its state, and what is said of it."""
    return {item["version"]: (item["state"], item.get("problem", "")) for item in (await state(server))["versions"]}


async def asked(server: Process) -> dict[str, Any]:
    answer = await server.post("/predict", ROW)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_share_or_a_shadow_whose_folder_has_gone_stops_no_command(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            await server.post("/admin/models/mood/shares", {"shares": {"1": 30}})
            await server.post("/admin/models/mood/shadow", {"version": "2"})
            for name in ("1", "2"):
                shutil.rmtree(store / "mood" / name)
            await server.registry.refresh()
            found = await told(server)
            assert found == {"1": ("gone", found["1"][1]), "2": ("gone", found["2"][1]), "3": ("current", "")}
            assert found["1"][1] == ("its folder has gone, and it has a share of the requests: '3' answers in its place until it is back, "
                                     "or other shares are set")
            assert found["2"][1].startswith("its folder has gone, and it is the shadow: nothing is asked beside the version that answers ")
            assert (await asked(server))["version"] == "3"
            is_problem(await server.post("/admin/models/mood/use", {"version": "1"}), 404, "'mood' has no version '1'")
            answer = await server.post("/admin/models/mood/use", {"version": "3"})
            assert (answer.status_code, answer.json()["use"], answer.json()["shares"]) == (200, "3", {})
            assert (await server.post("/admin/models/mood/shadow", {"version": None})).status_code == 200
            assert await told(server) == {"3": ("current", "")}

    run(scenario())


def test_what_was_switched_from_is_not_named_when_its_folder_has_gone(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            await server.post("/admin/models/mood/use", {"version": "1"})
            assert (await state(server))["previous"] == "3"
            shutil.rmtree(store / "mood" / "3")
            await server.registry.refresh()
            assert (await state(server))["previous"] is None

    run(scenario())


def test_a_process_that_begins_where_the_version_in_use_is_gone_says_what_answers_instead(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            server.registry.set_routes({"mood": {"use": "7", "shares": {}, "shadow": None, "unloaded": []}})
            await server.registry.refresh()
            assert (await told(server))["7"] == (
                "gone", "its folder has gone, and `use` names it: '3' answers in its place until it is back, or another is used")
            (store / "mood" / "1").rename(store / "mood" / "7")
            await server.registry.refresh()
            assert (await asked(server))["version"] == "7" and (await told(server))["7"] == ("current", "")

    run(scenario())


@pytest.mark.parametrize("shared", [False, True])
def test_a_version_that_is_overwritten_by_another_kind_waits_until_it_is_used_again(store: Path, graph: bytes, shared: bool) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            if shared:
                await server.post("/admin/models/mood/shares", {"shares": {"2": 100}})
            version = "2" if shared else "3"
            before = await asked(server)
            assert before["version"] == version
            shutil.rmtree(store / "mood" / version)
            write_table_model(store / "mood" / version)
            for _ in range(2):
                await server.registry.refresh()
                assert await asked(server) == before
                assert "its folder now holds a model that reads " in (await told(server))[version][1]
            shutil.rmtree(store / "mood" / version)
            write_text_model(store / "mood" / version, graph, "again")
            await server.registry.refresh()
            assert (await told(server))[version][1] == "" and await asked(server) == before
            shutil.rmtree(store / "mood" / version)
            write_table_model(store / "mood" / version)
            assert (await server.post("/admin/models/mood/use", {"version": version})).status_code == 200
            assert (await told(server))[version] == ("current", "")
            is_problem(await server.post("/predict", ROW), 422, "the row has no column")

    run(scenario())


def test_a_model_whose_folder_is_being_written_leaves_the_others_ready(store: Path) -> None:
    async def scenario() -> None:
        (store / "half" / "1").mkdir(parents=True)
        async with process(models_folder=str(store)) as server:
            found = await server.client.get("/ready")
            assert (found.status_code, found.json()["models"]) == (200, {"half": None, "mood": "3"})
        shutil.rmtree(store / "mood")
        async with process(models_folder=str(store)) as server:
            assert (await server.client.get("/ready")).status_code == 503, "no model answers"

    run(scenario())
