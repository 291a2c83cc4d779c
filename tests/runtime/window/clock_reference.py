"""What docs/streaming.md says becomes of samples, one sample at a time, without arrays, buffers or pieces."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from runtime.specs import ClockSpec

ON_GRID = 1e-3  # rows; nearer than a thousandth of a period is on the beat
SLACK_S = 1e-6  # stamps are rounded
FILLED_WINDOWS, FILLED_ROWS = 8, 1024  # a step fills no more than the more of these


class Sample(NamedTuple):
    t: float
    row: tuple
    saturated: bool


class Row(NamedTuple):
    values: tuple
    filled: bool
    saturated: bool
    place: float | None  # at which sample it lies
    padded: bool = False


class Cut(NamedTuple):
    start_s: float
    end_s: float
    values: list
    real: float
    filled: int
    saturated: int
    padded: int
    source_hz: tuple
    jitter_s: float | None


def reference(rows, t, *, rate_hz, length, hop, spec=None, source_hz=None, full_scale=math.inf, pad=None):
    """All windows of a stream of one clock, and its counters."""
    spec, counters = spec or ClockSpec(), Counter()
    given_hz = source_hz
    if t is None:
        source_hz = source_hz or rate_hz
        t = [i / source_hz for i in range(len(rows))]
        runs = [readable(rows, t, full_scale, counters)]
        stamped = False
    else:
        t = [stamp / 1e9 for stamp in t] if spec.unit == "ns" else t
        runs = in_order(readable(rows, t, full_scale, counters), spec, counters)
        source_hz = given_hz or measured_hz(runs[0], rate_hz)
        stamped = True
    most_s = max(FILLED_WINDOWS * length, FILLED_ROWS) / rate_hz
    gap_s = min(1.5 / source_hz if spec.gap_s is None else spec.gap_s, most_s)
    spec = replace(spec, longest_hold_s=min(spec.longest_hold_s, most_s))
    windows = []
    segments = [s for run in runs for s in segments_of(run, gap_s, spec, counters)]
    for i, segment in enumerate(segments):
        if source_hz > 1.25 * rate_hz:
            segment = low_passed(segment, gap_s, source_hz, rate_hz)
        beat = rows_of(segment, rate_hz, source_hz, gap_s, length, spec)
        counters["rows_filled"] += sum(row is not None and row.filled for row in beat)
        padding = pad if i == len(segments) - 1 else None
        windows += cut(beat, segment[0].t, rate_hz, length, hop, spec, stamped, padding, counters)
    return windows, counters


def readable(rows, t, full_scale, counters):
    good = []
    for row, stamp in zip(rows, t, strict=True):
        counters["samples"] += 1
        if not math.isfinite(stamp) or abs(stamp) > 1e11 or not all(math.isfinite(value) for value in row):
            counters["not_finite"] += 1
            continue
        saturated = any(abs(value) >= full_scale for value in row)
        counters["saturated"] += saturated
        good.append(Sample(float(stamp), tuple(map(float, row)), saturated))
    return good


def in_order(samples, spec, counters):
    """Runs of rising stamps; between two of them the clock was set back."""
    runs, held, newest = [[]], [], -math.inf

    def release(until):
        for sample in sorted(held, key=lambda s: s.t):  # stable: the first that came counts
            if sample.t <= until:
                held.remove(sample)
                if runs[-1] and sample.t <= runs[-1][-1].t:
                    counters["duplicates"] += 1
                else:
                    runs[-1].append(sample)

    for sample in samples:
        if sample.t < newest - spec.back_s:
            counters["clock_back"] += 1
            release(math.inf)
            runs.append([])
            newest = -math.inf
        if sample.t < newest - spec.reorder_s:
            counters["late"] += 1
            continue
        counters["reordered"] += sample.t < newest
        newest = max(newest, sample.t)
        held.append(sample)
        release(newest - spec.reorder_s)
    release(math.inf)
    return runs


def measured_hz(run, rate_hz):
    steps = [run[i + 1].t - run[i].t for i in range(min(len(run) - 1, 16))]
    return min(max(1 / median(steps), rate_hz / 50), rate_hz * 50) if steps else rate_hz


def segments_of(run, gap_s, spec, counters):
    segments = [[run[0]]] if run else []
    for before, after in pairwise(run):
        step = after.t - before.t
        is_gap = step > gap_s + SLACK_S
        counters["gaps"] += is_gap
        if is_gap and (spec.gap == "split" or (spec.gap == "hold" and step > spec.longest_hold_s)):
            segments.append([])
        segments[-1].append(after)
    return segments


def low_passed(segment, gap_s, source_hz, rate_hz):
    """Every stretch without a gap through the windowed sinc, its first and last sample repeated at its ends."""
    half = round(5 * source_hz / rate_hz)
    cutoff = 0.8 * rate_hz / source_hz
    taps = []
    for k in range(-half, half + 1):
        sinc = 1.0 if k == 0 else math.sin(math.pi * cutoff * k) / (math.pi * cutoff * k)
        taps.append(sinc * (0.54 + 0.46 * math.cos(math.pi * k / half)))
    stretches = [[segment[0]]]
    for before, after in pairwise(segment):
        if after.t - before.t > gap_s + SLACK_S:
            stretches.append([])
        stretches[-1].append(after)
    out = []
    for stretch in stretches:
        for i, sample in enumerate(stretch):
            near = [stretch[min(max(i + k, 0), len(stretch) - 1)].row for k in range(-half, half + 1)]
            sums = [sum(w * row[c] for w, row in zip(taps, near, strict=True)) for c in range(len(sample.row))]
            out.append(sample._replace(row=tuple(total / sum(taps) for total in sums)))
    return out


def rows_of(segment, rate_hz, source_hz, gap_s, length, spec):
    """Row k lies at origin + k / rate_hz; None: in the middle of a long gap."""
    origin = segment[0].t
    places = [(sample.t - origin) * rate_hz for sample in segment]
    rows, after, told = [], 0, 0  # samples before `told` belong to rows that were before
    for k in range(math.floor(places[-1] + ON_GRID) + 1):
        while places[after] + ON_GRID < k:
            after += 1
        sample, previous = segment[after], segment[after - 1]
        is_row = places[after] - k <= ON_GRID
        saturated = any(s.saturated for s in segment[told : after + 1])
        told = after + is_row
        if is_row:
            rows.append(Row(sample.row, False, saturated, after))
            continue
        step_s = sample.t - previous.t
        is_gap = step_s > gap_s + SLACK_S
        if is_gap and spec.gap == "mark":
            first = math.floor(places[after - 1] + ON_GRID) + 1
            if first + length <= k < math.ceil(places[after] - ON_GRID) - length:
                rows.append(None)
                continue
        share = (k - places[after - 1]) / (places[after] - places[after - 1])
        if is_gap and spec.gap == "hold":
            share = 0.0
        values = tuple(a + share * (b - a) for a, b in zip(previous.row, sample.row, strict=True))
        filled = step_s * rate_hz > 1.5 * rate_hz / source_hz + ON_GRID
        rows.append(Row(values, filled, saturated or previous.saturated, after - 1 + share))
    return rows


def cut(beat, origin, rate_hz, length, hop, spec, stamped, pad, counters):
    """The windows of one segment."""
    windows, used = [], set()
    n_beats = (len(beat) - length) // hop + 1 if len(beat) >= length else 0
    for k in range(n_beats + (pad is not None)):
        begin = k * hop
        if k == n_beats:
            waiting = [i for i in range(begin, len(beat)) if beat[i] is not None and i not in used]
            if not waiting:
                break
            last = beat[-1].values if pad == "hold" else (0.0,) * len(beat[-1].values)
            beat = beat + [Row(last, False, False, None, True)] * (begin + length - len(beat))
        window = beat[begin : begin + length]
        if any(row is None for row in window):
            counters["windows_skipped"] += 1
            continue
        made = quality(window, rate_hz, stamped)
        if spec.gap == "mark" and made[0] < spec.least_real:
            counters["windows_skipped"] += 1
            continue
        used |= set(range(begin, begin + length))
        start_s, end_s = origin + begin / rate_hz, origin + (begin + length) / rate_hz
        windows.append(Cut(start_s, end_s, [row.values for row in window], *made))
    counters["windows"] += len(windows)
    for i, row in enumerate(beat):
        if row is not None and not row.padded and i % hop < length:
            counters["rows_dropped"] += i not in used
    return windows


def quality(window, rate_hz, stamped):
    filled, saturated, padded = (
        sum(getattr(row, name) for row in window) for name in ("filled", "saturated", "padded")
    )
    n = len(window)
    places = [row.place for row in window]
    if not stamped or None in places:
        return 1 - (filled + padded) / n, filled, saturated, padded, (), None
    if n == 1:
        return 1 - filled, filled, saturated, padded, (rate_hz,), 0.0
    middle, mean = (n - 1) / 2, sum(places) / n
    slope = sum((k - middle) * p for k, p in enumerate(places)) / sum((k - middle) ** 2 for k in range(n))
    off = math.sqrt(sum((p - mean - slope * (k - middle)) ** 2 for k, p in enumerate(places)) / n)
    source_hz = slope * rate_hz
    return 1 - filled / n, filled, saturated, padded, (source_hz,), off / source_hz if source_hz > 1e-9 else None
