"""A table or a query of any database that SQLAlchemy has a driver for; rows are streamed by the server where it can.

A password is never part of a recipe: the URL names a variable of the environment (`${DB_PASSWORD}`), and what it holds is neither stored
nor shown. A database's content cannot be fingerprinted without reading it, so that the recipe names it by a `version`, which is part of the
cache key: another version reads the rows anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import Field, field_validator, model_validator

from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.combine import picked
from bessemer.data.rows import Rows
from bessemer.data.typed import batch_rows
from bessemer.data.values import chunk_of, distinct

if TYPE_CHECKING:
    import sqlalchemy

_NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET = re.compile(r"(?i)pass|pwd|secret|token|key")


class SqlAlchemy(Rows):
    """Rows of a table or a SELECT; a row's number is its place in it. Nothing is ever written: the transaction is rolled back."""

    url: Annotated[str, Field(min_length=1)]
    """Where the database is: `postgresql+psycopg://user:${DB_PASSWORD}@host/name`; `${NAME}` is taken from the environment."""
    version: Annotated[str, Field(min_length=1, max_length=200)]
    """What you call its present content (a date, a number): part of the cache key. Change it when the rows have changed."""
    table: str | None = None
    """The table or view, `schema.table` where it is in another schema; its rows come in order of its primary key."""
    query: Annotated[str, Field(min_length=1)] | None = None
    """One SELECT in the database's SQL, in place of a table; give it an ORDER BY, or its rows may come in another order each time."""

    @field_validator("version", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return str(value) if not isinstance(value, (str, bool, type(None))) else value

    @field_validator("url")
    @classmethod
    def _open(cls, value: str) -> str:
        try:
            parts = urlsplit(_NAMED.sub("0", value))
            hidden = urlsplit(_NAMED.sub("\x01", value).replace("\x01", "%01")).password
        except ValueError:
            raise ValueError("this is no URL of a database; expected such as postgresql+psycopg://user:${DB_PASSWORD}@host/name") from None
        if not parts.scheme:
            raise ValueError("the URL of a database begins with its kind; expected such as postgresql+psycopg://user:${DB_PASSWORD}@host/name")
        bare = _NAMED.sub("", value)
        open_password = hidden is not None and hidden.replace("%01", "") != ""
        if open_password or any(_SECRET.search(name) and text for name, text in parse_qsl(urlsplit(bare).query)):
            raise ValueError("the URL holds a password; name a variable of the environment instead, such as ${DB_PASSWORD}, so that it is "
                             "never stored") from None
        return value

    @model_validator(mode="after")
    def _one(self) -> SqlAlchemy:
        if (self.table is None) == (self.query is None):
            raise ValueError("expected one of 'table' and 'query'")
        return self

    def outside(self) -> tuple[str, ...]:
        """Return what stands for the content: the version that the recipe names."""
        return (f"database version {self.version}",)


@register("data/sources", "sqlalchemy")
def source(config: SqlAlchemy) -> Source:
    """Return the rows of a database."""
    place = urlsplit(_NAMED.sub(r"\1", config.url)).path.rpartition("/")[2] or "database"
    name = f"{place}: {config.table or 'a query'} (version {config.version})"

    def read() -> Iterator[Chunk]:
        yield from _read(config, name)

    return Source(name, (), read)


def _read(config: SqlAlchemy, name: str) -> Iterator[Chunk]:
    try:
        import sqlalchemy
        from sqlalchemy import exc
    except ImportError:
        raise UserError("reading databases needs the package sqlalchemy; install it: pip install 'bessemer[readers]'") from None
    url, secrets = _filled(config.url)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    except exc.NoSuchModuleError as error:
        raise UserError(f"SQLAlchemy knows no such kind of database ({_bare(error, secrets)}); install its driver, or correct the "
                        "url") from None
    except ModuleNotFoundError as error:
        raise UserError(f"the driver of '{config.url.partition(':')[0]}' is not installed ({error.name}); install it: pip install "
                        f"{error.name}") from None
    except (exc.ArgumentError, ValueError) as error:
        raise UserError(f"the url is no URL of a database ({_bare(error, secrets)}); expected such as "
                        "postgresql+psycopg://user:${DB_PASSWORD}@host/name") from None
    try:
        with engine.connect() as connection, connection.begin() as transaction:
            yield from _rows(config, name, connection)
            transaction.rollback()
    except (exc.SQLAlchemyError, OSError) as error:
        raise UserError(f"'{name}': the database says: {_bare(error, secrets)}") from None
    finally:
        engine.dispose()


def _rows(config: SqlAlchemy, name: str, connection: sqlalchemy.Connection) -> Iterator[Chunk]:
    import pyarrow as pa
    import sqlalchemy

    statement: Any
    if config.query is not None:
        if not re.match(r"(?is)\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(?:select|with|values|table)\b", config.query):
            raise UserError(f"the query is no SELECT ('{config.query.strip()[:60]}'); expected one")
        statement = sqlalchemy.text(config.query.replace(":", r"\:"))
    else:
        statement = _whole(config, name, connection)
    result = connection.execution_options(stream_results=True, max_row_buffer=batch_rows(1)).execute(statement)
    if not result.returns_rows:
        raise UserError(f"'{name}': the query gives no rows; expected a SELECT")
    names = distinct([str(key) for key in result.keys()], f"'{name}': the query")  # noqa: SIM118 - no mapping
    picked(pa.table({column: pa.nulls(0) for column in names}), config.columns, name)  # a name that is not there, told by all names
    done = 0
    for part in result.partitions(batch_rows(len(names))):
        chunk = chunk_of(names, [tuple(row) for row in part], range(done + 1, done + 1 + len(part)), config.columns,
                         asked=config.columns is not None)
        done += len(part)
        yield Chunk(picked(chunk.table, config.columns, name), chunk.numbers, chunk.rejected)
    if not done:
        raise UserError(f"'{name}' has no row; expected at least one")


def _whole(config: SqlAlchemy, name: str, connection: sqlalchemy.Connection) -> Any:
    """Return the query for a table, its rows in order of its primary key."""
    import sqlalchemy

    schema, _, table = (config.table or "").rpartition(".")
    looked = sqlalchemy.inspect(connection)
    known = [*looked.get_table_names(schema or None), *looked.get_view_names(schema or None)]
    if table not in known:
        raise UserError(f"'{name}': the database has no table '{config.table}'{nearest(table, known)}")
    found = sqlalchemy.Table(table, sqlalchemy.MetaData(), schema=schema or None, autoload_with=connection, resolve_fks=False)
    return sqlalchemy.select(found).order_by(*found.primary_key.columns)


def _filled(url: str) -> tuple[str, list[str]]:
    """Return the URL with what the environment holds, and these values, which must not be shown."""
    secrets: list[str] = []

    def one(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise UserError(f"the url names the variable '{match[1]}', which the environment does not have; set it: export {match[1]}=…")
        secrets.append(value)
        coded = "?" in url[:match.start()] or "@" in url[match.end():]  # a user, a password or an option; the rest is taken as it is
        return quote(value, safe="") if coded else value

    return _NAMED.sub(one, url), secrets


def _bare(error: BaseException, secrets: list[str]) -> str:
    """Return the first line of an error without what must not be shown."""
    text = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0][:300]
    for secret in sorted((part for value in secrets for part in (value, quote(value, safe="")) if value), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text.rstrip(".")
