"""What labels say about time: names as the model has them, and one label for each instant.

Of two lines that label the same time the later one counts, as with marks in a recorder's store; where they differ, it
is said how much they share. Then a window belongs to a stretch when the whole of it lies inside; stretches that touch
and have one label and weight are one.

    0 ------ walking ------ 120          line 2
    20 -- jogging -- 40                  line 3
    0 walking 20 jogging 40 walking 120
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from runtime.errors import InputError
from runtime.recorder.marks import paint

_US = 1e6


@dataclass(frozen=True)
class LabelSpan:
    """A stretch of time with one label."""

    start_s: float
    end_s: float
    label: int | None  # index into the model's labels; None: left out
    weight: float


@dataclass
class Names:
    """The model's labels, by the names that files have for them; it keeps what is to be said of them."""

    labels: Sequence[str]
    leave_out: Collection[str] = ()
    taken: dict[str, str] = field(default_factory=dict)  # by the name in a file, the model's that it was taken for
    left: set[str] = field(default_factory=set)
    conflicts: list[str] = field(default_factory=list)  # of lines that label one time

    def index(self, where: str, name: str) -> int | None:
        """Which of the model's labels is meant; None for one that is to be left out.

        Case, blanks, hyphens and underscores do not matter where only one of the labels can be meant.

        Raises:
            InputError: none of them.
        """
        if name in self.leave_out:
            self.left.add(name)
            return None
        if name in self.labels:
            return self.labels.index(name)
        alike = [label for label in self.labels if _plain(label) == _plain(name)]
        if len(alike) == 1:
            self.taken[name] = alike[0]
            return self.labels.index(alike[0])
        near = difflib.get_close_matches(name, self.labels, 1, 0.8)
        fix = f"Did you mean {near[0]}?" if near else "Use the model's names"
        more = f"{' Or' if near else ', or'} leave it out: --leave-out {name}." if name else "."
        raise InputError(
            where, expected=f"a label of the model: {', '.join(self.labels)}", got=repr(name), fix=fix + more
        )

    def remarks(self) -> list[str]:
        """What is to be said, a line for each kind."""
        said = [*self.conflicts]
        if self.taken:
            pairs = ", ".join(f"{name!r} is {label}" for name, label in self.taken.items())
            said.append(f"labels are taken for the model's of another spelling: {pairs}")
        if self.left:
            said.append(f"labels are left out as asked: {', '.join(sorted(self.left))}")
        return said


def painted(spans: Sequence[LabelSpan]) -> list[LabelSpan]:
    """One label for each instant: the later span counts, and one that is left out takes labels away.

    Returns:
        Spans that do not overlap, in the order of time.
    """
    keys = {(span.label, span.weight): str(i) for i, span in enumerate(spans)}
    values = {key: value for value, key in keys.items()}
    marks = ((*_ends(span), None if span.label is None else keys[span.label, span.weight]) for span in spans)
    return [LabelSpan(start / _US, end / _US, *values[key]) for start, end, key in paint(marks)]


def conflict(spans: Sequence[LabelSpan]) -> tuple[float, float] | None:
    """Seconds for which spans have two labels or more, and when the first of them begins; None where there are none."""
    known = [(*_ends(span), span.label) for span in spans if span.label is not None]
    events = sorted([(start, 1, label) for start, _, label in known] + [(end, -1, label) for _, end, label in known])
    open_labels: Counter[int] = Counter()
    shared, first = 0, None
    for (at, step, label), (until, _, _) in pairwise(events):
        open_labels[label] += step
        if until > at and sum(n > 0 for n in open_labels.values()) > 1:
            shared += until - at
            first = at if first is None else first
    return None if first is None else (shared / _US, first / _US)


def _ends(span: LabelSpan) -> tuple[int, int]:
    """In microseconds, as a store has them."""
    return round(span.start_s * _US), round(span.end_s * _US)


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")
