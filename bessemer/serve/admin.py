"""Administration: which version answers, what is shown, and how the server is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from bessemer import __version__
from bessemer.serve.call import Call, Reply
from bessemer.serve.gate import Desk
from bessemer.serve.handlers import JSON_KINDS, named, parsed
from bessemer.serve.problems import Problem
from bessemer.serve.registry import Registry
from bessemer.serve.versions import shape

Command = dict[str, Any]
Tell = Callable[[Command], Awaitable[None]]
"""Carries a command to every process and returns when all have obeyed; a Problem where one could not."""


SHARES = 'expected versions with their per cent, 0 to 100: {"shares": {"2": 10}}; {} ends it'


class Admin:
    """The handlers about the server itself."""

    def __init__(self, registry: Registry, desk: Desk, tell: Tell) -> None:
        self.registry, self.desk, self.tell = registry, desk, tell
        self.started = time.time()

    async def health(self, _: Call) -> Reply:
        """Say that the process lives."""
        return Reply(orjson.dumps({"status": "ok", "version": __version__, "seconds": round(time.time() - self.started, 1)}))

    async def ready(self, _: Call) -> Reply:
        """Say whether every model has a version that answers and the server goes on."""
        ready = self.registry.ready and not self.desk.draining
        return Reply(orjson.dumps({"ready": ready, "models": {name: hosted.current.name if hosted.current else None
                                                              for name, hosted in self.registry.models.items()}}), 200 if ready else 503)

    async def metrics(self, _: Call) -> Reply:
        """Return the counters of all processes."""
        text = await asyncio.get_running_loop().run_in_executor(None, self.desk.metrics.text)
        return Reply(text, kind=b"text/plain; version=0.0.4; charset=utf-8")

    async def models(self, _: Call) -> Reply:
        """List the models, their versions, and why one is not served."""
        ignored = [{"folder": name, "problem": why} for name, why in self.registry.ignored.items()]
        return Reply(orjson.dumps({"models": self.registry.plain(), **({"ignored": ignored} if ignored else {})}))

    async def model(self, call: Call) -> Reply:
        """Describe one model."""
        return Reply(orjson.dumps(self.registry.plain_model(call.params["model"])))

    async def page_json(self, call: Call) -> Reply:
        """Return what the page needs to know of a model."""
        version = self.registry.version(call.params.get("model"), None, call.id)
        return Reply(orjson.dumps({"model": version.place.model, "version": version.name, "form": version.predictor.form,
                                   **shape(version.predictor.schema), "examples": list(version.examples),
                                   "models": list(self.registry.models), "key": bool(self.desk.settings.keys)}))

    async def use(self, call: Call) -> Reply:
        """Let a version answer from now on."""
        return await self._command(call, "use", version=_name(await self._body(call), "version"))

    async def shadow(self, call: Call) -> Reply:
        """Let a version be asked beside the one that answers; null ends it."""
        value = await self._body(call)
        return await self._command(call, "shadow", version=None if value.get("version", 0) is None else _name(value, "version"))

    async def shares(self, call: Call) -> Reply:
        """Let versions answer shares of the requests."""
        value = (await self._body(call)).get("shares")
        if not isinstance(value, dict):
            raise Problem("malformed", f'"shares" is {named(value)}; {SHARES}')
        for version, share in value.items():
            if type(share) not in (int, float) or not 0 <= share <= 100:
                said = f"{share:g}" if type(share) in (int, float) else named(share)
                raise Problem("malformed", f"the share of the version '{version:.100}' is {said}; {SHARES}")
        if sum(value.values()) > 100:
            raise Problem("malformed", f"the shares sum to {sum(value.values()):g} per cent; expected 100 at most")
        return await self._command(call, "shares", shares=value)

    async def unload(self, call: Call) -> Reply:
        """Put a version away that does not answer."""
        return await self._command(call, "unload", version=_name(await self._body(call), "version"))

    async def reload(self, call: Call) -> Reply:
        """Look for new versions now."""
        await self.tell({"action": "reload"})
        return await self.models(call)

    async def _body(self, call: Call) -> dict[str, Any]:
        call.accepts(*JSON_KINDS)
        value = parsed(await call.body())
        if not isinstance(value, dict):
            raise Problem("malformed", f"the body is {named(value)}; expected a JSON object, such as {{\"version\": \"1\"}}")
        return value

    async def _command(self, call: Call, action: str, **rest: Any) -> Reply:
        model = call.params["model"]
        self.registry.model(model)
        await self.tell({"action": action, "model": model, **rest})
        self.desk.log.event("administered", action=action, model=model, **rest)
        return await self.model(call)


def _name(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str) or not found:
        raise Problem("malformed", f'"{key}" is {named(found)}; expected the name of a version that /models lists')
    return found
