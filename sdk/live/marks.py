"""The store as the page asks for it. A connection is opened for each question, in the thread that asks.

What the model said in a span is told before anything is marked: a label that is given a moment too late would teach the
opposite of what was meant, and no held-out block of such labels shows it.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.recorder import Store

_FINE_S = 2 * 3600.0  # of a span that is told window by window; a longer one by quarters of an hour
_LONGEST_S = 2 * 86400.0
_MOST_RUNS = 400
_DOUBT = 0.6  # mean probability below which a run is doubtful
_QUARTER_S = 900.0
_LABEL = re.compile(r"\S(?:.{0,58}\S)?")


class Marks:
    """A recorder's store.

    Args:
        path: of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def _open(self) -> Store:
        from runtime.recorder import Store

        return Store(self.path)

    def timeline(self, start_s: float, end_s: float) -> dict[str, Any]:
        """What was predicted and what was marked between two times, of two days at most.

        Returns:
            runs (start, end, label, mean probability or None) and spans (start, end, label).

        Raises:
            InputError: times that make no sense.
        """
        start_s, end_s = _span(start_s, end_s)
        start_s = max(start_s, end_s - _LONGEST_S)
        with self._open() as store:
            fine = end_s - start_s <= _FINE_S
            runs = _runs(store, start_s, end_s) if fine else _quarters(store, start_s, end_s)
            spans = [span for span in store.spans() if span.end_s > start_s and span.start_s < end_s]
            whole = store.span_s
        told = [{"start": a, "end": b, "label": label, "p": p} for a, b, label, p in runs[-_MOST_RUNS:]]
        marked = [{"start": s.start_s, "end": s.end_s, "label": s.label} for s in spans[-_MOST_RUNS:]]
        return {"start": start_s, "end": end_s, "runs": told, "spans": marked, "kept": whole, "doubt": _DOUBT}

    def check(self, start_s: float, end_s: float, label: str) -> dict[str, Any]:
        """What a mark would do: windows inside and cut, and what the model said of those inside.

        Raises:
            InputError: times or a label that make no sense.
        """
        start_s, end_s = _span(start_s, end_s)
        check_label(label)
        with self._open() as store:
            inside, cut = store.inside(start_s, end_s)
            last_s = end_s - store.window_s + 2e-6
            said = store.counts(start_s, last_s) if last_s > start_s else {}
        other = sum(n for name, n in said.items() if name != label)
        return {"inside": inside, "cut": cut, "said": said, "differs": 2 * other > inside}

    def mark(self, start_s: float, end_s: float, label: str) -> dict[str, Any]:
        """Mark a span; the same as `check` says.

        Raises:
            InputError: no window lies inside.
        """
        told = self.check(start_s, end_s, label)
        with self._open() as store:
            store.mark(start_s, end_s, label, time.time())
        return told

    def undo(self) -> dict[str, Any] | None:
        """Take back the last mark."""
        with self._open() as store:
            span = store.undo()
        return None if span is None else {"start": span.start_s, "end": span.end_s, "label": span.label}

    def labelled(self) -> dict[str, int]:
        """Windows of each label."""
        counts: Counter[str] = Counter()
        if self.path.is_file():
            with self._open() as store:
                for span in store.spans():
                    counts[span.label] += store.inside(span.start_s, span.end_s).inside
        return dict(counts)


def check_label(label: str) -> None:
    """Refuse what is no name.

    Raises:
        InputError: it is none.
    """
    if not _LABEL.fullmatch(label) or not label.isprintable():
        raise InputError("label", expected="a name of up to 60 letters", got=repr(label[:60]), fix="Write it shorter.")


def _span(start_s: float, end_s: float) -> tuple[float, float]:
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 < start_s < end_s < 1e11):
        raise InputError("span", expected="an end after its start", got="none", fix="Choose the times again.")
    return start_s, end_s


def _runs(store: Store, start_s: float, end_s: float) -> list[tuple[float, float, str, float | None]]:
    """Windows of one label that follow one another, as one."""
    runs: list[tuple[float, float, str, float | None]] = []
    n, total = 0, 0.0
    for told in store.predictions(start_s - store.window_s, end_s):
        middle_s = told.end_s - store.window_s / 2
        if runs and runs[-1][2] == told.label and told.start_s <= runs[-1][1]:
            n, total = n + 1, total + told.probability
            runs[-1] = (runs[-1][0], told.end_s, told.label, total / n)
        else:
            if runs and runs[-1][1] > middle_s:
                runs[-1] = (runs[-1][0], middle_s, *runs[-1][2:])
            n, total = 1, told.probability
            began_s = max(middle_s, runs[-1][1]) if runs and runs[-1][1] >= told.start_s else told.start_s
            runs.append((began_s, told.end_s, told.label, total))
    return runs


def _quarters(store: Store, start_s: float, end_s: float) -> list[tuple[float, float, str, float | None]]:
    """The label of most windows of each quarter of an hour."""
    return [
        (at_s, at_s + _QUARTER_S, max(counts, key=counts.__getitem__), None)
        for at_s, counts in sorted(store.timeline(start_s, end_s).items())
    ]
