"""Recordings that gave no window, and why: what a training or an adaptation leaves out is said in words.

217 of 446 recordings gave no window, because 214 have time stamps that repeat or leave gaps (the clock arrival evens
them out, the clock hold bridges them), 3 are shorter than a window of 2.56 s
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from runtime.recording import UNLABELLED, Recording
from runtime.specs import ClockSpec, Signal, WindowSpec
from runtime.window import cut_windows

TOLD = 0.1  # of the steps: where more of them repeat or leave gaps, they are why there is no window
_GAP = 1.5  # periods; a longer step is a gap
CURE = "the clock arrival evens them out, the clock hold bridges them"


def why_no_window(
    recording: Recording,
    signal: Signal,
    window: WindowSpec,
    clock: ClockSpec | None = None,
    labels: Sequence[str] | None = None,
) -> str:
    """Why nothing can be cut from a recording, as the end of "... gave no window, because N".

    Args:
        recording: one that gave none.
        signal: columns and rate to cut to.
        window: length and hop.
        clock: what is done about gaps and uneven time stamps; None: the default.
        labels: those that a window may have; None: it need not have one.
    """
    length_s = window.length_samples / signal.rate_hz
    if labels is not None and not _has_label(recording, labels):
        return "have no sample with one of the labels"
    if recording.duration_s < length_s:
        return f"are shorter than a window of {length_s:g} s"
    there = np.isfinite(recording.fit(signal).samples)
    missing = ~(there.any(axis=1) if recording.by_modality else there.all(axis=1))
    if missing.mean() > TOLD:
        return "have samples that are missing (a sensor that failed)"
    if cut_windows(recording, signal, window, clock):
        return "have no window that lies wholly in one label"
    if uneven(recording) > TOLD:
        return f"have time stamps that repeat or leave gaps ({CURE})"
    return f"have no {length_s:g} s without a gap"


def uneven(recording: Recording) -> float:
    """The share of the steps between time stamps that repeat, go back or leave a gap; 0 without time stamps."""
    if recording.t is None or len(recording.t) < 2:
        return 0.0
    steps = np.diff(recording.t)
    return float(np.mean((steps <= 0) | (steps > _GAP / recording.rate_hz)))


def told(reasons: Mapping[str, int], n_recordings: int, cure: Callable[[str], str] = str) -> str:
    """One line on all that gave none; empty where there is none.

    Args:
        reasons: how many recordings gave none, by the reason.
        n_recordings: all of them.
        cure: what to make of a reason, such as naming an option.
    """
    if not reasons:
        return ""
    parts = [f"{n} {cure(reason)}" for reason, n in sorted(reasons.items(), key=lambda entry: -entry[1])]
    return f"{sum(reasons.values())} of {n_recordings} recordings gave no window, because {', '.join(parts)}"


def _has_label(recording: Recording, labels: Sequence[str]) -> bool:
    if recording.labels is None:
        return False
    present = np.unique(recording.labels)
    return any(recording.label_names[int(i)] in labels for i in present if i != UNLABELLED)
