"""A source by its URL."""

from __future__ import annotations

from importlib import import_module

from runtime.errors import InputError
from runtime.sources.base import Source
from runtime.specs import Signal
from runtime.wire.url import Options

_SCHEMES = {
    "replay": ("replay", "Replay"),
    "synthetic": ("synthetic", "Synthetic"),
    "stdin": ("stdin", "StdinLines"),
    "iio": ("iio", "IIO"),
    "serial": ("serial_lines", "SerialLines"),
    "mqtt": ("mqtt", "MQTTSource"),
    "mqtts": ("mqtt", "MQTTSource"),
}


def open_source(url: str, signal: Signal) -> Source:
    """Make the source that a URL names; it opens as a context manager.

    Args:
        url: replay:FILE, synthetic, stdin, iio:DEVICE, serial:PORT, mqtt://host/topic; options follow a `?`.
        signal: what the bundle wants.

    Raises:
        InputError: no such source, or options that it does not have.
    """
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
