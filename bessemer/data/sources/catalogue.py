"""A data set of the catalogue: fetched once, its checksum verified, then read from the cache."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import field_validator

from bessemer.core.errors import UserError
from bessemer.core.fetch import fetch, pins
from bessemer.core.registry import plugin, register
from bessemer.core.types import Chunk, DataSet, Source
from bessemer.data.combine import picked
from bessemer.data.rows import Rows


class Catalogue(Rows):
    """Rows of a data set that `bessemer datasets` lists."""

    name: str
    """Its name in the catalogue."""

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            plugin("datasets", value)
        except UserError as error:
            raise ValueError(str(error)) from None
        return value

    def outside(self) -> tuple[str, ...]:
        """Return the pinned checksums of the data set."""
        return pins(_data_set(self).resource)


def _data_set(config: Catalogue) -> DataSet:
    entry = plugin("datasets", config.name)
    data_set: DataSet = entry.function(entry.config())
    return data_set


@register("data/sources", "catalogue")
def source(config: Catalogue) -> Source:
    """Return the rows of a data set of the catalogue; it is fetched when they are first read."""
    data_set = _data_set(config)
    if data_set.read is None:
        raise UserError(f"'{config.name}' in the catalogue is {data_set.kind}, not rows; choose another with 'bessemer datasets'")
    reader = data_set.read

    def read() -> Iterator[Chunk]:
        for chunk in reader(fetch(data_set.resource)):
            table = picked(chunk.table, config.columns, config.name)
            yield Chunk(table, chunk.numbers, chunk.rejected)

    return Source(config.name, (), read)
