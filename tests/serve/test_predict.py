"""What is served is what the model's folder says, bit for bit, whoever asks and however many ask at once."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from bessemer.api import Model
from bessemer.testing import table_models
from tests.contract.test_contract_predictors import fit_table
from tests.serve.kit import finish, process, run

WORDS = "a good film and bad were seen by the same people on one rainy day of may 很好 élan".split()


def some_texts(count: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randrange(1, 24))) for _ in range(count)]


def said(targets: dict[str, Any], target: str) -> list[float]:
    return list(targets[target]["probabilities"].values())


def test_a_text_is_answered_as_the_model_in_python_answers_it_bit_for_bit(texts: Path) -> None:
    model = Model.load(texts)

    async def scenario() -> None:
        async with process(texts) as server:
            for text in [*some_texts(30), "  a\tgood\n\nfilm ", "e\u0301", "这部电影很好", "👍🏽 film", "x" * 3000, "42"]:
                answer = (await server.post("/predict", {"review": text})).json()
                expected = model.predict_proba([text])[0]
                assert said(answer["targets"], "mood") == expected.tolist()
                assert answer["targets"]["mood"]["label"] == model.predict([text])[0]
                assert answer["targets"]["mood"]["probability"] == expected.max()
                assert answer["model"] == "mood" and len(answer["version"]) == 12

    run(scenario())


def test_values_that_are_no_texts_are_read_as_python_rows_are(texts: Path) -> None:
    model = Model.load(texts)

    async def scenario() -> None:
        async with process(texts) as server:
            for value in (12, 1.5, True, 2**63 + 1):
                answer = (await server.post("/predict", {"review": value, "other": [1]})).json()
                assert said(answer["targets"], "mood") == model.predict_proba([{"review": value}])[0].tolist()

    run(scenario())


def test_a_batch_is_answered_in_its_order_as_the_model_answers_it(texts: Path) -> None:
    model, asked = Model.load(texts), some_texts(150)

    async def scenario() -> None:
        async with process(texts) as server:
            answer = (await server.post("/predict_batch", {"rows": [{"review": text} for text in asked]})).json()
            found = np.array([said(row["targets"], "mood") for row in answer["rows"]], np.float32)
            np.testing.assert_allclose(found, model.predict_proba(asked), atol=1e-5)
            assert (await server.post("/predict_batch", {"rows": []})).json()["rows"] == []
            short = (await server.post("/predict_batch", {"rows": [{"review": text} for text in asked[:6]]})).json()
            assert len(short["rows"]) == 6

    run(scenario())


def test_many_at_once_each_get_their_own_answer(texts: Path) -> None:
    """Rows of concurrent requests share batches; none gets another's answer, and padding changes none by more than rounding."""
    model, asked = Model.load(texts), some_texts(400, 3)
    expected = model.predict_proba(asked)

    async def scenario() -> None:
        async with process(texts, max_wait_ms=3) as server:
            answers = await asyncio.gather(*(server.post("/predict", {"review": text}) for text in asked))
            found = np.array([said(answer.json()["targets"], "mood") for answer in answers], np.float32)
            np.testing.assert_allclose(found, expected, atol=1e-5)
            text = (await server.client.get("/metrics")).text
            sizes = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("bessemer_batch_rows_")}
            count = sizes['bessemer_batch_rows_count{model="mood"}']
            assert sizes['bessemer_batch_rows_sum{model="mood"}'] == 400 and count < 200, "rows were not answered together"

    run(scenario())


def test_a_table_with_three_targets_is_answered_as_in_python(table: Path) -> None:
    model = Model.load(table)
    rows = table_models.rows(40, 2).select(list(model.inputs)).to_pylist()

    async def scenario() -> None:
        async with process(table) as server:
            answers = await asyncio.gather(*(server.post("/predict", {**row, "extra": 1}) for row in rows))
            for row, answer in zip(rows, answers, strict=True):
                targets = answer.json()["targets"]
                expected = model.answers([row])
                for name in ("label", "flags"):
                    assert said(targets, name) == expected[name].values[0].tolist()
                    assert list(targets[name]["probabilities"]) == list(expected[name].labels)
                assert targets["amount"]["kind"] == "number" and targets["amount"]["value"] == expected["amount"].values[0, 0]
                assert targets["flags"]["labels"] == list(model.predict([row])["flags"][0])

    run(scenario())


