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
from dataclasses import dataclass
from itertools import pairwise

from runtime.errors import InputError, printable
from runtime.recorder.marks import paint

_US = 1e6


@dataclass(frozen=True)
class LabelSpan:
    """A stretch of time with one label."""

    start_s: float
    end_s: float
    label: int | None  # index into the model's labels; None: left out
    weight: float


class Names:
    """The model's labels and behind them new ones, by the names that files and marks have for them.

    Case, blanks, hyphens and underscores do not matter where only one of the labels can be meant. What is to be said of
    the names is kept.

    Args:
        labels: the model's.
        new: names that may be added; None: any.
        leave_out: names that are left out as asked.
    """

    def __init__(
        self, labels: Sequence[str], new: Collection[str] | None = (), leave_out: Collection[str] = ()
    ) -> None:
        self.known, self._new, self._leave_out = tuple(labels), new, leave_out
        self.all = list(labels)
        self.conflicts: list[str] = []  # of lines that label one time
        self.first: tuple[str, str] | None = None  # where a name was left out that nobody knows, and which
        self._taken: dict[str, str] = {}  # by the name in a file, the model's that it was taken for
        self._left: set[str] = set()
        self._unknown: Counter[str] = Counter()

    def index(self, where: str, name: str) -> int | None:
        """The class of a name; None: it is left out.

        Raises:
            InputError: it is empty.
        """
        if name in self._leave_out:
            self._left.add(name)
            return None
        if name in self.all:
            return self.all.index(name)
        alike = [label for label in self.known if _plain(label) == _plain(name)]
        if len(alike) == 1:
            self._taken[name] = alike[0]
            return self.all.index(alike[0])
        if not name:
            raise self.unknown(where, name)
        if self._new is not None and name not in self._new:
            self._unknown[name] += 1
            self.first = self.first or (where, name)
            return None
        self.all.append(name)
        return len(self.all) - 1

    def unknown(self, where: str, name: str) -> InputError:
        """The error for a name that stands for nothing."""
        expected = f"a label of the model: {', '.join(self.known)}"
        return InputError(where, expected=expected, got=repr(name), fix=self._cure(name))

    def notes(self) -> tuple[str, ...]:
        """What is to be said, a line for each kind."""
        said = [*self.conflicts]
        if self._taken:
            pairs = ", ".join(f"{name!r} is {label}" for name, label in self._taken.items())
            said.append(f"labels are taken for the model's of another spelling: {pairs}")
        if self._left:
            said.append(f"labels are left out as asked: {', '.join(sorted(self._left))}")
        for name, n in self._unknown.items():
            times = "once" if n == 1 else f"{n} times"
            at = f"{self.first[0]}: " if self.first and self.first[1] == name else ""
            said.append(f"{at}{name!r} is left out ({times}), as the model does not know it. {self._cure(name)}")
        return tuple(printable(text) for text in said)

    def _cure(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.known, 1, 0.8)
        if not name:
            return "Use the model's names."
        first = f"Did you mean {near[0]}? Or add" if near else "Use the model's names, or add"
        return f"{first} it with --new {name}, or leave it out with --leave-out {name}."


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
