"""Windows of recordings: what a stream would give that is fed the whole of one, with the true labels beside them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.recording import Recording
from runtime.recording.sensors import by_modality
from runtime.specs import ClockSpec, Signal, WindowSpec
from runtime.window.pieces import Window
from runtime.window.windower import Windower

_CHUNK = 16  # rows of a recording of several clocks that are pushed at once: none may run far ahead of another


class LabelledWindows(NamedTuple):
    """Windows of recordings with their true labels, ready for training or scoring."""

    samples: NDArray[np.float32]  # shape (n, length_samples, n_channels)
    labels: NDArray[np.int64]  # shape (n,), index into the label names asked for
    start_s: NDArray[np.float64]  # shape (n,)
    source: NDArray[np.int64]  # shape (n,), which recording each came from


def cut_windows(
    recording: Recording, signal: Signal, window: WindowSpec, clock: ClockSpec | None = None
) -> list[Window]:
    """All windows of a recording: what a `Windower` gives that is fed the whole of it, or a stream that plays it.

    Where it has times they tell its rate, as those of a stream do; `Recording.rate_hz` is that of one without. What the
    recording knows of its stamps wins over the clock; of one with a file per sensor, each has a clock of its own.
    """
    fitted = recording.fit(signal)
    rate_hz = recording.rate_hz if fitted.t is None else None
    windower, windows = Windower(signal, window, fitted.clock(clock), rate_hz), list[Window]()
    if fitted.t is None or not fitted.by_modality:
        return windower.push(fitted.samples, fitted.t) + windower.flush()
    for begin in range(0, len(fitted.t), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        for part in by_modality(fitted.samples[rows], fitted.t[rows], signal):
            windows += windower.push(*part)
    return windows + windower.flush()


def label_of(recording: Recording, start_s: float, end_s: float) -> str | None:
    """The one true label of a span of time, or None where labels are missing or mixed.

    Args:
        recording: with labels, otherwise the answer is None.
        start_s: first instant, in the recording's own time.
        end_s: the instant after the last sample.
    """
    return recording.label_between(start_s, end_s)


def labelled_windows(
    recordings: list[Recording],
    signal: Signal,
    window: WindowSpec,
    labels: tuple[str, ...],
    clock: ClockSpec | None = None,
) -> LabelledWindows:
    """Cut recordings and keep the windows whose samples all have one of the given labels.

    Args:
        recordings: of any people; each is cut by itself.
        signal: columns and rate to cut to.
        window: length and hop.
        labels: names in the order of the model's classes; windows of other labels are left out.
        clock: what is done about gaps and uneven time stamps; None: the default.
    """
    index = {name: i for i, name in enumerate(labels)}
    samples, classes, starts, sources = [], [], [], []
    for source, recording in enumerate(recordings):
        for cut in cut_windows(recording, signal, window, clock):
            name = label_of(recording, cut.start_s, cut.end_s)
            if name in index:
                samples.append(cut.samples)
                classes.append(index[name])
                starts.append(cut.start_s)
                sources.append(source)
    shape = (window.length_samples, len(signal.channel_names))
    return LabelledWindows(
        np.stack(samples) if samples else np.zeros((0, *shape), np.float32),
        np.array(classes, np.int64),
        np.array(starts, np.float64),
        np.array(sources, np.int64),
    )
