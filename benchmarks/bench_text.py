"""Microseconds per row read from a .csv: a recording, a replay; against csv.reader and float.

The peer is what reading was before: `csv.reader`, a list of floats per line, one array at the end. Three files: numbers
with four decimals, the same with a column of labels, numbers with an exponent and 19 digits.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._bench import Options, Result, interleave, ratio
from runtime import Bundle, Recording, Replay, Signal

SHIPPED = Path(__file__).parent.parent / "sdk" / "demo" / "data"


def run(options: Options) -> Result:
    """Measure the three files."""
    result, n = Result("text"), 20_000 if options.quick else 50_000
    result.figures["rows"] = n
    signal = Bundle.open(SHIPPED / "walk.bundle").manifest.signal
    samples = np.resize(Recording.load(SHIPPED / "person_6.npz").fit(signal).samples, (n, len(signal.channel_names)))
    with tempfile.TemporaryDirectory() as folder:
        for key, form, tail in (("plain", "%.4f", ""), ("labels", "%.4f", ",walking"), ("exponents", "%.18e", "")):
            path = Path(folder) / f"{key}.csv"
            head = ",".join(["t", *signal.channel_names]) + (",label" if tail else "")
            rows = (",".join([f"{i / 50:.3f}", *(form % v for v in row)]) + tail for i, row in enumerate(samples))
            path.write_text("\n".join([head, *rows, ""]))
            _measure(key, path, signal, n, options, result)
    return result


def _measure(key: str, path: Path, signal: Signal, n: int, options: Options, result: Result) -> None:
    candidates = {
        "load": lambda: Recording.load(path),
        "replay": lambda: [len(batch.samples) for batch in Replay(path, signal)],
        "csv": lambda: _by_csv(path),
    }
    seconds = interleave(candidates, rounds=3 if options.quick else 9, calls=1)
    for name, values in seconds.items():
        result.figures[f"{name}_us_{key}"] = statistics.median(values) / n * 1e6
    name = f"ours_vs_csv_{key}"
    result.ratios[name], result.ratios[f"{name}_spread"] = ratio(seconds["load"], seconds["csv"])
    result.checks[f"same_{key}"] = np.array_equal(Recording.load(path).samples, _by_csv(path)[:, 1:].astype(np.float32))


def _by_csv(path: Path) -> NDArray[np.float64]:
    with path.open(newline="") as file:
        rows = csv.reader(file)
        head = next(rows)
        width = len(head) - ("label" in head)
        return np.array([[float(cell) for cell in row[:width]] for row in rows])
