"""What is tried next: Optuna's multi-objective TPE (Ozaki et al. 2022) over a small tree of choices, seeded, so that the same answers
lead to the same questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bessemer.core.quiet import quiet

Space = Mapping[str, Mapping[str, Sequence[Any]]]
"""Family -> its parameters -> their values."""
STARTUP = 8


class Proposer:
    """Proposes candidates of a space and learns from what they cost.

    Attributes:
        asked: how often it was asked.
    """

    def __init__(self, space: Space, seed: int, first: Sequence[Mapping[str, Any]] = ()) -> None:
        import optuna

        self.space, self.asked = space, 0
        with quiet():
            self._study = optuna.create_study(directions=["minimize"] * 3,
                                              sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP))
            for settings in first:
                self._study.enqueue_trial(_flat(settings, space))

    def ask(self) -> tuple[dict[str, Any], Any]:
        """Return the settings of a candidate (`family` and its parameters), and a ticket for `tell`."""
        self.asked += 1
        with quiet():
            trial = self._study.ask()
            family = trial.suggest_categorical("family", list(self.space))
            found = {"family": family}
            for name, values in self.space[str(family)].items():
                index = trial.suggest_categorical(f"{family}.{name}", list(range(len(values))))
                found[name] = values[int(index)]
        return found, trial

    def tell(self, ticket: Any, costs: Sequence[float] | None) -> None:
        """Tell what a candidate costs (drop, bytes, ms); None where it failed and nothing is known."""
        import optuna

        with quiet():
            if costs is None:
                self._study.tell(ticket, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(ticket, list(costs))


def _flat(settings: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return settings as the study names them: values by their place, so that any value can stand in a space."""
    family = settings["family"]
    return {"family": family, **{f"{family}.{name}": list(values).index(settings[name]) for name, values in space[family].items()}}
