r"""A gateway for several wearers: sensors/NAME comes in, activity/NAME goes out, one model serves all.

    sensors/anna --> source --\                       /--> sink --> activity/anna
                               Hub: batches, one engine
    sensors/ben ---> source --/                       \--> sink --> activity/ben

python examples/mqtt_gateway.py walk.bundle mqtt://localhost anna ben
SENSEDGE_MQTT_USER=gw SENSEDGE_MQTT_PASSWORD=... \
    python examples/mqtt_gateway.py walk.bundle "mqtts://broker?ca=ca.pem" anna

A message is {"t": [seconds, ...], "samples": [[...], ...]}, in the order and units of the bundle's channels.
"""

import signal
import sys
from contextlib import ExitStack
from threading import Thread

from runtime import Bundle, Hub
from runtime.command import guarded
from runtime.sinks import open_sink
from runtime.sources import open_source


def main(path, broker, *names):
    """Serve these wearers until Ctrl-C or SIGTERM."""
    bundle = Bundle.open(path)
    host, _, options = broker.partition("?")
    with ExitStack() as stack:
        sinks = {name: stack.enter_context(open_sink(f"{host}/activity/{name}?{options}")) for name in names}
        hub = stack.enter_context(Hub(bundle, lambda name, prediction: sinks[name].write(prediction)))
        urls = {name: f"{host}/sensors/{name}?t=s&{options}" for name in names}  # t=s: a message without times is none
        sources = {name: stack.enter_context(open_source(url, bundle.manifest.signal)) for name, url in urls.items()}
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: [source.stop() for source in sources.values()])
        threads = [Thread(target=serve, args=(hub, name, source)) for name, source in sources.items()]
        for thread in threads:
            thread.start()
        print(f"serving {', '.join(names)}", flush=True)
        for thread in threads:
            thread.join()
    for name, sink in sinks.items():
        print(f"{name}: {sink.counters.written} predictions sent, {sink.counters.dropped} dropped")


def serve(hub, name, source):
    """All that one wearer's sensor sends."""
    for batch in source:
        hub.push(name, *batch)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(*sys.argv[1:])))
