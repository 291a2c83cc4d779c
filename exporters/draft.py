"""A manifest that is still being written: a file to fill in, and back.

    python -m exporters onnx --draft walk.json --from own.onnx      writes it, with what the model tells
    (an editor)                                                     whatever says FILL IN
    python -m exporters onnx walk.bundle --from own.onnx --manifest walk.json ...

Any bundle's manifest.json will do as well: what an exporter fills in is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.bundle import Manifest
from runtime.errors import InputError
from runtime.files import strict_json
from runtime.files.atomic import read_file

FILL_IN = "FILL IN"
_MADE = ("exporter", "parity", "no_training_from", "model")
_SENSORS = {3: ("acc",), 6: ("acc", "gyro"), 9: ("acc", "gyro", "mag")}
_LARGEST_BYTES = 1 << 21


@dataclass(frozen=True)
class Draft:
    """A manifest without what belongs to files, and where it stands."""

    manifest: Manifest
    where: str = "manifest"

    def check_classes(self, n_classes: int) -> None:
        """Refuse a model with another number of classes than there are labels.

        Raises:
            InputError: names the file in which the labels stand.
        """
        labels = self.manifest.labels
        if len(labels) != n_classes:
            raise InputError(
                f"{self.where}: labels",
                expected=f"{n_classes} names, one for each class of the model",
                got=f"{len(labels)}: {', '.join(labels)}",
                fix="Name the model's classes there, in the order of its answers.",
            )


def read_draft(path: Path) -> Draft:
    """A manifest that someone filled in, or that of a bundle.

    Raises:
        InputError: something is still to be filled in.
        BundleError: it is none.
    """
    text = read_file(path, "a manifest", "Write one: python -m exporters onnx --draft FILE.", _LARGEST_BYTES)
    if left := _unfilled(text):
        raise InputError(path, expected=f"no {FILL_IN}", got=", ".join(left), fix=f"Edit {path.name}.")
    manifest = Manifest.from_json(text, path)
    provenance = {key: value for key, value in manifest.provenance.items() if key not in _MADE}
    return Draft(replace(manifest, tensors=(), training=(), variants=(), files={}, provenance=provenance), str(path))


def _unfilled(text: bytes) -> list[str]:
    try:
        return list(_left(strict_json.loads(text), ""))
    except ValueError:  # the manifest's own reader says what is wrong
        return []


def _left(value: Any, at: str) -> Iterator[str]:
    """Places that are still to be filled in."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _left(part, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _left(part, f"{at}[{i}]")
    elif isinstance(value, str) and value.startswith(FILL_IN):
        yield at


def draft_text(length_samples: int, n_channels: int, labels: Sequence[str], n_classes: int) -> str:
    """A manifest to fill in, as JSON.

    Args:
        length_samples: of a window; 0: the model does not tell.
        n_channels: of a window; 0: the model does not tell.
        labels: as far as the model tells them; empty: it does not.
        n_classes: how many there are.
    """
    sensors = _SENSORS.get(n_channels, ("sensor",))
    axes: Any = ["x", "y", "z"] if n_channels in _SENSORS else [f"c{i}" for i in range(n_channels)]
    modality = {
        "unit": f"{FILL_IN}: m/s^2, rad/s, uT",
        "channels": axes or f"{FILL_IN}: a list of names",
        "rate_hz": f"{FILL_IN}: samples per second",
    }
    n = str(n_channels or "")
    facts = {
        "schema": 1,
        "name": f"{FILL_IN}: a short name",
        "signal": {"modalities": [{"name": name, **modality} for name in sensors]},
        "window": {
            "length_samples": length_samples or f"{FILL_IN}: of a window",
            "hop_samples": f"{FILL_IN}: from one window to the next",
        },
        "labels": [*labels] or [f"{FILL_IN}: class {i}" for i in range(n_classes)],
        "normalise": {
            "mean": f"{FILL_IN}: a list of {n} numbers, 0 where training took none off",
            "std": f"{FILL_IN}: a list of {n} numbers, 1 where training divided by none",
        },
        "provenance": {"source": f"{FILL_IN}: where it comes from", "licence": f"{FILL_IN}: of model and data"},
    }
    return json.dumps(facts, indent=1) + "\n"


def unfilled_of(text: str) -> list[str]:
    """Places of a draft that say FILL IN."""
    return _unfilled(text.encode())
