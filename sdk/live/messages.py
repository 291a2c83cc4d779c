"""What goes to the page: each message is one JSON object that begins with its kind.

    hello    who predicts, what is measured, the server's clock, the last minute of the signal
    tick     rows of one modality, some ten times a second; above 100 Hz each pair of rows is a least and a largest one
    pred     what the model says of a window
    event    an activity began or ended
    cost     what it takes: memory, processor, latency, power; what is not measured is null, with the reason
    data     what became of the samples, and what is wrong; when it changed
    job      how far personalising is

Times are Unix seconds of this device; the page never uses a clock of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.command import json_text

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.events import Event
    from runtime.stream import Prediction

WIRE = 1  # version of this format
DRAWN_HZ = 100.0  # more rows than that are not sent


def text_of(message: dict[str, Any]) -> str:
    """One line of JSON; a number that is not finite is null."""
    return json_text(message)


def hello(bundle: Bundle, now_s: float, ring: list[dict[str, Any]], latest: dict[str, Any] | None) -> dict[str, Any]:
    """The first message.

    Args:
        bundle: what predicts.
        now_s: of this device.
        ring: ticks of the last minute.
        latest: the prediction that stands, if there is one.
    """
    manifest = bundle.manifest
    groups = [{"name": m.name, "unit": m.unit, "channels": m.channels} for m in manifest.signal.modalities]
    known = {"kind": "hello", "v": WIRE, "name": manifest.name, "labels": manifest.labels, "signal": groups}
    known |= {"rate": manifest.signal.rate_hz, "window_s": manifest.window_s, "hop_s": manifest.hop_s}
    return known | {"version": bundle.version, "now": now_s, "ring": ring, "latest": latest}


def tick(name: str, first_s: float, last_s: float, rows: NDArray[np.float32]) -> dict[str, Any]:
    """Rows of one modality.

    Args:
        name: of the modality.
        first_s: when the first row was measured.
        last_s: and the last one.
        rows: shape (n, n_channels).
    """
    values = [[round(value, 3) for value in row] for row in _thinned(rows, last_s - first_s).tolist()]
    return {"kind": "tick", "of": name, "t": [round(first_s, 3), round(last_s, 3)], "x": values}


def _thinned(rows: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Least and largest of each few rows, where there are more than can be drawn."""
    n_kept = int(seconds * DRAWN_HZ) // 2
    if len(rows) < 4 or n_kept < 1 or len(rows) <= 2 * n_kept:
        return rows
    parts = np.array_split(rows, n_kept)
    return np.concatenate([np.stack((part.min(axis=0), part.max(axis=0))) for part in parts])


def pred(prediction: Prediction, end_s: float, version: str) -> dict[str, Any]:
    """What the model says.

    Args:
        prediction: of a window.
        end_s: Unix seconds at which it ends.
        version: that says it.
    """
    q = prediction.quality
    told = {"kind": "pred", "end": round(end_s, 3), "label": prediction.label}
    told |= {"p": [round(value, 4) for value in prediction.probabilities], "v": version}
    told |= {"real": round(q.real, 3), "filled": q.filled, "saturated": q.saturated, "unusual": prediction.unusual}
    told |= {"odd": [*(f"{name} stands still" for name in q.frozen), *q.implausible]}
    ms = [1e3 * s for s in (prediction.window_s, prediction.engine_s, prediction.decide_s)]
    return told | {"ms": [round(value, 3) for value in ms]}


def event(found: Event, offset_s: float) -> dict[str, Any]:
    """An activity began or ended.

    Args:
        found: by the tracker.
        offset_s: from the stream's time to Unix seconds.
    """
    until = None if found.end_s is None else found.end_s + offset_s
    return {"kind": "event", "is": found.kind, "label": found.label, "at": found.start_s + offset_s, "until": until}
