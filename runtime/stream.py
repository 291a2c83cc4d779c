"""A stream: samples go in, predictions come out.

    push(samples)  ->  Windower  ->  (RollingSpectrogram)  ->  Engine  ->  softmax  ->  Prediction

The spectrogram is there for models that look at images which the runtime draws.

The engine may be shared; everything that belongs to one stream of samples is here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import exp, isfinite
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.bundle import Bundle
from runtime.bundle.reference import MEDIAN, Reference, open_reference
from runtime.engine import Engine, open_engine
from runtime.specs import ClockSpec
from runtime.spectrogram import RollingSpectrogram
from runtime.window import Counters, Quality, Window, Windower
from runtime.window.check import check_same, widened_by
from runtime.window.sensor import Expected
from runtime.window.unusual import Unusual
from runtime.window.watch import Watch


class Prediction(NamedTuple):
    """What the model says of one window."""

    label: str  # the most probable class
    probability: float  # its probability
    probabilities: tuple[float, ...]  # of every class, in the order of the manifest's labels
    start_s: float  # the window's span in the stream's own time
    end_s: float
    quality: Quality  # how much of the window was measured, and how even the clock was
    window_s: float  # seconds of computing: this push's share for checking, storing and cutting, and the front-end
    engine_s: float  # the graph
    decide_s: float  # from logits to this answer
    unusual: float | None = None  # as of `Stream.unusual`, this window included

    def __repr__(self) -> str:
        return f"Prediction({self.label[:60]!r}, {self.probability:.3f}, {self.start_s:g} to {self.end_s:g} s)"

    @property
    def compute_s(self) -> float:
        """Seconds of computing from push to prediction."""
        return self.window_s + self.engine_s + self.decide_s

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "quality": self.quality._asdict()}


class Stream:
    """One stream of samples over one engine.

    Args:
        bundle: a verified bundle, or the path of one.
        engine: an engine that is shared with others; None opens one for this stream.
        clock: what is done about gaps and about time stamps that are late or uneven; None: as the manifest says.
        source_hz: samples per second of the source, one number or one per modality. None: measured by its time stamps;
            without any, the rate of the signal.
        units: of the samples, where they are not the bundle's: "g,deg/s" in the order of the modalities, or by their
            names, {"gyro": "deg/s"}. They become what a file becomes of which the same is said (docs/files.md).
        axes: the bundle's x, y, z, made of the sensor's: "y,-x,z", or a matrix of shape (3, 3).
        without: modalities of the bundle that the source does not have, "gyro": it gives the columns of the others, and
            the model sees zeros. Each window says so in `quality.frozen`. How well that goes is for the bundle's
            training to have seen to (docs/accuracy.md).

    Raises:
        InputError: units or axes that make no sense; a sensor that the bundle does not have or cannot do without.

    Example:
        >>> stream = Stream("walk.bundle")                                            # doctest: +SKIP
        >>> for prediction in stream.push(samples): print(prediction.label)           # doctest: +SKIP
    """

    _keep: Callable[[Prediction, Window], object] | None = None  # called with each prediction and its window
    _widened: Callable[[ArrayLike, str | None], NDArray[Any]] | None = None  # zeros for what does not come

    def __init__(
        self,
        bundle: Bundle | str | Path,
        engine: Engine | None = None,
        *,
        clock: ClockSpec | None = None,
        source_hz: float | Mapping[str, float] | None = None,
        units: str | Mapping[str, str] | None = None,
        axes: str | ArrayLike | None = None,
        without: str | Sequence[str] = (),
    ) -> None:
        bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        engine = engine or open_engine(bundle)  # first: it finds a manifest that speaks of other windows
        manifest = bundle.manifest
        silent = tuple(without.split(",")) if isinstance(without, str) else tuple(without)
        if silent:
            self._widened = widened_by(manifest.signal, silent, manifest.frame)
        self.windower = Windower(
            manifest.signal,
            manifest.window,
            clock or manifest.clock,
            source_hz,
            ranges=manifest.ranges,
            views=True,
            units=units,
            axes=axes,
        )
        self._spectrogram = RollingSpectrogram(manifest) if manifest.input_name == "images" else None
        reference = open_reference(bundle)
        self._watch = watch_of(bundle, reference, silent)
        self._take_up(bundle, engine, reference)

    def _take_up(self, bundle: Bundle, engine: Engine, reference: Reference | None) -> None:
        known = reference is not None and not bundle.personal_tensors.keys() - set(_head(bundle))
        self.bundle, self._engine, self._labels = bundle, engine, bundle.manifest.labels
        self._unusual = Unusual(reference.distance) if reference is not None and known else None

    def use(self, bundle: Bundle | str | Path, engine: Engine | None = None) -> None:
        """Go on with another model from the next window on; samples that wait, times, counters and warnings stay.

        What is said then is, bit for bit, what a stream that always had this model says of the same windows, but for
        `unusual`, which begins anew. Labels may be others: whoever counts by them (`EventTracker`) begins anew, too.
        What is done about gaps, and how far from 0 a sample is saturated, stays as it was.

        Args:
            bundle: another version or another bundle, of the same signal, window and images; or its path.
            engine: of that bundle; None opens one. The one before is not closed, as others may share it.

        Raises:
            InputError: another signal, window or image. The stream is then as it was.
        """
        bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        check_alike(self.bundle, bundle)
        self._take_up(bundle, engine or open_engine(bundle), open_reference(bundle))

    def __repr__(self) -> str:
        told = f"{self.bundle.path.name[:60]!r}, version {self.bundle.version}, {self.counters.windows} windows"
        return f"{type(self).__name__}({told})"

    @property
    def counters(self) -> Counters:
        """What became of the samples so far; the live object, for reading."""
        return self.windower.counters

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence on each way in which the samples cannot be what the bundle says: another unit, a dead axis, ...

        The windows themselves say it in `quality.frozen` and `quality.implausible`; docs/streaming.md has the rules.
        """
        return self._watch.warnings

    @property
    def unusual(self) -> float | None:
        """How far the latest 60 moving windows that were looked at are from the training data, by their median.

        1: as far as the farthest 5 % of the training windows. None: too few have come, or nobody knows, since the
        bundle says nothing of its training data or the version in use has another encoder.
        """
        return None if self._unusual is None else self._unusual.value

    @property
    def delay_s(self) -> float:
        """Seconds that samples are held back before they can be part of a window."""
        return self.windower.delay_s

    def push(self, samples: ArrayLike, t: ArrayLike | None = None, modality: str | None = None) -> list[Prediction]:
        """Take samples and return the predictions that became due.

        Cutting a stream into other pieces changes nothing in the predictions, bit for bit. Whatever the samples and
        their times are like, nothing is raised for it: what was missing, late or uneven is in each prediction's
        `quality` and in `counters`. A window for which the model's numbers are none gives no prediction: it is counted,
        in `counters.windows_not_finite`.

        Args:
            samples: shape (n, n_channels) for any n, in the order of the bundle's signal and in its units or those
                that the stream was told, or only those of one modality. A row with a NaN counts as missing.
            t: shape (n,), when each was measured, on any clock. None: they follow one another at the source's rate.
            modality: whose samples these are, where each modality has a clock of its own.

        Raises:
            InputError: wrong shape or dtype, or another way of pushing than before. The stream is then as it was.
        """
        began = perf_counter()
        if self._widened is not None:
            samples = self._widened(samples, modality)
        windows = self.windower.take(samples, t, modality)
        if isinstance(windows, list):
            return self._predict(windows, began) if windows else []
        predictions = []
        try:
            for window in windows:
                predictions += self._predict([window], began)
                began = perf_counter()
        finally:  # what raises leaves no samples behind
            deque(windows, 0)
        return predictions

    def flush(self, pad: Literal["hold", "zero"] | None = None) -> list[Prediction]:
        """End the stream: predictions of what is still held back. The next sample begins a new one.

        Args:
            pad: None drops the rows that do not fill a window; hold, zero: the window is filled up with its last row,
                or with zeros, and its quality says how many rows that are.
        """
        began = perf_counter()
        return self._predict(self.windower.flush(pad), began)

    def reset(self) -> None:
        """Forget the samples that wait for a window, and the counters; the next sample starts a new stream."""
        self.windower.reset()
        self._watch.reset()
        if self._unusual is not None:
            self._unusual.reset()
        if self._spectrogram is not None:
            self._spectrogram.reset()

    def _predict(self, windows: list[Window], began: float) -> list[Prediction]:
        predictions = []
        now = perf_counter()
        window_s = share_s = (now - began) / max(len(windows), 1)
        look, counters = self._watch.look, self.windower.counters
        for window in windows:
            window = look(window, counters)
            samples = window.samples
            if self._spectrogram is not None:
                samples, began = self._spectrogram.push(samples, window.row), now
                now = perf_counter()
                window_s = share_s + now - began
            logits = self._engine.logits(samples)
            ran = perf_counter()
            unusual = self._unusual
            if unusual is not None and self._watch.moves:
                unusual.add(self._features(samples))
            far = None if unusual is None else unusual.value
            prediction = decide(self._labels, logits, window, window_s, ran - now, ran, far)
            if prediction is None:
                self.windower.counters.windows_not_finite += 1
                now = perf_counter()
                continue
            now = ran + prediction.decide_s
            predictions.append(prediction)
            if self._keep is not None:
                self._keep(prediction, window)
        return predictions

    def _features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the window that has just been predicted; an engine that does not keep them runs once more."""
        kept: NDArray[np.float32] | None = getattr(self._engine, "last_features", None)
        return self._engine.run(samples[None], "features")[0] if kept is None else kept


def watch_of(bundle: Bundle, reference: Reference | None, silent: tuple[str, ...] = ()) -> Watch:
    """A watch over the windows of one stream of a bundle.

    Args:
        bundle: whose signal and window they have.
        reference: what its training data were like; None: nobody knows.
        silent: modalities of which it is known that they do not come.
    """
    expected = None
    if reference is not None:
        rms, largest = reference.rms, abs(reference.quantiles).max(1)
        levels = (reference.rest, rms[:, MEDIAN], rms[:, -1], largest)
        expected = Expected(*[tuple(level.tolist()) for level in levels])
    return Watch(bundle.manifest.signal, bundle.manifest.window, expected, silent)


def check_alike(used: Bundle, other: Bundle) -> None:
    """Refuse a bundle that cannot take another one's place while samples wait.

    Raises:
        InputError: names what differs.
    """
    before, now = (
        {
            "signal": m.signal,
            "window": m.window,
            "frame": m.frame,
            "images": (m.spectrogram, m.spectrogram and m.normalise),
        }
        for m in (used.manifest, other.manifest)
    )
    check_same(other.path.name, before, now)


def _head(bundle: Bundle) -> tuple[str, str]:
    return bundle.manifest.head.weight, bundle.manifest.head.bias


def decide(
    labels: Sequence[str],
    logits: list[float],
    window: Window,
    window_s: float,
    engine_s: float,
    began: float,
    unusual: float | None = None,
) -> Prediction | None:
    """From the logits of one window to what the model says of it; None where one of them is no finite number.

    Args:
        labels: names of the classes.
        logits: one number per class.
        window: where they came from.
        window_s: seconds that cutting it took.
        engine_s: seconds that the graph took.
        began: when the deciding did, by `perf_counter`.
        unusual: as of `Stream.unusual`.
    """
    if not isfinite(sum(logits)):  # of float32, which cannot overflow here: the sum is as finite as all of them
        return None
    highest = max(logits)
    weights = [exp(logit - highest) for logit in logits]  # so few numbers are faster without NumPy
    scale = 1 / sum(weights)
    probabilities = tuple([weight * scale for weight in weights])
    best = logits.index(highest)
    return Prediction(
        labels[best],
        probabilities[best],
        probabilities,
        window.start_s,
        window.end_s,
        window.quality,
        window_s,
        engine_s,
        perf_counter() - began,
        unusual,
    )
