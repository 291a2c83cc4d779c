"""A stream: samples go in, predictions come out.

    push(samples)  ->  Windower  ->  Engine  ->  softmax  ->  Prediction

The engine may be shared; everything that belongs to one stream of samples is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from time import perf_counter

from numpy.typing import ArrayLike

from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.window import Window, Windower


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one window."""

    label: str  # the most probable class
    probability: float  # its probability
    probabilities: tuple[float, ...]  # of every class, in the order of the manifest's labels
    start_s: float  # the window's span in the stream's own time
    end_s: float
    window_s: float  # seconds of computing: this push's share for checking, storing and cutting samples
    engine_s: float  # the graph
    decide_s: float  # from logits to this answer

    @property
    def compute_s(self) -> float:
        """Seconds of computing from push to prediction."""
        return self.window_s + self.engine_s + self.decide_s


def decide(
    labels: Sequence[str], logits: list[float], window: Window, *, window_s: float, engine_s: float
) -> Prediction:
    """From the logits of one window to what the model says of it.

    Args:
        labels: names of the classes.
        logits: one number per class.
        window: where they came from.
        window_s: seconds that cutting it took.
        engine_s: seconds that the graph took.
    """
    began = perf_counter()
    highest = max(logits)
    weights = [exp(logit - highest) for logit in logits]  # so few numbers are faster without NumPy
    total = sum(weights)
    probabilities = tuple([weight / total for weight in weights])
    best = logits.index(highest)
    return Prediction(
        labels[best],
        probabilities[best],
        probabilities,
        window.start_s,
        window.end_s,
        window_s,
        engine_s,
        perf_counter() - began,
    )


class Stream:
    """One stream of samples over one engine.

    Args:
        bundle: a verified bundle, or the path of one.
        engine: an engine that is shared with others; None opens one for this stream.

    Example:
        >>> stream = Stream("walk.bundle")                                            # doctest: +SKIP
        >>> for prediction in stream.push(samples): print(prediction.label)           # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle | str | Path, engine: Engine | None = None) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self._engine = engine or open_engine(self.bundle)  # first: it finds a manifest that speaks of other windows
        self._labels = self.bundle.manifest.labels
        self.windower = Windower(self.bundle.manifest.signal, self.bundle.manifest.window)

    def push(self, samples: ArrayLike, t: ArrayLike | None = None) -> list[Prediction]:
        """Take samples and return the predictions that became due.

        Cutting a stream into other pieces changes nothing in the predictions, bit for bit.

        Args:
            samples: shape (n, n_channels) for any n, in the units and order of the bundle's signal.
            t: shape (n,), seconds, on any clock that rises. None: the samples follow one another at the nominal
                rate. A step longer than 1.5 periods, or not forward, starts a new segment: no window spans it.

        Raises:
            InputError: wrong shape or dtype, or a value that is not finite. The stream is then as it was before.
        """
        began = perf_counter()
        windows = self.windower.push(samples, t)
        if not windows:
            return []
        window_s = (perf_counter() - began) / len(windows)
        return [self._predict(window, window_s) for window in windows]

    def _predict(self, window: Window, window_s: float) -> Prediction:
        began = perf_counter()
        logits = self._engine.run(window.samples[None])[0].tolist()
        return decide(self._labels, logits, window, window_s=window_s, engine_s=perf_counter() - began)

    def reset(self) -> None:
        """Forget the samples that wait for a window; the next one starts a new stream."""
        self.windower.reset()
