"""An app with a model inside: python examples/embed.py walk.bundle iio:mpu6050 (or any source of docs/sources.md)."""

import sys

from runtime import Bundle
from runtime.command import guarded
from runtime.play import play
from runtime.sources import open_source


def watch(path, url, on_change):
    """Call `on_change(prediction)` at each change of activity, until the source ends."""
    bundle, before = Bundle.open(path), None

    def look(prediction, true):
        nonlocal before
        if prediction.label != before and prediction.probability > 0.6:
            before = prediction.label
            on_change(prediction)

    with open_source(url, bundle.manifest.signal) as source:
        play(source, bundle, look)


def show(prediction):
    """What this app does."""
    print(f"{prediction.end_s:.2f} s: {prediction.label} ({prediction.probability:.0%})", flush=True)


if __name__ == "__main__":
    sys.exit(guarded(lambda: watch(*sys.argv[1:3], show)))  # an error is one line and an exit code
