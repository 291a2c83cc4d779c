"""Where samples come from. One file per source; each is a context manager and an iterator of `Batch`.

    with open_source("iio:mpu6050", bundle.manifest.signal) as source:
        for batch in source:
            stream = stream or stream_for(source, bundle)
            for prediction in stream.push(*batch): ...

replay        a recording, as fast as possible or in real time     Replay
synthetic     a sensor that is not there                           Synthetic
stdin         lines from another program                           StdinLines
iio           sensors that Linux drives itself                     IIO
serial_lines  lines from a microcontroller                         SerialLines
mqtt          messages from a broker                               MQTTSource
base          what they share: threads, queues, restarts           Batch, Source, SourceCounters, Live, Backoff

docs/sources.md says what each needs and what it does when something fails.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.manifest import Signal
    from runtime.sources.base import Backoff, Batch, Live, Source, SourceCounters, stream_for
    from runtime.sources.iio import IIO
    from runtime.sources.mqtt import MQTTSource
    from runtime.sources.replay import Replay
    from runtime.sources.serial_lines import SerialLines
    from runtime.sources.stdin import StdinLines
    from runtime.sources.synthetic import Faults, Synthetic

_PARTS = {
    "base": "Backoff Batch Live Source SourceCounters stream_for",
    "iio": "IIO",
    "mqtt": "MQTTSource",
    "replay": "Replay",
    "serial_lines": "SerialLines",
    "stdin": "StdinLines",
    "synthetic": "Faults Synthetic",
}
_SCHEMES = {
    "replay": ("replay", "Replay"),
    "synthetic": ("synthetic", "Synthetic"),
    "stdin": ("stdin", "StdinLines"),
    "iio": ("iio", "IIO"),
    "serial": ("serial_lines", "SerialLines"),
    "mqtt": ("mqtt", "MQTTSource"),
    "mqtts": ("mqtt", "MQTTSource"),
}

__all__ = [
    "IIO",
    "Backoff",
    "Batch",
    "Faults",
    "Live",
    "MQTTSource",
    "Replay",
    "SerialLines",
    "Source",
    "SourceCounters",
    "StdinLines",
    "Synthetic",
    "open_source",
    "stream_for",
]


def open_source(url: str, signal: Signal) -> Source:
    """Make the source that a URL names; it opens as a context manager.

    Args:
        url: replay:FILE, synthetic, stdin, iio:DEVICE, serial:PORT, mqtt://host/topic; options follow a `?`.
        signal: what the bundle wants.

    Raises:
        InputError: no such source, or options that it does not have.
    """
    from runtime.sources.options import Options

    address, _, query = url.partition("?")
    scheme, _, rest = address.partition(":")
    if scheme not in _SCHEMES:
        raise InputError(
            "source", expected=f"one of {', '.join(_SCHEMES)}", got=url, fix="Write it as in iio:mpu6050?rate=50."
        )
    module, name = _SCHEMES[scheme]
    made: Source = getattr(import_module(f"runtime.sources.{module}"), name).from_url(
        address if module == "mqtt" else rest, Options(scheme, query), signal
    )
    return made


def __getattr__(name: str) -> Any:
    for part, names in _PARTS.items():
        if name in names.split():
            return getattr(import_module(f"runtime.sources.{part}"), name)
    raise AttributeError(f"module 'runtime.sources' has no attribute {name!r}")
