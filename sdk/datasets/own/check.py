"""What would hurt a training on recordings of one's own, found before it is run.

    problems   it cannot be trained on, or would be on numbers that are not what dataset.toml says
    doubts     it can; somebody should look

What is asked: the norm of acceleration at rest, rotation rates beyond any sensor's range, rates that differ from what
was said or change, seconds of each label by person, people without a class, classes of one person, spans that overlap,
lie outside of their recording or are shorter than a window, recordings that give no window.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.command import table
from runtime.recording import UNLABELLED, Recording
from runtime.specs import ClockSpec, WindowSpec
from runtime.window import labelled_windows
from sdk.datasets._info import STANDARD_GRAVITY
from sdk.datasets._rates import OFF, MeasuredRate, measured_rate, summary_of_rates
from sdk.datasets.own.description import Description, SensorTable
from sdk.datasets.own.guesses import GRAVITY_SHARE, LARGEST_RAD_S, like_gravity, quiet_norms, scale_of_norm
from sdk.datasets.own.labels import LabelledTake, plain, recoded
from sdk.datasets.own.read import OwnSet

WINDOW = WindowSpec(128, 64)  # as sdk.pretrain cuts
_MOST_PEOPLE = 10  # columns of the table
_FEW = 5  # names in a line
_FEW_WINDOWS = 8  # of a class: too few to learn from


@dataclass
class Found:
    """What was found, as it is printed and as JSON has it."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, **self.figures, "problems": self.problems, "doubts": self.doubts}


def look_over(own: OwnSet, window: WindowSpec = WINDOW, clock: ClockSpec | None = None) -> Found:
    """Read all of a data set of one's own and say what is in it, and what of it would hurt.

    Args:
        own: the data set.
        window: as it would be cut.
        clock: what is done about uneven time stamps.

    Raises:
        InputError: a file that cannot be read.
    """
    from sdk.left_out import told, why_no_window

    found = Found(own.description.name, {"rest_acc_m_s2": {}, "largest_rad_s": {}})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pieces = list(own.pieces())
    labels = own.labels
    recordings = [recoded(piece.recording, labels, own.description) for piece in pieces]
    found.doubts += [str(warning.message) for warning in said]
    signal = own.description.signal
    windows = labelled_windows(recordings, signal, window, labels, clock)
    counts = np.bincount(windows.source, minlength=len(recordings))
    reasons = Counter(
        why_no_window(recording, signal, window, clock, labels)
        for recording, n in zip(recordings, counts.tolist(), strict=True)
        if not n
    )
    if reasons:
        found.doubts.append(told(reasons, len(recordings)))
    _people_and_labels(found, recordings, labels, windows.labels, windows.source)
    for sensor in own.description.sensors:
        _units(found, sensor, recordings)
    _rates(found, recordings, own.description)
    _spans(found, pieces, own.description, window.length_samples / signal.rate_hz)
    return found


def printed(found: Found) -> str:
    """What was found, as a page."""
    figures = found.figures
    measured = figures.get("measured")
    by_times = "" if measured is None else f", {measured['median_hz']:g} by the times"
    norms, spans = figures["rest_acc_m_s2"].items(), figures.get("spans")
    rest = [f"{name} {'not measured' if norm is None else f'{norm:.2f} m/s^2'}" for name, norm in norms]
    lines = [
        found.name,
        f"  people       {figures['people']}",
        f"  recordings   {figures['recordings']:,}",
        f"  samples      {figures['samples']:,}",
        f"  rate         {figures['rate_hz']:g} Hz{by_times}",
        *([f"  at rest      {'; '.join(rest)}"] if rest else []),
        *([f"  spans        {spans['lines']}, times in {_few(spans['times'])}"] if spans else []),
        "",
    ]
    people = list(figures["seconds"])
    header = ("seconds", *(person or "nobody" for person in people), "windows")
    rows = [
        (label, *(f"{figures['seconds'][person][label]:,.0f}" for person in people), figures["windows"][label])
        for label in figures["labels"]
    ]
    lines += [f"  {line}" for line in table(rows, header).splitlines()] if len(people) <= _MOST_PEOPLE else []
    if len(people) > _MOST_PEOPLE:
        lines += [f"  {label:<24}{figures['windows'][label]:>9,} windows" for label in figures["labels"]]
    lines += [f"  {'unlabelled':<12} {figures['unlabelled_s']:,.0f} s", ""]
    lines += [f"  problem      {problem}" for problem in found.problems]
    lines += [f"  doubt        {doubt}" for doubt in found.doubts]
    return "\n".join(lines).rstrip()


