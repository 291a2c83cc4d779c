"""The true label of a span of time: of a whole recording, or of the rows that a replay has just given."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.recording.checks import UNLABELLED

_MOST_ROWS = 1 << 17  # that are remembered: 22 minutes at 100 Hz, far more than a window


def code_between(
    labels: NDArray[np.int16],
    t: NDArray[np.float64] | None,
    start_s: float,
    end_s: float,
    rate_hz: float,
    *,
    rises: bool,
) -> int:
    """The one label of the samples in a span of time, or UNLABELLED where it is missing or mixed.

    Args:
        labels: shape (n,), of each sample.
        t: shape (n,), seconds; None: sample k lies at k / rate_hz.
        start_s: first instant.
        end_s: the instant after the last sample.
        rate_hz: samples per second.
        rises: whether t never falls.
    """
    if t is None:
        span = labels[max(round(start_s * rate_hz), 0) : max(round(end_s * rate_hz), 0)]
    elif rises:
        begin, end = (int(i) for i in np.searchsorted(t, (start_s, end_s - 0.5 / rate_hz)))
        span = labels[begin:end]
    else:
        span = labels[(t >= start_s) & (t < end_s - 0.5 / rate_hz)]
    return int(span[0]) if len(span) and (span == span[0]).all() else UNLABELLED


class _Part(NamedTuple):
    first: int  # number of its first row
    labels: NDArray[np.int16]  # shape (n,)
    t: NDArray[np.float64] | None  # shape (n,)


class RecentLabels:
    """Labels of the rows that were given last, as many as windows can need.

    Args:
        rate_hz: rows per second, where they have no times; about so many, where they have.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._parts: deque[_Part] = deque()
        self._code_of: dict[str, int] = {"": UNLABELLED}
        self._names: list[str] = []
        self._rows = 0
        self._rises, self._last_s = True, -np.inf

    def push(self, labels: Sequence[str], t: NDArray[np.float64] | None) -> None:
        """Remember rows.

        Args:
            labels: of each, "" where unknown.
            t: shape (n,), seconds; None: no times.
        """
        for name in labels:
            if name not in self._code_of:
                self._code_of[name] = len(self._names)
                self._names.append(name)
        codes = np.array([self._code_of[name] for name in labels], np.int16)
        if t is not None and len(t):
            self._rises &= bool(t[0] >= self._last_s and (t[1:] >= t[:-1]).all())
            self._last_s = float(t[-1])
        self._parts.append(_Part(self._rows, codes, t))
        self._rows += len(codes)
        while len(self._parts) > 1 and self._parts[1].first < self._rows - _MOST_ROWS:
            self._parts.popleft()

    def between(self, start_s: float, end_s: float) -> str | None:
        """The one label of a span of time, None where it is missing or mixed."""
        parts = [part for part in self._parts if self._touches(part, start_s, end_s)]
        if not parts:
            return None
        t = [part.t for part in parts if part.t is not None]
        shift_s = 0.0 if t else parts[0].first / self._rate_hz
        code = code_between(
            np.concatenate([part.labels for part in parts]),
            np.concatenate(t) if t else None,
            start_s - shift_s,
            end_s - shift_s,
            self._rate_hz,
            rises=self._rises,
        )
        return None if code == UNLABELLED else self._names[code]

    def _touches(self, part: _Part, start_s: float, end_s: float) -> bool:
        if part.t is None:
            first, end = round(start_s * self._rate_hz), round(end_s * self._rate_hz)
            return part.first < end and first < part.first + len(part.labels)
        return not self._rises or bool(len(part.t) and part.t[0] <= end_s and part.t[-1] >= start_s)
