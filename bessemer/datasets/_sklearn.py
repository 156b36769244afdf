"""What scikit-learn's own tables share: one wheel, of which the small tables alone are unpacked."""

from __future__ import annotations

from bessemer.core.types import Resource

FOLDER = "sklearn/datasets/data"


def resource(members: dict[str, str]) -> Resource:
    """Return where files of the wheel are, by name and SHA-256; the tables are the same in the wheels of every system."""
    return Resource(
        registry="pypi",
        package="scikit-learn",
        version="1.9.1",
        archive="scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        sha256="52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
        members={f"{FOLDER}/{name}": sha256 for name, sha256 in members.items()},
    )
