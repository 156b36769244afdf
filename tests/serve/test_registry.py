"""Versions: new ones taken up without a request lost, faulty ones never served, old ones back at once."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bessemer.api import Model, model_folder
from bessemer.serve.folders import natural
from bessemer.serve.routing import chosen_version
from tests.serve.kit import Process, finish, process, run, write_table_model, write_text_model
from tests.serve.test_problems import ROW, is_problem

LONG = {"review": "a good film and a bad film were seen by the same people on one rainy day of may"}


@pytest.fixture
def store(tmp_path: Path, graph: bytes) -> Path:
    """A folder of models with version 1 of `mood`; version 2, which answers long texts otherwise, waits beside it."""
    write_text_model(tmp_path / "store" / "mood" / "1", graph, "one")
    write_text_model(tmp_path / "next", graph, "two", max_length=8)
    return tmp_path / "store"


def place(store: Path, version: str = "2") -> Path:
    """Move the waiting version into the folder of models."""
    return (store.parent / "next").rename(store / "mood" / version)


async def state(server: Process, model: str = "mood") -> dict[str, Any]:
    found: dict[str, Any] = (await server.client.get(f"/v1/models/{model}")).json()
    return found


async def answered_by(server: Process, **headers: str) -> str:
    answer = (await server.post("/predict", LONG, **headers)).json()
    expected = Model.load(server.registry.models["mood"].loaded[answer["version"]].place.folder).predict_proba([LONG])[0].tolist()
    assert list(answer["targets"]["mood"]["probabilities"].values()) == expected
    return str(answer["version"])


def test_a_new_version_takes_over_under_load_and_no_request_is_lost(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store), poll=0.05) as server:
            watch = asyncio.create_task(server.registry.watch())
            versions: list[str] = []
            over = asyncio.Event()

            async def client() -> None:
                while not over.is_set():
                    answer = await server.post("/predict", LONG)
                    assert answer.status_code == 200, answer.text
                    versions.append(answer.json()["version"])

            clients = [asyncio.create_task(client()) for _ in range(8)]
            await asyncio.sleep(0.3)
            place(store)
            async with asyncio.timeout(30):
                while versions[-1:] != ["2"]:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
            over.set()
            await asyncio.gather(*clients)
            watch.cancel()
            assert set(versions) == {"1", "2"}
            assert await answered_by(server) == "2"
            assert (await state(server))["previous"] == "1"

    run(scenario())


def test_roll_back_is_instant_and_stays(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            place(store)
            await server.registry.refresh()
            assert await answered_by(server) == "2"
            found = await server.post("/admin/models/mood/use", {"version": "1"})
            assert found.status_code == 200 and found.json()["current"] == "1" and found.json()["use"] == "1"
            assert await answered_by(server) == "1"
            await server.registry.refresh()
            assert await answered_by(server) == "1"
            assert (await server.post("/v1/models/mood/versions/2/predict", LONG)).json()["version"] == "2"
            await server.post("/admin/models/mood/use", {"version": "newest"})
            assert await answered_by(server) == "2"
            is_problem(await server.post("/admin/models/mood/use", {"version": "7"}), 404, "'mood' has no version '7'; known are: 1, 2")
            is_problem(await server.post("/admin/models/mood/use", {"version": 7}), 400, '"version" is a number; expected the name of a')
            assert await answered_by(server) == "2"

    run(scenario())


def test_a_half_written_folder_is_not_served_until_it_is_whole(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            new = store / "mood" / "2"
            new.mkdir()
            source = store.parent / "next"
            manifest = json.loads((source / "manifest.json").read_text())
            for name in manifest["files"]:
                if name != "model.onnx":
                    shutil.copyfile(source / name, new / name)
            await server.registry.refresh()
            found = {item["version"]: item for item in (await state(server))["versions"]}
            assert found["1"]["state"] == "current" and found["2"]["state"] == "refused"
            assert "has no manifest.json, so it is not finished" in found["2"]["problem"]
            assert await answered_by(server) == "1"
            shutil.copyfile(source / "manifest.json", new / "manifest.json")  # a copy in another order: the manifest before a file
            await server.registry.refresh()
            found = {item["version"]: item for item in (await state(server))["versions"]}
            assert "model.onnx' has gone from a finished artifact" in found["2"]["problem"]
            assert await answered_by(server) == "1"
            is_problem(await server.post("/v1/models/mood/versions/2/predict", ROW), 409, "the version '2' of 'mood' is not served: ")
            (new / "model.onnx").write_bytes((source / "model.onnx").read_bytes())
            await server.registry.refresh()
            assert await answered_by(server) == "2"

    run(scenario())


def test_altered_weights_are_refused_and_what_is_in_memory_goes_on(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            before = (await server.post("/predict", LONG)).json()
            new = place(store)
            weights = bytearray((new / "model.onnx").read_bytes())
            weights[len(weights) // 2] ^= 1
            (new / "model.onnx").write_bytes(bytes(weights))
            file = store / "mood" / "1" / "model.onnx"
            file.write_bytes(file.read_bytes()[:-1] + b"?")
            await server.registry.refresh()
            found = {item["version"]: item for item in (await state(server))["versions"]}
            for item in found.values():
                assert "was changed after it was written (its SHA-256 is not the manifest's" in item["problem"]
            assert found["1"]["state"] == "current"
            assert (await server.post("/predict", LONG)).json() == before

    run(scenario())


def test_checks_are_answered_again_before_a_version_is_served(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            new = place(store)
            values = Model.load(new).predict_proba([LONG, ROW]).tolist()
            good = {"rows": [LONG, ROW], "forms": {"onnx-float32": {"mood": values}, "another": {"mood": [[1, 0]]}}}
            wrong = {"rows": [LONG, ROW], "forms": {"onnx-float32": {"mood": [values[0], [values[1][0] + 0.01, values[1][1] - 0.01]]}}}
            for checks, expected in ((wrong, "1"), (good, "2")):
                (new / "checks.json").write_text(json.dumps(checks))
                (new / "manifest.json").unlink()
                finish(new, f"checked {expected}")
                await server.registry.refresh()
                assert await answered_by(server) == expected
                if expected == "1":
                    problem = next(item["problem"] for item in (await state(server))["versions"] if item["version"] == "2")
                    assert "does not answer for 'mood' what it answered when it was made, first in row 2 of checks.json" in problem
            assert (await server.client.get("/page.json")).json()["examples"] == [LONG, ROW]

    run(scenario())


def test_shares_follow_the_request_id_and_shadows_are_counted(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            place(store)
            await server.registry.refresh()
            await server.post("/admin/models/mood/use", {"version": "1"})
            found = await server.post("/admin/models/mood/shares", {"shares": {"2": 30}})
            assert found.json()["shares"] == {"2": 30}
            names = [f"request-{number}" for number in range(200)]
            versions = [await answered_by(server, x_request_id=name) for name in names]
            assert versions == [chosen_version({"2": 30}, name) or "1" for name in names]
            assert 30 < versions.count("2") < 90
            assert versions[:20] == [await answered_by(server, x_request_id=name) for name in names[:20]]
            is_problem(await server.post("/admin/models/mood/shares", {"shares": {"1": 60, "2": 60}}), 400, "the shares sum to 120")
            for share, said in ((-5, "-5"), ("half", "a text"), (True, "true or false"), (None, "null")):
                is_problem(await server.post("/admin/models/mood/shares", {"shares": {"1": 10, "2": share}}), 400,
                           f"the share of the version '2' is {said}; expected versions with their per cent, 0 to 100")
            is_problem(await server.post("/admin/models/mood/unload", {"version": "2"}), 409, "the version '2' is in use")
            await server.post("/admin/models/mood/use", {"version": "1"})
            assert (await server.post("/admin/models/mood/shadow", {"version": "2"})).json()["shadow"] == "2"
            for _ in range(10):
                assert await answered_by(server) == "1"
            async with asyncio.timeout(10):
                while (text := (await server.client.get("/metrics")).text).count("bessemer_shadow_rows_total{") == 0 or sum(
                        float(line.split()[1]) for line in text.splitlines() if line.startswith("bessemer_shadow_rows_total{")) < 10:
                    await asyncio.sleep(0.02)
            await server.post("/admin/models/mood/shadow", {"version": None})
            found = await server.post("/admin/models/mood/unload", {"version": "2"})
            assert {item["version"]: item["state"] for item in found.json()["versions"]} == {"1": "current", "2": "unloaded"}
            is_problem(await server.post("/admin/models/mood/unload", {"version": "1"}), 409, "the version '1' is in use")
            await server.post("/admin/models/mood/use", {"version": "2"})
            assert await answered_by(server) == "2"

    run(scenario())


def test_unfinished_newer_folders_leave_the_newest_complete_version(store: Path) -> None:
    async def scenario() -> None:
        for name in ("3", "4", "5", "6"):
            (store / "mood" / name).mkdir()
        async with process(models_folder=str(store)) as server:
            assert await answered_by(server) == "1"
            is_problem(await server.post("/admin/models/mood/unload", {"version": "99"}), 404, "the model 'mood' has no version '99'")
            place(store)
            await server.registry.refresh()
            assert await answered_by(server) == "2"

    run(scenario())


def test_what_answers_is_told_by_name_content_and_shares(store: Path) -> None:
    async def scenario() -> None:
        shutil.copytree(store / "mood" / "1", store / "mood" / "2")
        async with process(models_folder=str(store)) as server:
            found = [server.registry.contents()]
            for action, value in (("use", {"version": "1"}), ("shares", {"shares": {"2": 5}})):
                await server.post(f"/admin/models/mood/{action}", value)
                found.append(server.registry.contents())
            assert len({item["mood"] for item in found}) == 3, "processes that answer by different versions would take each other for alike"
        async with process(models_folder=str(store)) as server:
            assert server.registry.contents() == found[0]

    run(scenario())


def test_models_appear_and_folders_go(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            place(store)
            write_table_model(store / "shapes" / "v1")
            (store / ".hidden").mkdir()
            await server.registry.refresh()
            assert [item["model"] for item in (await server.client.get("/models")).json()["models"]] == ["mood", "shapes"]
            shutil.rmtree(store / "mood" / "2")
            await server.registry.refresh()
            assert await answered_by(server) == "1"
            shutil.rmtree(store / "mood" / "1")
            await server.registry.refresh()
            answer = await server.post("/predict", LONG)
            assert answer.status_code == 200 and answer.json()["version"] == "1"
            assert "its folder has gone" in (await state(server))["versions"][0]["problem"]

    run(scenario())


def test_a_model_that_never_answered_is_forgotten_with_its_folder(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            (store / "half" / "1").mkdir(parents=True)
            await server.registry.refresh()
            found = await server.client.get("/ready")
            assert (found.status_code, found.json()["models"]) == (200, {"half": None, "mood": "1"})
            shutil.rmtree(store / "half")
            await server.registry.refresh()
            found = await server.client.get("/ready")
            assert (found.status_code, found.json()["models"]) == (200, {"mood": "1"})
            is_problem(await server.client.get("/v1/models/half"), 404, "there is no model 'half'")
            shutil.rmtree(store / "mood")
            await server.registry.refresh()
            assert (await server.client.get("/ready")).status_code == 200, "what is in memory goes on answering"

    run(scenario())


def test_folders_whose_names_cannot_stand_in_an_address_are_named(store: Path) -> None:
    async def scenario() -> None:
        shutil.copytree(store / "mood", store / "gr\u00f6\u00dfe")
        shutil.copytree(store / "mood" / "1", store / "mood" / "v 1")
        (store / "mood" / ".hidden").mkdir()
        (store / "mood" / "\u00b2").mkdir()
        async with process(models_folder=str(store)) as server:
            told = io.StringIO()
            server.registry.log.stream = told
            server.registry.ignored.clear()
            server.registry.models["mood"].faults.clear()
            for _ in range(3):
                await server.registry.refresh()
            lines = [json.loads(line) for line in told.getvalue().splitlines()]
            assert [(line["event"], line.get("folder", line.get("version"))) for line in lines] == [
                ("ignored", "gr\u00f6\u00dfe"), ("refused", "v 1"), ("refused", "\u00b2")]
            assert all("its name cannot stand in an address; rename it: letters A to Z, digits" in line["problem"] for line in lines)
            found = (await server.client.get("/models")).json()
            assert [item["folder"] for item in found["ignored"]] == ["gr\u00f6\u00dfe"]
            assert [(item["version"], item["state"]) for item in found["models"][0]["versions"]] == [
                ("1", "current"), ("v 1", "refused"), ("\u00b2", "refused")]
            assert await answered_by(server) == "1"
            (store / "mood" / "v 1").rename(store / "mood" / "v1")
            shutil.rmtree(store / "mood" / "\u00b2")
            shutil.rmtree(store / "gr\u00f6\u00dfe")
            await server.registry.refresh()
            assert await answered_by(server) == "v1" and "ignored" not in (await server.client.get("/models")).json()

    run(scenario())


def test_a_run_that_is_run_again_is_a_new_version(tmp_path: Path, graph: bytes) -> None:
    root = tmp_path / "runs" / "sentiment"
    write_text_model(root / "finetune", graph, "one")

    async def scenario() -> None:
        async with process(root, resolve=model_folder) as server:
            first = (await server.post("/predict", LONG)).json()
            assert first["model"] == "sentiment"
            (root / "finetune").rename(tmp_path / "kept")
            await server.registry.refresh()
            assert (await server.post("/predict", LONG)).json() == first
            assert "holds no finished model yet" in str(await state(server, "sentiment"))
            write_text_model(root / "finetune", graph, "two", max_length=8)
            await server.registry.refresh()
            second = (await server.post("/predict", LONG)).json()
            assert second["version"] != first["version"] and second["targets"] != first["targets"]
            found = await state(server, "sentiment")
            assert found["previous"] == first["version"] and "problem" not in str(found)
            await server.post("/admin/models/sentiment/use", {"version": first["version"]})
            assert (await server.post("/predict", LONG)).json() == first

    run(scenario())


def test_versions_are_sorted_as_people_count() -> None:
    assert sorted(["10", "9", "v10", "v9", "1.10", "1.9"], key=natural) == ["1.9", "1.10", "9", "10", "v9", "v10"]


def test_a_version_that_reads_other_columns_does_not_take_over_unasked(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            write_table_model(store / "mood" / "2")
            await server.registry.refresh()
            assert await answered_by(server) == "1"
            told = {item["version"]: item for item in (await state(server))["versions"]}
            assert told["2"]["state"] == "ready" and "it does not take over by itself" in told["2"]["problem"]
            assert (await server.post("/admin/models/mood/use", {"version": "2"})).status_code == 200
            found = await state(server)
            assert found["current"] == "2" and "problem" not in found["versions"][1]

    run(scenario())


def versions_of(found: dict[str, Any]) -> dict[str, str]:
    return {item["version"]: item["state"] for item in found["versions"]}


@pytest.mark.parametrize("pinned", [False, True])
def test_a_deleted_version_goes_on_answering_where_none_may_follow_it(store: Path, pinned: bool) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            if pinned:
                await server.post("/admin/models/mood/use", {"version": "1"})
            write_table_model(store / "mood" / "2")
            await server.registry.refresh()
            before = (await server.post("/predict", LONG)).json()
            shutil.rmtree(store / "mood" / "1")
            for _ in range(2):
                await server.registry.refresh()
                assert (await server.post("/predict", LONG)).json() == before and before["version"] == "1"
                found = await state(server)
                assert versions_of(found) == {"1": "current", "2": "ready"}
                assert "its folder has gone; the version in memory goes on answering" in found["versions"][0]["problem"]
            await server.post("/admin/models/mood/use", {"version": "newest"})
            assert (await state(server))["current"] == "1", "another kind of version does not take over, be the folder of this one gone"
            place(store, "3")
            for _ in range(2):
                await server.registry.refresh()
            assert await answered_by(server) == "3" and set(versions_of(await state(server))) == {"2", "3"}

    run(scenario())


def test_a_deleted_version_that_was_asked_for_goes_on_answering(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            place(store)
            await server.registry.refresh()
            await server.post("/admin/models/mood/use", {"version": "1"})
            shutil.rmtree(store / "mood" / "1")
            for _ in range(2):
                await server.registry.refresh()
                assert (await server.post("/predict", LONG)).json()["version"] == "1"
            await server.post("/admin/models/mood/use", {"version": "newest"})
            await server.registry.refresh()
            assert await answered_by(server) == "2" and set(versions_of(await state(server))) == {"2"}

    run(scenario())


def test_a_model_whose_whole_folder_goes_keeps_what_answers_and_no_other_version(store: Path, graph: bytes) -> None:
    async def scenario() -> None:
        for version in ("1", "2", "3"):
            write_text_model(store / "other" / version, graph, version)
        async with process(models_folder=str(store)) as server:
            shutil.rmtree(store / "other")
            for _ in range(2):
                await server.registry.refresh()
                found = await state(server, "other")
                assert versions_of(found) == {"3": "current"} and "problem" not in found
                assert (await server.post("/v1/models/other/predict", LONG)).json()["version"] == "3"

    run(scenario())


def test_no_version_is_its_own_shadow(store: Path) -> None:
    async def scenario() -> None:
        async with process(models_folder=str(store)) as server:
            is_problem(await server.post("/admin/models/mood/shadow", {"version": "1"}), 409,
                       "the version '1' answers now, so it cannot be asked beside itself; name another one as the shadow")
            place(store)
            await server.post("/admin/models/mood/use", {"version": "1"})
            assert (await server.post("/admin/models/mood/shadow", {"version": "2"})).json()["shadow"] == "2"
            found = (await server.post("/admin/models/mood/use", {"version": "2"})).json()
            assert (found["current"], found["shadow"]) == ("2", None)

    run(scenario())
