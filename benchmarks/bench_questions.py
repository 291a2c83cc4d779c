"""Questions and days without labels: the first session's answers, scored on later sessions of people never seen.

For each person the windows of the first session are a pool without labels; a budget of answers is bought by questions
(`sdk.finetune.questions`, asked in rounds) or spent on windows at random, or on one window per activity, which needs to
know them beforehand. A wearer answers truly, or names another activity 5 or 10 times of 100; windows in which something
begins or ends cannot be answered. Then a head is fitted to the answers alone, or to labels that were spread over the
pool, on the features of the shipped bundle and on hand-made ones. Everything is scored on the later sessions: macro-F1,
mean, median and worst over people, and how many these are. Last, the shipped bundle is adapted as on a device, its
acceptance included.

Needs --data; --only names data sets. MotionSense: the four people that the shipped bundle has never seen.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._bench import ROOT, Options, Result
from runtime import Bundle, Recording, labelled_windows
from runtime.engine import open_engine
from runtime.errors import InputError
from runtime.window import cut_windows
from runtime.window.cut import label_of
from sdk.datasets import iter_dataset
from sdk.features import hand_features
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from sdk.finetune.days import _directions
from sdk.finetune.head import fit_head
from sdk.finetune.pool import Days
from sdk.finetune.questions import next_questions, rounds
from sdk.finetune.teach import MOST_TAUGHT, Pool, evenly, named
from sdk.scores import score

BUNDLE = ROOT / "sdk" / "demo" / "data" / "walk.bundle"
BUDGETS = (4, 8, 12, 20, 40)
WRONG = (0.05, 0.1)
N_DRAWS = 1
LABELS = {
    "hapt": ("walking", "upstairs", "downstairs", "sitting", "standing", "laying"),
    "motionsense": ("downstairs", "upstairs", "walking", "jogging", "sitting", "standing"),
    "wisdm_2019": ("walking", "jogging", "stairs", "sitting", "standing"),
}
UNSEEN = {"motionsense": ("6", "12", "18", "24")}
_BETWEEN_S = 60.0  # from one recording of a session to the next
Scores = dict[str, dict[str, list[float]]]  # row -> person -> macro-F1 of each draw


@dataclass(frozen=True)
class Person:
    """A first session, all of it, and the labelled windows of later ones."""

    name: str
    windows: NDArray[np.float32]
    start_s: NDArray[np.float64]
    labels: NDArray[np.int64]  # -1: something begins or ends, or is none of the activities
    later: NDArray[np.float32]
    truth: NDArray[np.int64]


def run(options: Options) -> Result:
    """All data sets; --quick takes two people of HAPT and one draw."""
    if options.data is None:
        raise InputError("--data", expected="a folder with the archives", got="nothing", fix="Name it.")
    result = Result("questions")
    for name in options.only or (("hapt",) if options.quick else tuple(LABELS)):
        scores: Scores = defaultdict(lambda: defaultdict(list))
        people = [*_people(name, options.data)]
        for person in people[:2] if options.quick else people:
            _measure(person, LABELS[name], scores, 1 if options.quick else N_DRAWS)
            print(f"{name} {person.name}", file=sys.stderr)
        for row, by_person in scores.items():
            means = [float(np.mean(values)) for values in by_person.values()]
            found = {"mean": np.mean(means), "median": np.median(means), "worst": min(means), "people": len(means)}
            result.figures[f"{name}: {row}"] = tuple(float(v) for v in found.values())
    return result


def _people(name: str, data: Path) -> Iterator[Person]:
    """Everybody with a later session, or, where a recording is one activity, with a second recording or half of it."""
    manifest = Bundle.open(BUNDLE, "base").manifest
    own: dict[str, list[Recording]] = defaultdict(list)
    for recording in iter_dataset(name, data):
        if recording.subject in UNSEEN.get(name, (recording.subject,)) and not recording.name.endswith("watch"):
            own[recording.subject].append(recording)
    for subject, recordings in own.items():
        first, later = _sessions(name, recordings)
        if first and later:
            pieces = [_cut(recording, manifest, LABELS[name]) for recording in first]
            ends = np.cumsum([_BETWEEN_S + part[1][-1] for part in pieces])
            starts = [part[1] + end - ends[0] for part, end in zip(pieces, [ends[0], *ends[:-1]], strict=True)]
            scored = labelled_windows(later, manifest.signal, manifest.window, LABELS[name], manifest.clock)
            windows, labels = (np.concatenate([part[i] for part in pieces]) for i in (0, 2))
            yield Person(subject, windows, np.concatenate(starts), labels, scored.samples, scored.labels)


def _sessions(name: str, recordings: list[Recording]) -> tuple[list[Recording], list[Recording]]:
    if name == "hapt":
        return recordings[:1], recordings[1:]
    if name == "motionsense":
        recordings = sorted(recordings, key=lambda r: int(re.findall(r"_(\d+)/", r.name)[0]))
        activities = [r.name.split("/")[1][:3] for r in recordings]
        is_first = [activity not in activities[:i] for i, activity in enumerate(activities)]
        return [r for r, f in zip(recordings, is_first, strict=True) if f], [
            r for r, f in zip(recordings, is_first, strict=True) if not f
        ]
    known = [r for r in recordings if {r.label_names[i] for i in np.unique(r.labels)} & set(LABELS[name])]
    halves = [(_part(r, 0.0, 0.5), _part(r, 0.5, 1.0)) for r in known]
    return [first for first, _ in halves], [second for _, second in halves]


def _part(r: Recording, begin: float, end: float) -> Recording:
    rows = slice(int(begin * len(r.samples)), int(end * len(r.samples)))
    t = None if r.t is None else r.t[rows] - r.t[rows][0]
    labels = None if r.labels is None else r.labels[rows]
    return Recording(r.samples[rows], r.channels, r.rate_hz, t, labels, r.label_names, r.subject, r.name)


def _cut(recording: Recording, manifest: Any, names: tuple[str, ...]) -> tuple[Any, Any, Any]:
    cuts = cut_windows(recording, manifest.signal, manifest.window, manifest.clock)
    told = [label_of(recording, cut.start_s, cut.end_s) for cut in cuts]
    labels = np.array([names.index(label) if label in names else -1 for label in told])
    return np.stack([cut.samples for cut in cuts]), np.array([cut.start_s for cut in cuts]), labels


@dataclass(frozen=True)
class _Bench:
    """One person with all that is computed once."""

    person: Person
    pool: Pool
    taught: NDArray[np.int64]
    features: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]  # of the first session, of the later ones
    n_classes: int

    def fit(self, kind: str, rows: NDArray[np.int64], labels: NDArray[np.int64], *, spread: bool) -> float:
        """Macro-F1 on the later sessions of a head that knows these answers."""
        first, later = self.features[kind]
        targets, weights, used = np.eye(self.n_classes)[labels], np.full(len(rows), 1 / len(rows)), rows
        if spread:
            seeds = np.zeros((len(first), self.n_classes))
            seeds[rows, labels] = 1
            soft = self.pool.soft_labels(seeds)[self.taught]
            targets, used = np.concatenate([targets, named(soft)]), np.concatenate([rows, self.taught])
            weights = np.concatenate([weights, evenly(soft)])
        zeros = np.zeros((self.n_classes, first.shape[1]), np.float32), np.zeros(self.n_classes, np.float32)
        head = fit_head(first[used], targets, weight=zeros[0], bias=zeros[1], l2=0.003, sample_weights=weights)
        found = (later @ head.weight.T + head.bias).argmax(axis=1)
        return score(self.person.truth, found, self.n_classes).macro_f1 or 0.0


def _bench(person: Person, names: tuple[str, ...]) -> _Bench:
    bundle = Bundle.open(BUNDLE, "base")
    normalise = bundle.manifest.normalise
    mean, std = np.asarray(normalise.mean, np.float32), np.asarray(normalise.std, np.float32)
    by_hand = [hand_features((windows - mean) / std) for windows in (person.windows, person.later)]
    pool = Pool.of(by_hand[0], person.start_s)
    centre, spread = by_hand[0].mean(axis=0), by_hand[0].std(axis=0) + 1e-6
    engine = open_engine(bundle)
    net = [
        np.concatenate([engine.run(part[i : i + 32], "features") for i in range(0, len(part), 32)])
        for part in (person.windows, person.later)
    ]
    engine.close()
    short = _directions(net[0]).T.astype(np.float32)  # a head on the features of the first session differs in no others
    features = {
        "hand": tuple((part - centre) / spread for part in by_hand),
        "shipped encoder": tuple(part @ short for part in net),
    }
    return _Bench(person, pool, pool.cover(0, MOST_TAUGHT), features, len(names))  # type: ignore[arg-type]


def _measure(person: Person, names: tuple[str, ...], scores: Scores, n_draws: int) -> None:
    bench, known = _bench(person, names), np.flatnonzero(person.labels >= 0)

    def add(row: str, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        if len(rows):
            for kind in bench.features:
                for told, spread in (("labels alone", False), ("spread", True)):
                    scores[f"{kind}, {row}, {told}"][person.name].append(bench.fit(kind, rows, labels, spread=spread))

    add("all of the first session", known, person.labels[known])
    for draw in range(n_draws):
        rng = np.random.default_rng(draw)
        for budget in (*BUDGETS, 60):
            rows = np.sort(rng.permutation(known)[:budget])
            add(f"{budget} at random", rows, person.labels[rows])
        rows = np.array(
            [rng.choice(np.flatnonzero(person.labels == label)) for label in np.unique(person.labels[known])]
        )
        add("one per activity", rows, person.labels[rows])
        for budget in BUDGETS:
            for wrong in (0.0, *(WRONG if budget in (12, 20) else ())):
                rows, labels = _asked(bench, budget, wrong, rng, draw)
                add(f"{budget} questions" + (f", {wrong:.0%} wrong" if wrong else ""), rows, labels)
                if budget == 12 and not wrong and draw == 0 and len(rows) > 1:
                    _adapted(person, names, rows, labels, scores)


def _asked(
    bench: _Bench, budget: int, wrong: float, rng: np.random.Generator, draw: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that were answered, and the answers."""
    person, n = bench.person, len(bench.person.labels)
    labels, asked = np.full(n, -1), np.zeros(n, bool)
    for k in rounds(budget):
        rows = next_questions(bench.pool, person.start_s, 2.56, labels, asked, k, draw)
        asked[rows] = True
        for row in rows[person.labels[rows] >= 0]:
            true = int(person.labels[row])
            others = [label for label in range(bench.n_classes) if label != true]
            labels[row] = rng.choice(others) if rng.random() < wrong else true
    rows = np.flatnonzero(labels >= 0)
    return rows, labels[rows]