def test_rows_of_other_types_in_one_batch_do_not_change_each_other(table: Path) -> None:
    model = Model.load(table)
    name = next(column.name for column in model.schema.columns if column.modality["kind"] == "number")
    base = table_models.rows(1, 2).select(list(model.inputs)).to_pylist()[0]
    rows = [{**base, name: value} for value in (3, "3", 3.0, None, 2**70, "0.1", 0.1, True)]

    async def scenario() -> None:
        async with process(table, max_wait_ms=20) as server:
            together = await asyncio.gather(*(server.post("/predict", row) for row in rows))
            alone = [await server.post("/predict", row) for row in rows]
            assert [answer.json().get("targets") for answer in together] == [answer.json().get("targets") for answer in alone]
            assert [answer.status_code for answer in together] == [answer.status_code for answer in alone]
            for row, answer in zip(rows[:3], alone, strict=False):
                assert said(answer.json()["targets"], "label") == model.answers([row])["label"].values[0].tolist()

    run(scenario())


def test_one_bad_row_among_many_requests_fails_alone(table: Path) -> None:
    model = Model.load(table)
    name = next(column.name for column in model.schema.columns if column.modality["kind"] == "number")
    base = table_models.rows(1, 2).select(list(model.inputs)).to_pylist()[0]
    rows = [{**base, name: value} for value in ("1", "x", "2", "3")]

    async def scenario() -> None:
        async with process(table, max_wait_ms=20) as server:
            found = await asyncio.gather(*(server.post("/predict", row) for row in rows))
            assert [answer.status_code for answer in found] == [200, 422, 200, 200]
            assert f"the column '{name}' holds a value that the model cannot read" in found[1].json()["detail"]
            batch = (await server.post("/predict_batch", {"rows": rows})).json()
            assert batch["detail"].startswith("row 2: the column")

    run(scenario())


def test_lines_are_answered_by_number_and_faults_do_not_end_the_stream(texts: Path) -> None:
    model, asked = Model.load(texts), some_texts(200, 5)
    lines = [json.dumps({"review": text}).encode() for text in asked]
    lines[3], lines[7], lines[11] = b"{", b"", b'{"review": ""}'

    async def scenario() -> None:
        async with process(texts) as server:
            answer = await server.client.post("/predict_lines", content=b"\n".join(lines), headers={"content-type": "application/x-ndjson"})
            found = {item["row"]: item for item in map(json.loads, answer.text.splitlines())}
            assert sorted(found) == [number for number in range(1, 201) if number != 8]
            assert found[4]["problem"]["status"] == 400 and found[12]["problem"]["status"] == 422
            detail = found[4]["problem"]["detail"]
            assert detail.startswith("line 4 is no JSON in UTF-8: ") and " at column 2; " in detail
            for number in (1, 2, 100, 200):
                np.testing.assert_allclose(said(found[number]["targets"], "mood"), model.predict_proba([asked[number - 1]])[0], atol=1e-5)

    run(scenario())


def test_kserve_answers_tensors(texts: Path, table: Path) -> None:
    model, asked = Model.load(texts), some_texts(3)

    async def scenario() -> None:
        async with process(texts, table) as server:
            value = {"id": "7", "inputs": [{"name": "review", "shape": [3], "datatype": "BYTES", "data": asked}]}
            answer = (await server.post("/v2/models/mood/infer", value)).json()
            assert answer["id"] == "7" and answer["model_name"] == "mood"
            label, shares = answer["outputs"]
            assert label == {"name": "mood", "datatype": "BYTES", "shape": [3], "data": model.predict(asked)}
            np.testing.assert_allclose(np.array(shares["data"]).reshape(shares["shape"]), model.predict_proba(asked), atol=1e-5)
            assert shares["parameters"]["labels"] == list(model.labels)
            only = (await server.post("/v2/models/mood/infer", {**value, "outputs": [{"name": "mood"}]})).json()
            assert [item["name"] for item in only["outputs"]] == ["mood"]
            about = (await server.client.get("/v2/models/shapes")).json()
            assert [item["name"] for item in about["inputs"]] == list(Model.load(table).inputs)
            assert (await server.client.get("/v2/health/live")).json() == {"live": True}
            assert (await server.client.get("/v2/health/ready")).json() == {"ready": True}
            assert (await server.client.get("/v2/models/mood/ready")).json() == {"name": "mood", "ready": True}
            wrong = {"name": "review", "shape": [2], "datatype": "BYTES", "data": ["a"]}
            bad = await server.post("/v2/models/mood/infer", {"inputs": [wrong]})
            assert bad.status_code == 400 and "has the shape [2] and 1 elements; expected the shape [1]" in bad.json()["detail"]
            for kind, data, detail in (("FP32", [1.5], "the input 'review' has the datatype FP32; the model reads BYTES: "),
                                       ("BYTES", [1.5], "the input 'review' has the datatype BYTES, and element 1 is a number")):
                wrong = {"name": "review", "shape": [1], "datatype": kind, "data": data}
                bad = await server.post("/v2/models/mood/infer", {"inputs": [wrong]})
                assert bad.status_code == 400 and detail in bad.json()["detail"]

    run(scenario())


