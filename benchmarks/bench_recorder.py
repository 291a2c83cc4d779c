"""A month of predictions in a recorder's store: how fast it answers, and what writing costs.

A prediction per second, 30 days (quick: 2), through the writer that a recorder uses. The peer holds the same rows in
an SQLite table as one makes it without thinking: a row per prediction, no key on time, no counts.

    scan_vs_day          windows per label of one day: the peer's time / ours
    scan_vs_range        the predictions of ten minutes: the peer's time / ours
    day_ms, range_ms     the same in milliseconds, ours; list_ms: every day with its labels, as `sdk.label list` shows
    write_us             of the stream's thread per window: Recorder.write, 3 kB of samples copied
    written_mb_per_day   given to the file system by a recorder with its defaults on the shipped bundle, live; log,
                         store and room-making counted; with the budget reached (full) and before (filling)
    stored_mb_per_day    that the store grows by meanwhile
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks._bench import Options, Result, interleave, ratio
from runtime import Bundle, Prediction, Quality, Recorder, Store, Window
from runtime.recorder import days_of
from runtime.recorder.writer import StoreRow, StoreWriter

SHIPPED = Path(__file__).parent.parent / "sdk" / "demo" / "data" / "walk.bundle"
EPOCH_S, DAY_S, BATCH = 1_700_000_000, 86400, 4096


def run(options: Options) -> Result:
    result, bundle = Result("recorder"), Bundle.open(SHIPPED)
    with tempfile.TemporaryDirectory(prefix="sensedge-recorder-") as folder:
        _queries(bundle, Path(folder), 2 if options.quick else 30, 5 if options.quick else 15, result)
        _writing(bundle, Path(folder), 0.05 if options.quick else 1.0, result)
    return result


def _prediction(k: int, start_s: float, span_s: float, labels: tuple[str, ...]) -> Prediction:
    best = k // 900 * 7 % len(labels)
    rest = 0.1 / (len(labels) - 1)
    probabilities = tuple(0.9 if i == best else rest for i in range(len(labels)))
    quality = Quality(1.0, 0, 0, 0, (50.0,), 0.001)
    return Prediction(labels[best], 0.9, probabilities, start_s, start_s + span_s, quality, 0.0, 0.0, 0.0)


def _rows(n: int, manifest_s: float, labels: tuple[str, ...]) -> Iterator[list[StoreRow]]:
    for begin in range(0, n, BATCH):
        yield [
            StoreRow((EPOCH_S + k) * 1_000_000, _prediction(k, k, manifest_s, labels))
            for k in range(begin, min(begin + BATCH, n))
        ]


def _queries(bundle: Bundle, folder: Path, days: int, rounds: int, result: Result) -> None:
    n, manifest = days * DAY_S, bundle.manifest
    path, plain = folder / "month.db", sqlite3.connect(folder / "plain.db", isolation_level=None)
    writer = StoreWriter(path, bundle, max_mb=2000)
    writer._db.execute("PRAGMA synchronous = OFF")  # filling is not what is measured
    plain.execute("PRAGMA synchronous = OFF")
    plain.execute("CREATE TABLE predictions (at REAL, label TEXT, probability REAL, probabilities BLOB)")
    began = perf_counter()
    for rows in _rows(n, manifest.window_s, manifest.labels):
        writer.commit(rows)
        values = [(r.at / 1e6, r.prediction.label, 0.9, np.array(r.prediction.probabilities).tobytes()) for r in rows]
        plain.execute("BEGIN")
        plain.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?)", values)
        plain.execute("COMMIT")
    writer.close()
    result.figures |= {"rows": n, "fill_s": perf_counter() - began, "store_mb": path.stat().st_size / 1e6}

    rng = np.random.default_rng(0)
    with Store(path) as store:
        for begin_s in (EPOCH_S + rng.uniform(0, n - DAY_S / 2, 6)).tolist():
            store.mark(begin_s, begin_s + 1800, manifest.labels[0], 0.0)
        starts = (EPOCH_S + rng.integers(0, max(n - DAY_S, 1), 64)).tolist()
        turn = [0]

        def next_start() -> float:
            turn[0] += 1
            return float(starts[turn[0] // 2 % len(starts)])

        def scan(span_s: float) -> dict[str, int]:
            at = next_start()
            query = "SELECT label, count(*) FROM predictions WHERE at >= ? AND at < ? GROUP BY label"
            return dict(plain.execute(query, (at, at + span_s)))

        def day() -> dict[str, int]:
            at = next_start()
            return store.counts(at, at + DAY_S)

        def ten_minutes() -> dict[str, int]:
            at, found = next_start(), dict[str, int]()
            for row in store.predictions(at, at + 600):
                found[row.label] = found.get(row.label, 0) + 1
            return found

        for name, ours, span_s in (("day", day, DAY_S), ("range", ten_minutes, 600)):
            turn[0] = -1
            result.checks[f"{name}_agrees"] = all(ours() == scan(span_s) for _ in range(3))
            peer: Callable[[], object] = lambda span_s=span_s: scan(span_s)  # noqa: E731
            seconds = interleave({"ours": ours, "peer": peer}, rounds=rounds, calls=1)
            result.figures[f"{name}_ms"] = statistics.median(seconds["ours"]) * 1e3
            result.figures[f"{name}_worst_ms"] = max(seconds["ours"]) * 1e3
            result.ratios[f"scan_vs_{name}"], result.ratios[f"scan_vs_{name}_spread"] = ratio(
                seconds["peer"], seconds["ours"]
            )
        (listed,) = interleave({"list": lambda: list(days_of(store, days + 1))}, rounds=rounds, calls=1).values()
        result.figures["list_ms"], result.figures["list_worst_ms"] = (f(listed) * 1e3 for f in (statistics.median, max))
        result.checks["every_row_is_listed"] = sum(entry["windows"] for entry in days_of(store, days + 1)) == n
    plain.close()


def _writing(bundle: Bundle, folder: Path, days: float, result: Result) -> None:
    """A stream in real time, without its waiting: a transaction for each 10 s."""
    manifest, rng = bundle.manifest, np.random.default_rng(0)
    length, hop, rate_hz = manifest.window.length_samples, manifest.window.hop_samples, manifest.signal.rate_hz
    signal = rng.normal(size=(20_000, 6)).astype(np.float32)
    n = int(days * DAY_S / manifest.hop_s)
    full_mb = max(4.0, 110 * days)  # a store that the first part of the day has filled

    def window(k: int) -> Window:
        at = k * hop % (len(signal) - length)
        at -= at % hop
        return Window(signal[at : at + length], k * manifest.hop_s, k * manifest.hop_s + manifest.window_s, at)

    def row(k: int) -> StoreRow:
        cut = window(k)
        prediction = _prediction(k, cut.start_s, manifest.window_s, manifest.labels)
        return StoreRow(round((EPOCH_S + cut.start_s) * 1e6), prediction, cut.row, cut.samples.tobytes())

    per_commit = int(10 / manifest.hop_s)
    writer = StoreWriter(folder / "day.db", bundle, full_mb)
    written: dict[str, list[int]] = {"filling": [], "full": []}
    stored = 0
    for begin in range(0, 2 * n, per_commit):
        before = _given_bytes()
        writer.commit([row(k) for k in range(begin, begin + per_commit)])
        if begin < n / 2:
            stored = (folder / "day.db").stat().st_size
        written["full" if writer.removed else "filling"].append(_given_bytes() - before)
    writer.close()
    commits_per_day = DAY_S / (per_commit * hop / rate_hz)
    for name, values in written.items():
        result.figures[f"written_mb_per_day_{name}"] = sum(values) / max(len(values), 1) * commits_per_day / 1e6
    result.figures["written_mb_per_day"] = result.figures["written_mb_per_day_filling"]
    result.figures["stored_mb_per_day"] = stored / (days / 2) / 1e6
    with Recorder(folder / "write.db", bundle, epoch=float(EPOCH_S)) as recorder:
        seconds = []
        for begin in range(0, 2000, 200):
            pairs = [(_prediction(k, k, manifest.window_s, manifest.labels), window(k)) for k in range(200)]
            recorder.flush()
            began = perf_counter()
            for prediction, cut in pairs:
                recorder.write(prediction._replace(start_s=float(begin)), cut)
            seconds.append((perf_counter() - began) / len(pairs))
    result.figures["write_us"] = statistics.median(seconds) * 1e6


def _given_bytes() -> int:
    """Bytes that this process has handed to write() so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