def _people_and_labels(
    found: Found,
    recordings: Sequence[Recording],
    labels: Sequence[str],
    classes: NDArray[np.int64],
    sources: NDArray[np.int64],
) -> None:
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(labels, 0.0))
    windows: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(labels, 0))
    unlabelled_s = 0.0
    for recording in recordings:
        assert recording.labels is not None
        codes = np.where(recording.labels == UNLABELLED, len(labels), recording.labels)
        own_s = np.bincount(codes, minlength=len(labels) + 1) / recording.rate_hz
        unlabelled_s += float(own_s[-1])
        for label, s in zip(labels, own_s, strict=False):
            seconds[recording.subject][label] += round(float(s), 2)
    for code, source in zip(classes.tolist(), sources.tolist(), strict=True):
        windows[recordings[source].subject][labels[code]] += 1
    n_windows = {label: sum(own[label] for own in windows.values()) for label in labels}
    found.figures |= {
        "people": len({recording.subject for recording in recordings} - {""}),
        "recordings": len(recordings),
        "samples": sum(len(recording.samples) for recording in recordings),
        "labels": list(labels),
        "seconds": {person: dict(own) for person, own in sorted(seconds.items())},
        "unlabelled_s": round(unlabelled_s, 2),
        "windows": n_windows,
    }
    nobody = sum(not recording.subject for recording in recordings)
    if nobody:
        text = f"{nobody} of {len(recordings)} recordings do not say whose they are: people.pattern or people.column"
        (found.problems if nobody == len(recordings) else found.doubts).append(text)
    elif len(seconds) < 2:
        found.problems.append("all recordings are of one person: nobody is left to test on")
    used = [label for label in labels if n_windows[label]]
    if len(used) < 2:
        got = ", ".join(used) or "none"
        found.problems.append(f"expected windows of two labels at least, got those of {got}")
    for label in labels:
        who = sorted(person for person, own in windows.items() if own[label])
        if label in used and len(who) == 1 and len(seconds) > 1:
            found.doubts.append(f"{label}: only {who[0]} does it: it cannot be told from the person")
        if n_windows[label] < _FEW_WINDOWS:
            found.doubts.append(f"{label}: {n_windows[label]} windows, too few to learn from or to score on")
    for person, own in sorted(windows.items()):
        without = [label for label in used if not own[label]]
        if without and person:
            found.doubts.append(f"{person}: no window of {_few(without)}")


def _units(found: Found, sensor: SensorTable, recordings: Sequence[Recording]) -> None:
    names = [f"{sensor.name}_{channel}" for channel in sensor.channels]
    if sensor.si_unit == "m/s^2" and len(names) == 3:
        norms = {recording.name: quiet_norms(_columns(recording, names), recording.rate_hz) for recording in recordings}
        known = {name: float(np.median(values)) for name, values in norms.items() if len(values)}
        rest = float(np.median(list(known.values()))) if known else None
        found.figures["rest_acc_m_s2"][sensor.name] = None if rest is None else round(rest, 4)
        if rest is None:
            found.doubts.append(f"{sensor.name}: nobody is at rest for a second: its unit cannot be checked")
        off = [name for name, value in known.items() if not like_gravity(value)]
        if off and sensor.gravity:
            found.problems.append(_about_norm(sensor.name, off, known))
        elif known and not sensor.gravity and len(off) < len(known):
            found.problems.append(f"{sensor.name}: has gravity at rest, and dataset.toml says gravity = false")
    if sensor.si_unit == "rad/s":
        large = {r.name: float(np.nanquantile(np.abs(_columns(r, names)), 0.999)) for r in recordings if len(r.samples)}
        found.figures["largest_rad_s"][sensor.name] = round(max(large.values(), default=0.0), 2)
        if over := [name for name, value in large.items() if value > LARGEST_RAD_S]:
            found.problems.append(
                f"{sensor.name}: {max(large.values()):.0f} rad/s in {_few(over)}, more than a sensor measures: deg/s?"
            )