def test_kserve_lists_the_outputs_that_it_gives_and_takes_whole_numbers_only_where_it_says_so(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "levels"
    fit_table(folder, "lightgbm", num_boost_round=5, quantiles=[0.1, 0.9])
    finish(folder, "levels")
    row = table_models.rows(1, 2).select(list(Model.load(folder).inputs)).to_pylist()[0]

    async def scenario() -> None:
        async with process(texts, folder) as server:
            for model, given in (("mood", {"review": "a"}), ("levels", row)):
                about = (await server.client.get(f"/v2/models/{model}")).json()
                tensors = [{"name": item["name"], "shape": [1], "datatype": item["datatype"], "data": [given[item["name"]]]}
                           for item in about["inputs"]]
                outputs = (await server.post(f"/v2/models/{model}/infer", {"inputs": tensors})).json()["outputs"]
                assert [(item["name"], item["datatype"], len(item["shape"])) for item in outputs] == [
                    (item["name"], item["datatype"], len(item["shape"])) for item in about["outputs"]]
                nobody = [{**item, "shape": [0], "data": []} for item in tensors]
                outputs = (await server.post(f"/v2/models/{model}/infer", {"inputs": nobody})).json()["outputs"]
                assert [(item["name"], item["shape"][0], item["data"]) for item in outputs] == [
                    (item["name"], 0, []) for item in about["outputs"]]
            assert {"amount", "amount.0.1", "amount.0.9"} <= {item["name"] for item in about["outputs"]}
            place = next(place for place, item in enumerate(tensors) if item["datatype"] == "FP64")
            for kind, value, status in (("INT64", 30.7, 400), ("UINT8", -1, 400), ("INT8", 128, 400), ("INT64", 30, 200),
                                        ("FP32", 30.7, 200)):
                tensors[place] = {**tensors[place], "datatype": kind, "data": [value]}
                answer = await server.post("/v2/models/levels/infer", {"inputs": tensors})
                assert answer.status_code == status, answer.text
                if (kind, value) == ("INT64", 30.7):
                    assert "element 1 is 30.7; expected a whole number from -9223372036854775808" in answer.json()["detail"]

    run(scenario())


def test_the_page_and_the_explanation_have_what_they_need(texts: Path, table: Path) -> None:
    async def scenario() -> None:
        async with process(texts, table) as server:
            page = (await server.client.get("/page.json")).json()
            assert (page["model"], page["reads"], page["form"]) == ("mood", "text", "onnx-float32")
            assert page["targets"] == [{"name": "mood", "kind": "label", "labels": ["bad", "good"]}]
            other = (await server.client.get("/v1/models/shapes/page.json")).json()
            assert other["reads"] == "table" and [item["name"] for item in other["inputs"]] == list(Model.load(table).inputs)
            for row in (*page["examples"], *other["examples"]):
                name = "mood" if row in page["examples"] else "shapes"
                assert (await server.post(f"/v1/models/{name}/predict", row)).status_code == 200
            explained = (await server.post("/explain", {"review": "a good film"})).json()
            assert explained["targets"] == (await server.post("/predict", {"review": "a good film"})).json()["targets"]
            assert {reason["text"] for reason in explained["why"]} <= {"a", "good", "film"} and explained["why"]
            bad = await server.post("/explain", {"review": ""})
            assert bad.status_code == 422

    run(scenario())
