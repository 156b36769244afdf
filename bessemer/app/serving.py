"""bessemer serve: what the command line's words mean for a server, and the entry of each of its processes."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bessemer.core.errors import UserError

PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "orjson", "prometheus_client")
KEY_VARIABLE = "BESSEMER_API_KEYS"
NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})=(.+)")


class Asked(NamedTuple):
    """What `bessemer serve` was given besides plain settings.

    Attributes:
        runs: RUN, or NAME=FOLDER.
        models_folder: of models, or None.
        key_file: with one key a line, or None.
        insecure: whether others may be let in without a key.
        settings: of the server, by name; None where the default is meant.
    """

    runs: Sequence[str]
    models_folder: Path | None
    key_file: Path | None
    insecure: bool
    settings: dict[str, Any]


def serve(asked: Asked) -> None:
    """Serve until stopped; what cannot be served is a UserError before anything starts."""
    import asyncio

    need()
    settings = _settings(asked)
    from bessemer.app.console import out
    from bessemer.serve.supervisor import Supervisor

    def ready(address: str, models: Any) -> None:
        for line in _banner(address, models, bool(settings.keys)):
            out.print(line, markup=False, soft_wrap=True)

    command = (sys.executable, "-c", "import sys; from bessemer.app.serving import worker; worker(*map(int, sys.argv[1:]))")
    asyncio.run(Supervisor(settings, command, ready).run())


def need() -> None:
    """Check that what a server is made of is installed."""
    if sys.platform == "win32":
        raise UserError("bessemer serve needs Linux or macOS; on Windows use WSL")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the server needs {', '.join(missing)}, not installed here; install them with: pip install \"bessemer[serve]\"")


def worker(control: int, shared: int) -> None:
    """Run one process of a server; its two descriptors come from the supervisor."""
    from bessemer.api import model_folder
    from bessemer.serve.worker import main

    main(control, shared, model_folder)


def _settings(asked: Asked) -> Any:
    from pydantic import ValidationError

    from bessemer.core.config import explain
    from bessemer.serve.keys import checked, is_loopback, read_keys
    from bessemer.serve.settings import Settings

    if not asked.runs and asked.models_folder is None:
        raise UserError("give a RUN to serve, such as runs/NAME, or --models-folder DIR")
    if asked.models_folder is not None and not asked.models_folder.is_dir():
        raise UserError(f"there is no folder '{asked.models_folder}'; make it, and put models into it as NAME/VERSION/")
    keys: tuple[str, ...] = ()
    if asked.key_file is not None:
        keys = read_keys(asked.key_file)
    elif os.environ.get(KEY_VARIABLE):
        keys = checked(os.environ[KEY_VARIABLE].split(), f"the variable {KEY_VARIABLE}")
    given = {name: value for name, value in asked.settings.items() if value is not None}
    host = given.get("host", "127.0.0.1")
    if not keys and not is_loopback(host) and not asked.insecure:
        raise UserError(f"--host {host} lets others in, and the server has no keys; give --api-key-file FILE, or --insecure if everybody "
                        "may ask")
    try:
        return Settings(sources=_sources(asked.runs), models_folder=str(asked.models_folder.absolute()) if asked.models_folder else "",
                        keys=keys, **{"workers": os.cpu_count() or 1, **given})
    except ValidationError as error:
        raise explain(error, "bessemer serve", Settings) from None


def _sources(runs: Sequence[str]) -> tuple[Any, ...]:
    """Return where models come from: RUN is a run's or a model's folder, named by itself, or NAME=FOLDER; tell which stage answers."""
    from bessemer.app.console import err
    from bessemer.core import artifact
    from bessemer.core.answering import choose
    from bessemer.serve.settings import Source

    found: dict[str, Source] = {}
    for given in runs:
        match = NAMED.fullmatch(given)
        choice = choose(match[2] if match else given)
        path, folder = Path(match[2] if match else given).absolute(), choice.folder.absolute()
        if artifact.load_manifest(folder) is None:
            raise UserError(f"'{folder}' has no {artifact.MANIFEST}, so it is not finished; run its recipe again")
        stages = folder == path and (path.parent / "recipe.yaml").is_file()
        name = match[1] if match else re.sub(r"[^A-Za-z0-9._-]+", "-", path.parent.name if stages else path.name).lstrip("._-") or "model"
        if name in found:
            raise UserError(f"two models are named '{name}'; name one of them otherwise: OTHER={match[2] if match else given}")
        found[name] = Source(name=name, folder=str(path))
        for line in choice.said():
            err.print(f"{name}: {line}" if len(runs) > 1 else line, markup=False)
    return tuple(found.values())


def _banner(address: str, models: Any, keys: bool) -> list[str]:
    """Return what is shown when the server answers."""
    lines = [f"serving on {address}"]
    for model in models:
        current = next((item for item in model["versions"] if item["version"] == model["current"]), None)
        state = f"version {current['version']}, {current['form']}" if current else "no version yet"
        lines.append(f"  {model['model']}: {state}")
        lines += [f"  {model['model']} {item['version']} is not served: {item['problem']}"
                  for item in model["versions"] if "problem" in item]
    key = " -H 'Authorization: Bearer KEY'" if keys else ""
    lines += ["next:", f"  curl {address}/docs{key}", f"  open {address}/ in a browser", "  stop with Ctrl-C"]
    return lines
