"""What there is of each day of a store: windows, predictions, labels. Days are the local ones of this device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from runtime.recorder.store import Store


def days_of(store: Store, n: int) -> Iterator[dict[str, Any]]:
    """What there is of each local day that has windows, the latest n: date, windows, predicted, labelled.

    Both are windows by label; those of a day are the ones that start on it.
    """
    span, spans = store.span_s, store.spans()
    if span is None or n < 1:
        return
    day, last = (datetime.fromtimestamp(edge_s).date() for edge_s in span)
    n = min(n, last.toordinal())  # days since the year 1
    for day in (d for d in _days(max(day, last - timedelta(n - 1)), last)):  # noqa: B020
        begin_s, end_s = midnight_s(day), midnight_s(day + timedelta(1))
        predicted, labelled = store.counts(begin_s, end_s), Counter[str]()
        for start_s, stop_s, label in spans:
            ends = max(start_s, begin_s), min(stop_s - store.window_s + 2e-6, end_s)
            labelled[label] += sum(store.counts(*ends).values()) if ends[0] < ends[1] else 0
        if predicted:
            counts = {label: count for label, count in labelled.items() if count}
            yield {"date": str(day), "windows": sum(predicted.values()), "predicted": predicted, "labelled": counts}


def midnight_s(day: date) -> float:
    """Unix seconds at which a local day begins."""
    return datetime(day.year, day.month, day.day).timestamp()


def _days(first: date, last: date) -> Iterator[date]:
    for i in range((last - first).days + 1):
        yield first + timedelta(i)
