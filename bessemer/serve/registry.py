"""The models that a process serves: found in folders, loaded beside those that answer, put in their place, retired when unused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bessemer.core import artifact
from bessemer.core.errors import UserError, nearest
from bessemer.serve.folders import NO_NAME, folders_in, natural, sources_in
from bessemer.serve.logs import Log
from bessemer.serve.problems import Problem
from bessemer.serve.routing import Route, chosen_version
from bessemer.serve.settings import Settings, Source
from bessemer.serve.versions import Place, Version, asked, load_version, stamp_of

OTHER, HELD = "it reads", "its folder now holds a model that reads"
GONE = "its folder has gone; the version in memory goes on answering until another may follow it, or is used"


@dataclass(eq=False)
class Hosted:
    """One model: its versions, and which of them answer.

    Attributes:
        name: in addresses.
        source: where its versions come from.
        loaded: versions in memory by name, oldest first.
        fault: why no versions can be found now; empty where they can.
        faults: versions that are not served -> why.
        stamps: what was last seen of each version's folder.
        current: the version that answers.
        route: what was asked for: a version in particular, shares, a shadow, versions put away.
    """

    name: str
    source: Source
    loaded: dict[str, Version] = field(default_factory=dict)
    fault: str = ""
    faults: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    current: Version | None = None
    previous: str | None = None
    route: Route = field(default_factory=Route)


class Registry:
    """Every model of one process; its methods belong to the event loop.

    Args:
        settings: of the server.
        resolve: (a run's folder) -> the folder of its model that answers.
        log: takes what people should know.

    Attributes:
        ignored: folders in the folder of models that are no model -> why.
    """

    def __init__(self, settings: Settings, resolve: Callable[[str], Path], log: Log) -> None:
        self.settings, self.resolve, self.log = settings, resolve, log
        self.models: dict[str, Hosted] = {source.name: Hosted(source.name, source) for source in settings.sources}
        self.ignored: dict[str, str] = {}
        self.changed = time.time()
        self._lock, self._looked = asyncio.Lock(), False

    # ---- asked by requests -------------------------------------------------------------------------------------------

    def model(self, name: str | None) -> Hosted:
        """Return a model by name, or the first; unknown is a Problem."""
        if name is None:
            found = next(iter(self.models.values()), None)
            if found is None:
                raise Problem("no-model", "no model is served yet; put one into the folder of models")
            return found
        if name not in self.models:
            raise Problem("not-found", f"there is no model '{name:.100}'{nearest(name[:100], self.models)}")
        return self.models[name]

    def version(self, model: str | None, version: str | None, request: str) -> Version:
        """Return the version that answers a request; its `users` is the caller's to raise and lower."""
        hosted = self.model(model)
        if version is not None:
            if version in hosted.loaded:
                return hosted.loaded[version]
            why = hosted.faults.get(version)
            if why is not None:
                raise Problem("conflict", f"the version '{version:.100}' of '{hosted.name}' is not served: {why}")
            raise Problem("not-found", f"the model '{hosted.name}' has no version '{version:.100}'{nearest(version[:100], hosted.loaded)}")
        if hosted.current is None:
            why = hosted.fault or next(iter(hosted.faults.values()), "it is being loaded")
            raise Problem("no-model", f"no version of '{hosted.name}' is ready: {why}", ((b"retry-after", b"1"),))
        if hosted.route.shares:
            name = chosen_version(hosted.route.shares, request)
            return hosted.loaded.get(name, hosted.current) if name else hosted.current
        return hosted.current

    def shadow(self, version: Version) -> Version | None:
        """Return the version that is asked beside this one, or None."""
        hosted = self.models.get(version.place.model)
        if hosted is None or hosted.route.shadow is None or version is not hosted.current:
            return None
        found = hosted.loaded.get(hosted.route.shadow)
        return None if found is version else found

    @property
    def ready(self) -> bool:
        """Tell whether there is a model that answers, and whether all do that were named.

        One of the folder of models that is half-written or refused takes nothing from the others, once all were looked at.
        """
        named = [self.models[source.name] for source in self.settings.sources]
        return self._looked and all(hosted.current for hosted in named) and any(hosted.current for hosted in self.models.values())

    def contents(self) -> dict[str, str]:
        """Return what answers for each model: a digest of the versions that do, by name and content (two names may have the same)."""
        found = {}
        for name, hosted in self.models.items():
            if hosted.current is not None:
                answering = {hosted.current.name: hosted.current}
                answering.update((share, hosted.loaded[share]) for share in hosted.route.shares if share in hosted.loaded)
                found[name] = artifact.digest([hosted.current.name, sorted((name, item.content) for name, item in answering.items())])
        return found

    def plain(self) -> list[dict[str, Any]]:
        """Return what is served, JSON values."""
        return [self.plain_model(name) for name in self.models]

    def plain_model(self, name: str) -> dict[str, Any]:
        """Return one model's versions and routing."""
        hosted = self.model(name)
        current = hosted.current.name if hosted.current else None
        states: dict[str, dict[str, Any]] = {}
        for name, version in hosted.loaded.items():
            states[name] = {"version": name, "state": "current" if name == current else "ready", "form": version.predictor.form,
                            "rows_waiting": version.batcher.depth}
        for name, why in hosted.faults.items():
            states[name] = {**states.get(name, {"version": name, "state": "refused"}), "problem": why}
        for name in hosted.places:
            state = "loading" if name in hosted.stamps and name not in hosted.route.unloaded else "unloaded"
            states.setdefault(name, {"version": name, "state": state})
        for name in hosted.route.named():
            states.setdefault(name, {"version": name, "state": "gone", "problem": hosted.route.without(name, current)})
        problem = {"problem": hosted.fault} if hosted.fault else {}
        return {"model": hosted.name, "current": current, "previous": hosted.previous, **hosted.route.plain(), **problem,
                "versions": [states[name] for name in sorted(states, key=natural)]}

    # ---- looking for versions ----------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look for new versions for ever."""
        while True:
            await asyncio.sleep(self.settings.poll)
            await self.refresh()

    async def refresh(self) -> None:
        """Look once: load what is new, put it in its place."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            if self.settings.models_folder:
                self._take_models(*await loop.run_in_executor(None, sources_in, self.settings.models_folder))
            for hosted in list(self.models.values()):
                await self._refresh_model(hosted)
            self._looked = True

    def _take_models(self, found: Sequence[Source], odd: Sequence[str]) -> None:
        """Take up models whose folders appeared, and forget those that never answered and whose folders have gone."""
        for source in found:
            self.models.setdefault(source.name, Hosted(source.name, source))
        for name in {*self.models} - {source.name for source in (*found, *self.settings.sources)}:
            if self.models[name].current is None:
                del self.models[name]
                self.log.event("forgotten", model=name)
        for name in [name for name in odd if name not in self.ignored]:
            self.log.event("ignored", level="error", folder=name, problem=NO_NAME)
        self.ignored = dict.fromkeys(odd, NO_NAME)

    async def _refresh_model(self, hosted: Hosted) -> None:
        read = await asyncio.get_running_loop().run_in_executor(None, self._places, hosted.source)
        if isinstance(read, str):
            if hosted.fault != read:
                hosted.fault = read
                self.log.event("refused", level="error", model=hosted.name, problem=read)
            return
        found, odd = read
        hosted.fault = ""
        for name in [name for name, why in hosted.faults.items() if why == NO_NAME and name not in odd]:
            del hosted.faults[name]
        for name in odd:
            self._fault(hosted, name, NO_NAME)
        if hosted.source.kind == "versions":
            self._forget(hosted, {*hosted.stamps, *hosted.places, *hosted.loaded} - {place.version for place in found})
        hosted.places.update({place.version: place for place in found})
        away, ready = set(hosted.route.unloaded), 0
        wanted = set(hosted.route.named()) - away
        for place in reversed(found):  # one that is refused takes no place among the newest: the next older one is tried
            name = place.version
            if ready < self.settings.keep_versions and name not in away:
                wanted.add(name)
            if hosted.stamps.get(name) != place.stamp and (name in wanted or name in hosted.loaded):
                await self._load(hosted, place)
            ready += name in hosted.loaded and name not in away
        self._settle(hosted, wanted)

    def _places(self, source: Source) -> tuple[list[Place], list[str]] | str:
        """Return the folders of a model's versions, oldest first, and those whose names are none; or why there are none."""
        try:
            if source.kind == "run":
                folder = self.resolve(source.folder)
                manifest = artifact.load_manifest(folder)
                name = manifest.key[:12] if manifest is not None else "unfinished"
                return [Place(source.name, name, folder, stamp_of(folder))], []
            folders, odd = folders_in(source.folder)
        except UserError as error:
            return str(error)
        except FileNotFoundError:  # the model's folder has gone, and every version's with it
            return [], []
        except OSError as error:
            return f"'{source.folder}' cannot be read ({error.strerror})"
        return [Place(source.name, path.name, path, stamp_of(path)) for path in sorted(folders, key=lambda path: natural(path.name))], odd

    async def _load(self, hosted: Hosted, place: Place, willing: bool = False) -> bool:
        """Load a version; one that cannot be keeps what was there, and says why.

        So does one that answers now and was overwritten by a model of another kind, unless administration is `willing`.
        """
        started = time.perf_counter()
        hosted.stamps[place.version] = place.stamp
        try:
            version = await asyncio.get_running_loop().run_in_executor(None, load_version, place, self.settings)
        except (UserError, OSError) as error:
            self._fault(hosted, place.version, str(error))
            return False
        held = "" if willing else self._otherwise(hosted, version)
        if held:
            version.batcher.close()
            self._fault(hosted, place.version, held)
            return False
        hosted.faults.pop(place.version, None)
        old = hosted.loaded.pop(place.version, None)
        hosted.loaded[place.version] = version
        hosted.loaded = dict(sorted(hosted.loaded.items(), key=lambda item: natural(item[0])) if hosted.source.kind == "versions"
                             else hosted.loaded.items())
        if old is not None:
            if hosted.current is old:
                hosted.current = version
            self._retire(old)
        self.changed = time.time()
        self.log.event("loaded", model=hosted.name, version=place.version, form=version.predictor.form,
                       ms=round((time.perf_counter() - started) * 1000))
        return True

    def _otherwise(self, hosted: Hosted, new: Version) -> str:
        """Return how a version reads or answers otherwise than that of its name which clients are answered by; empty where it does not."""
        old = hosted.loaded.get(new.name)
        if old is None or (old is not hosted.current and new.name not in hosted.route.shares):
            return ""
        before, after = asked(old.predictor.schema), asked(new.predictor.schema)
        return "" if before == after else (
            f"{HELD} {_read(after)}, where the version in memory reads {_read(before)}; that one goes on answering until this version is "
            "used again on purpose, or another is")

    def _settle(self, hosted: Hosted, wanted: set[str]) -> None:
        """Choose the version that answers and retire those that nobody needs."""
        if hosted.route.use in hosted.loaded:
            chosen: str | None = hosted.route.use
        elif hosted.route.use is not None and hosted.current is not None:
            chosen = hosted.current.name
        else:
            chosen = next((name for name in reversed(hosted.loaded) if name not in hosted.route.unloaded and self._follows(hosted, name)),
                          hosted.current.name if hosted.current else None)
        before = hosted.current.name if hosted.current else None
        if chosen is not None and chosen != before:
            hosted.current, hosted.previous = hosted.loaded[chosen], before
            if hosted.faults.get(chosen, "").startswith(OTHER):
                del hosted.faults[chosen]
            self.log.event("switched", model=hosted.name, version=chosen, before=before)
        if chosen is not None and hosted.route.shadow == chosen:
            hosted.route = replace(hosted.route, shadow=None)  # what was held against the one that answered answers now itself
        keep = {chosen, hosted.previous, *wanted, *hosted.route.named()} - (set(hosted.route.unloaded) - {chosen})
        for name in [name for name in hosted.loaded if name not in keep]:
            hosted.stamps.pop(name, None)  # it is loaded again where newer ones go
            self._retire(hosted.loaded.pop(name))

    def _follows(self, hosted: Hosted, name: str) -> bool:
        """Tell whether a version may take over unasked: it reads the columns that clients send now, and answers the same targets."""
        if hosted.current is None or hosted.loaded[name] is hosted.current:
            return True
        before, after = (asked(version.predictor.schema) for version in (hosted.current, hosted.loaded[name]))
        if before == after:
            return True
        self._fault(hosted, name, f"{OTHER} {_read(after)}, where the version that answers now reads {_read(before)}; it does not take "
                    "over by itself: switch to it on purpose when clients are ready")
        return False

    def _forget(self, hosted: Hosted, gone: Set[str]) -> None:
        """Let go of versions whose folders have gone; that which answers only where another may follow it and it is not asked for by name.

        The others go first: what follows shall not be one whose folder went at the same time.
        """
        before = hosted.current.name if hosted.current is not None else None
        for name in gone:
            hosted.stamps.pop(name, None)
            hosted.places.pop(name, None)
            if name != before:
                self._drop(hosted, name)
            if name == hosted.previous:
                hosted.previous = None
        if before is None or before not in gone:
            return
        other = next((name for name in reversed(hosted.loaded)
                      if name not in (before, *hosted.route.unloaded) and self._follows(hosted, name)), None)
        if other is None or hosted.route.use == before:
            self._fault(hosted, before, GONE)
            return
        hosted.current, hosted.previous = hosted.loaded[other], None
        self.log.event("switched", model=hosted.name, version=other, before=before)
        self._drop(hosted, before)

    def _drop(self, hosted: Hosted, name: str) -> None:
        hosted.faults.pop(name, None)
        if name in hosted.loaded:
            self._retire(hosted.loaded.pop(name))

    def _retire(self, version: Version) -> None:
        self.changed = time.time()
        version.retired = True
        version.close()
        self.log.event("retired", model=version.place.model, version=version.name)

    def _fault(self, hosted: Hosted, version: str, why: str) -> None:
        if hosted.faults.get(version) != why:
            hosted.faults[version] = why
            self.log.event("refused", level="error", model=hosted.name, version=version, problem=why)

    # ---- administration ----------------------------------------------------------------------------------------------

    async def obey(self, command: Mapping[str, Any]) -> None:
        """Carry out a command of administration in this process; what cannot be is a Problem and changes nothing."""
        if command["action"] == "reload":
            await self.refresh()
            return
        async with self._lock:
            hosted = self.model(command["model"])
            route = hosted.route.after(command)
            await self._refresh_model(hosted)  # a version that is a moment old may be asked for
            for name in Route.wanted(command):
                held = command["action"] != "shadow" and hosted.faults.get(name, "").startswith(HELD)
                if name not in hosted.loaded or held:
                    if name not in hosted.places:
                        raise Problem("not-found", f"the model '{hosted.name}' has no version '{name:.100}'"
                                      f"{nearest(name[:100], {**hosted.places, **hosted.loaded})}")
                    if not await self._load(hosted, hosted.places[name], held):
                        raise Problem("conflict", f"the version '{name}' of '{hosted.name}' is not served: {hosted.faults[name]}")
            if command["action"] == "unload" and command["version"] not in {**hosted.places, **hosted.loaded}:
                raise Problem("not-found", f"the model '{hosted.name}' has no version '{command['version']:.100}'"
                              f"{nearest(command['version'][:100], {**hosted.places, **hosted.loaded})}")
            if command["action"] == "unload" and hosted.current is not None and hosted.current.name == command["version"]:
                raise Problem("conflict", f"the version '{hosted.current.name}' answers now; use another one before you unload it")
            if command["action"] == "shadow" and hosted.current is not None and hosted.current.name == command["version"]:
                raise Problem("conflict", f"the version '{hosted.current.name}' answers now, so it cannot be asked beside itself; name "
                              "another one as the shadow")
            hosted.route = route
            ready = [name for name in hosted.loaded if name not in route.unloaded] if hosted.source.kind == "versions" else []
            newest = ready[-self.settings.keep_versions:]
            self._settle(hosted, {*newest} - set(route.unloaded))

    def routes(self) -> dict[str, Any]:
        """Return what administration has set, to be handed to a process that starts."""
        return {name: hosted.route.plain() for name, hosted in self.models.items()}

    def set_routes(self, routes: Mapping[str, Any]) -> None:
        """Take over what another process was told."""
        for name, plain in routes.items():
            if name not in self.models:
                source = Source(name=name, folder=str(Path(self.settings.models_folder) / name), kind="versions")
                self.models[name] = Hosted(name, source)
            self.models[name].route = Route.of(plain)

    def close(self) -> None:
        """End every version's thread once its rows are answered."""
        for hosted in self.models.values():
            for version in hosted.loaded.values():
                version.batcher.close()


def _read(found: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    """Return what a model reads and answers, in words."""
    return f"{', '.join(found[0])} and answers {', '.join(found[1])}"
