"""What an interpreter shows of an object: one line, no arrays. Every class that a face exports is asked."""

import inspect
from importlib import import_module

import numpy as np
import pytest

from runtime import (
    Bundle,
    ClockSpec,
    EventRule,
    EventTracker,
    Hub,
    HubCore,
    RecordedStream,
    Recorder,
    Recording,
    Replay,
    RollingSpectrogram,
    Spectrogram,
    Store,
    Stream,
    Trust,
    Windower,
    found_intervals,
    open_engine,
    score_events,
)
from runtime.errors import one_line
from runtime.events import Interval
from tests.bundles_small import image_manifest, small_manifest
from tests.commands.tools import copy_bundle

FACES = (
    "runtime",
    "runtime.bundle",
    "runtime.events",
    "runtime.hub",
    "runtime.recorder",
    "sdk.finetune",
)
OPEN = {"Engine"}  # a protocol: what fits it is asked


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """An object of each public class, by the class's name."""
    folder = tmp_path_factory.mktemp("reprs")
    bundle = Bundle.open(copy_bundle(folder))
    manifest = bundle.manifest
    rows = np.random.default_rng(0).normal(0, 3, (700, 6)).astype(np.float32)
    recording = Recording(rows, manifest.signal.channel_names, 50.0, t=np.arange(700) / 50, name="walk.csv")
    stream, core = Stream(bundle), HubCore(bundle, open_engine(bundle))
    predictions = stream.push(rows)
    tracker = EventTracker.for_bundle(bundle)
    events = [event for prediction in predictions for event in tracker.push(prediction)] + tracker.flush()
    windower = Windower(manifest.signal, manifest.window)
    recorder = Recorder(folder / "me.db", bundle, epoch=0.0)
    recorded = RecordedStream(recorder)
    recorded.push(rows)
    recorder.close()
    hub = Hub(bundle, print)
    intervals = [Interval("walking", 0.0, 4.0)]
    rule = EventRule("mean", 3, enter=0.7, enter_by_label={"walking": 0.9}, min_duration_s=2.0)
    scores = score_events(intervals, found_intervals(events), recorded_s=14.0)
    found = [
        *(bundle, manifest, stream, *predictions[:1], tracker, *events[:1], windower, *windower.push(rows)[:1]),
        *(predictions[0].quality, stream.counters, recorder, recorded, Store(folder / "me.db"), hub, core),
        *(core.counters(), recording, Replay(recording, manifest.signal), bundle.golden(), Trust((bytes(32),))),
        *(manifest.signal, manifest.signal.modalities[0], manifest.window, ClockSpec("hold", gap_s=0.5)),
        *(rule, rule.delay(1.28, 2.56), intervals[0], scores, recorder.counters, open_engine(bundle)),
        *(Spectrogram(image_manifest()), RollingSpectrogram(image_manifest()), image_manifest().spectrogram),
        *tuned(bundle),
    ]
    yield {type(thing).__name__: thing for thing in found}
    hub.close()


def tuned(bundle):
    """What fine-tuning hands about."""
    from sdk.finetune import Budget, Days, FinetunePlan, LabelledSet, finetune

    golden = bundle.golden()
    data = LabelledSet(golden.windows, golden.logits.argmax(1), np.ones(len(golden.windows)))
    report = finetune(bundle, data, FinetunePlan(sure=True))[1]
    return (
        data,
        report,
        FinetunePlan("full", gamma=tuple(range(1, 30))),
        Budget(),
        Days(golden.windows, np.arange(12.0), 12),
        report.before,
    )


def public_classes():
    for face in FACES:
        module = import_module(face)
        for name in module.__all__:
            value = getattr(module, name)
            if (
                inspect.isclass(value)
                and not issubclass(value, BaseException)
                and value.__module__.startswith(("runtime", "sdk"))
            ):
                yield pytest.param(value, id=f"{face}.{name}")


def test_there_are_many():
    assert len(list(public_classes())) > 40


@pytest.mark.parametrize("kind", list(public_classes()))
def test_a_public_object_is_one_line(things, kind):
    if kind.__name__ in OPEN:
        return
    text = repr(things[kind.__name__])
    assert "\n" not in text
    assert len(text) <= 120
    assert "array(" not in text
    assert text.startswith((f"{kind.__name__}(", "<"))
    assert " object at 0x" not in text


def test_arrays_are_told_by_their_shape_and_defaults_not_at_all():
    recorded = Recording(np.zeros((5, 2), np.float32), ("a", "b"), 50.0)
    assert repr(recorded) == "Recording('', 5 samples of 2 channels, 50 Hz, 0 labels)"
    assert repr(ClockSpec()) == "ClockSpec()"
    assert repr(ClockSpec("hold", gap_s=0.5)) == "ClockSpec(gap='hold', gap_s=0.5)"
    long = small_manifest(labels=tuple(f"class {i}" for i in range(40)), name="n" * 300)
    assert len(repr(long)) == 120
    assert repr(long).endswith("...)")
    assert one_line(ClockSpec(), "two\nlines") == r"ClockSpec(two\nlines)"
