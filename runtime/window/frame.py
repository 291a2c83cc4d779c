"""Windows turned so that up is +z: the reference, in float64, of what `exporters.frame` puts into a graph.

With m the mean acceleration of a window, g = m / |m| and v = g + (ASIDE, 0, 1), each row r of every sensor becomes

    H (2 v v' / v'v - 1) r        H = diag(-1, -1, 1)

which is the shortest rotation from g to +z. It is defined everywhere: a window whose mean is 0 (free fall, zeros) and
one whose mean points straight down are both turned by half a turn about y, one of the many shortest ways.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.specs import FrameSpec, Signal

ASIDE = 1e-12  # of 1; decides where all ways are as short


def columns_of(frame: FrameSpec, signal: Signal) -> list[int]:
    """The columns that are turned, three after three, in the order of `frame.turned`.

    Raises:
        InputError: a sensor of `frame` that the signal does not have with three channels; sensors of several rates.
    """
    if not frame.fits(signal):
        has = ", ".join(f"{m.name} ({len(m.channels)})" for m in signal.modalities)
        raise InputError(
            "frame",
            expected=f"{', '.join(frame.turned)} with three channels each, at one rate",
            got=f"a signal of {has}",
            fix="Name sensors of three axes that are on one device.",
        )
    begins = {m.name: columns.start for m, columns in zip(signal.modalities, signal.columns, strict=True)}
    return [begins[name] + axis for name in frame.turned for axis in range(3)]


def turned(windows: NDArray[np.float32], signal: Signal, frame: FrameSpec) -> NDArray[np.float32]:
    """Windows with their axes turned, as the graph turns them.

    Args:
        windows: shape (n, length_samples, n_channels), in the units of the signal; not changed.
        signal: whose columns they have.
        frame: which sensors are turned, and by which.

    Returns:
        Shape (n, length_samples, n_channels).

    Raises:
        InputError: sensors that the signal does not have with three channels.
    """
    columns, (n, length, _) = columns_of(frame, signal), windows.shape
    rows = windows[:, :, columns].astype(np.float64).reshape(n, length, -1, 3)
    mean = rows[:, :, frame.turned.index(frame.up)].mean(1)
    norm = np.linalg.norm(mean, axis=1, keepdims=True)
    axis = np.divide(mean, norm, out=np.zeros_like(mean), where=norm > 0) + np.array([ASIDE, 0, 1])
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    turn = (2 * axis[:, :, None] * axis[:, None, :] - np.eye(3)) * np.array([-1, -1, 1])
    result: NDArray[np.float32] = windows.copy()
    result[:, :, columns] = (rows.reshape(n, -1, 3) @ turn).reshape(n, length, -1)
    return result
