"""Which version answers a request: one for all, or by shares of the requests; and which is asked beside it, in the shadow."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bessemer.serve.problems import Problem

POINTS = 10_000


@dataclass(frozen=True)
class Route:
    """What administration set for one model.

    Attributes:
        use: the version that answers; None: the newest.
        shares: version -> per cent of the requests; the rest goes to the version that answers.
        shadow: the version that is asked as well, whose answers nobody gets.
        unloaded: versions that are put away until they are used again.
    """

    use: str | None = None
    shares: dict[str, float] = field(default_factory=dict)
    shadow: str | None = None
    unloaded: tuple[str, ...] = ()

    def named(self) -> tuple[str, ...]:
        """Return the versions that it needs."""
        return tuple(dict.fromkeys(name for name in (self.use, *self.shares, self.shadow) if name is not None))

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"use": self.use or "newest", "shares": self.shares, "shadow": self.shadow, "unloaded": list(self.unloaded)}

    @staticmethod
    def of(plain: Mapping[str, Any]) -> Route:
        """Return what `plain` wrote."""
        use = None if plain["use"] == "newest" else plain["use"]
        return Route(use, dict(plain["shares"]), plain["shadow"], tuple(plain["unloaded"]))

    def without(self, name: str, current: str | None) -> str:
        """Return what becomes of a version that is named here and whose folder has gone, in words."""
        instead = f"'{current}' answers in its place" if current else "no version answers in its place"
        if name == self.use:
            return f"its folder has gone, and `use` names it: {instead} until it is back, or another is used"
        if name in self.shares:
            return f"its folder has gone, and it has a share of the requests: {instead} until it is back, or other shares are set"
        return "its folder has gone, and it is the shadow: nothing is asked beside the version that answers until it is back"

    @staticmethod
    def wanted(command: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the versions that a command needs."""
        if command["action"] == "shares":
            return tuple(command["shares"])
        return () if command["action"] == "unload" or command["version"] in (None, "newest") else (command["version"],)

    def after(self, command: Mapping[str, Any]) -> Route:
        """Return the route after a command: `use`, `shares`, `shadow` or `unload`."""
        action = command["action"]
        if action == "use":
            # Whoever names one version wants it to answer everything.
            use = None if command["version"] == "newest" else command["version"]
            return replace(self, use=use, shares={}, unloaded=tuple(name for name in self.unloaded if name != use))
        if action == "shares":
            shares = dict(command["shares"])
            return replace(self, shares=shares, unloaded=tuple(name for name in self.unloaded if name not in shares))
        if action == "shadow":
            shadow = command["version"]
            return replace(self, shadow=shadow, unloaded=tuple(name for name in self.unloaded if name != shadow))
        name = command["version"]
        if name in self.named():
            raise Problem("conflict", f"the version '{name}' is in use (used, a share or the shadow); end that first")
        return replace(self, unloaded=tuple(dict.fromkeys([*self.unloaded, name])))


def chosen_version(shares: Mapping[str, float], request: str) -> str | None:
    """Return the version that a request's id falls to, or None for the version that answers; the same id always falls alike.

    >>> chosen_version({"2": 100.0}, "any"), chosen_version({"2": 0.0}, "any")
    ('2', None)
    """
    point = zlib.crc32(request.encode()) % POINTS
    until = 0.0
    for name, share in shares.items():
        until += share * POINTS / 100
        if point < until:
            return name
    return None
