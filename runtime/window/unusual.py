"""How unlike the training data a stream is: the median distance of the latest windows in which somebody moves.

    features of a moving window -> distance to the nearest class, 1 where 5 % of the training windows are farther
                                -> median of the latest 60

One window says little, and one without motion less; sixty of them tell another placement from another person.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median

import numpy as np
from numpy.typing import NDArray

WINDOWS, LEAST = 60, 20  # in the median; so many before there is one


class Unusual:
    """The median distance of one stream.

    Args:
        distance: of features of shape (n_features,), such as `Reference.distance`.
    """

    def __init__(self, distance: Callable[[NDArray[np.float32]], float]) -> None:
        self._distance = distance
        self.reset()

    def reset(self) -> None:
        """Forget the windows so far."""
        self._latest = deque[float](maxlen=WINDOWS)
        self.value: float | None = None  # None until 20 moving windows were seen

    def add(self, features: NDArray[np.float32]) -> None:
        """Take the features of one window in which somebody moves, shape (n_features,)."""
        self._latest.append(self._distance(features))
        if len(self._latest) >= LEAST:
            self.value = median(self._latest)
