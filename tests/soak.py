"""`make soak`: a day of signal, as fast as it goes, with all that happens to a device: does anything grow?

    python -m tests.soak --hours 24 [--kills 2] [--tunes 24] [--seed 0] [--json]

    day    |-- life --------------------------X-- life ---------------------------X-- life --------------------------|
    life   samples with gaps, NaN, doubles, swapped and broken stamps, a clock that is set -> stream -> recorder
           now and then: a mark; a fine-tune of the head from the store; the new version in use; old ones thinned
    X      kill -9; the next life opens what is there, and what was committed is there

Memory (without pages of files), descriptors, threads and disk (store, log and bundle) are read 96 times a day. What a
life takes before its third fine-tune is its warm-up. Flat is: the last half of the day is no higher than the first by
more than `LIMITS`, and the slope within lives, from six hours on, is not above `SLOPE_KB_PER_HOUR`. Exit code 1: not
flat.
"""

import argparse
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import Bundle, InputError, RecordedStream, Recorder, Recording, Store
from sdk.finetune.__main__ import main as finetune
from tests.commands.tools import DATA, environment

READINGS = 96  # in a day
WARM_UP = 3  # fine-tunes; the memory that the first of them take is kept for the next
LIMITS = {"memory_mb": 4.0, "descriptors": 2, "threads": 1, "disk_mb": 0.5}  # last half above the first
SLOPE_KB_PER_HOUR = 100.0
MAX_MB, EPOCH_S, RATE_HZ, CHUNK = 4.0, 1_700_000_000.0, 50.0, 64


