"""People, their windows as features, and what they say of them: rightly, in part, or wrongly.

right     few       1 window of each activity, at random        many      5
          spans     10 s of each activity                       first     5 of each, of its first recording
          twelve    12 windows at random
partly    one       30 s of one activity                        two, three
wrong     wrong     30 s of one activity, called another        swapped   10 s of each, two names exchanged
          mixed     10 s of each, and 10 s of one called another
          shifted   30 s of each, marked 10 s too early
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime import Bundle, Recording, labelled_windows, open_engine

RIGHT = ("few", "many", "spans", "first")
PARTLY = ("one", "two", "three")
WRONG = ("wrong", "swapped", "mixed", "shifted")
KINDS = (*RIGHT, *PARTLY, *WRONG, "twelve")
_LONG, _SHORT, _LATE = 22, 7, 8  # windows of 2.56 s, every 1.28 s: 30 s, 10 s, 10 s
_BLOCK = 8  # windows that go together to what was recorded without labels, or to what is scored on
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Person:
    """One person's windows, as a model that never saw them makes features of them."""

    name: str
    features: NDArray[np.float32]  # shape (n, n_features), recording after recording, in the order of time
    labels: Rows  # shape (n,)
    recording: Rows  # shape (n,)
    bouts: list[Rows]  # rows without a gap and of one activity

    @property
    def classes(self) -> Rows:
        """Those that the person does."""
        return np.unique(self.labels)


def person_of(name: str, bundle: Bundle, recordings: list[Recording], labels: tuple[str, ...]) -> Person:
    """Cut the recordings of one person and run the encoder once over them."""
    m = bundle.manifest
    cut = labelled_windows(recordings, m.signal, m.window, labels, m.clock)
    engine = open_engine(bundle)
    parts = [engine.run(cut.samples[i : i + 16], "features") for i in range(0, len(cut.samples), 16)]
    engine.close()
    none = np.zeros((0, m.features), np.float32)
    return ordered(name, np.concatenate([none, *parts]), cut.labels, cut.source, cut.start_s, 2.5 * m.hop_s)


def ordered(
    name: str, features: NDArray[np.float32], labels: Rows, recording: Rows, start_s: NDArray[np.float64], gap_s: float
) -> Person:
    """A person, the windows in the order of time and parted where an activity ends or a gap is."""
    order = np.lexsort((start_s, recording))
    features, labels, recording, start_s = features[order], labels[order], recording[order], start_s[order]
    ends = (np.diff(labels) != 0) | (np.diff(recording) != 0) | (np.diff(start_s) > gap_s)
    return Person(name, features, labels, recording, np.split(np.arange(len(labels)), np.flatnonzero(ends) + 1))


def kept_in(path: Path, make: Callable[[], Iterator[Person]]) -> list[Person]:
    """People out of a file; made and written if it is not there."""
    if not path.exists():
        arrays: dict[str, NDArray[np.generic]] = {}
        for one in make():
            bouts = np.repeat(np.arange(len(one.bouts)), [len(rows) for rows in one.bouts])
            arrays |= {f"{one.name}/features": one.features.astype(np.float16), f"{one.name}/labels": one.labels}
            arrays |= {f"{one.name}/recording": one.recording, f"{one.name}/bouts": bouts}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)  # type: ignore[arg-type]
    with np.load(path) as found:
        names = sorted({key.rpartition("/")[0] for key in found.files})
        people = []
        for name in names:
            features, labels, recording, bouts = (
                found[f"{name}/{part}"] for part in ("features", "labels", "recording", "bouts")
            )
            rows = np.split(np.arange(len(bouts)), np.flatnonzero(np.diff(bouts)) + 1)
            people.append(Person(name, features.astype(np.float32), labels, recording, rows))
    return people


def answers(person: Person, kind: str, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows of a person's windows, in the order of time, and what the person says of them."""
    some = person.classes
    if kind == "twelve":
        rows = np.sort(rng.permutation(len(person.labels))[:12])
        return rows, person.labels[rows].copy()
    if kind in ("few", "many", "first"):
        drawn = [_drawn(person, label, 1 if kind == "few" else 5, kind == "first", rng) for label in some]
        rows = np.sort(np.concatenate(drawn))
        return rows, person.labels[rows].copy()
    if kind in PARTLY:
        chosen = rng.choice(some, 1 + PARTLY.index(kind), replace=False)
        rows = np.sort(np.concatenate([_span(person, label, _LONG, rng) for label in chosen]))
        return rows, person.labels[rows].copy()
    one, other = rng.choice(some, 2, replace=False)
    if kind == "wrong":
        rows = _span(person, one, _LONG, rng)
        return rows, np.full(len(rows), other)
    if kind == "shifted":
        return _shifted(person, rng)
    rows = np.unique(np.concatenate([_span(person, label, _SHORT, rng) for label in some]))
    said = person.labels[rows].copy()
    if kind == "swapped":
        said = np.where(said == one, other, np.where(said == other, one, said))
    if kind == "mixed":
        extra = np.setdiff1d(_span(person, one, _SHORT, rng), rows)
        rows, said = np.concatenate([rows, extra]), np.concatenate([said, np.full(len(extra), other)])
        rows, said = rows[np.argsort(rows)], said[np.argsort(rows)]
    return rows, said


def _drawn(person: Person, label: int, n: int, first: bool, rng: np.random.Generator) -> Rows:
    rows = np.flatnonzero(person.labels == label)
    if first:
        rows = rows[person.recording[rows] == person.recording[rows].min()]
    return rng.permutation(rows)[:n]


def _span(person: Person, label: int, n: int, rng: np.random.Generator) -> Rows:
    """At most n windows of one bout."""
    bouts = [rows for rows in person.bouts if person.labels[rows[0]] == label]
    rows = bouts[rng.integers(len(bouts))]
    begin = rng.integers(len(rows) - n + 1) if len(rows) > n else 0
    return rows[begin : begin + n]


def _shifted(person: Person, rng: np.random.Generator) -> tuple[Rows, Rows]:
    said: dict[int, int] = {}
    for label in person.classes:
        late = _span(person, label, _LONG, rng) + _LATE
        said |= {int(row): int(label) for row in late[late < len(person.labels)]}
    rows = np.array(sorted(said))
    return rows, np.array([said[row] for row in rows])


def parted(person: Person, rows: Rows) -> tuple[Rows, Rows]:
    """Of the windows that share no sample with the labelled ones: those to be recorded, and those to score on."""
    near = np.isin(np.arange(len(person.labels)), np.concatenate([rows - 1, rows, rows + 1]))
    even = np.arange(len(near)) // _BLOCK % 2 == 0
    return np.flatnonzero(~near & even), np.flatnonzero(~near & ~even)
