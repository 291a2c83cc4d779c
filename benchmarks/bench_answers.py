"""What a few answers do to a model: who is asked first, which versions are accepted, and how many of them hurt.

People whom the encoder never saw say what they did: rightly, in part, or wrongly (all kinds: benchmarks/_answers.py).
Every candidate goes through `sdk.finetune` as on a device, with and without windows that were recorded and nobody
labelled, and is scored on other windows of the same person; it hurts if macro-F1 falls by more than 0.01 there, and is
good if it rises by more. `asked` are those whose labels contradict what the model is sure of: who was right says so
and is judged once more, who was wrong takes them away, or, in the figures that end in `_insisting`, insists.

    hapt           models of five folds (trained where missing in --runs), the people of each fold
    motionsense    the shipped bundle, its four test people; turned: the same, upside down about two axes
    hapt_shipped, wisdm_phone, wisdm_watch    the shipped bundle on people of other sets, other phones, another place

Rules and thresholds were chosen while looking at HAPT, MotionSense and turned; figures of `hapt` are of people of even
numbers. WISDM is the check.

    new activity   a class is taken out of the head (not out of the encoder, which saw it in training), and learnt from
                   ten windows; its recall on the others, and the change of accuracy on the rest, by activity

Needs --data. --quick: the shipped bundle on MotionSense's test people that come with it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._answers import KINDS, WRONG, Person, Rows, answers, kept_in, parted, person_of
from benchmarks._bench import Options, Result
from runtime import Bundle, Recording
from runtime.errors import InputError
from runtime.progress import silent
from sdk.datasets import load_dataset
from sdk.finetune import Budget, FinetunePlan, LabelledSet
from sdk.finetune.budget import Ledger
from sdk.finetune.candidate import Seen, head_candidate
from sdk.finetune.contradictions import contradictions, worth_asking
from sdk.finetune.head import HeadProblem
from sdk.finetune.judge import blocks, judge
from sdk.finetune.kept import Classes
from sdk.scores import score

DATA = Path(__file__).parent.parent / "sdk" / "demo" / "data"
HURT = 0.01  # of macro-F1
TEN = 10  # windows of a new activity
AS_WORN = {"": (1, 1, 1)}
TURNS = {"x": (1, -1, -1), "z": (-1, -1, 1)}  # half a turn about an axis
_DRAWS = 3
_HOP_S = 1.28  # from window to window; each spans two
_NONE = np.zeros((0, 1), np.float32)  # windows: there are features
_OLD_GRID = (0.001, 0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Model:
    """What a run needs of a bundle, in the few dimensions that one person's features span."""

    labels: tuple[str, ...]
    seen: Seen  # without the person's windows

    @classmethod
    def of(cls, bundle: Bundle, person: Person) -> tuple[Model, Person]:
        """Both for one person."""
        golden, names = bundle.golden(), bundle.manifest.head
        basis = np.linalg.qr(np.concatenate([person.features, golden.features]).T.astype(np.float64))[0]
        called = tuple(bundle.manifest.labels[label] for label in golden.logits.argmax(axis=1))
        features, golden_features, weight = (
            (rows @ basis).astype(np.float32)
            for rows in (person.features, golden.features, bundle.tensor(names.weight))
        )
        seen = Seen(features[:0], features[:0], golden_features, called, weight, bundle.tensor(names.bias))
        return cls(bundle.manifest.labels, seen), replace(person, features=features)


@dataclass(frozen=True)
class Outcome:
    """One person's answers and what came of them."""

    kind: str
    asked: bool
    accepted: bool  # if nobody is asked, or insists
    gain: float  # of macro-F1, if it is taken
    once: bool  # accepted by the rule of held-out labels alone
    once_gain: float

    @property
    def in_use(self) -> bool:
        """Whether the version ends up in use: who is asked and was wrong takes the labels away."""
        return self.accepted and (not self.asked or self.kind not in WRONG)


def run(options: Options) -> Result:
    """All sets; --quick takes those windows that the package has with it."""
    result = Result("answers")
    with tempfile.TemporaryDirectory() as folder:
        shipped = Bundle.open(copytree(DATA / "walk.bundle", Path(folder) / "walk.bundle"), "base")
        runs = Path(folder) if options.quick else options.runs
        if options.quick:
            groups = {"motionsense": [Model.of(shipped, one) for one in _shipped_people(shipped)]}
        elif options.data is None:
            raise InputError("--data", expected="a folder with the archives", got="nothing", fix="Name it.")
        else:
            groups = _groups(options, options.data, shipped, Path(folder), runs)
        total: list[Outcome] = []
        for name, people in groups.items():
            outcomes = [one for u in (False, True) for one in _outcomes(people, options.quick, with_rest=u)]
            _tell(result, name, outcomes)
            total += outcomes
            result.figures |= _new_activity(name, people)
            print(f"{name}: {len(people)} people, {len(outcomes)} sets of answers", file=sys.stderr)
        _tell(result, "all", total)
    if not options.quick:
        result.checks["hurt_at_most_2_percent"] = result.figures["all_hurt_share"] <= 0.02
    return result