def signal_of(seed: int, begin_s: float) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64], str]]:
    """Chunks of a wearer's day from an instant on, with stamps in Unix seconds and what the wearer really did."""
    rng, person = np.random.default_rng([seed, round(begin_s)]), Recording.load(DATA / "person_6.npz")
    assert person.labels is not None
    n, now_s = len(person.samples), EPOCH_S + begin_s
    for k in range(round(begin_s * RATE_HZ / CHUNK), 10**9):
        at = k * CHUNK % (n - CHUNK)
        rows, t = person.samples[at : at + CHUNK].copy(), now_s + np.arange(CHUNK) / RATE_HZ
        t += rng.uniform(-0.004, 0.004, CHUNK)
        now_s += CHUNK / RATE_HZ
        way = k % 101
        if way == 3:
            rows[5:9] = np.nan
        elif way == 17:
            rows[7] = 3e38
        elif way == 31:
            t[-1] = np.inf
        elif way == 43:
            t[1] = t[0]
        elif way == 59:
            t[:] = t[::-1]
        elif way == 71:
            rows, t = rows[:-30], t[:-30]
        elif way == 97 and k % 11 == 0:
            now_s += rng.choice([0.3, 5, 60, -3])  # lost, or a clock that is set
        label = person.labels[at + CHUNK // 2]
        yield rows, t, person.label_names[label] if label >= 0 else ""


def memory_bytes() -> int:
    """What this process has taken, in memory or swapped out; pages of files come and go as the kernel likes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(status[name].split()[0]) * 1024 for name in ("RssAnon", "VmSwap"))


class Life:
    """One process of the device, from an instant of the day on: it tells each reading as a line of JSON."""

    def __init__(self, folder: Path, hours: float, tunes: int, seed: int, begin_s: float) -> None:
        self.folder, self.hours, self.tunes, self.begin_s = folder, hours, tunes, begin_s
        self.bundle, self.store = folder / "walk.bundle", folder / "me.db"
        self.chunks, self.happened, self.counted = signal_of(seed, begin_s), Counter[str](), Counter[str]()
        self.open()

    def open(self) -> None:
        self.recorder = Recorder(self.store, Bundle.open(self.bundle), max_mb=MAX_MB, epoch=0.0)
        self.stream = RecordedStream(self.recorder)

    def close(self) -> None:
        self.stream.flush()
        self.recorder.close()
        self.counted += Counter(asdict(self.stream.counters))

    def live(self) -> None:
        now_s, day_s = self.begin_s, self.hours * 3600
        read_s, tuned_s, marks = now_s, now_s, []
        for i, (rows, t, label) in enumerate(self.chunks):
            self.stream.push(rows, t)
            now_s += CHUNK / RATE_HZ
            if label:
                marks = [*marks[-40:], (float(t[0]), label)] if np.isfinite(t[0]) else marks
            if i % 50 == 49:
                self.recorder.flush()
                self.mark(marks)
            if now_s - tuned_s >= day_s / self.tunes:
                tuned_s = now_s
                self.tune()
            if now_s - read_s >= day_s / READINGS:
                read_s = now_s
                self.tell(now_s)
            if now_s >= day_s:
                break
        self.close()

    def mark(self, known: list[tuple[float, str]]) -> None:
        """What the wearer did lately, as a wearer would say it."""
        if len(known) > 12 and len({label for _, label in known[-12:]}) == 1:
            with suppress(InputError), Store(self.store) as store:  # the clock was set in between
                store.mark(known[-12][0], known[-1][0], known[-1][1], known[-1][0])
                self.happened["marks"] += 1

    def tune(self) -> None:
        """A fine-tune from the store, what it made in use, and the old ones thinned."""
        self.close()
        for words in (("--labels", str(self.store), "--folds", "3"), ("--prune", "--keep", "3")):
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as told:
                code = finetune([str(self.bundle), *words, "--json"])
            if code not in (0, 3):
                raise SystemExit(told.getvalue())
            self.happened[f"{words[0].removeprefix('--')} {code}"] += 1
        self.open()

    def tell(self, now_s: float) -> None:
        self.recorder.flush()
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        print(
            json.dumps(
                {
                    "hour": now_s / 3600,
                    "memory_mb": memory_bytes() / 1e6,
                    "descriptors": len(os.listdir("/proc/self/fd")),
                    "threads": threading.active_count(),
                    "disk_mb": sum(path.stat().st_size for path in files) / 1e6,
                    "tuned": self.happened["labels 0"] + self.happened["labels 3"],
                    "happened": self.happened,
                    "counters": self.counted + Counter(asdict(self.stream.counters)),
                }
            ),
            flush=True,
        )


def soaked(folder: Path, hours: float, kills: int, tunes: int, seed: int) -> tuple[list[list[dict[str, Any]]], float]:
    """The readings of each life, and the seconds that the day took."""
    shutil.copytree(DATA / "walk.bundle", folder / "walk.bundle")
    rng, began, lives, now_s = random.Random(seed), time.monotonic(), [], 0.0
    for life in range(kills + 1):
        end_s = hours * 3600 * (life + 1) / (kills + 1)
        words = [sys.executable, "-m", "tests.soak", "--hours", str(hours), "--seed", str(seed), "--tunes", str(tunes)]
        words += ["--life", str(folder), str(now_s)]
        readings: list[dict[str, Any]] = []
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            assert process.stdout is not None
            for line in process.stdout:
                readings.append(json.loads(line))
                if life < kills and readings[-1]["hour"] * 3600 >= end_s:
                    time.sleep(rng.uniform(0, 0.3))
                    process.kill()
                    break
        if life == kills and process.returncode:
            raise SystemExit(f"a life ended with {process.returncode}")
        now_s = readings[-1]["hour"] * 3600
        with Store(folder / "me.db") as store:
            assert store.span_s is not None
            assert store.span_s[1] >= EPOCH_S + now_s - 3600, "what was committed is gone"
        for version in Bundle.open(folder / "walk.bundle").versions():
            with suppress(InputError):
                Bundle.open(folder / "walk.bundle").record(version)
        lives.append(readings)
    return lives, time.monotonic() - began


def judged(lives: list[list[dict[str, Any]]], hours: float) -> dict[str, Any]:
    """Of each quantity the medians of both halves of the day, after each life's warm-up; and whether it is flat."""
    warm = [[reading for reading in life if reading["tuned"] >= WARM_UP] for life in lives]
    flat = sorted((reading for life in warm for reading in life), key=lambda reading: reading["hour"])
    if len(flat) < 4:
        raise SystemExit("too few readings after the warm-up")
    found: dict[str, Any] = {}
    for name, limit in LIMITS.items():
        halves = [flat[: len(flat) // 2], flat[len(flat) // 2 :]]
        first, last = (statistics.median(reading[name] for reading in half) for half in halves)
        found[name] = {"first_half": first, "last_half": last, "limit": limit, "flat": last - first <= limit}
    slope = _slope(warm)
    found["memory_mb"] |= {"slope_kb_per_hour": slope, "slope_limit": SLOPE_KB_PER_HOUR}
    if hours >= 6 and slope is not None:
        found["memory_mb"]["flat"] &= slope <= SLOPE_KB_PER_HOUR
    return found


def _slope(lives: list[list[dict[str, Any]]]) -> float | None:
    """Least squares over all lives, each with a level of its own."""
    above = below = 0.0
    for life in lives:
        if len(life) > 1:
            hour = np.array([reading["hour"] for reading in life])
            memory = np.array([reading["memory_mb"] for reading in life])
            above += float(((hour - hour.mean()) * (memory - memory.mean())).sum())
            below += float(((hour - hour.mean()) ** 2).sum())
    return 1e3 * above / below if below else None


def figures_of(lives: list[list[dict[str, Any]]], hours: float, kills: int, seconds: float) -> dict[str, Any]:
    happened, counters = Counter[str](), Counter[str]()
    for life in lives:
        happened += Counter(life[-1]["happened"])
        counters += Counter(life[-1]["counters"])
    found = judged(lives, hours)
    return {
        "hours": hours, "seconds": round(seconds, 1), "kills": kills, "readings": sum(map(len, lives)),
        "flat": all(one["flat"] for one in found.values()), **found, "happened": happened, "counters": counters,
    }  # fmt: skip


def _text(figures: dict[str, Any]) -> str:
    rows = [f"{figures['hours']:g} hours in {figures['seconds']:.0f} s, {figures['kills']} kills"]
    for name in LIMITS:
        one = figures[name]
        told = f"{one['first_half']:.2f} -> {one['last_half']:.2f} (limit +{one['limit']:g})"
        if one.get("slope_kb_per_hour") is not None:
            told += f", {one['slope_kb_per_hour']:+.1f} kB per hour (limit {one['slope_limit']:g})"
        rows.append(f"{name:12} {'flat    ' if one['flat'] else 'NOT FLAT'} {told}")
    parts = {part: [f"{n} {name}" for name, n in figures[part].items() if n] for part in ("happened", "counters")}
    return "\n".join([*rows, *(f"{part:12} {', '.join(told)}" for part, told in parts.items())])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0, help="of signal (default %(default)s)")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--tunes", type=int, default=24, help="fine-tunes in the day (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--life", nargs=2, help=argparse.SUPPRESS)  # folder, begin in seconds
    arguments = parser.parse_args()
    if arguments.life:
        folder, begin_s = arguments.life
        Life(Path(folder), arguments.hours, arguments.tunes, arguments.seed, float(begin_s)).live()
        return 0
    with tempfile.TemporaryDirectory(prefix="sensedge-soak-") as folder:
        lives, seconds = soaked(Path(folder), arguments.hours, arguments.kills, arguments.tunes, arguments.seed)
    figures = figures_of(lives, arguments.hours, arguments.kills, seconds)
    print(json.dumps(figures, indent=1) if arguments.json else _text(figures))
    return 0 if figures["flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
