"""Where predictions go. One file per sink; each is a context manager with `write(prediction)`.

json_lines   a file or stdout, one JSON object per line     JsonLinesSink
mqtt         a broker, one message per prediction           MQTTSink

`open_sink` finds one by its URL: jsonl:FILE, jsonl:-, mqtt://host/topic, mqtts://host/topic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.sinks.base import Sink, SinkCounters
    from runtime.sinks.json_lines import JsonLinesSink
    from runtime.sinks.mqtt import MQTTSink

_PARTS = {"base": "Sink SinkCounters", "json_lines": "JsonLinesSink", "mqtt": "MQTTSink"}
_SCHEMES = {
    "jsonl": ("json_lines", "JsonLinesSink"),
    "mqtt": ("mqtt", "MQTTSink"),
    "mqtts": ("mqtt", "MQTTSink"),
}

__all__ = ["JsonLinesSink", "MQTTSink", "Sink", "SinkCounters", "open_sink"]


def open_sink(url: str) -> Sink:
    """Make the sink that a URL names; it opens as a context manager.

    Raises:
        InputError: no such sink, or options that it does not have.
    """
    from runtime.sources.options import Options

    scheme, rest = url.partition(":")[0], url.partition(":")[2].partition("?")[0]
    if scheme not in _SCHEMES:
        raise InputError(
            "sink", expected="jsonl:FILE, jsonl:- or mqtt://host/topic", got=url, fix="See docs/sources.md."
        )
    module, name = _SCHEMES[scheme]
    address = f"{scheme}:{rest}" if module == "mqtt" else rest
    made: Sink = getattr(import_module(f"runtime.sinks.{module}"), name).from_url(
        address, Options(scheme, url.partition("?")[2])
    )
    return made


def __getattr__(name: str) -> Any:
    for part, names in _PARTS.items():
        if name in names.split():
            return getattr(import_module(f"runtime.sinks.{part}"), name)
    raise AttributeError(f"module 'runtime.sinks' has no attribute {name!r}")
