"""The system's refusals to write, as one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bessemer.core.artifact import explained
from bessemer.core.errors import UserError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_told_where_numpy_writes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^the disk that holds '.*' is full .*make room, or choose another place"), explained(tmp_path):
        np.zeros(100_000).tofile("/dev/full")


def test_another_refusal_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explained(tmp_path):
        np.load(tmp_path / "nothing.npy")
