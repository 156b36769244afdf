"""Schema: what each column of the prepared data is. Written by prepare, read by every model, enforced when serving."""

from __future__ import annotations

from collections.abc import Container
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bessemer.core.errors import UserError


class Role(StrEnum):
    """What a column is for."""

    INPUT = "input"
    TARGET = "target"
    WEIGHT = "weight"
    GROUP = "group"
    ID = "id"
    TIME = "time"


class Column(BaseModel):
    """One column of the prepared data.

    Attributes:
        name: its name in the rows that a user gives.
        role: what it is for.
        modality: the resolved modality config, `{"kind": "text", …}`.
        labels: for a category, its names in code order (code i is labels[i]); empty otherwise.
        facts: what fitting found: vocabulary size, counts a label, length quantiles. JSON values only.
        aliases: names that the column has in raw rows where the recipe renamed it.
        of: of a derived column (a cross) the input columns that it is made of; raw rows need not hold it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    role: Role
    modality: dict[str, Any]
    labels: tuple[str, ...] = ()
    facts: dict[str, Any] = {}
    aliases: tuple[str, ...] = ()
    of: tuple[str, ...] = ()

    def named_in(self, names: Container[str]) -> str | None:
        """Return the name under which raw rows with these columns hold this one: its own or an alias; None where they lack it."""
        return next((name for name in (self.name, *self.aliases) if name in names), None)


class Schema(BaseModel):
    """Every column of a data set and the version of this format."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...]
    version: int = 1

    def by_role(self, role: Role) -> tuple[Column, ...]:
        """Return the columns that have a role, in order."""
        return tuple(column for column in self.columns if column.role == role)

    def only(self, role: Role, kind: str) -> Column:
        """Return the one column with this role and modality kind; none or several is a UserError."""
        found = [column for column in self.by_role(role) if column.modality["kind"] == kind]
        if len(found) != 1:
            names = ", ".join(column.name for column in found) or "none"
            two = "; two texts are read by networks of BERT's kind (bert, pretrained weights)" if kind == "text" and len(found) == 2 else ""
            raise UserError(f"expected one {role.value} column of kind '{kind}' in the data, found {len(found)} ({names}){two}")
        return found[0]

    def texts(self) -> tuple[Column, ...]:
        """Return the input columns of running text: one, or the two of a sentence pair; none, or more, is a UserError."""
        found = tuple(column for column in self.by_role(Role.INPUT) if column.modality["kind"] == "text")
        return found if len(found) == 2 else (self.only(Role.INPUT, "text"),)

    def save(self, folder: Path) -> None:
        """Write `schema.json`."""
        (folder / "schema.json").write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Schema:
        """Read `schema.json`."""
        file = folder / "schema.json"
        if not file.is_file():
            raise UserError(f"'{folder}' has no schema.json, so it is no Bessemer data or model folder")
        return Schema.model_validate_json(file.read_text(encoding="utf-8"))
