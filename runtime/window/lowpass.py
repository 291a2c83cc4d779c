"""A low-pass for sources that are faster than the model: nothing above the model's Nyquist rate is left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.window.pieces import Piece, Rows, joined, no_samples

DECIMATES = 1.25  # sources faster than the model by more than this are low-passed
_PERIODS = 5  # of the model's rate: half the length of the low-pass, and so its delay
_CUTOFF = 0.8  # of the model's Nyquist rate: where the low-pass lets half of the amplitude through
_LARGEST = float(np.finfo(np.float32).max)


class LowPass:
    """A linear-phase filter at the source's rate, for sources that are faster than the model.

    A windowed sinc of 10 periods of the model's rate (Hamming), -6 dB at 0.8 of the model's Nyquist rate; the same as
    `scipy.signal.firwin`. The rows keep their own times, they only come out later, by `delay_s`. Where a run of
    samples begins or ends, its first or last one is repeated.
    """

    def __init__(self, source_hz: float, rate_hz: float, n_channels: int) -> None:
        self._half = round(_PERIODS * source_hz / rate_hz)
        self.taps = _low_pass(self._half, _CUTOFF * rate_hz / source_hz)
        self.delay_s = self._half / source_hz
        self._nothing = no_samples(n_channels)
        self._begin()

    def _begin(self) -> None:
        self._rows = self._nothing.rows.astype(np.float64)  # those that later rows still need
        self._waiting = self._nothing  # samples whose filtered value is not known yet

    def push(self, piece: Piece) -> Piece:
        """Samples in, filtered ones out, as many as have all their neighbours."""
        if not len(self._waiting.t) and not len(self._rows):
            self._rows = np.repeat(piece.rows[:1].astype(np.float64), self._half, axis=0)
        return self._filtered(piece.rows, joined(self._waiting, piece))

    def drain(self) -> Piece:
        """The run of samples has ended: what is left of it."""
        if not len(self._waiting.t):
            return self._nothing
        rest = self._filtered(np.repeat(self._waiting.rows[-1:], self._half, axis=0), self._waiting)
        self._begin()
        return rest

    def _filtered(self, new: Rows, waiting: Piece) -> Piece:
        rows = np.concatenate([self._rows, new])
        n = max(len(rows) - 2 * self._half, 0)
        self._rows, self._waiting = rows[n:], waiting.part(n)
        sums = rows[self._half : self._half + n] * self.taps[self._half]
        for k in range(self._half):  # one tap at a time: a matrix product would round by the size of the chunk
            sums += self.taps[k] * (rows[k : k + n] + rows[2 * self._half - k : 2 * self._half - k + n])
        sums = sums.clip(-_LARGEST, _LARGEST)  # the filter overshoots
        return waiting.part(0, n)._replace(rows=sums.astype(np.float32))


def _low_pass(half: int, cutoff: float) -> NDArray[np.float64]:
    """Taps of a windowed sinc; the cutoff as a share of the Nyquist rate."""
    k = np.arange(-half, half + 1)
    taps = cutoff * np.sinc(cutoff * k) * np.hamming(2 * half + 1)
    scaled: NDArray[np.float64] = taps / taps.sum()
    return scaled
