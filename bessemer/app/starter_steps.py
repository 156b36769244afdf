"""Targets whose labels look like the steps of a scale: marks from 1 to 5, words from bad to good."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bessemer.data.inspect import Found

FEWEST, MOST = 3, 10
WORDS_ORDER = "steps of a scale? labels: [lowest, ..., highest] here says their order"
_STEPS = re.compile(
    r"(?i)(very|rather|quite|strongly|somewhat|extremely|neither|nor|slightly|most|more|less|least|not|at|all|and|or|of)"
    r"|low|lower|lowest|medium|middle|mid|high|higher|highest|small|large|tiny|huge|poor|fair|average|bad|worse|worst|ok|okay|good|better"
    r"|best|great|excellent|terrible|awful|never|rarely|seldom|sometimes|often|usually|always|weak|strong|none|mild|moderate|severe|critical"
    r"|minor|major|disagree|agree|neutral|undecided|negative|positive|unlikely|likely|satisfied|dissatisfied|unsatisfied|easy|hard|difficult"
    r"|非常|很|较|比较|特别|最|不|极|差|坏|一般|中|中等|好|低|高|小|大|满意|中立|同意|从不|有时|经常|总是|轻|重|度|负面|正面|消极|积极")


def steps_of(target: Found, modality: Mapping[str, Any] | None) -> str:
    """Return `numbers` or `words` where a category of a few labels looks like the steps of a scale, else nothing."""
    labels = [label for label in target.counts if label]
    if modality is None or modality["kind"] != "category" or not FEWEST <= len({label.casefold() for label in labels}) <= MOST:
        return ""
    if target.numeric and target.whole:
        return "numbers"
    parts = [[part for part in re.split(r"[\W_]+|(?<=[^\x00-\u2E7F])(?=[^\x00-\u2E7F])", label) if part] for label in labels]
    return "words" if all(each and (all(map(_STEPS.fullmatch, each)) or _STEPS.fullmatch("".join(each))) for each in parts) else ""


def ordinal_of(names: Sequence[str]) -> str:
    """Return the comment of a recipe that says how the order of targets is learnt."""
    from bessemer.app.starter_tables import flow

    task = flow({"kind": "supervised", "ordinal": list(names)})
    return f"    # task: {task}    # where labels are steps of a scale: a near miss costs less than a far one\n"
