"""Rows of a source, on their way to a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Rows of a source."""

    samples: NDArray[np.float32]  # shape (n, n_channels)
    t: NDArray[np.float64] | None = None  # shape (n,), seconds; None: no times
    labels: Sequence[str] | None = None  # n names, "" where unknown; None: no column of labels
