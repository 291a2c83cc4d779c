"""Synthetic: a sensor that is not there, for tests and demonstrations, with the faults of real ones on request.

Each channel is a sine of its own between 0.5 and 3 Hz, with noise; channels in m/s^2 whose name ends in z stand on
gravity. What it sends depends on its arguments only: the same seed gives the same samples in any chunks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.sources.base import Batch, Paced, Stamps
from runtime.specs import Signal
from runtime.wire.url import Options

GRAVITY_M_S2 = 9.80665


@dataclass(frozen=True)
class Faults:
    """What is wrong with the sensor's clock and wire; nothing by default."""

    drift_ppm: float = 0.0  # its clock runs so much slow: more time passes between samples than it says
    jitter_s: float = 0.0  # standard deviation of each stamp
    gap_every_s: float | None = None  # from the start of one hole to the start of the next; None: no holes
    gap_s: float = 0.5  # length of a hole: samples in it are not sent


class Synthetic(Paced):
    """Yields samples for a signal.

    Args:
        signal: whose channels.
        rate_hz: samples per second; None: the signal's.
        seconds: how long; None: without end.
        seed: of noise and sines.
        faults: of clock and wire.
        realtime: as fast as a sensor; False: as fast as possible.
        chunk_samples: per batch.
        start_s: time of the first sample.
        sleep: what waits, for tests.

    Raises:
        InputError: modalities of several rates, or batches of less than one row.
    """

    def __init__(
        self,
        signal: Signal,
        *,
        rate_hz: float | None = None,
        seconds: float | None = None,
        seed: int = 0,
        faults: Faults | None = None,
        realtime: bool = True,
        chunk_samples: int = 16,
        start_s: float = 0.0,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(sleep)
        if not signal.is_even:
            raise InputError(
                "synthetic", expected="modalities of one rate", got="several", fix="Use another source for this bundle."
            )
        if chunk_samples < 1:
            raise InputError("chunk_samples", expected="at least 1", got=chunk_samples, fix="Give a number of rows.")
        self._rate_hz = rate_hz or signal.rate_hz
        self._total = None if seconds is None else round(seconds * self._rate_hz)
        self._faults, self._realtime, self._chunk, self._start_s = (
            faults or Faults(),
            realtime,
            chunk_samples,
            start_s,
        )
        random = np.random.default_rng(seed)
        n = len(signal.channel_names)
        self._hz, self._phase = random.uniform(0.5, 3.0, n), random.uniform(0, 2 * np.pi, n)
        self._base = np.array(
            [GRAVITY_M_S2 * (unit == "m/s^2" and name.endswith("z")) for name, unit in _columns(signal)]
        )
        self._noise, self._stamps_noise = np.random.default_rng((seed, 1)), np.random.default_rng((seed, 2))

    @classmethod
    def from_url(cls, rest: str, options: Options, signal: Signal) -> Synthetic:
        """A source from what follows the scheme of a URL.

        `synthetic?rate=50&seconds=60&seed=1&drift=100&jitter=0.002&gap_every=10&gap=0.5&fast`.

        Raises:
            InputError: more than options follows, or an option is unknown or out of its range.
        """
        if rest:
            raise InputError("synthetic", expected="options after a ?", got=rest, fix="Write synthetic?rate=50.")
        faults = Faults(
            drift_ppm=options.number("drift", 0.0, least=-1e6) or 0.0,
            jitter_s=options.number("jitter", 0.0) or 0.0,
            gap_every_s=options.number("gap_every"),
            gap_s=options.number("gap", 0.5) or 0.5,
        )
        rate_hz, seconds, seed = options.number("rate"), options.number("seconds"), options.whole("seed", 0, least=0)
        fast, chunk = options.flag("fast"), options.whole("chunk", 16)
        options.done()
        return cls(
            signal,
            rate_hz=rate_hz,
            seconds=seconds,
            seed=seed,
            faults=faults,
            realtime=not fast,
            chunk_samples=chunk,
        )

    @property
    def stamps(self) -> Stamps | None:
        """Times of measurement, with the jitter and the drift of `Faults`."""
        return "measured"

    @property
    def rate_hz(self) -> float | None:
        """Samples per second, as they were asked for."""
        return self._rate_hz

    def _batches(self) -> Iterator[Batch]:
        began, first = time.monotonic(), 0
        while not self._stopped.is_set() and (self._total is None or first < self._total):  # also in a long hole
            n = self._chunk if self._total is None else min(self._chunk, self._total - first)
            batch = self._chunk_of(first, n)
            first += n
            if self._realtime:
                self._sleep(max(0.0, began + first / self._rate_hz - time.monotonic()))
            if len(batch.samples):
                yield batch

    def _chunk_of(self, first: int, n: int) -> Batch:
        t = np.arange(first, first + n) / self._rate_hz * (1 + self._faults.drift_ppm * 1e-6)
        noise = self._noise.normal(0, 0.1, (n, len(self._hz)))
        samples = self._base + np.sin(2 * np.pi * self._hz * t[:, None] + self._phase) + noise
        stamps = self._start_s + t + self._faults.jitter_s * self._stamps_noise.normal(size=n)
        sent = self._is_sent(t)
        return Batch(samples[sent].astype(np.float32), stamps[sent])

    def _is_sent(self, t: NDArray[np.float64]) -> NDArray[np.bool_]:
        """A hole is at the end of each stretch of `gap_every_s`."""
        every_s = self._faults.gap_every_s
        if every_s is None:
            return np.ones(len(t), bool)
        sent: NDArray[np.bool_] = t % every_s < every_s - self._faults.gap_s
        return sent


def _columns(signal: Signal) -> list[tuple[str, str]]:
    return list(zip(signal.channel_names, signal.units, strict=True))
