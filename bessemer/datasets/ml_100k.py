"""Ratings of films, with who rated and what: three files joined to one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource
from bessemer.datasets._tables import chunks, numbers, strings

_FOLDER = "recbole/dataset_example/ml-100k"
_RATINGS = ("user", "item", "rating", "timestamp")
_USERS = ("user", "age", "gender", "occupation", "zip_code")
_ITEMS = ("item", "title", "year", "genres")


class Ml100k(Config):
    """The table ml-100k; it has no settings."""


def _read(folder: Path) -> Iterator[Chunk]:
    """Read the ratings in their order, each with its user's and its film's columns."""
    import pyarrow.compute as pc

    table = strings(folder / _FOLDER / "ml-100k.inter", _RATINGS, skip=1, delimiter="\t")
    for ending, names in (("user", _USERS), ("item", _ITEMS)):
        other = strings(folder / _FOLDER / f"ml-100k.{ending}", names, skip=1, delimiter="\t")
        places = pc.index_in(table[ending], value_set=other[ending])
        for name in names[1:]:
            table = table.append_column(name, other[name].take(places))
    plain = pc.match_substring_regex(table["year"], r"^[0-9]{4}$")  # two films have words where their year should be
    table = table.set_column(table.column_names.index("year"), "year", pc.if_else(plain, table["year"], None))
    yield from chunks(numbers(table, ("rating", "timestamp", "age", "year")), first=2)


@register("datasets", "ml-100k")
def ml_100k(config: Ml100k) -> DataSet:
    """Return where it is and how it is read: the target is `rating`; `timestamp` is in seconds since 1970."""
    return DataSet(
        kind="rows",
        about="MovieLens 100K: 100,000 ratings (1 to 5) of 1,682 films by 943 users, with age, gender, occupation and zip code, title, "
              "year and genres",
        licence="GroupLens: research use alone, no redistribution without permission; packaged under MIT",
        reference="RMSE in 5 folds: SVD .934, SVD++ .92 (published)",
        resource=Resource(
            registry="pypi",
            package="recbole",
            version="1.2.1",
            archive="recbole-1.2.1-py3-none-any.whl",
            sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            members={
                f"{_FOLDER}/ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                f"{_FOLDER}/ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
                f"{_FOLDER}/ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            },
        ),
        read=_read,
    )
