"""A sink by its URL."""

from __future__ import annotations

from importlib import import_module

from runtime.errors import InputError
from runtime.sinks.base import Sink
from runtime.wire.url import Options

_SCHEMES = {
    "jsonl": ("json_lines", "JsonLinesSink"),
    "mqtt": ("mqtt", "MQTTSink"),
    "mqtts": ("mqtt", "MQTTSink"),
}


def open_sink(url: str) -> Sink:
    """Make the sink that a URL names; it opens as a context manager.

    Raises:
        InputError: no such sink, or options that it does not have.
    """
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
