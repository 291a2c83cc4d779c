"""What there is of each day of a store: windows, predictions, labels. Days are the local ones of this device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from runtime.recorder.schema import US
from runtime.recorder.store import Store

_FEW = 32  # spans of a day


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
        predicted = store.counts(begin_s, end_s)
        if predicted:
            mine = [
                (max(start_s, begin_s), min(stop_s - store.window_s + 2e-6, end_s), label)
                for start_s, stop_s, label in spans
            ]
            labelled = _labelled(store, [(a, b, label) for a, b, label in mine if a < b])
            counts = {label: count for label, count in labelled.items() if count}
            yield {"date": str(day), "windows": sum(predicted.values()), "predicted": predicted, "labelled": counts}


def _labelled(store: Store, spans: list[tuple[float, float, str]]) -> Counter[str]:
    """Windows that start in spans, by label; a few spans by the counts of the store, many by its rows."""
    counts = Counter[str]()
    if len(spans) <= _FEW:
        for start_s, end_s, label in spans:
            counts[label] += sum(store.counts(start_s, end_s).values())
        return counts
    at = store.starts_us(spans[0][0], max(end_s for _, end_s, _ in spans))
    edges = np.array([[round(start_s * US), round(end_s * US)] for start_s, end_s, _ in spans], np.int64)
    first, last = np.searchsorted(at, edges).T.tolist()
    for (_, _, label), begin, end in zip(spans, first, last, strict=True):
        counts[label] += end - begin
    return counts


def midnight_s(day: date) -> float:
    """Unix seconds at which a local day begins."""
    return datetime(day.year, day.month, day.day).timestamp()


def _days(first: date, last: date) -> Iterator[date]:
    for i in range((last - first).days + 1):
        yield first + timedelta(i)
