"""Logs of apps and studios that are no table, written as files that the one reader of recordings reads.

    Sensor Logger   .json: [{"sensor": "TotalAcceleration", "time": "17...", "x": "0.1", ...}, ...]  a file per sensor
    Edge Impulse    .json, .cbor: {"payload": {"interval_ms": 10, "sensors": [...], "values": [...]}}
    Axivity, ActiGraph, GENEActiv   .cwa, .gt3x, .bin, through the package actipy

Nothing else is recognised: a .json of another shape is no recording.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, MissingError

DEVICES = (".cwa", ".gt3x", ".bin")
LOGS = (".json", ".cbor", *DEVICES)
_HEAD_BYTES = 1 << 13
_XYZ = ("x", "y", "z")
_NS = 1e-9


def is_log(path: Path) -> bool:
    """Whether a file is one of the logs above, by its first bytes."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".cbor", *DEVICES)):
        return True
    if not name.endswith(".json"):
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return b'"interval_ms"' in head or (head.lstrip()[:1] == b"[" and b'"seconds_elapsed"' in head)


def as_file(path: Path, into: Path) -> Path:
    """A log as a .npz, or as a folder with one for each sensor.

    Args:
        path: of the log.
        into: an empty folder.

    Raises:
        InputError: it is not as its kind should be.
        MissingError: the package that reads it is not installed.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(DEVICES):
        return _device(path, into / f"{path.name.split('.')[0]}.npz")
    content = _cbor(path) if name.endswith(".cbor") else _json(path)
    if isinstance(content, dict):
        return _edge_impulse(content, path, into / f"{path.stem}.npz")
    return _sensor_logger(content, path, into)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(path, expected="JSON", got=error, fix="Export it again.") from None


def _cbor(path: Path) -> Any:
    try:
        cbor2 = import_module("cbor2")
    except ImportError:
        fix = 'pip install "sensedge[own]", or export it as JSON.'
        raise MissingError(path, expected="the package cbor2, which reads CBOR", got="none", fix=fix) from None
    try:
        return cbor2.loads(path.read_bytes())
    except (cbor2.CBORDecodeError, EOFError) as error:
        raise InputError(path, expected="CBOR", got=error, fix="Export it again.") from None


def _edge_impulse(content: Mapping[str, Any], path: Path, to: Path) -> Path:
    payload = content.get("payload")
    try:
        assert isinstance(payload, dict)
        rate_hz = 1000 / float(payload["interval_ms"])
        sensors = [(str(sensor["name"]), str(sensor.get("units", ""))) for sensor in payload["sensors"]]
        values = np.asarray(payload["values"], np.float32)
    except (AssertionError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        expected = "Edge Impulse's payload with interval_ms, sensors and values"
        raise InputError(path, expected=expected, got=repr(error)[:80], fix="Export it again.") from None
    values = values.reshape(len(values), -1)
    if values.shape[1] != len(sensors):
        expected = f"a value for each of {len(sensors)} sensors in every row"
        raise InputError(path, expected=expected, got=f"{values.shape[1]}", fix="Export it again.")
    units = {"m/s2": "m/s^2"}
    channels = [f"{name} ({units.get(unit, unit)})" if unit and unit != "N/A" else name for name, unit in sensors]
    np.savez(to, samples=values, channels=np.array(channels), rate_hz=rate_hz)
    return to


def _sensor_logger(content: Any, path: Path, into: Path) -> Path:
    """A file for each sensor of three axes, with its own times."""
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    try:
        for entry in content:
            if "sensor" in entry and all(axis in entry for axis in _XYZ):
                t_s = _seconds(int(entry["time"]))
                rows[entry["sensor"]].append((t_s, *(float(entry[axis]) for axis in _XYZ)))
    except (KeyError, TypeError, ValueError) as error:
        expected = "Sensor Logger's list of objects with sensor, time, x, y, z"
        raise InputError(path, expected=expected, got=repr(error)[:80], fix="Export it again.") from None
    if not rows:
        expected = "a sensor with x, y and z"
        raise InputError(path, expected=expected, got="none", fix="Record TotalAcceleration or Gyroscope.")
    for sensor, own in rows.items():
        _save(into / f"{sensor}.npz", _XYZ, np.array(own))
    return into


def _seconds(time: int) -> float:
    """Since 1970, of ns, us or ms by their size."""
    return next((time * scale for scale in (_NS, 1e-6, 1e-3) if time * scale > 1e9), float(time))


def _device(path: Path, to: Path) -> Path:
    try:
        actipy = import_module("actipy")
    except ImportError:
        fix = 'pip install "sensedge[actipy]" (it needs Java), or convert it to .csv.'
        expected = "the package actipy, which reads Axivity, ActiGraph and GENEActiv"
        raise MissingError(path, expected=expected, got="none", fix=fix) from None
    table, _ = actipy.read_device(
        str(path), lowpass_hz=None, calibrate_gravity=False, detect_nonwear=False, resample_hz=None, verbose=False
    )
    t_s = np.asarray(table.index.values, "datetime64[ns]").astype(np.int64) * _NS
    values = np.column_stack([t_s, *(np.asarray(table[axis], np.float64) for axis in _XYZ)])
    _save(to, [f"acc_{axis} (g)" for axis in _XYZ], values)
    return to


def _save(to: Path, channels: Sequence[str], table: NDArray[np.float64]) -> None:
    np.savez(to, samples=table[:, 1:].astype(np.float32), channels=np.array(channels), t=table[:, 0])
