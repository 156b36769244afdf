"""A headless Chromium, driven by its own protocol (DevTools) over one websocket: enough to test a page."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 20.0
FLAGS = ("--headless=new", "--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-extensions", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--remote-debugging-port=0",
         "--hide-scrollbars", "--force-color-profile=srgb", "--mute-audio")


def program() -> str | None:
    """Return the browser that is installed, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One open page.

    Attributes:
        requests: addresses that it asked for.
        complaints: errors of its console, uncaught exceptions and breaches of its security policy.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.count = socket, 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv(timeout=PATIENCE))
            if said.get("id") == self.count:
                assert "error" not in said, f"{method}: {said['error']}"
                result: dict[str, Any] = said["result"]
                return result
            self._heard(said)

    def _heard(self, said: dict[str, Any]) -> None:
        method, params = said.get("method"), said.get("params", {})
        if method == "Fetch.requestPaused":
            self.events.append(said)
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry'].get('text')} {params['entry'].get('url')}")

    def heard(self, method: str) -> dict[str, Any]:
        """Return what the next event of a kind says."""
        while not (found := [item for item in self.events if item["method"] == method]):
            said = json.loads(self.socket.recv(timeout=PATIENCE))
            self._heard(said)
        self.events.remove(found[0])
        params: dict[str, Any] = found[0]["params"]
        return params

    def run(self, script: str) -> Any:
        """Return the JSON value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, json.dumps(found["exceptionDetails"])[:500]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = PATIENCE) -> Any:
        """Return an expression's value as soon as it holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.run(f"(async () => {{ const found = await ({script}); return found instanceof Node || found; }})()"):
                return found
            time.sleep(0.03)
        raise AssertionError(f"this did not come true in {seconds:g} s: {script}\n{self.run('document.body.innerText')}\n{self.complaints}")

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def text(self, selector: str) -> str:
        found: str = self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((item) => item.innerText)")
        return found

    def type(self, text: str) -> None:
        """Put text in where the focus is, as an input method does."""
        self.call("Input.insertText", text=text)

    def key(self, name: str, shift: bool = False, control: bool = False) -> None:
        """Press a key."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "a": 65, "ArrowDown": 40, "Backspace": 8}
        common = {"key": name, "windowsVirtualKeyCode": codes[name], "modifiers": 8 * shift + 2 * control,
                  "code": {" ": "Space", "a": "KeyA"}.get(name, name)}
        typed = {"Enter": "\r", " ": " "}.get(name)
        more: dict[str, Any] = {"text": typed} if typed else {"commands": ["selectAll"]} if name == "a" and control else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if typed else "rawKeyDown", **common, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def media(self, scheme: str = "light") -> None:
        """Let the page believe in a colour scheme."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def language(self, tag: str) -> None:
        """Let the page believe that the browser speaks a language."""
        agent = self.call("Browser.getVersion")["userAgent"]
        self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=tag)

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)

    def picture(self, file: Path, whole: bool = True) -> None:
        """Write a screenshot."""
        import base64

        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]))


class Browser:
    """A running Chromium; each tab has its own cookies and storage."""

    def __init__(self, address: str) -> None:
        self.address = address

    @contextlib.contextmanager
    def tab(self) -> Iterator[Tab]:
        with connect(self.address, max_size=None, compression=None) as root:
            def call(method: str, **params: Any) -> dict[str, Any]:
                root.send(json.dumps({"id": 1, "method": method, "params": params}))
                while (said := json.loads(root.recv(timeout=PATIENCE))).get("id") != 1:
                    pass
                result: dict[str, Any] = said["result"]
                return result

            context = call("Target.createBrowserContext")["browserContextId"]
            target = call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
            base = self.address.rsplit("/devtools", 1)[0]
            with connect(f"{base}/devtools/page/{target}", max_size=None, compression=None) as socket:
                yield Tab(socket)
            call("Target.disposeBrowserContext", browserContextId=context)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium with an empty profile, and end it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        process = subprocess.Popen([str(program()), *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            file, end = Path(profile) / "DevToolsActivePort", time.monotonic() + PATIENCE
            while not (file.exists() and file.read_text().count("\n")):
                assert process.poll() is None and time.monotonic() < end, "Chromium did not start"
                time.sleep(0.05)
            port = file.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version", timeout=PATIENCE) as answer:
                yield Browser(json.load(answer)["webSocketDebuggerUrl"])
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)
