"""A recording: samples of one signal, perhaps with their times and the true label of each.

Two files hold one:

    .npz   samples (n, channels) float32, channels (names), rate_hz; optionally t (n,) in seconds,
           labels (n,) int16 with label_names, subject
    .csv   a header with the channel names; optionally `t` (seconds) and `label` (a name, empty = unknown);
           without `t` the rate is the model's

Columns are matched by name, so their order in the file and further columns do not matter.
"""

from __future__ import annotations

import csv
import io
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
from runtime.files.npz import check_unpacked
from runtime.specs import Signal

UNLABELLED = -1
_MAX_LABELS = int(np.iinfo(np.int16).max)
_NPZ = (  # array, kinds of its dtype, numbers of axes, in words
    ("samples", "fiu", (2,), "real numbers of shape (n, n_channels)"),
    ("channels", "Uf", (1,), "a list of names"),  # NumPy saves an empty list as float
    ("rate_hz", "fiu", (0,), "one number"),
    ("t", "fiu", (1,), "real numbers of shape (n,)"),
    ("labels", "iu", (1,), "whole numbers of shape (n,)"),
    ("label_names", "Uf", (1,), "a list of names"),
)


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
        _check_names(self.channels, "channel", where)
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
            _check_labels(self.labels, self.label_names, where)
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
        readers = {".npz": _load_npz, ".csv": _load_csv}
        if path.suffix.lower() not in readers:
            raise InputError(
                path, expected="a .csv or .npz file", got=path.suffix or "no suffix", fix="Convert it first."
            )
        try:
            return readers[path.suffix.lower()](path, rate_hz)
        except OSError as error:
            raise InputError(
                path, expected="a file that can be read", got=error.strerror or error, fix="Check the path."
            ) from None
        except UnicodeDecodeError as error:
            raise InputError(path, expected="text in UTF-8", got=error, fix="Save it as UTF-8.") from None
        except csv.Error as error:
            raise InputError(path, expected="comma-separated values", got=error, fix="Save it as CSV again.") from None


def check_finite(samples: NDArray[np.floating[Any]], channels: tuple[str, ...], where: str) -> None:
    """Refuse samples that are NaN or infinite.

    Args:
        samples: shape (n_samples, n_channels).
        channels: names of the columns.
        where: for the message.

    Raises:
        InputError: names the first such sample.
    """
    good = np.isfinite(samples)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise InputError(
            f"{where}: sample {row}, channel {channels[column]}",
            expected="a finite number",
            got=samples[row, column],
            fix="Drop or repair the sample before it is fed.",
        )


def _check_names(names: Sequence[str], what: str, where: object) -> None:
    if len(set(names)) != len(names):
        raise InputError(
            where, expected=f"{what} names that differ", got=", ".join(names), fix="Give each column its own name."
        )


def _check_labels(labels: NDArray[np.integer[Any]], names: tuple[str, ...], where: object) -> None:
    if len(labels) and (labels.min() < UNLABELLED or labels.max() >= len(names)):
        raise InputError(
            f"{where}: labels",
            expected=f"numbers from {UNLABELLED} to {len(names) - 1}",
            got=f"{labels.min()} to {labels.max()}",
            fix="Give every label a name.",
        )


def _as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which `fit` refuses
        return np.asarray(values, np.float32)


def _load_npz(path: Path, rate_hz: float | None) -> Recording:
    try:
        with path.open("rb") as source:  # NumPy would leave a broken file open
            check_unpacked(source)
            file = np.load(source, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("a single array")
            with file:
                arrays = {key: file[key] for key in file.files}
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib, struct and NumPy have their own for each way to be broken
        raise InputError(
            path, expected="a NumPy .npz archive", got=error, fix="Save it again with numpy.savez."
        ) from None
    missing = [key for key in ("samples", "channels") if key not in arrays]
    if missing:
        raise InputError(
            path,
            expected="the arrays samples and channels",
            got=f"{', '.join(arrays) or 'none'}",
            fix=f"Add {' and '.join(missing)}.",
        )
    for key, kinds, axes, expected in _NPZ:
        if key in arrays and (arrays[key].dtype.kind not in kinds or arrays[key].ndim not in axes):
            raise InputError(
                f"{path}: {key}",
                expected=expected,
                got=f"dtype {arrays[key].dtype}, shape {arrays[key].shape}",
                fix="Save it as `Recording.save` does.",
            )
    t, labels = arrays.get("t"), arrays.get("labels")
    label_names = tuple(str(name) for name in arrays.get("label_names", ()))
    if labels is not None:
        _check_labels(labels, label_names, path)
    return Recording(
        samples=_as_float32(arrays["samples"]),
        channels=tuple(str(name) for name in arrays["channels"]),
        rate_hz=_rate(path, arrays.get("rate_hz", rate_hz), t),
        t=None if t is None else np.asarray(t, np.float64),
        labels=None if labels is None else np.asarray(labels, np.int16),
        label_names=label_names,
        subject=str(arrays.get("subject", "")),
        name=str(path),
    )


def _load_csv(path: Path, rate_hz: float | None) -> Recording:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        if not any(header):
            raise InputError(
                path, expected="a header with the names of the columns", got="an empty line", fix="Add the header."
            )
        _check_names([name for name in header if name], "column", path)
        columns = [i for i, name in enumerate(header) if name not in ("", "label")]
        numbers: list[list[float]] = []
        words: list[str] = []
        for row in rows:
            if len(row) != len(header):
                raise InputError(
                    f"{path}: line {rows.line_num}",
                    expected=f"{len(header)} fields",
                    got=len(row),
                    fix="Give every line the fields of the header.",
                )
            try:
                numbers.append([float(row[i]) for i in columns])
            except ValueError as error:
                raise InputError(
                    f"{path}: line {rows.line_num}", expected="numbers", got=error, fix="Repair or drop the line."
                ) from None
            if "label" in header:
                words.append(row[header.index("label")].strip())
    names = [header[i] for i in columns]
    table = np.array(numbers, np.float64).reshape(len(numbers), len(names))
    channels = tuple(name for name in names if name != "t")
    t = table[:, names.index("t")] if "t" in names else None
    label_names = tuple(sorted(set(words) - {""}))
    if len(label_names) > _MAX_LABELS:
        raise InputError(
            path,
            expected=f"at most {_MAX_LABELS} different labels",
            got=len(label_names),
            fix="Name the column otherwise if it holds no labels.",
        )
    index = {name: i for i, name in enumerate(label_names)} | {"": UNLABELLED}
    return Recording(
        samples=_as_float32(table[:, [names.index(name) for name in channels]]),
        channels=channels,
        rate_hz=_rate(path, rate_hz, t),
        t=t,
        labels=np.array([index[word] for word in words], np.int16) if words else None,
        label_names=label_names,
        name=str(path),
    )


def _rate(path: Path, rate_hz: object, t: NDArray[np.float64] | None) -> float:
    """The rate as given, or else as the times tell."""
    if rate_hz is not None:
        return float(np.asarray(rate_hz))
    if t is not None and len(t) > 1 and (step := float(np.median(np.diff(t)))) > 0:
        return 1 / step
    raise InputError(path, expected="a rate_hz or rising times t", got="neither", fix="Add one of them.")
