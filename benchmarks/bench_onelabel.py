"""One label per activity: other people's windows without labels are named by it, and a student of one sensor learns.

The setting of MESEN (Cosmo's too): HAPT's raw recordings, windows of 6 s inside each labelled stretch; 24 people are a
pool with both sensors, of which one window per activity has a label; six people whom nothing saw are scored, by one
sensor at a time. All by the product's own functions:

    windows -> hand-made features of both sensors -> space whitened by time, from the pool's whole recordings
            -> graph -> labels spread, each class given the same mass -> what each person differs by is taken off, once
            -> spread again -> the pool's windows, named -> a linear head on the features of one sensor

Beside it the head that knows the labels alone, and the one that knows all of the pool's. Three splits of people (25 to
30, 1 to 6, 13 to 18 are scored) and 20 draws of labels; accuracy: mean, deviation and worst over splits x draws, n.
Needs --data; --quick: one split and two draws.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks._bench import Options, Result
from runtime import Recording
from runtime.errors import InputError
from sdk.datasets import load_dataset
from sdk.features import hand_features
from sdk.finetune.crowd import name_crowd
from sdk.finetune.head import fit_head
from sdk.finetune.space import fit_space
from sdk.finetune.spread import Floats

LABELS = ("walking", "upstairs", "downstairs", "sitting", "standing", "laying")
UNSEEN = ((25, 31), (1, 7), (13, 19))  # people who are scored, from and to
N_DRAWS = 20
BARS = {"acc": 0.85, "gyro": 0.79}
_LENGTH, _HOP = 300, 150  # samples of a window; from window to window of a whole recording
_RATE_HZ = 50.0
_APART_S = 1e5  # between recordings
_L2 = 0.001
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """Windows of some people."""

    windows: NDArray[np.float32]  # shape (n, 300, 6)
    labels: Rows  # shape (n,)
    people: Rows  # shape (n,)
    stream: NDArray[np.float32]  # shape (m, 300, 6), of whole recordings, labelled or not
    stream_s: Floats  # shape (m,), when each began
    stream_people: Rows


def run(options: Options) -> Result:
    """All splits and draws."""
    if options.data is None:
        raise InputError("--data", expected="a folder with the archives", got="nothing", fix="Name it.")
    result, found = Result("onelabel"), defaultdict[str, list[float]](list)
    cut = _cut(load_dataset("hapt", options.data))
    for first, last in UNSEEN[:1] if options.quick else UNSEEN:
        unseen = range(first, last)
        for row, value in _split(cut, unseen, 2 if options.quick else N_DRAWS):
            found[row].append(value)
        print(f"people {first} to {last - 1}", file=sys.stderr)
    for row, values in found.items():
        result.figures[row] = float(np.mean(values)), float(np.std(values)), min(values), len(values)
    if not options.quick:
        result.checks |= {f"{s}_{bar:g}": result.figures[f"{s}: one label"][0] >= bar for s, bar in BARS.items()}
    return result


def _cut(recordings: list[Recording]) -> Cut:
    windows, labels, people, stream, stream_s, owners = [], [], [], [], [], []
    for i, one in enumerate(recordings):
        assert one.labels is not None
        person, samples = int(one.subject), one.samples[:, :6]
        for at in range(0, len(samples) - _LENGTH + 1, _HOP):
            stream.append(samples[at : at + _LENGTH])
            stream_s.append(i * _APART_S + at / _RATE_HZ)
            owners.append(person)
        edges = [0, *(np.flatnonzero(np.diff(one.labels)) + 1).tolist(), len(samples)]
        for begin, end in pairwise(edges):
            name = one.label_names[one.labels[begin]] if one.labels[begin] >= 0 else ""
            for at in range(begin, end - _LENGTH + 1, _LENGTH) if name in LABELS else ():
                windows.append(samples[at : at + _LENGTH])
                labels.append(LABELS.index(name))
                people.append(person)
    both = np.stack(windows).astype(np.float32), np.stack(stream).astype(np.float32)
    return Cut(both[0], np.array(labels), np.array(people), both[1], np.array(stream_s), np.array(owners))


def _split(cut: Cut, unseen: range, n_draws: int) -> Iterator[tuple[str, float]]:
    """What each row of the table comes to, draw by draw."""
    pool, scored = ~np.isin(cut.people, unseen), np.isin(cut.people, unseen)
    own = ~np.isin(cut.stream_people, unseen)
    mean, std = (part.astype(np.float32) for part in (cut.stream[own].mean((0, 1)), cut.stream[own].std((0, 1))))
    features, stream = (hand_features((part - mean) / std) for part in (cut.windows, cut.stream[own]))
    places = fit_space(stream, cut.stream_s[own])(features[pool])
    truth, people = cut.labels[pool], cut.people[pool]
    half = features.shape[1] // 2
    sensors = {"acc": features[:, :half], "gyro": features[:, half:]}
    students = {name: _Student(part[pool], part[scored], cut.labels[scored]) for name, part in sensors.items()}
    for name, student in students.items():
        yield f"{name}: all labels", student.score(np.arange(len(truth)), truth)
    for draw in range(n_draws):
        rng = np.random.default_rng(draw)
        rows = np.array([rng.choice(np.flatnonzero(truth == label)) for label in range(len(LABELS))])
        named = _named(places, people, rows)
        yield "pool", float(np.mean(named == truth))
        for name, student in students.items():
            yield f"{name}: one label", student.score(np.arange(len(truth)), named)
            yield f"{name}: one label, no pool", student.score(rows, truth[rows])


@dataclass(frozen=True)
class _Student:
    """Features of one sensor: of the pool, and of people whom nothing saw."""

    pool: NDArray[np.float32]
    unseen: NDArray[np.float32]
    truth: Rows

    def score(self, rows: Rows, labels: Rows) -> float:
        """Accuracy on unseen people of a head that knows labels of some rows of the pool."""
        mean, std = self.pool.mean(axis=0), self.pool.std(axis=0) + 1e-6
        first, later = (self.pool[rows] - mean) / std, (self.unseen - mean) / std
        n = len(LABELS)
        zeros = np.zeros((n, first.shape[1]), np.float32), np.zeros(n, np.float32)
        head = fit_head(first, labels, weight=zeros[0], bias=zeros[1], l2=_L2)
        return float(np.mean((later @ head.weight.T + head.bias).argmax(axis=1) == self.truth))


def _named(places: NDArray[np.float32], people: Rows, rows: Rows) -> Rows:
    """What each window of the pool is called."""
    seeds = np.zeros((len(places), len(LABELS)))
    seeds[rows, np.arange(len(rows))] = 1
    return name_crowd(places, people, seeds)
