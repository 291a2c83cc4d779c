"""Where predictions go. One file per sink; each is a context manager with `write(prediction)`.

json_lines       a file or stdout, one JSON object per line     JsonLinesSink
mqtt             a broker, one message per prediction           MQTTSink
home_assistant   what Home Assistant is told of a stream
base             what every sink is                             Sink, SinkCounters
opening          one by its URL                                 open_sink

A URL is jsonl:FILE, jsonl:-, mqtt://host/topic, mqtts://host/topic.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.sinks.base import Sink, SinkCounters
    from runtime.sinks.json_lines import JsonLinesSink
    from runtime.sinks.mqtt import MQTTSink
    from runtime.sinks.opening import open_sink

__getattr__ = attach(
    __name__,
    {"base": "Sink SinkCounters", "json_lines": "JsonLinesSink", "mqtt": "MQTTSink", "opening": "open_sink"},
)

__all__ = ["JsonLinesSink", "MQTTSink", "Sink", "SinkCounters", "open_sink"]
