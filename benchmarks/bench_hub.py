"""A thousand streams over one engine: in real time, and as fast as it goes.

1,000 streams of 6 channels at 50 Hz through the shipped bundle: windows of 128 samples, a new one every 64. Every
device sends 10 samples each 200 ms, at an instant of its own and at a phase of its own against the windows; a gateway
reads what has come every 5 ms. All on one core, the reading included.

    realtime_factor         as fast as it goes: seconds of data of all streams per second of the clock; 1 keeps up
    one_by_one_vs_batched   the same with batches of one window: its time / the batches' time
    p50_delay_ms, p99_...   paced: from the instant at which a window's last sample is sent to its callback
    core_share              paced: CPU seconds per second, of the hub, the callbacks and the reading together
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time

import numpy as np

from benchmarks._bench import Options, Result, interleave, ratio
from runtime import Bundle, Hub, HubCore, Prediction, Stream, open_engine

SHIPPED = Path(__file__).parent.parent / "sdk" / "demo" / "data" / "walk.bundle"
STREAMS, CHUNK, TICK_S, SAMPLED = 1000, 10, 0.005, 25  # every 40th stream's answers are checked


@dataclass
class Fleet:
    """What the devices send: views of one long signal, so that 1,000 of them fit in memory."""

    signal: np.ndarray
    offsets: np.ndarray  # of each device in the signal, also its phase against the windows
    sent: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # samples of each device so far

    def send(self, device: int, n: int = CHUNK) -> np.ndarray:
        """The device's next samples."""
        begin = self.offsets[device] + self.sent[device]
        self.sent[device] += n
        return self.signal[begin : begin + n]

    def all_sent(self, device: int) -> np.ndarray:
        """Its samples from the first to the latest."""
        return self.signal[self.offsets[device] : self.offsets[device] + self.sent[device]]


def run(options: Options) -> Result:
    """Paced first, then as fast as it goes."""
    result, bundle = Result("hub"), Bundle.open(SHIPPED)
    _paced(bundle, 3.0 if options.quick else 40.0, result)
    _fast(bundle, 3 if options.quick else 12, result)
    return result


def _fleet(bundle: Bundle, seconds: float) -> Fleet:
    rate_hz, windows = bundle.manifest.signal.rate_hz, bundle.golden().windows
    n = int(seconds * rate_hz) + 4 * windows.shape[1]
    signal = np.concatenate([*windows] * (n // (len(windows) * windows.shape[1]) + 1))
    random = np.random.default_rng(0)
    return Fleet(signal, random.integers(0, len(signal) - n + windows.shape[1], STREAMS))


def _phase(device: int) -> int:
    """Samples that a device has sent when it begins: all but 1 to 64 of its first window."""
    return 64 + device * 37 % 64


def _paced(bundle: Bundle, seconds: float, result: Result) -> None:
    rate_hz = bundle.manifest.signal.rate_hz
    fleet, delays_s = _fleet(bundle, seconds), []
    pushed_s: dict[str, float] = {}  # when the last samples of a device were to be pushed
    found: dict[str, list[Prediction]] = defaultdict(list)
    kept = {str(device) for device in range(0, STREAMS, STREAMS // SAMPLED)}

    def deliver(name: str, prediction: Prediction) -> None:
        delays_s.append(time.monotonic() - pushed_s[name])
        if name in kept:
            found[name].append(prediction)

    with Hub(bundle, deliver) as hub:
        for device in range(STREAMS):  # from here on every device completes a window per hop
            pushed_s[str(device)] = time.monotonic()
            hub.push(str(device), fleet.send(device, _phase(device)))
        began_s, cpu_s = time.monotonic() + TICK_S, process_time()
        interval_s, turn = CHUNK / rate_hz, 0
        while turn < seconds / interval_s * STREAMS:
            until_s = time.monotonic()
            while (due_s := began_s + turn * interval_s / STREAMS) <= until_s:
                device = turn % STREAMS
                pushed_s[str(device)] = due_s
                hub.push(str(device), fleet.send(device))
                turn += 1
            time.sleep(TICK_S)
        wall_s, cpu_s = time.monotonic() - began_s, process_time() - cpu_s
    counters = hub.counters()
    result.figures |= {
        "streams": len(hub.streams),
        "seconds": wall_s,
        "windows_per_s": counters.windows / wall_s,
        "p50_delay_ms": float(np.percentile(delays_s, 50)) * 1e3,
        "p99_delay_ms": float(np.percentile(delays_s, 99)) * 1e3,
        "core_share": cpu_s / wall_s,
        "dropped": counters.dropped,
    }
    windows = sum(_windows_of(bundle, fleet.sent[device]) for device in range(STREAMS))
    result.checks["every_window_once"] = counters.windows == counters.predicted == windows == len(delays_s)
    result.checks["answers"] = all(_as_stream(bundle, fleet.all_sent(int(name)), found[name]) for name in kept)


def _windows_of(bundle: Bundle, n_samples: int) -> int:
    window = bundle.manifest.window
    return max(0, (n_samples - window.length_samples) // window.hop_samples + 1)


def _as_stream(bundle: Bundle, samples: np.ndarray, found: list[Prediction]) -> bool:
    expected = Stream(bundle).push(samples)
    pairs = list(zip(found, expected, strict=False))
    return len(found) == len(expected) > 0 and all(
        a.label == b.label and a.end_s == b.end_s and np.allclose(a.probabilities, b.probabilities, atol=1e-5)
        for a, b in pairs
    )


def _fast(bundle: Bundle, rounds: int, result: Result) -> None:
    """A turn of all devices, 0.2 s of data each, pushed and run; the two candidates take turns."""
    cores = {
        "batched": HubCore(bundle, open_engine(bundle)),
        "one_by_one": HubCore(bundle, open_engine(bundle), max_batch=1),
    }
    fleet = _fleet(bundle, 1.0)
    for core in cores.values():
        for device in range(STREAMS):
            core.push(str(device), fleet.signal[: _phase(device)], now_s=0)
    names, chunk = [str(device) for device in range(STREAMS)], fleet.signal[:CHUNK].copy()

    def turn(core: HubCore) -> None:
        for name in names:
            if core.push(name, chunk, now_s=0) and core.due_s() == -np.inf:
                core.step()

    calls = 13  # turns: two hops of every device
    candidates = {name: (lambda core=core: turn(core)) for name, core in cores.items()}
    seconds = interleave(candidates, rounds=rounds, calls=calls)
    result.figures["realtime_factor"] = CHUNK / bundle.manifest.signal.rate_hz / float(np.median(seconds["batched"]))
    for name, values in seconds.items():
        result.figures[f"{name}_us_per_push"] = float(np.median(values)) / STREAMS * 1e6
    result.ratios["one_by_one_vs_batched"], result.ratios["one_by_one_vs_batched_spread"] = ratio(
        seconds["one_by_one"], seconds["batched"]
    )
