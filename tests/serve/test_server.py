"""The whole server: processes, signals, connections. Nothing that was accepted is lost."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from bessemer.api import Model
from tests.serve.kit import ROOT, Server, write_text_model
from tests.serve.test_problems import ROW
from tests.serve.test_registry import LONG


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def post(url: str, value: Any, **headers: str) -> Any:
    request = urllib.request.Request(url, json.dumps(value).encode(), {"content-type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class Clients:
    """Closed-loop clients, each on a connection of its own, that open a new one only when the server said that it closes theirs."""

    def __init__(self, port: int, count: int) -> None:
        self.port, self.over = port, threading.Event()
        self.statuses: list[int] = []
        self.lost: list[str] = []
        self.versions: list[str] = []
        self.refused = 0
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        while not self.over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.connect()
            except OSError:
                self.refused += 1  # never accepted: nothing is lost
                return
            try:
                while not self.over.is_set():
                    connection.request("POST", "/predict", json.dumps(LONG), {"content-type": "application/json"})
                    answer = connection.getresponse()
                    body = json.loads(answer.read())
                    self.statuses.append(answer.status)
                    self.versions.append(body.get("version", ""))
                    if answer.getheader("connection") == "close":
                        break
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.lost.append(repr(error))
                return
            finally:
                connection.close()

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(texts: Path) -> Any:
    with Server(texts, "--workers", "2", "--timeout", "20") as found:
        yield found


def test_it_says_where_it_is_and_what_it_serves(server: Server, texts: Path) -> None:
    server.wait(lambda: "  stop with Ctrl-C" in server.out, "the banner")
    current = get(server.url + "/models")["models"][0]["current"]
    assert server.out[:2] == [f"serving on {server.url}", f"  mood: version {current}, onnx-float32"]
    answer = post(server.url + "/predict", ROW)
    assert list(answer["targets"]["mood"]["probabilities"].values()) == Model.load(texts).predict_proba([ROW])[0].tolist()


def test_metrics_are_those_of_all_processes(server: Server) -> None:
    for _ in range(10):
        post(server.url + "/predict", ROW)
    server.wait(lambda: b"bessemer_workers 2.0" in urllib.request.urlopen(server.url + "/metrics", timeout=30).read(), "two processes")

    def counted() -> float:
        text = urllib.request.urlopen(server.url + "/metrics", timeout=30).read().decode()
        return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith('bessemer_requests_total{route="/predict",'))

    time.sleep(0.5)  # a request is counted once its answer is sent, by whichever process sent it
    before = counted()
    for _ in range(12):
        post(server.url + "/predict", ROW)
    server.wait(lambda: counted() >= before + 12, "all that were answered")
    time.sleep(0.5)
    assert counted() == before + 12


def test_the_log_has_no_texts(server: Server) -> None:
    post(server.url + "/predict?secret=query", {"review": "a secret text"}, **{"x-request-id": "seen"})
    found = server.wait(lambda: [line for line in server.log if '"id":"seen"' in line], "a line of the log")
    line = json.loads(found[0])
    assert set(line) == {"time", "level", "event", "id", "method", "route", "status", "ms", "rows", "model", "version"}
    assert (line["route"], line["status"], line["rows"]) == ("/predict", 200, 1)
    assert "secret" not in "".join(server.log)


def test_a_worker_that_is_killed_is_started_again_and_the_others_answer(server: Server) -> None:
    before = server.wait(lambda: len(server.workers()) == 2 and server.workers(), "two processes")
    os.kill(before[0], signal.SIGKILL)
    for _ in range(20):
        assert post(server.url + "/predict", ROW)["model"] == "mood"
    server.wait(lambda: len(server.workers()) == 2 and before[0] not in server.workers(), "a process in its place")
    (event,) = server.events("worker-ended")
    assert event["code"] == -signal.SIGKILL
    server.wait(lambda: len(server.events("loaded")) == 3, "the model in the new process")


@pytest.mark.parametrize("piece", [b"POST /predict HTTP/1.1\r\nHost: x\r\n", b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                   b"application/json\r\nContent-Length: 90\r\n\r\n{"], ids=["head", "body"])
def test_a_client_that_sends_a_byte_a_second_is_cut_off(texts: Path, piece: bytes) -> None:
    with Server(texts, "--workers", "1", "--timeout", "3", "--head-timeout", "2") as server:
        slow = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        slow.sendall(piece)
        started = time.monotonic()
        answer = b""
        while time.monotonic() < started + 20:
            slow.settimeout(0.3)
            try:
                slow.sendall(b"x")
                got = slow.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            answer += got
            if not got:
                break
        assert time.monotonic() - started < 10
        assert answer.startswith(b"HTTP/1.1 408 ") and b"application/problem+json" in answer
        slow.close()
        if b"\r\n\r\n" in piece:
            (line,) = server.wait(lambda: server.events("request"), "its line in the log")
            assert (line["status"], line["route"]) == (408, "/predict")


def test_what_is_no_http_is_a_problem_document(server: Server) -> None:
    for head in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.sendall(head)
            answer = raw.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400 ") and b'"status": 400' in answer
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000)
        raw.sendall(b"x-long: " + b"y" * 70_000)
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 431 ")


def test_rows_of_a_client_that_has_gone_are_dropped(server: Server) -> None:
    """The client leaves while its 900 rows wait; the next request does not wait for them, and the log has them as 499."""
    body = json.dumps({"rows": [LONG] * 900}).encode()
    gone = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    gone.sendall(b"POST /predict_batch HTTP/1.1\r\nHost: x\r\nX-Request-ID: left\r\nContent-Type: application/json\r\nContent-Length: "
                 + str(len(body)).encode() + b"\r\n\r\n" + body)
    gone.close()
    found = server.wait(lambda: [json.loads(line) for line in server.log if '"id":"left"' in line], "its line in the log")
    assert found[0]["status"] == 499


def test_sigterm_under_load_answers_everything_that_was_accepted(texts: Path) -> None:
    with Server(texts, "--workers", "2") as server:
        clients, workers = Clients(server.port, 12), server.workers()
        time.sleep(1.0)
        batch: list[Any] = []
        thread = threading.Thread(target=lambda: batch.append(post(server.url + "/predict_batch", {"rows": [LONG] * 900})))
        thread.start()
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert server.process.wait(60) == 0
        clients.end()
        assert not clients.lost and set(clients.statuses) == {200} and len(clients.statuses) > 50
        assert clients.refused > 0, "new connections were not refused"
        assert len(batch[0]["rows"]) == 900
        assert [event["finished"] for event in server.events("ended")] == [True, True]
        assert not any(Path(f"/proc/{number}").exists() for number in workers)


def test_a_server_that_stops_does_not_wait_for_half_a_request(texts: Path) -> None:
    with Server(texts, "--workers", "1", "--head-timeout", "60") as server:
        halves = [b"POST /predict HTTP/1.1\r\nHost: x\r\n", b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  b"Content-Length: 90\r\n\r\n{"]
        slow = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in halves]
        for connection, half in zip(slow, halves, strict=True):
            connection.sendall(half)
        assert post(server.url + "/predict", ROW)["model"] == "mood"
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert time.monotonic() - started < 20, "it waited for what never comes"
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("address", ["/predict_lines", "/v1/models/mood/predict_lines", "/v1/models/mood/versions/{}/predict_lines"])
def test_every_line_of_a_long_file_is_answered_at_every_address(address: str, texts: Path) -> None:
    lines = [json.dumps({"review": f"{ROW['review']} {number}"}) for number in range(3000)]
    body = ("\ufeff" + "\n".join(lines)).encode()  # begins as Windows writes files
    with Server(f"mood={texts}", "--workers", "1", "--timeout", "20") as server:
        place = address.format(post(server.url + "/predict", ROW)["version"])
        for pieces in (1, 40):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            step = len(body) // pieces + 1
            connection.request("POST", place, (body[start:start + step] for start in range(0, len(body), step)),
                               {"content-type": "application/x-ndjson"}, encode_chunked=True)
            found = [json.loads(line) for line in connection.getresponse().read().splitlines()]
            assert [item["row"] for item in found] == list(range(1, 3001))
            assert all("targets" in item for item in found), next(item for item in found if "targets" not in item)
            connection.close()


def unread(server: Server, count: int) -> list[socket.socket]:
    """Open streams that send line after line and never read an answer."""
    body = (json.dumps(ROW) + "\n").encode() * 30_000
    found = []
    for _ in range(count):
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect(("127.0.0.1", server.port))
        stream.setblocking(False)
        stream.send(b"POST /predict_lines HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: "
                    + str(len(body)).encode() + b"\r\n\r\n" + body)
        found.append(stream)
    return found


def test_streams_that_nobody_reads_leave_room_for_others_and_are_left(texts: Path) -> None:
    with Server(texts, "--workers", "1", "--max-queue", "128", "--timeout", "3") as server:
        streams = unread(server, 6)
        for _ in range(60):  # 6 x 64 lines would fill the queue
            assert post(server.url + "/predict", ROW)["model"] == "mood"
        server.wait(lambda: sum('"route":"/predict_lines"' in line for line in list(server.log)) == 6, "the end of the six streams")
        text = urllib.request.urlopen(server.url + "/metrics", timeout=30).read()
        assert b'bessemer_rows_waiting{model="mood"} 0.0' in text and not server.events("fault")
        for stream in streams:
            stream.close()


def test_a_server_that_stops_does_not_wait_for_streams_that_nobody_reads(texts: Path) -> None:
    with Server(texts, "--workers", "1", "--timeout", "60", "--head-timeout", "60") as server:
        streams = unread(server, 3)
        idle = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        idle.sendall(b"POST /predict_lines HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 900\r\n\r\n"
                     + json.dumps(ROW).encode() + b"\n")
        assert b" 200 " in idle.recv(4096)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert time.monotonic() - started < 20, "it waited for clients that do not read, or bring no line"
        assert [event["finished"] for event in server.events("ended")] == [True] and not server.events("fault")
        for stream in (*streams, idle):
            stream.close()


def test_reload_and_kill_under_load_lose_nothing(tmp_path: Path, graph: bytes) -> None:
    store = tmp_path / "store"
    write_text_model(store / "mood" / "1", graph, "one")
    write_text_model(tmp_path / "next", graph, "two", max_length=8)
    with Server("--models-folder", store, "--workers", "2") as server:
        clients = Clients(server.port, 8)
        time.sleep(0.5)
        (tmp_path / "next").rename(store / "mood" / "2")
        server.process.send_signal(signal.SIGHUP)
        server.wait(lambda: len(server.events("switched")) == 4, "both processes take version 2")
        answer = post(server.url + "/admin/models/mood/use", {"version": "1"})
        assert answer["current"] == "1"
        assert {post(server.url + "/predict", LONG)["version"] for _ in range(20)} == {"1"}, "one process was not told"
        time.sleep(0.3)
        clients.end()
        assert not clients.lost and set(clients.statuses) == {200} and {"1", "2"} == set(clients.versions)
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        server.wait(lambda: len(server.workers()) == 2 and victim not in server.workers(), "a process in its place")
        server.wait(lambda: len(server.events("loaded")) >= 6, "it loads both versions")
        time.sleep(0.2)
        assert {post(server.url + "/predict", LONG)["version"] for _ in range(20)} == {"1"}, "the new process forgot what was used"


@pytest.mark.parametrize(("key", "max_length"), [("two", 8), ("one", 16)], ids=["another", "a-copy"])
def test_a_process_that_is_started_again_answers_by_the_version_of_the_others_or_not_at_all(
        tmp_path: Path, graph: bytes, key: str, max_length: int) -> None:
    store = tmp_path / "store"
    write_text_model(store / "mood" / "1", graph, "one")
    write_text_model(store / "mood" / "2", graph, key, max_length)
    with Server("--models-folder", store, "--workers", "2") as server:
        server.wait(lambda: len(server.events("switched")) == 2, "two processes")
        before = server.workers()
        file = store / "mood" / "2" / "model.onnx"
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + b"x")
        server.wait(lambda: len(server.events("refused")) == 2, "both processes see that the file was altered")
        os.kill(before[0], signal.SIGKILL)
        server.wait(lambda: server.events("differs"), "the new process does not load it, and says so")
        assert {post(server.url + "/predict", LONG)["version"] for _ in range(20)} == {"2"}
        assert server.events("differs")[0]["models"] == ["mood"]
        assert post(server.url + "/admin/models/mood/use", {"version": "2"})["current"] == "2", "the process that waits had its say"
        file.write_bytes(whole)
        server.wait(lambda: len([event for event in server.events("loaded") if event["version"] == "2"]) == 4, "all have it as it was")
        server.wait(lambda: b"bessemer_workers 2.0" in urllib.request.urlopen(server.url + "/metrics", timeout=30).read(), "both answer")
        assert {post(server.url + "/predict", LONG)["version"] for _ in range(20)} == {"2"}


def test_a_taken_port_is_one_sentence(texts: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = subprocess.run([sys.executable, "-m", "bessemer", "serve", str(texts), "--port", str(port)], cwd=ROOT, capture_output=True,
                               text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (f"error: the port {port} of 127.0.0.1 is taken by another process; choose another one with --port, or --port 0 "
                            "for any that is free\n")


def test_an_altered_model_is_one_sentence_at_the_start(tmp_path: Path, graph: bytes) -> None:
    folder = write_text_model(tmp_path / "mood", graph)
    (folder / "model.onnx").write_bytes(graph[:-1] + b"?")
    found = subprocess.run([sys.executable, "-m", "bessemer", "serve", str(folder), "--port", "0"], cwd=ROOT, capture_output=True,
                           text=True, check=False)
    assert found.returncode == 2
    sentence = [line for line in found.stderr.splitlines() if not line.startswith("{")]
    assert len(sentence) == 1 and sentence[0].startswith("error: the model 'mood' cannot be served: ") and "SHA-256" in sentence[0]


def test_keys_are_never_shown(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("the-key-0123456789abcdef\n")
    with Server(texts, "--workers", "1", "--api-key-file", tmp_path / "keys", "--host", "0.0.0.0") as server:
        url = f"http://127.0.0.1:{server.port}"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            post(url + "/predict", ROW)
        assert post(url + "/predict", ROW, authorization="Bearer the-key-0123456789abcdef")["model"] == "mood"
        with Path(f"/proc/{server.workers()[0]}/cmdline").open("rb") as line:
            assert b"the-key" not in line.read()
        post(url + "/admin/reload", {}, **{"x-api-key": "the-key-0123456789abcdef"})
    assert "the-key" not in "".join([*server.log, *server.out])
