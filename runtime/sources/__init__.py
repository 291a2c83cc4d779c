"""Where samples come from. One file per source; each is a context manager and an iterator of `Batch`.

    with open_source("iio:mpu6050", bundle.manifest.signal) as source:
        play(source, bundle, on_prediction)          runtime.play: the loop
        for batch in source: stream.push(*batch)     or one of your own

replay        a recording, as fast as possible or in real time     Replay
synthetic     a sensor that is not there                           Synthetic
stdin         lines from another program                           StdinLines
iio           sensors that Linux drives itself                     IIO
  iio_sysfs, iio_scan   their files; what their buffers hold
serial_lines  lines from a microcontroller                         SerialLines
mqtt          messages from a broker                               MQTTSource
rows          lines and messages of text as samples
base          what they share: threads, queues, restarts           Batch, Source, SourceCounters, Live, Backoff
opening       one by its URL                                       open_source

docs/sources.md says what each needs and what it does when something fails.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.play import stream_for
    from runtime.sources.base import Backoff, Batch, Live, Source, SourceCounters
    from runtime.sources.iio import IIO
    from runtime.sources.mqtt import MQTTSource
    from runtime.sources.opening import open_source
    from runtime.sources.replay import Replay
    from runtime.sources.serial_lines import SerialLines
    from runtime.sources.stdin import StdinLines
    from runtime.sources.synthetic import Faults, Synthetic

__getattr__ = attach(
    __name__,
    {
        "runtime.play": "stream_for",
        "base": "Backoff Batch Live Source SourceCounters",
        "iio": "IIO",
        "mqtt": "MQTTSource",
        "opening": "open_source",
        "replay": "Replay",
        "serial_lines": "SerialLines",
        "stdin": "StdinLines",
        "synthetic": "Faults Synthetic",
    },
)

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
