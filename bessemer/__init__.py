"""Bessemer: texts or a table in, a model out: trained, measured beside its rivals, packed to predict, and kept up to date.

>>> import bessemer
>>> sorted(bessemer.__all__)
['Classifier', 'Model', 'Regressor', 'run']
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.5.0"
__all__ = ["Classifier", "Model", "Regressor", "run"]

if TYPE_CHECKING:
    from bessemer.api import Model, run
    from bessemer.estimators import Classifier, Regressor


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used, so that `import bessemer` stays light."""
    if name in ("Classifier", "Regressor"):
        from bessemer import estimators

        return getattr(estimators, name)
    if name in __all__:
        from bessemer import api

        return getattr(api, name)
    raise AttributeError(f"module 'bessemer' has no attribute '{name}'")
