"""A store of five minutes in which five activities were recorded, as the page of a real browser finds it."""

import itertools
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

import sdk.demo
from runtime import RecordedStream, Recorder, Recording

PERSON = Path(sdk.demo.__file__).parent / "data" / "person_6.npz"
EACH_S = 40.0


def turned(recording):
    """The same, with the sensor turned round: the model that was shipped errs."""
    x, y, z = 0, 1, 2
    one = recording.samples[:, [y, x, z, 3 + y, 3 + x, 3 + z]] * np.float32([-1, 1, 1, -1, 1, 1])
    return replace(recording, samples=one)


def write_story(bundle, store):
    """The store, and what to label: start and end in Unix seconds, label; stretches of one activity each."""
    recording = turned(Recording.load(PERSON))
    recording.save(store.with_name("turned.npz"))
    names, at, story, rows = bundle.manifest.labels, 0, [], []
    for number, group in itertools.groupby(recording.labels):
        n = len(list(group))
        rows.append((at, names[number]))
        at += n
    n = round(EACH_S * 50)
    began_s = float(round(time.time() - EACH_S * len(rows) - 20))
    with Recorder(store, bundle, epoch=began_s) as recorder:
        stream = RecordedStream(recorder)
        for k, (first, label) in enumerate(rows):
            piece = recording.samples[first : first + n]
            stream.push(piece)
            ends = [began_s + k * EACH_S + s for s in (3, EACH_S - 3)]
            story.append((*ends, label))
    return story


def clocks(story):
    """The same with clock times in UTC, for a page's fields."""
    return [
        [*(datetime.fromtimestamp(s, timezone.utc).strftime("%H:%M:%S") for s in span), label] for *span, label in story
    ]