def _adapted(
    person: Person, names: tuple[str, ...], rows: NDArray[np.int64], labels: NDArray[np.int64], scores: Scores
) -> None:
    """As on a device: twelve answers, the days, the acceptance."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.bundle"
        shutil.copytree(BUNDLE, path, ignore=shutil.ignore_patterns("personal"))
        bundle = Bundle.open(path, "base")
        model = bundle.manifest.labels
        known = (*model, *(name for name in names if name not in model))
        index = np.array([known.index(name) for name in names])
        spans = np.stack([person.start_s[rows], person.start_s[rows] + 2.56], axis=1)
        data = LabelledSet(person.windows[rows], index[labels], np.ones(len(rows)), names=known, spans_s=spans)
        rest = np.setdiff1d(np.arange(len(person.labels)), rows)
        data = LabelledSet(**(vars(data) | {"rest": person.windows[rest[:: max(len(rest) // 300, 1)]]}))
        days = Days(person.windows[rest], person.start_s[rest], len(rest))
        adapted, report = finetune(bundle, data, FinetunePlan(sure=True), days=days)
        for row, used in (("shipped, as it is", bundle), ("shipped, 12 questions, accepted or not", adapted)):
            found = _answers(used, person.later)
            truth = np.array(
                [used.manifest.labels.index(n) if n in used.manifest.labels else len(known) for n in names]
            )
            value = score(truth[person.truth], found, len(known) + 1).macro_f1 or 0.0
            scores[row][person.name].append(value)
        scores["accepted"][person.name].append(float(report.accepted))


def _answers(bundle: Bundle, windows: NDArray[np.float32]) -> NDArray[np.int64]:
    engine = open_engine(bundle)
    parts = [engine.run(windows[i : i + 32]).argmax(axis=1) for i in range(0, len(windows), 32)]
    engine.close()
    return np.concatenate(parts)
