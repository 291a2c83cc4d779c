"""The shipped bundle on people, placements and units that it was not made for: does it say so?

For each set of public data at hand (--data; --only NAME,NAME): people at home whom the model never saw, the same upside
down and in other units, and people of other sets with the sensor elsewhere. Two questions:

    watch     how many streams and windows are called frozen or implausible, of sensors that are right
    unusual   AUROC of medians over 60 moving windows, foreign against home: the distance that `Stream.unusual` tells,
              the highest probability, and the energy score (Liu et al. 2020), each of the same windows; and per window
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._bench import Options, Result
from runtime import Bundle, InputError, open_engine
from runtime.bundle.reference import Reference, open_reference
from runtime.command import table
from runtime.engine import Engine
from runtime.stream import watch_of
from runtime.window import Counters, cut_windows
from runtime.window.pieces import Window
from runtime.window.sensor import MOVES
from runtime.window.unusual import LEAST, WINDOWS
from sdk.datasets import iter_dataset

SHIPPED = Path(__file__).parent.parent / "sdk" / "demo" / "data" / "walk.bundle"
HOME, G = "motionsense", 9.80665
SETS = (HOME, "hapt", "uci_har", "wisdm_2019", "sp_sw_har", "seglearn_watch", "utd_mhad")
SCORES = ("distance", "probability", "energy")
Windows = NDArray[np.float32]
CHANGES: dict[str, Callable[[Windows], Windows]] = {  # of people at home
    "home, upside down": lambda x: x * np.float32([-1, -1, 1, -1, -1, 1]),
    "home, the other sign": lambda x: x * np.float32([-1, -1, -1, 1, 1, 1]),
    "home, in g": lambda x: x / np.float32([G, G, G, 1, 1, 1]),
    "home, in deg/s": lambda x: x * np.float32([1, 1, 1] + [180 / np.pi] * 3),
}


def run(options: Options) -> Result:
    """Measure both.

    Raises:
        InputError: no folder with archives.
    """
    if options.data is None:
        raise InputError("--data", expected="the folder with the archives", got="none", fix="Name it.")
    result, bundle = Result("unusual"), Bundle.open(SHIPPED, "base")
    reference = open_reference(bundle)
    assert reference is not None
    engine, rows = open_engine(bundle), list[tuple[str, ...]]()
    unseen = set(bundle.manifest.provenance["unseen_people"]["test_subjects"])
    scores: dict[str, dict[str, list[float]]] = {}
    for name in SETS:
        if options.only and name not in (HOME, *options.only):
            continue
        try:
            streams = _streams(name, bundle, options.data)
        except InputError as error:
            rows.append((name, "", "", "", f"not here: {str(error)[:60]}"))
            continue
        for device, people in streams.items():
            rows.append((device, *_watched(bundle, reference, list(people.values()))))
            if name != HOME:
                scores[device] = _scores(engine, reference, list(people.values()))
                continue
            home = [windows for person, windows in people.items() if person in unseen]
            scores["home"] = _scores(engine, reference, home)
            for title, change in CHANGES.items():
                changed = [[w._replace(samples=change(w.samples)) for w in windows] for windows in home]
                scores[title] = _scores(engine, reference, changed)
    _tell(result, rows, scores)
    return result


def _streams(name: str, bundle: Bundle, data: Path) -> dict[str, dict[str, list[Window]]]:
    """Windows by device, and by person in the order of the recordings."""
    manifest, found = bundle.manifest, defaultdict[str, dict[str, list[Window]]](lambda: defaultdict(list))
    clock = replace(manifest.clock, gap="hold", gap_s=0.2) if name == "sp_sw_har" else manifest.clock
    for recording in iter_dataset(name, data):
        ending = recording.name.rpartition("/")[2]
        device = f"{name}, {ending}" if ending in ("phone", "watch") else name
        found[device][recording.subject] += cut_windows(recording, manifest.signal, manifest.window, clock)
    return found


def _watched(bundle: Bundle, reference: Reference, people: list[list[Window]]) -> tuple[str, str, str, str]:
    """Streams, windows, those that are marked, and the words."""
    words, counters = Counter[str](), Counters()
    for windows in people:
        watch, found = watch_of(bundle, reference), set[str]()
        for window in windows:
            found |= set(watch.look(window, counters).quality.implausible)
        words.update(found)
    n = sum(map(len, people))
    marked = f"{counters.windows_frozen} + {counters.windows_implausible}"
    told = ", ".join(f"{word} ({n} streams)" for word, n in words.most_common())
    return str(len(people)), str(n), marked, told or "nothing"


def _scores(engine: Engine, reference: Reference, people: list[list[Window]]) -> dict[str, list[float]]:
    """Higher is stranger: medians over 60 moving windows, half of which the next one shares; and of each window."""
    found: dict[str, list[float]] = defaultdict(list)
    for windows in people:
        moving = np.array([w.samples for w in windows if _moves(w.samples)], np.float32)
        if len(moving) < LEAST:
            continue
        parts = [moving[i : i + 64] for i in range(0, len(moving), 64)]
        features = np.concatenate([engine.run(part, "features") for part in parts])
        logits = np.concatenate([engine.run(part) for part in parts]).astype(np.float64)
        highest = logits.max(1)
        total = np.exp(logits - highest[:, None]).sum(1)
        each = [reference.distance(row) for row in features], -1 / total, -(highest + np.log(total))
        for name, values in zip(SCORES, each, strict=True):
            starts = range(0, max(len(moving) - WINDOWS, 0) + 1, WINDOWS // 2)
            found[name] += [float(np.median(values[i : i + WINDOWS])) for i in starts]
            found[f"{name}, one window"] += list(map(float, values))
    return found


def _moves(samples: Windows) -> bool:
    """As the watch has it."""
    mean = samples[:, :3].mean(0)
    motion = float(np.sqrt(samples[:, :3].var(0).sum()))
    return motion > MOVES * float(np.sqrt(mean.dot(mean)))


def auroc(foreign: list[float], home: list[float]) -> float:
    """The probability that a foreign score is above one from home; ties count half."""
    ordered = np.sort(home)
    below, upto = np.searchsorted(ordered, foreign, "left"), np.searchsorted(ordered, foreign, "right")
    return float((below + upto).mean() / 2 / len(ordered))


def _tell(result: Result, rows: list[tuple[str, ...]], scores: dict[str, dict[str, list[float]]]) -> None:
    lines, home = [], scores["home"]
    for name, found in scores.items():
        if not found:
            continue
        middle = np.quantile(found["distance"], (0.05, 0.5, 0.95))
        areas = {score: auroc(found[score], home[score]) for score in (*SCORES, "distance, one window")}
        result.figures[name] = {"n": len(found["distance"]), "unusual": middle.tolist(), "auroc": areas}
        told = " ".join(f"{value:.2f}" for value in middle)
        lines.append((name, len(found["distance"]), told, *(f"{area:.3f}" for area in areas.values())))
    columns = ("set", "medians", "unusual 5, 50, 95 %", *SCORES, "one window")
    watched = table(rows, ("set", "streams", "windows", "frozen + implausible", "said"))
    result.text = f"{watched}\n\n{table(lines, columns)}"
