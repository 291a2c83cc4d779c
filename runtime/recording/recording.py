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
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.files.atomic import write_atomic
from runtime.recording.checks import UNLABELLED, check_labels, check_names
from runtime.recording.columns import Columns
from runtime.recording.npz import read_npz
from runtime.recording.table import read_csv
from runtime.specs import Signal

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
        fields["rate_hz"] = _rate(path, fields.get("rate_hz", rate_hz), fields.get("t"))
        return cls(**fields, name=str(path))


def _read_csv(path: Path) -> dict[str, Any]:
    """The fields of a recording from a .csv file."""
    names, table = read_csv(path)
    columns = Columns.plan(names, table, None)
    assert columns is not None
    samples, t = columns.apply(table)
    fields: dict[str, Any] = {"samples": samples, "channels": columns.channels, "t": t}
    if columns.label is not None:
        words = table.texts[columns.label]
        label_names = tuple(sorted(set(words) - {""}))
        if len(label_names) > _MAX_LABELS:
            raise InputError(
                path,
                expected=f"at most {_MAX_LABELS} different labels",
                got=len(label_names),
                fix="Name the column otherwise if it holds no labels.",
            )
        index = {name: i for i, name in enumerate(label_names)} | {"": UNLABELLED}
        if words:
            fields |= {"labels": np.array([index[word] for word in words], np.int16), "label_names": label_names}
    return fields


def _rate(path: Path, rate_hz: object, t: NDArray[np.float64] | None) -> float:
    """The rate as given, or else as the times tell."""
    if rate_hz is not None:
        return float(np.asarray(rate_hz))
    if t is not None and len(t) > 1 and (step := float(np.median(np.diff(t)))) > 0:
        return 1 / step
    raise InputError(path, expected="a rate_hz or rising times t", got="neither", fix="Add one of them.")
