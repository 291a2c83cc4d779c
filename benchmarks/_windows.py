"""Real windows in the shape that each encoder takes, cut from public data and parted by person.

    one sensor, 3 or 6 channels      HAPT: acceleration, angular rate, 50 Hz, six activities, 30 people
    an image                         the same, 5 s of acceleration, drawn by the runtime
    9 channels                       UCI HAR: both, and the acceleration of the body alone; the same people
    joints                           UTD-MHAD's skeleton, 30 Hz, 27 actions, 8 people; a short clip holds its last frame
    a sensor and joints              UTD-MHAD's wearable sensor and skeleton of the same clip
    depth images                     UTD-MHAD's depth, every second pixel of the middle: 27 clips of one person
    radar                            random numbers: there is no public archive of it here

Rates are those of the data, whatever the encoder's paper had: what counts here is whether two precisions agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Manifest
from runtime.recording import UNLABELLED, Recording
from sdk.datasets import dataset_info, iter_dataset, load_dataset

RANDOM = "random"
_ACTIVITIES = 6  # of HAPT's twelve; the others are short transitions
_DEPTH_WINDOWS = 2  # of a clip: even and odd frames
_SIDE = 112


@dataclass(frozen=True)
class Windows:
    """Some windows with their labels."""

    source: str
    samples: NDArray[np.float32]  # shape (n, *manifest.window_shape)
    labels: NDArray[np.int64]  # shape (n,)
    people: tuple[str, ...]
    label_names: tuple[str, ...]

    @property
    def is_real(self) -> bool:
        """Whether somebody moved."""
        return self.source != RANDOM

    def halves(self, n: int) -> tuple[Windows, Windows]:
        """Every second person's and the others', at most n of each in a random order; one person's: by window."""
        known = sorted(set(self.people))
        first = [known.index(person) % 2 == 0 for person in self.people]
        if len(known) == 1:
            first = [i % 2 == 0 for i in range(len(self.people))]
        order = np.random.default_rng(0).permutation(len(first))
        return self._some([i for i in order if first[i]][:n]), self._some([i for i in order if not first[i]][:n])

    def _some(self, rows: list[int]) -> Windows:
        return replace(
            self, samples=self.samples[rows], labels=self.labels[rows], people=tuple(self.people[i] for i in rows)
        )


def windows_of(name: str, manifest: Manifest, data: Path | None) -> Windows:
    """Windows for a registered encoder.

    Args:
        name: of the encoder.
        manifest: gives their shape.
        data: folder with the archives; None: random numbers.

    Raises:
        InputError: an archive is not there.
    """
    shape = manifest.window_shape
    if data is None or name == "cosmo-radar":
        samples = np.random.default_rng(0).normal(size=(32, *shape)).astype(np.float32)
        return Windows(RANDOM, samples, np.arange(32) % 3, tuple("ab" * 16), ("sitting", "walking", "running"))
    if name == "cosmo-depth":
        return _collected("utd_mhad_depth", _depth(data, shape[0]))
    if len(shape) == 1:
        lengths = [round(modality.rate_hz) for modality in manifest.signal.modalities]
        return _collected("utd_mhad", _pairs(data, lengths))
    if shape[1] == 60:
        return _collected("utd_mhad_skeleton", ((clip, _held(clip.samples, shape[0])) for clip in _clips(data)))
    source = "uci_har" if shape[1] == 9 else "hapt"
    return _collected(source, _cut(_loaded(source, data), *shape))


@cache
def _loaded(source: str, data: Path) -> list[Recording]:
    return load_dataset(source, data)


def _clips(data: Path) -> list[Recording]:
    return _loaded("utd_mhad_skeleton", data)


def _collected(source: str, pieces: Iterator[tuple[Recording, NDArray[np.float32]]]) -> Windows:
    samples, labels, people = [], [], []
    for recording, piece in pieces:
        assert recording.labels is not None
        samples.append(piece)
        labels.append(int(recording.labels[0]))
        people.append(recording.subject)
    return Windows(source, np.stack(samples), np.array(labels), tuple(people), dataset_info(source).labels)


def _cut(recordings: list[Recording], length: int, n_channels: int) -> Iterator[tuple[Recording, NDArray[np.float32]]]:
    """Windows that do not overlap, each of one activity; the recording that comes with one has its labels."""
    for recording in recordings:
        labels = recording.labels
        assert labels is not None
        for at in range(0, len(labels) - length + 1, length):
            span = labels[at : at + length]
            if span[0] != UNLABELLED and span[0] < _ACTIVITIES and (span == span[0]).all():
                whole = replace(recording, samples=recording.samples[at : at + length], labels=span, t=None)
                yield whole, whole.samples[:, :n_channels]


def _held(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The middle of a clip; a short one is held at its end."""
    start = max(0, (len(samples) - length) // 2)
    return samples[np.minimum(np.arange(start, start + length), len(samples) - 1)]


def _pairs(data: Path, lengths: list[int]) -> Iterator[tuple[Recording, NDArray[np.float32]]]:
    """The sensor's samples and then the frames of the same clip, as one row of numbers."""
    skeletons = {clip.name.partition("/")[2]: clip for clip in _clips(data)}
    for clip in _loaded("utd_mhad", data):
        other = skeletons.get(clip.name.partition("/")[2])
        if other is not None:
            parts = [_held(one.samples, length) for one, length in zip((clip, other), lengths, strict=True)]
            yield clip, np.concatenate([part.ravel() for part in parts])


def _depth(data: Path, length: int) -> Iterator[tuple[Recording, NDArray[np.float32]]]:
    for clip in iter_dataset("utd_mhad_depth", data):
        small = clip.samples.reshape(-1, 240, 320)[:, 8:232:2, 48:272:2].reshape(-1, _SIDE * _SIDE)
        assert clip.labels is not None
        for i in range(_DEPTH_WINDOWS):
            yield clip, _held(small[i::_DEPTH_WINDOWS], length)
