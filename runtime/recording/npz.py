"""A recording from a .npz archive: its arrays, looked at before anyone computes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.files.npz import check_unpacked
from runtime.recording.checks import as_float32, check_labels

_NPZ = (  # array, kinds of its dtype, numbers of axes, in words
    ("samples", "fiu", (2,), "real numbers of shape (n, n_channels)"),
    ("channels", "Uf", (1,), "a list of names"),  # NumPy saves an empty list as float
    ("rate_hz", "fiu", (0,), "one number"),
    ("t", "fiu", (1,), "real numbers of shape (n,)"),
    ("labels", "iu", (1,), "whole numbers of shape (n,)"),
    ("label_names", "Uf", (1,), "a list of names"),
    ("stamps", "U", (0,), "measured or arrival"),
    ("by_modality", "b", (0,), "true or false"),
    ("reading", "U", (0,), "options as they stand behind a ?"),
)


def read_npz(path: Path) -> dict[str, Any]:
    """The fields of a recording that the archive holds; `rate_hz` is left out where it has none.

    Raises:
        OSError: no such file.
        InputError: no archive, an array that is not there or of another kind.
    """
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
        check_labels(labels, label_names, path)
    fields: dict[str, Any] = {
        "samples": as_float32(arrays["samples"]),
        "channels": tuple(str(name) for name in arrays["channels"]),
        "t": None if t is None else np.asarray(t, np.float64),
        "labels": None if labels is None else np.asarray(labels, np.int16),
        "label_names": label_names,
        "by_modality": bool(arrays.get("by_modality", False)),
        **{name: str(arrays.get(name, "")) for name in ("subject", "stamps", "reading")},
    }
    return fields | ({"rate_hz": arrays["rate_hz"]} if "rate_hz" in arrays else {})
