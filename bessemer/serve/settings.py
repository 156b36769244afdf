"""How a server is set: where it listens, what it serves, and the limits that keep it alive."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bessemer.core.config import Config


class Source(Config):
    """Where the versions of one model come from."""

    name: str
    """The model's name in addresses."""
    folder: str
    """A run's or a finished model's folder (`run`), or one that holds a folder for each version (`versions`)."""
    kind: Literal["run", "versions"] = "run"
    """Which of the two."""


class Settings(Config):
    """A server."""

    sources: tuple[Source, ...] = ()
    """The models; the first is the one that addresses without a name ask."""
    models_folder: str = ""
    """A folder of models, `<name>/<version>/`; models that appear in it are served. Empty: none."""
    form: str | None = None
    """The form that answers; by default each model's first."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that answer."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Threads a process that compute one batch."""
    max_queue: Annotated[int, Field(ge=1)] = 1024
    """Rows that may wait in a process; beyond that a request is answered 429. A long request's rows beyond the first 64 wait outside."""
    max_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """How long a row may wait for others of like length while the processor is free."""
    max_items: Annotated[int, Field(ge=1)] = 1000
    """Rows of one request."""
    max_bytes: Annotated[int, Field(ge=1024)] = 4_000_000
    """Bytes of one request's body, and of one line of a stream."""
    max_chars: Annotated[int, Field(ge=1)] = 200_000
    """Characters of one text."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds until a request that has no answer is answered 503, and in which its body must have come."""
    head_timeout: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds in which the head of a request must have come, from its first byte."""
    keep_alive: Annotated[float, Field(gt=0, le=3600)] = 65.0
    """Seconds after which a connection that asks nothing is closed."""
    max_connections: Annotated[int, Field(ge=1)] = 1000
    """Open connections of a process; more wait in the system's own queue."""
    drain: Annotated[float, Field(ge=0, le=600)] = 30.0
    """Seconds that accepted requests have to finish after SIGTERM."""
    keys: tuple[str, ...] = ()
    """Keys of which a request must bring one; none: everybody who reaches the port is answered."""
    keep_versions: Annotated[int, Field(ge=1)] = 3
    """Newest versions of a model in a folder of models that are held in memory."""
    poll: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """Seconds between looks for new versions."""
    page: bool = True
    """Whether the page that tries the model is served at `/`."""
