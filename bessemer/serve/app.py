"""The application: FastAPI with every address of the table, within the gate."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware

from bessemer.serve import docs, openapi
from bessemer.serve.admin import Admin, Tell
from bessemer.serve.call import Call, Gone, Reply
from bessemer.serve.gate import GONE, Desk, Gate, Handler, problem_reply, told
from bessemer.serve.handlers import Prediction
from bessemer.serve.kserve import KServe
from bessemer.serve.problems import Problem
from bessemer.serve.registry import Registry
from bessemer.serve.table import addresses

KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".json": "application/json", ".png": "image/png"}
FILE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def application(registry: Registry, desk: Desk, tell: Tell) -> Any:
    """Return the ASGI application of one process."""
    prediction = Prediction(registry, desk.metrics)
    table = addresses(prediction, KServe(registry, prediction), Admin(registry, desk, tell))
    app = FastAPI(title="Bessemer", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for address in table:
        app.add_api_route(address.path, _endpoint(address.handler, address.path), methods=[address.method], response_model=None,
                          name=f"{address.method.lower()} {address.path}", summary=address.about,
                          openapi_extra=openapi.extra(address, desk.settings))
        if address.method == "GET":
            _add_head(app, address.path, address.handler)
    free = _pages(app, registry, desk.settings.page, secret=bool(desk.settings.keys))
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Gone, _gone)
    app.add_exception_handler(Exception, _fault)
    quick = {(address.method, address.path): address.handler for address in table if address.plain and address.method == "POST"
             and address.tag == "predict"}
    return Gate(desk, quick, app, free)


def guarded(gate: Gate) -> Any:
    """Return the gate within a layer that answers a defect by a problem document and tells the log its place."""
    return ServerErrorMiddleware(gate, handler=_fault)


def _endpoint(handler: Handler, template: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        call: Call = request.scope["call"]
        call.params = dict(request.path_params)
        request.scope["template"] = template
        return _response(await handler(call))

    return endpoint


def _add_head(app: FastAPI, path: str, handler: Handler) -> None:
    """Let HEAD answer as GET does (RFC 9110, 9.3.2); the server sends no body."""
    app.add_api_route(path, _endpoint(handler, path), methods=["HEAD"], include_in_schema=False, response_model=None)


def _response(reply: Reply) -> Response:
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    headers["cache-control"] = "no-store"
    kind = reply.kind.decode()
    if isinstance(reply.body, bytes):
        return Response(reply.body, reply.status, headers, media_type=kind)
    return _Stream(reply.body, reply.status, headers, kind)


class _Stream(Response):
    """An answer in parts, whose handler still reads the request: Starlette's own would take the body's messages, to see the client go."""

    def __init__(self, parts: AsyncIterator[bytes], status: int, headers: dict[str, str], kind: str) -> None:
        super().__init__(None, status, headers, media_type=kind)
        self.raw_headers = [item for item in self.raw_headers if item[0] != b"content-length"]
        self._parts = parts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the parts as they come."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for part in told(self._parts):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


# ---- problems --------------------------------------------------------------------------------------------------------

async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _response(problem_reply(error, request.scope["call"].id))


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"][:200], request.scope["method"][:20]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        problem = Problem("method", f"{path} takes {allowed}, not {method}; /docs lists every address", ((b"allow", allowed.encode()),))
    else:
        problem = Problem("not-found", f"there is no address {method} {path}; /docs lists every one")
    return await _problem(request, problem)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=GONE)


async def _fault(request: Request, _: Exception) -> Response:
    identity = request.scope["call"].id if "call" in request.scope else "unknown"
    return _response(problem_reply(Problem("fault", "the server met a defect of its own while it answered; the log names its place "
                                           f"under the request's id {identity}: please report it"), identity))


# ---- pages -----------------------------------------------------------------------------------------------------------

def _pages(app: FastAPI, registry: Registry, page: bool, secret: bool) -> tuple[str, ...]:
    """Add the documentation and the page that tries a model; return the addresses that need no key."""

    def add(path: str, handler: Handler) -> None:
        app.add_api_route(path, _endpoint(handler, path), methods=["GET"], include_in_schema=False, response_model=None)
        _add_head(app, path, handler)

    async def described(_: Call) -> Reply:
        return Reply(orjson.dumps(openapi.document(app, registry)))

    async def documented(call: Call) -> Reply:
        host = call.headers.get(b"host", b"127.0.0.1").decode("latin-1")
        return Reply(docs.page(openapi.document(app, registry), f"http://{host}").encode(), kind=b"text/html; charset=utf-8")

    async def styled(_: Call) -> Reply:
        return Reply(docs.STYLE.encode(), kind=KINDS[".css"].encode())

    async def file(call: Call) -> Reply:
        return _file(call.params.get("name", "index.html"))

    add("/openapi.json", described)
    add("/docs", documented)
    add("/docs.css", styled)
    if page:
        add("/", file)
        add("/page/{name}", file)
    return ("/health", "/ready", "/", "/page/", "/docs.css", *(() if secret else ("/docs", "/openapi.json")))


def _file(name: str) -> Reply:
    """Return a file of the page."""
    found = resources.files("bessemer.serve") / "page" / name
    kind = KINDS.get("." + name.rpartition(".")[2])
    if kind is None or not FILE.fullmatch(name) or not found.is_file():
        raise Problem("not-found", f"the page has no file '{name[:80]}'")
    return Reply(found.read_bytes(), kind=kind.encode())


