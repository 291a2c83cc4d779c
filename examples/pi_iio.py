"""A Raspberry Pi with an MPU-6050: the kernel reads and stamps the samples, we predict and keep a log.

python examples/pi_iio.py walk.bundle [iio:mpu6050] [log.jsonl]         README.md beside this file has the wiring
"""

import signal
import sys

from runtime import Bundle
from runtime.command import guarded
from runtime.play import play
from runtime.sinks import open_sink
from runtime.sources import open_source


def main(path, url="iio:mpu6050", log="activity.jsonl"):
    """Predict until Ctrl-C or SIGTERM (systemd), then say what went wrong with the samples."""
    bundle = Bundle.open(path)
    with open_sink(f"jsonl:{log}") as sink, open_source(url, bundle.manifest.signal) as source:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: source.stop())
        print(f"{url}: {source.rate_hz:g} samples per second", flush=True)
        counters = play(source, bundle, show, sinks=[sink])
        print(f"samples: {counters.samples}, gaps: {counters.gaps}, lost: {source.counters.dropped}")


def show(prediction, true):
    """One line; nobody says what is true of a sensor."""
    real = prediction.quality.real
    print(f"{prediction.label:<12} {prediction.probability:.0%}  {real:.0%} measured", flush=True)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(*sys.argv[1:])))