def _about_norm(name: str, off: Sequence[str], known: dict[str, float]) -> str:
    """A line on acceleration whose norm at rest is not that of gravity."""
    value = float(np.median([known[one] for one in off]))
    guess = scale_of_norm(value)
    if value < GRAVITY_SHARE * STANDARD_GRAVITY and guess is None:
        meant = "it was freed of gravity: record the total acceleration, or say gravity = false"
    else:
        meant = f'perhaps unit = "{guess}"' if guess else "look at the sensor's scale and calibration"
    where = _few(off) if len(off) < len(known) else "all recordings"
    return f"{name}: |acc| at rest is {value:.2f} m/s^2 in {where}, where gravity is {STANDARD_GRAVITY:.2f}; {meant}"


def _columns(recording: Recording, names: Sequence[str]) -> NDArray[np.float64]:
    return recording.samples[:, [recording.channels.index(name) for name in names]].astype(np.float64)


def _rates(found: Found, recordings: Sequence[Recording], description: Description) -> None:
    said_hz = description.rate_hz
    rates: list[tuple[str, MeasuredRate | None]] = [(r.name, measured_rate(r.t)) for r in recordings]
    found.figures |= {"rate_hz": said_hz, "measured": summary_of_rates((said_hz, rate) for _, rate in rates)}
    off = [(name, rate) for name, rate in rates if rate is not None and abs(rate.typical_hz / said_hz - 1) > OFF]
    if off:
        hz = sorted({round(rate.typical_hz, 1) for _, rate in off})
        text = f"rate_hz is {said_hz:g}, and by their times {_few([name for name, _ in off])} have "
        text += f"{hz[0]:g} Hz" if len(hz) == 1 else f"{hz[0]:g} to {hz[-1]:g} Hz"
        found.doubts.append(f"{text}: they are brought to {said_hz:g} Hz")
    if changing := [name for name, rate in rates if rate is not None and rate.changes]:
        found.doubts.append(f"the rate changes within {_few(changing)}")


def _spans(found: Found, pieces: Sequence[LabelledTake], description: Description, window_s: float) -> None:
    """Overlaps, spans that end late, spans that are shorter than a window."""
    spanned = [piece for piece in pieces if piece.spans]
    if not spanned:
        return
    left = {plain(name) for name in description.labels.leave_out}
    lines = [(p, span) for p in spanned for span in p.spans if plain(span.label) not in left]
    short = [span for _, span in lines if span.end_s - span.start_s < window_s]
    overlaps = [text for piece in spanned for text in _overlaps(piece)]
    late = [
        span.where
        for piece, span in lines
        if span.start_s < (begin := _begin(piece)) - 1e-3 or span.end_s > begin + piece.recording.duration_s + 1e-3
    ]
    ways = {f"{piece.way.unit} of {piece.way.origin}" for piece in spanned if piece.way}
    found.figures["spans"] = {
        "lines": len(lines),
        "times": sorted(ways),
        "overlapping": len(overlaps),
        "short": len(short),
        "beyond": len(late),
    }
    if overlaps:
        found.doubts.append(f"{len(overlaps)} spans have another label than one that they overlap, as {overlaps[0]}")
    if late:
        found.doubts.append(f"{len(late)} spans begin before or end after their recording, as {late[0]}")
    if short:
        text = f"{len(short)} of {len(lines)} spans are shorter than a window of {window_s:.3g} s and give none"
        found.doubts.append(f"{text}, as {short[0].where}")
    if len(ways) > 1:
        text = f"times of labels are taken for {' and for '.join(sorted(ways))}"
        found.doubts.append(f"{text}: say labels.unit and labels.from")


def _begin(piece: LabelledTake) -> float:
    t = piece.recording.t
    return 0.0 if t is None or not len(t) else float(t[0])


def _overlaps(piece: LabelledTake) -> Iterator[str]:
    ordered = sorted(piece.spans, key=lambda span: span.start_s)
    for i, span in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other.start_s >= span.end_s - 1e-3:
                break
            if plain(other.label) != plain(span.label):
                yield f"{other.where} ({other.label}) and {span.where} ({span.label})"


def _few(names: Sequence[str]) -> str:
    short = [name.removeprefix("own/").partition("/")[2] or name for name in names]
    rest = f" and {len(short) - _FEW} more" if len(short) > _FEW else ""
    return ", ".join(short[:_FEW]) + rest
