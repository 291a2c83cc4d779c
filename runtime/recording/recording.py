"""A recording: samples of one signal, perhaps with their times and the true label of each.

Two files hold one:

    .npz   samples (n, channels) float32, channels (names), rate_hz; optionally t (n,) in seconds,
           labels (n,) int16 with label_names, subject
    .csv   a header with the channel names; optionally `t` (seconds) and `label` (a name, empty = unknown);
           without `t` the rate is the model's

Columns are matched by name, so their order in the file and further columns do not matter.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.files.atomic import write_atomic
from runtime.recording.checks import UNLABELLED, check_labels, check_names
from runtime.recording.files import TextFile
from runtime.recording.labels import code_between
from runtime.recording.npz import read_npz
from runtime.recording.text import TextReader
from runtime.specs import Signal

_log = logging.getLogger("sensedge.recording")
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
        """This recording with exactly the columns of `signal`, in its order.

        Raises:
            InputError: a channel is missing.
        """
        column_of = {name: i for i, name in enumerate(self.channels)}
        missing = [name for name in signal.channel_names if name not in column_of]
        if missing:
            raise InputError(
                self.name or "recording",
                expected=f"the channels {', '.join(signal.channel_names)}",
                got=f"{len(self.channels)} channels ({', '.join(self.channels)}) without {', '.join(missing)}",
                fix="Name the columns as the model does and record what is missing.",
            )
        columns = [column_of[name] for name in signal.channel_names]
        samples = np.ascontiguousarray(self.samples[:, columns])
        return replace(self, samples=samples, channels=signal.channel_names)

    def save(self, path: str | Path) -> None:
        """Write the recording as a compressed .npz, atomically."""
        arrays: dict[str, Any] = {"samples": self.samples, "channels": self.channels, "rate_hz": self.rate_hz}
        if self.t is not None:
            arrays["t"] = self.t
        if self.labels is not None:
            arrays |= {"labels": self.labels, "label_names": self.label_names}
        if self.subject:
            arrays["subject"] = self.subject
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomic(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path, rate_hz: float | None = None) -> Recording:
        """Read a .npz or .csv file; `rate_hz` is taken where the file has neither a rate nor times.

        Raises:
            InputError: no such file, another format, a column or a value that does not fit.
        """
        path = Path(path)
        readers = {".npz": read_npz, ".csv": _read_csv}
        if path.suffix.lower() not in readers:
            raise InputError(
                path, expected="a .csv or .npz file", got=path.suffix or "no suffix", fix="Convert it first."
            )
        try:
            fields = readers[path.suffix.lower()](path)
        except OSError as error:
            raise InputError(
                path, expected="a file that can be read", got=error.strerror or error, fix="Check the path."
            ) from None
        fields["rate_hz"] = _rate(path, fields.get("rate_hz"), fields.get("t"), rate_hz)
        return cls(**fields, name=str(path))


def _read_csv(path: Path) -> dict[str, Any]:
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

    for rows, _ in TextFile(path, None).pieces(note, readers.append):
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
    fields["t"] = np.concatenate(t) if t else None
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


def _rate(path: Path, rate_hz: object, t: NDArray[np.float64] | None, asked_hz: float | None) -> float:
    """The rate as the file has it, or else as its times tell, or else as was asked for."""
    if rate_hz is not None:
        return float(np.asarray(rate_hz))
    if t is not None and len(t) > 1 and (step := float(np.median(np.diff(t)))) > 0:
        return 1 / step
    if asked_hz is not None:
        return asked_hz
    raise InputError(path, expected="a rate_hz or rising times t", got="neither", fix="Add one of them.")
