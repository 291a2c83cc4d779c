"""What may be pushed: samples and times of the right shape and kind, of a clock that is known, as in the first push."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import InputError
from runtime.specs import FrameSpec, Signal
from runtime.window.pieces import Rows, Times


def clock_of(signal: Signal, names: tuple[str | None, ...], modality: str | None) -> int:
    """Which clock a push belongs to.

    Args:
        signal: of the stream.
        names: of the clocks, as the first push settled them; empty before it.
        modality: whose samples are pushed; None: those of all.

    Raises:
        InputError: no such clock in this stream.
    """
    known: tuple[str | None, ...] = names or (
        (None,) if modality is None and signal.is_even else tuple(m.name for m in signal.modalities)
    )
    if modality not in known:
        raise InputError(
            "modality",
            expected=" or ".join(name or "none, as in the first push" for name in known),
            got=modality,
            fix="Push all channels together, or each modality by its name; reset() before you change.",
        )
    return known.index(modality)


def checked_samples(
    samples: ArrayLike, names: tuple[str, ...], turn: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> NDArray[Any]:
    """Samples as float32, shape (n, n_channels); a single row may come as (n_channels,).

    Args:
        samples: as pushed.
        names: of the channels.
        turn: from the sensor's units and axes to the model's; None: they are the model's.

    Raises:
        InputError: another shape, or no real numbers.
    """
    array = _as_array(samples)
    if array.ndim == 1 and len(array) == len(names):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != len(names) or array.dtype.kind not in "fiu":
        raise InputError(
            "samples",
            expected=f"real numbers of shape (n, {len(names)}): {', '.join(names)}",
            got=f"dtype {array.dtype}, shape {array.shape}",
            fix="Give one column per channel of the bundle's signal.",
        )
    if turn is not None:
        return turn(array)
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which counts as missing
            array = array.astype(np.float32)
    return array


def check_same(where: str, used: Mapping[str, object], other: Mapping[str, object]) -> None:
    """Refuse a model that looks at other samples than the one in use.

    Args:
        where: what it is called.
        used: signal, window and what else must be the same, by name.
        other: that of the model.

    Raises:
        InputError: names the first that differs.
    """
    for name, have in used.items():
        if other[name] != have:
            expected = f"that of the model in use, {have}"
            raise InputError(f"{where}: {name}", expected=expected, got=other[name], fix="Start a new stream for it.")


def widened_by(
    signal: Signal, silent: Sequence[str], frame: FrameSpec | None = None
) -> Callable[[ArrayLike, str | None], NDArray[Any]]:
    """From samples of some modalities, shape (n, their channels), to those of all: silent ones are 0.

    Args:
        signal: of the stream.
        silent: names of the modalities that do not come.
        frame: whose `up` has to come; None: any modality will do.

    Returns:
        A function of samples and the modality that they were pushed as.

    Raises:
        InputError: no such modality, none that comes, one that is needed, or modalities of several rates; by what is
            returned: a wrong shape, or a push of one modality.
    """
    known = [m.name for m in signal.modalities]
    needed = () if frame is None else (frame.up,)
    if not set(silent) < set(known) or set(silent) & set(needed) or not signal.is_even:
        raise InputError(
            "without",
            expected=f"some of {', '.join(name for name in known if name not in needed)}, but not all; at one rate",
            got=", ".join(silent),
            fix="Name what the source does not have; a frame needs the sensor that says where up is.",
        )
    parts = zip(known, signal.columns, strict=True)
    there = [i for name, part in parts if name not in silent for i in range(part.start, part.stop)]
    names = tuple(signal.channel_names[i] for i in there)

    def widened(samples: ArrayLike, modality: str | None) -> NDArray[Any]:
        if modality is not None:
            fix = "Push the channels of all sensors that there are, together."
            raise InputError("modality", expected="none, in a stream without a sensor", got=modality, fix=fix)
        given = checked_samples(samples, names, lambda array: array)
        rows = np.zeros((len(given), len(signal.channel_names)), given.dtype)
        rows[:, there] = given
        return rows

    return widened


def turns_of(
    signal: Signal, units: str | Mapping[str, str] | None, axes: str | ArrayLike | None
) -> Mapping[str | None, Callable[[NDArray[Any]], Rows]]:
    """What turns samples in these units and axes into the signal's, by the modality that is pushed, None for all.

    Args:
        signal: of the stream.
        units: as of `Windower`.
        axes: as text, or a matrix of shape (3, 3).

    Returns:
        Functions from shape (n, n_channels) to the same, float32.

    Raises:
        InputError: units or axes that make no sense.
    """
    from runtime.recording import placement  # it reads names and units: for those who need it
    from runtime.recording.reading import Reading

    return placement.turns_of(signal, Reading.of_values(units, axes, "samples"), "samples")


def checked_times(t: ArrayLike | None, n: int, unit: str, timed: bool | None) -> Times | None:
    """Time stamps in seconds, shape (n,), or None where the stream comes without any.

    Args:
        t: as pushed.
        n: samples that they belong to.
        unit: of the stamps, "s" or "ns".
        timed: whether earlier pushes came with stamps; None: there were none.

    Raises:
        InputError: another shape, no real numbers, or another way of pushing than before.
    """
    if timed is not None and timed is not (t is not None):
        raise InputError(
            "t",
            expected="time stamps with every push or with none",
            got="both ways in one stream",
            fix="Call reset() before you change.",
        )
    if t is None:
        return None
    times = np.atleast_1d(_as_array(t))
    if times.shape != (n,) or times.dtype.kind not in "fiu":
        raise InputError(
            "t",
            expected=f"{n} time stamps in {unit}, one per sample",
            got=f"dtype {times.dtype}, shape {times.shape}",
            fix="Give every sample its own time.",
        )
    seconds: Times = times / 1e9 if unit == "ns" else times.astype(np.float64, copy=False)
    return seconds


def _as_array(values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:  # rows of different lengths
        return np.array(None, object)
