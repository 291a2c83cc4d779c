"""The part that runs on the device: bundles, windows, engines, streams. It needs numpy and onnxruntime only.

    specs        the words: what a signal, a window, a clock is            Signal, Modality, WindowSpec, ClockSpec, ...
    bundle/      a folder with a model and all that one must know of it    Bundle, Manifest, Trust
    recording    samples with their times and labels, in a file            Recording
    window/      from samples to windows                                   Windower, Quality, Counters, cut_windows
    spectrogram  from windows to images, for a model that looks at images  Spectrogram, RollingSpectrogram
    engine/      from windows to logits                                    open_engine
    stream       from samples to predictions                               Stream, Prediction
    hub/         many streams over one engine                              Hub, HubCore, HubCounters
    events/      from predictions to events; these against the truth       EventTracker, Event, score_events
    recorder/    windows and predictions into a bounded file; labels       Recorder, RecordedStream, Store
    sources/     where samples come from: files, sensors, networks         Replay, and in it open_source
    sinks/       where predictions go                                      in it open_sink
    play         the loop: source, stream, recorder, sinks                 in it play
    wire/        what sources and sinks share: URLs, MQTT
    process/     processes of our own, and their end with us
    progress     how far long work is
    command      what commands share: exit codes, errors in one line, progress
    errors       where, expected, got, what to do                          SensedgeError, BundleError, InputError, ...
    files/       reading and writing with care
    lazy         faces that are tables of contents

Importing this package sets ORT_DISABLE_TELEMETRY=1 unless you have set it: onnxruntime's Linux wheels since 1.31 send
telemetry and keep a device id otherwise, and they read the variable when they are imported. Nothing else happens: a
part is imported when it is first asked for, so that a command that only prints its help starts at once.
"""

import os
from typing import TYPE_CHECKING

from runtime.lazy import attach

__version__ = "0.1.0"  # of all three packages; setup.cfg reads it here

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from runtime.bundle import Bundle, Manifest, Trust
    from runtime.engine import Engine, open_engine
    from runtime.errors import BundleError, InputError, MissingError, SensedgeError, TrustError
    from runtime.events import Event, EventScores, EventTracker, Interval, found_intervals, score_events, true_intervals
    from runtime.hub import Hub, HubCore, HubCounters
    from runtime.recorder import RecordedStream, Recorder, Store
    from runtime.recording import Recording
    from runtime.sources import Replay
    from runtime.specs import ClockSpec, Delay, EventRule, Modality, Signal, SpectrogramSpec, WindowSpec
    from runtime.spectrogram import RollingSpectrogram, Spectrogram
    from runtime.stream import Prediction, Stream
    from runtime.window import Counters, Quality, Window, Windower, cut_windows, label_of, labelled_windows

__getattr__ = attach(
    __name__,
    {
        "bundle": "Bundle Manifest Trust",
        "engine": "Engine open_engine",
        "errors": "BundleError InputError MissingError SensedgeError TrustError",
        "events": "Event EventScores EventTracker Interval found_intervals score_events true_intervals",
        "hub": "Hub HubCore HubCounters",
        "recorder": "RecordedStream Recorder Store",
        "recording": "Recording",
        "sources": "Replay",
        "specs": "ClockSpec Delay EventRule Modality Signal SpectrogramSpec WindowSpec",
        "spectrogram": "RollingSpectrogram Spectrogram",
        "stream": "Prediction Stream",
        "window": "Counters Quality Window Windower cut_windows label_of labelled_windows",
    },
)

__all__ = [
    "Bundle",
    "BundleError",
    "ClockSpec",
    "Counters",
    "Delay",
    "Engine",
    "Event",
    "EventRule",
    "EventScores",
    "EventTracker",
    "Hub",
    "HubCore",
    "HubCounters",
    "InputError",
    "Interval",
    "Manifest",
    "MissingError",
    "Modality",
    "Prediction",
    "Quality",
    "RecordedStream",
    "Recorder",
    "Recording",
    "Replay",
    "RollingSpectrogram",
    "SensedgeError",
    "Signal",
    "Spectrogram",
    "SpectrogramSpec",
    "Store",
    "Stream",
    "Trust",
    "TrustError",
    "Window",
    "WindowSpec",
    "Windower",
    "__version__",
    "cut_windows",
    "found_intervals",
    "label_of",
    "labelled_windows",
    "open_engine",
    "score_events",
    "true_intervals",
]