def _shipped_people(bundle: Bundle, turns: dict[str, tuple[int, ...]] = AS_WORN) -> Iterator[Person]:
    """The people that the package has with it, the sensor worn in some ways."""
    for name in ("6", "12", "18", "24"):
        recording = Recording.load(DATA / f"person_{name}.npz").fit(bundle.manifest.signal)
        for way, turn in turns.items():
            turned = replace(recording, samples=recording.samples * np.array(turn * 2, np.float32))
            yield person_of(name + way, bundle, [turned], bundle.manifest.labels)


def _groups(
    options: Options, data: Path, shipped: Bundle, folder: Path, runs: Path
) -> dict[str, list[tuple[Model, Person]]]:
    """People by set, each with a bundle that never saw them; their features are kept in `runs`."""
    groups = {"hapt": _folds(options, folder, runs)}
    people = kept_in(runs / "answers-motionsense.npz", partial(_shipped_people, shipped))
    groups["motionsense"] = [Model.of(shipped, one) for one in people]
    people = kept_in(runs / "answers-turned.npz", partial(_shipped_people, shipped, TURNS))
    groups["turned"] = [Model.of(shipped, one) for one in people]
    for name, source, device in (
        ("hapt_shipped", "hapt", ""),
        ("wisdm_phone", "wisdm_2019", "phone"),
        ("wisdm_watch", "wisdm_2019", "watch"),
    ):
        try:
            people = kept_in(runs / f"answers-{name}.npz", partial(_of_set, shipped, source, data, device))
        except InputError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        groups[name] = [Model.of(shipped, one) for one in people]
    return groups


def _of_set(bundle: Bundle, source: str, data: Path, device: str) -> Iterator[Person]:
    recordings = [one for one in load_dataset(source, data) if one.name.endswith(device)]
    for subject in sorted({one.subject for one in recordings}):
        own = [one for one in recordings if one.subject == subject]
        person = person_of(subject, bundle, own, bundle.manifest.labels)
        if len(person.classes) > 2:
            yield person


def _folds(options: Options, folder: Path, runs: Path) -> list[tuple[Model, Person]]:
    from benchmarks.bench_adapt import study
    from sdk.pretrain import export_run

    at = runs / "hapt-folds"
    recordings, _, report = study("hapt", replace(options, data=options.data), at, n_seeds=1)
    found = []
    for index, trained in enumerate(report["runs"]):
        export_run(recordings, report, at, folder / f"hapt-{index}.bundle", "hapt", index)
        bundle = Bundle.open(folder / f"hapt-{index}.bundle", "base")
        own = partial(_tested, bundle, recordings, trained["test_subjects"])
        people = kept_in(runs / f"answers-hapt-{index}.npz", own)
        found += [Model.of(bundle, one) for one in people if int(one.name) % 2 == 0]
    return found


def _tested(bundle: Bundle, recordings: Sequence[Recording], subjects: Sequence[str]) -> Iterator[Person]:
    for subject in subjects:
        own = [one for one in recordings if one.subject == subject]
        yield person_of(subject, bundle, own, bundle.manifest.labels)


def _outcomes(people: Sequence[tuple[Model, Person]], quick: bool, *, with_rest: bool) -> Iterator[Outcome]:
    for i, (model, person) in enumerate(people):
        for j, kind in enumerate(KINDS):
            for draw in range(1 if quick else _DRAWS):
                yield outcome(model, person, kind, np.random.default_rng((i, j, draw)), with_rest=with_rest)


def outcome(model: Model, person: Person, kind: str, rng: np.random.Generator, *, with_rest: bool) -> Outcome:
    """One set of answers through the whole of what `sdk.finetune` does, but for the writing."""
    rows, said = answers(person, kind, rng)
    recorded, scored = parted(person, rows)
    rest = person.features[recorded] if with_rest else person.features[:0]
    seen = replace(model.seen, features=person.features[rows], rest=rest)
    logits = seen.of(person.features)
    classes = Classes.of_version(model.labels)
    told = contradictions(seen.logits, said, classes.names)
    spans_s = np.stack([rows, rows + 2], axis=1) * _HOP_S
    data = LabelledSet(_NONE, said, np.ones(len(said)), seen.features, spans_s=spans_s)
    found = head_candidate(data, seen, classes, FinetunePlan(), Ledger(Budget(), None), silent)
    truth = person.labels[scored]
    base = _macro_f1(truth, logits[scored])
    new = person.features[scored] @ found.tensors["weight"].T + found.tensors["bias"]
    once, once_head = _once(seen, said)
    return Outcome(
        kind,
        worth_asking(told, len(said)),
        not found.verdict.doubt,
        _macro_f1(truth, new) - base,
        once,
        _macro_f1(truth, person.features[scored] @ once_head[0].T + once_head[1]) - base,
    )


