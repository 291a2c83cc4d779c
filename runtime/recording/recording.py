"""A recording: samples of one signal, perhaps with their times and the true label of each.

Two files hold one:

    .npz   samples (n, channels) float32, channels (names), rate_hz; optionally t (n,) in seconds,
           labels (n,) int16 with label_names, subject; what was said of times, units and axes: stamps, reading
    .csv   a header with the names of the columns; optionally a time and `label` (a name, empty = unknown);
           without a time the rate is the model's

Columns are matched by name, so their order in the file and further columns do not matter. Options stand behind a `?`,
`today.csv?t=timestamp:ms&units=g,deg/s`: see `runtime.recording.reading`.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files.atomic import write_atomic
from runtime.recording.checks import UNLABELLED, check_labels, check_names
from runtime.recording.columns import Columns
from runtime.recording.files import TextFile
from runtime.recording.labels import code_between
from runtime.recording.npz import read_npz
from runtime.recording.placement import placement
from runtime.recording.reading import Reading, split_path
from runtime.recording.rows import Rows
from runtime.recording.sensors import Part, files_of, join
from runtime.recording.table import Table
from runtime.recording.text import TextOptions, TextReader
from runtime.recording.times import rate_of
from runtime.specs import ClockSpec, Signal

_log = logging.getLogger("sensedge.recording")
Stamped: TypeAlias = Literal["measured", "arrival"] | None
_HEAD = 4096  # rows that are looked at to know what the times are
_MAX_LABELS = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class Recording:
    """Samples of one person in one go, in the order of `channels`.

    Raises:
        InputError: shapes, names, labels or a rate that do not fit; the message names which.
    """

    samples: NDArray[np.float32]  # shape (n_samples, n_channels), in the units of the signal
    channels: tuple[str, ...]  # names of the columns, such as "acc_x"
    rate_hz: float  # nominal samples per second
    t: NDArray[np.float64] | None = None  # shape (n_samples,), seconds; None: a perfect clock from 0
    labels: NDArray[np.int16] | None = None  # shape (n_samples,), index into label_names; UNLABELLED where unknown
    label_names: tuple[str, ...] = ()
    subject: str = ""
    name: str = ""  # where it came from, for messages
    stamps: Stamped = None  # what `t` is; None: as the clock of whoever cuts it says
    by_modality: bool = False  # rows hold one sensor each, and NaN in the columns of the others
    reading: str = ""  # what was said of units, names and axes and is not applied yet: `fit` does

    def __repr__(self) -> str:
        told = f"{len(self.samples)} samples of {len(self.channels)} channels"
        return one_line(self, repr(self.name), told, f"{self.rate_hz:g} Hz", f"{len(self.label_names)} labels")

    def __post_init__(self) -> None:
        where = self.name or "recording"
        if self.samples.ndim != 2 or self.samples.shape[1] != len(self.channels):
            raise InputError(
                where,
                expected=f"samples of shape (n, {len(self.channels)}), a column for each of {', '.join(self.channels)}",
                got=f"shape {self.samples.shape}",
                fix="Give one column per channel.",
            )
        check_names(self.channels, "channel", where)
        n = len(self.samples)
        for what, column in (("t", self.t), ("labels", self.labels)):
            if column is not None and column.shape != (n,):
                raise InputError(
                    f"{where}: {what}",
                    expected=f"one value per sample, {n}",
                    got=f"shape {column.shape}",
                    fix="Give every sample its own.",
                )
        if self.labels is not None:
            check_labels(self.labels, self.label_names, where)
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise InputError(
                f"{where}: rate_hz", expected="a number above 0", got=f"{self.rate_hz:g}", fix="Correct the rate."
            )

    @property
    def duration_s(self) -> float:
        """Seconds from the first sample to the end of the last one."""
        if self.t is not None and len(self.t):
            return float(self.t[-1] - self.t[0]) + 1 / self.rate_hz
        return len(self.samples) / self.rate_hz

    @cached_property
    def is_rising(self) -> bool:
        """Whether the clock never ran backward."""
        return self.t is None or bool((np.diff(self.t) >= 0).all())

    def label_between(self, start_s: float, end_s: float) -> str | None:
        """The one true label of a span of time, None where labels are missing or mixed.

        Args:
            start_s: first instant, in the recording's own time.
            end_s: the instant after the last sample.
        """
        if self.labels is None:
            return None
        code = code_between(self.labels, self.t, start_s, end_s, self.rate_hz, rises=self.is_rising)
        return None if code == UNLABELLED else str(self.label_names[code])

    def fit(self, signal: Signal) -> Recording:
        """This recording with exactly the columns of `signal`, in its order, in its units.

        Raises:
            InputError: a channel is missing or may be one of several, or its unit cannot be turned into the signal's.
        """
        placed = placement(self.channels, signal, Reading.of(self.reading), self.name or "recording")
        _tell(self.name, placed.told)
        return replace(self, samples=placed.apply(self.samples), channels=signal.channel_names, reading="")

    def clock(self, clock: ClockSpec | None = None) -> ClockSpec:
        """A clock for these times, which are seconds: the one given, and what is known of the stamps."""
        clock = clock or ClockSpec()
        return replace(clock, unit="s", stamps=self.stamps or clock.stamps)

    def save(self, path: str | Path) -> None:
        """Write the recording as a compressed .npz, atomically."""
        arrays: dict[str, Any] = {"samples": self.samples, "channels": self.channels, "rate_hz": self.rate_hz}
        if self.t is not None:
            arrays["t"] = self.t
        if self.labels is not None:
            arrays |= {"labels": self.labels, "label_names": self.label_names}
        kept = ("subject", "stamps", "by_modality", "reading")
        arrays |= {name: word for name in kept if (word := getattr(self, name))}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomic(Path(path), buffer.getvalue())

    @classmethod
    def load(
        cls,
        path: str | Path,
        rate_hz: float | None = None,
        *,
        reading: Reading | None = None,
        signal: Signal | None = None,
    ) -> Recording:
        """Read a .npz or .csv file; what had to be recognised or turned is told, in one line each.

        Args:
            path: of the file, of a folder with a file for each sensor, or of such files with commas between them (for
                these `signal` is needed); options may stand behind a `?`.
            rate_hz: samples per second, taken where the file has neither a rate nor times.
            reading: what is said of times, units, names and axes; None: the options behind the `?`.
            signal: what the model wants: the recording is fitted to it, and only its columns are read.

        Raises:
            InputError: no such file, another format, a column or a value that does not fit.
        """
        path, options = split_path(path)
        reading = Reading.of(options, str(path)) if reading is None else reading
        if signal is not None and (files := files_of(path)):
            return _joined(cls, files, signal, reading, rate_hz, path)
        readers = {".npz": _read_npz, ".csv": _read_csv}
        if path.suffix.lower() not in readers:
            raise InputError(
                path, expected="a .csv or .npz file", got=path.suffix or "no suffix", fix="Convert it first."
            )
        try:
            fields = readers[path.suffix.lower()](path, reading, signal, rate_hz)
        except OSError as error:
            raise InputError(
                path, expected="a file that can be read", got=error.strerror or error, fix="Check the path."
            ) from None
        fields["rate_hz"] = _rate(path, fields, rate_hz)
        made = cls(**fields, name=str(path))
        return made if signal is None else made.fit(signal)


def _read_csv(path: Path, reading: Reading, signal: Signal | None, rate_hz: float | None) -> dict[str, Any]:
    """The fields of a recording from a .csv file; lines that are left out are told."""
    wrong: list[str] = []
    readers: list[TextReader] = []
    samples: list[NDArray[np.float32]] = []
    t: list[NDArray[np.float64]] = []
    codes: list[NDArray[np.int16]] = []
    code_of: dict[str, int] = {"": UNLABELLED}
    n_wrong = 0

    def note(what: str) -> None:
        nonlocal n_wrong
        n_wrong += 1
        wrong[1:] = []
        wrong.append(what)

    for rows, _ in TextFile(path, signal, TextOptions(reading, rate_hz)).pieces(note, readers.append):
        samples.append(rows.samples)
        if rows.t is not None:
            t.append(rows.t)
        if rows.labels is not None:
            codes.append(_codes(path, rows.labels, code_of))
    channels = readers[0].channels
    if channels is None or not samples:
        raise InputError(
            path,
            expected="a header with the names of the columns, and rows",
            got=f"{n_wrong} lines that are none, the first {wrong[0]}" if wrong else "none",
            fix="Add the header.",
        )
    if wrong:
        _log.warning("%s: %d lines left out, the first: %s", path, n_wrong, wrong[0])
    fields: dict[str, Any] = {"samples": np.concatenate(samples), "channels": channels}
    fields |= {"t": np.concatenate(t) if t else None, "stamps": _known(readers[0].stamps)}
    fields["reading"] = reading.values if signal is None else ""
    if codes:
        names = tuple(sorted(code_of.keys() - {""}))
        place = np.array([names.index(name) for name in code_of if name] + [UNLABELLED], np.int16)
        fields |= {"labels": place[np.concatenate(codes)], "label_names": names}  # UNLABELLED is the last place
    return fields


def _codes(path: Path, words: Sequence[str], code_of: dict[str, int]) -> NDArray[np.int16]:
    """Labels as numbers, in the order in which they came first."""
    for word in sorted(set(words) - code_of.keys()):
        code_of[word] = len(code_of) - 1
    if len(code_of) - 1 > _MAX_LABELS:
        raise InputError(
            path,
            expected=f"at most {_MAX_LABELS} different labels",
            got=len(code_of) - 1,
            fix="Name the column otherwise if it holds no labels.",
        )
    return np.array([code_of[word] for word in words], np.int16)


def _read_npz(path: Path, reading: Reading, signal: Signal | None, rate_hz: float | None) -> dict[str, Any]:
    """The fields of a recording from a .npz file; what was said when it was saved counts where nothing is said now."""
    fields = read_npz(path)
    kept, stamps = fields.pop("reading", ""), fields.pop("stamps", "")
    said = Reading.of("&".join(filter(None, [f"stamps={stamps}" if stamps else "", kept, reading.text])), str(path))
    if fields["t"] is None or said.unit == "none":
        return fields | {"t": None, "reading": said.values}
    samples, t = fields["samples"], fields["t"]
    if len(t) != len(samples) or samples.shape[1:] != (len(fields["channels"]),):
        return fields | {"reading": said.values}  # `Recording` says what is wrong
    head = Table(np.column_stack([t[:_HEAD], samples[:_HEAD]]), {}, np.arange(len(t[:_HEAD])))
    names = ("t", *fields["channels"])
    nominal_hz = float(np.asarray(fields.get("rate_hz", rate_hz or 0.0))) or None
    columns = Columns.plan(names, head, None, reading=said, rate_hz=nominal_hz, where=str(path))
    assert columns is not None
    labels = None if fields["labels"] is None else list(map(str, fields["labels"].tolist()))
    rows = Rows.joined([columns.rows(samples, t, labels), columns.flush()])
    _tell(str(path), columns.told)
    own: dict[str, Any] = {"samples": rows.samples, "t": rows.t}
    own |= {} if rows.labels is None else {"labels": np.array(rows.labels, np.int16)}
    return fields | own | {"stamps": _known(columns.stamps), "reading": said.values}


def _joined(
    cls: type[Recording], files: list[Path], signal: Signal, reading: Reading, rate_hz: float | None, path: Path
) -> Recording:
    """A recording of which each sensor has a file."""

    def load(file: Path, said: Reading, sensor: Signal) -> Part:
        part = cls.load(file, rate_hz, reading=said, signal=sensor)
        return Part(part.samples, part.t, part.rate_hz, part.stamps == "arrival")

    joined = join(files, signal, reading, load, str(path))
    _tell(str(path), joined.told)
    stamps: Stamped = "arrival" if joined.is_of_arrival else None if reading.stamps is None else "measured"
    return cls(
        joined.samples, signal.channel_names, joined.rate_hz, joined.t, name=str(path), stamps=stamps, by_modality=True
    )


def _known(stamps: str | None) -> Stamped:
    """What times are for a clock: those that were spread are of measurement."""
    return "arrival" if stamps == "arrival" else None if stamps is None else "measured"


def _tell(where: str, words: Sequence[str]) -> None:
    """One line on what was recognised."""
    if words:
        _log.warning("%s: %s", where or "recording", "; ".join(words))


def _rate(path: Path, fields: dict[str, Any], rate_hz: float | None) -> float:
    """The rate of the file, or else as its times tell, or else as given."""
    if "rate_hz" in fields:
        return float(np.asarray(fields["rate_hz"]))
    t = fields.get("t")
    found = (None if t is None else rate_of(t, even=fields.get("stamps") != "arrival")) or rate_hz
    if found is None:
        raise InputError(path, expected="a rate_hz or rising times t", got="neither", fix="Add one of them.")
    return float(found)
