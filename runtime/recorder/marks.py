"""Marks laid over one another: what is said later counts, and a mark without a label takes labels away.

A sweep over the ends, with the marks that hold there in a heap, the latest on top: O(n log n).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of time with one label."""

    start_s: float  # Unix seconds
    end_s: float
    label: str


class Marked(NamedTuple):
    """What a mark did."""

    inside: int  # windows wholly inside
    straddling: int  # windows that it cuts, which get no label from it


def paint(marks: Iterable[tuple[int, int, str | None]]) -> list[tuple[int, int, str]]:
    """Lay marks over one another, the later over the earlier; touching ones of one label become one.

    Args:
        marks: start, end and label (None: take away), in the order in which they were made; one that ends where it
            begins, or before, is none.

    Returns:
        Start, end and label of stretches that do not overlap, in the order of time.
    """
    made = [mark for mark in marks if mark[0] < mark[1]]
    begins = sorted(range(len(made)), key=lambda i: made[i][0])
    ends = sorted({end for start, stop, _ in made for end in (start, stop)})
    found: list[tuple[int, int, str]] = []
    open_marks: list[int] = []  # minus their number, so that the latest is on top
    at = 0
    for begin, end in pairwise(ends):
        while at < len(begins) and made[begins[at]][0] == begin:
            heapq.heappush(open_marks, -begins[at])
            at += 1
        while open_marks and made[-open_marks[0]][1] <= begin:
            heapq.heappop(open_marks)
        label = made[-open_marks[0]][2] if open_marks else None
        if label is None:
            continue
        if found and found[-1][1:] == (begin, label):
            found[-1] = (found[-1][0], end, label)
        else:
            found.append((begin, end, label))
    return found
