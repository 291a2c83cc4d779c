"""The part that runs on the device: bundles, windows, engines, streams. It needs numpy and onnxruntime only.

    bundle      a folder with a model and all that one must know to use it   Bundle, BundleError
    manifest    what a bundle says about itself                              Manifest, Signal, Modality, WindowSpec
    recording   samples with their times and labels, in a file               Recording, InputError
    clock       late, uneven and missing samples; the beat of the model      ClockSpec, Counters
    window      from samples to windows                                      Windower, Quality, cut_windows
    spectrogram from windows to images, for a model that looks at images     Spectrogram, RollingSpectrogram
    engine      from windows to logits                                       open_engine
    stream      from samples to predictions                                  Stream, Prediction
    hub         many streams over one engine                                 Hub, HubCore, HubCounters
    events      from predictions to events                                   EventRule, EventTracker, Event
    event_scores  events against what was true                               score_events, Interval
    sources     where samples come from: files, sensors, networks            Replay, and in it open_source
    sinks       where predictions go                                         in it open_sink
    recorder    windows and predictions into a bounded file on this device   Recorder, RecordedStream
    store       that file: reading it, and labels given later                Store
    trust       whose bundles are taken                                      Trust, TrustError
    transport   a bundle as one file                                         pack, unpack
    command     what commands share: exit codes, errors in one line, progress

Importing this package sets ORT_DISABLE_TELEMETRY=1 unless you have set it: onnxruntime's Linux wheels since 1.31 send
telemetry and keep a device id otherwise, and they read the variable when they are imported. Nothing else happens: a
part is imported when it is first asked for, so that a command that only prints its help starts at once.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"  # of all three packages; setup.cfg reads it here

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.clock import ClockSpec, Counters
    from runtime.engine import Engine, open_engine
    from runtime.errors import BundleError, InputError, MissingError, SensedgeError, TrustError
    from runtime.event_scores import EventScores, Interval, found_intervals, score_events, true_intervals
    from runtime.events import Delay, Event, EventRule, EventTracker
    from runtime.hub import Hub, HubCore, HubCounters
    from runtime.manifest import Manifest, Modality, Signal, SpectrogramSpec, WindowSpec
    from runtime.recorder import RecordedStream, Recorder
    from runtime.recording import Recording
    from runtime.sources import Replay
    from runtime.spectrogram import RollingSpectrogram, Spectrogram
    from runtime.store import Store
    from runtime.stream import Prediction, Stream
    from runtime.trust import Trust
    from runtime.window import Quality, Window, Windower, cut_windows, label_of, labelled_windows

_PARTS = {
    "bundle": "Bundle",
    "clock": "ClockSpec Counters",
    "engine": "Engine open_engine",
    "errors": "BundleError InputError MissingError SensedgeError TrustError",
    "event_scores": "EventScores Interval found_intervals score_events true_intervals",
    "events": "Delay Event EventRule EventTracker",
    "hub": "Hub HubCore HubCounters",
    "manifest": "Manifest Modality Signal SpectrogramSpec WindowSpec",
    "recorder": "RecordedStream Recorder",
    "recording": "Recording",
    "sources": "Replay",
    "spectrogram": "RollingSpectrogram Spectrogram",
    "store": "Store",
    "stream": "Prediction Stream",
    "trust": "Trust",
    "window": "Quality Window Windower cut_windows label_of labelled_windows",
}

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


def __getattr__(name: str) -> Any:
    for part, names in _PARTS.items():
        if name in names.split():
            return getattr(import_module(f"runtime.{part}"), name)
    raise AttributeError(f"module 'runtime' has no attribute {name!r}")