def _once(seen: Seen, said: Rows) -> tuple[bool, tuple[Any, Any]]:
    """The rule that knows held-out labels alone: macro-F1 and log-loss no worse."""
    problem = HeadProblem(seen.features, said, weight=seen.weight, bias=seen.bias)
    ones, folds = np.ones(len(said)), blocks(said, 5)
    tried = [(judge(problem.held_out_logits(l2, folds), said, ones), l2) for l2 in _OLD_GRID]
    after, l2 = min(tried, key=lambda pair: (pair[0].log_loss, -pair[1]))
    before, fit = judge(seen.logits, said, ones), problem.fit(l2)
    return after.macro_f1 >= before.macro_f1 and after.log_loss <= before.log_loss, (fit.weight, fit.bias)


def _macro_f1(truth: Rows, logits: NDArray[Any]) -> float:
    return score(truth, logits.argmax(axis=1), logits.shape[1]).macro_f1 or 0.0


def _tell(result: Result, name: str, outcomes: Sequence[Outcome]) -> None:
    """Counts and shares of a group, and of each kind of answers."""
    by: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        by[one.kind].append(one)
    result.figures |= {f"{name}_{key}": value for key, value in _shares(outcomes).items()}
    for kind in KINDS:
        told = _shares(by[kind])
        result.figures[f"{name}_{kind}"] = (
            f"{told['sets']} sets, asked {told['asked']}, in use {told['in_use']}, of them hurt {told['hurt']}; "
            f"good {told['good']}, of them in use {told['good_in_use']}; "
            f"insisting: {told['accepted_insisting']} in use, hurt {told['hurt_insisting']}; "
            f"held-out labels alone: {told['alone_accepted']}, hurt {told['alone_hurt']}"
        )


def _shares(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    hurt = [one for one in outcomes if one.in_use and one.gain < -HURT]
    in_use = [one for one in outcomes if one.in_use]
    good = [one for one in outcomes if one.gain > HURT and one.kind not in WRONG]
    insisting = [one for one in outcomes if one.accepted]
    alone = [one for one in outcomes if one.once]
    return {
        "sets": len(outcomes),
        "asked": sum(one.asked for one in outcomes),
        "in_use": len(in_use),
        "hurt": len(hurt),
        "hurt_share": len(hurt) / max(len(in_use), 1),
        "good": len(good),
        "good_in_use": sum(one.in_use for one in good),
        "gain_in_use": float(np.mean([one.gain for one in in_use])) if in_use else None,
        "accepted_insisting": len(insisting),
        "hurt_insisting": sum(one.gain < -HURT for one in insisting),
        "alone_accepted": len(alone),
        "alone_hurt": sum(one.once_gain < -HURT for one in alone),
    }


def _new_activity(name: str, people: Sequence[tuple[Model, Person]]) -> dict[str, Any]:
    """A class out of the head, and learnt again from ten windows of one person."""
    found: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)
    for model, person in people:
        for label in person.classes:
            found[model.labels[label]].append(_learnt(model, person, int(label)))
    figures: dict[str, Any] = {}
    every = [one for some in found.values() for one in some]
    for title, some in (("new", every), *((f"new_{label}", some) for label, some in sorted(found.items()))):
        table = np.array([(recall, cost) for recall, cost, _ in some])
        figures[f"{name}_{title}"] = (
            f"recall {table[:, 0].mean():.3f}, accuracy of the others {-table[:, 1].mean():+.3f} "
            f"({sum(taken for _, _, taken in some)} of {len(some)} accepted)"
        )
    return figures


def _learnt(model: Model, person: Person, label: int) -> tuple[float, float, bool]:
    """Recall of the new activity, accuracy that the others lose, and whether the version was accepted."""
    rng = np.random.default_rng(label)
    known = [i for i in range(len(model.labels)) if i != label]
    rows = np.sort(rng.permutation(np.flatnonzero(person.labels == label))[:TEN])
    recorded, scored = parted(person, rows)
    seen = replace(model.seen, features=person.features[rows], rest=person.features[recorded])
    still = [name != model.labels[label] for name in seen.shipped]
    shipped = tuple(name for name, stays in zip(seen.shipped, still, strict=True) if stays)
    seen = replace(seen, golden=seen.golden[still], shipped=shipped, weight=seen.weight[known], bias=seen.bias[known])
    classes = Classes.of_version([model.labels[i] for i in known], (model.labels[label],))
    logits, said = seen.of(person.features), np.full(len(rows), len(known))
    data = LabelledSet(_NONE, said, np.ones(len(rows)), seen.features, classes.names)
    found = head_candidate(data, seen, classes, FinetunePlan(), Ledger(Budget(), None), silent)
    new = person.features[scored] @ found.tensors["weight"].T + found.tensors["bias"]
    place = np.full(len(model.labels), len(known))
    place[known] = np.arange(len(known))
    truth, others = place[person.labels[scored]], person.labels[scored] != label
    recall = float(np.mean(new.argmax(axis=1)[~others] == len(known))) if (~others).any() else 1.0
    was = np.mean(logits[scored][others].argmax(axis=1) == truth[others])
    return recall, float(was - np.mean(new.argmax(axis=1)[others] == truth[others])), not found.verdict.doubt
