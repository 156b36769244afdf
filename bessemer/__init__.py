"""Bessemer: raw data in, a large model out: trained, measured, explained, audited, compressed and serving.

>>> import bessemer
>>> sorted(bessemer.__all__)
['Model', 'run']
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "run"]

if TYPE_CHECKING:
    from bessemer.api import Model, run


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used, so that `import bessemer` stays light."""
    if name in __all__:
        from bessemer import api

        return getattr(api, name)
    raise AttributeError(f"module 'bessemer' has no attribute '{name}'")
