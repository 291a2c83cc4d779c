"""A person's recording in other names, units, clocks and files: the same predictions as pushed as it is."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, InputError, Recording, Stream
from runtime.play import play, stream_for
from runtime.sources import Replay, open_source
from runtime.specs import ClockSpec
from runtime.window import Windower
from sdk.finetune.labels import read_labels

DATA = Path(sdk.demo.__file__).parent / "data"
XYZ, G = "xyz", 9.80665
PERSON = Recording.load(DATA / "person_6.npz")
ROWS = np.concatenate([np.arange(b + 1000, b + 1512) for b in range(0, 24_000, 4000)])
S, T = PERSON.samples[ROWS].astype(float), np.arange(len(ROWS)) / 50


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(DATA / "walk.bundle", "base")


@pytest.fixture(scope="module")
def plain(bundle):
    stream = Stream(bundle)
    return stream.push(S.astype(np.float32), T) + stream.flush()


def played(url, bundle):
    found = []
    with open_source(str(url), bundle.manifest.signal) as source:
        play(source, bundle, lambda prediction, true: found.append(prediction))
    return found


def piped(options, content, bundle):
    read, write = os.pipe()
    found = []
    source = open_source(f"stdin{options}", bundle.manifest.signal)
    source._file = read
    os.set_blocking(write, True)

    def say():
        with os.fdopen(write, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=say)
    thread.start()
    with source:
        play(source, bundle, lambda prediction, true: found.append(prediction))
    thread.join()
    os.close(read)
    return found


def written(path, times, samples=S, names=("t", *PERSON.channels), form="%.9g"):
    rows = "".join(",".join([str(t), *(form % v for v in row)]) + "\n" for t, row in zip(times, samples, strict=True))
    path.write_text(",".join(names) + "\n" + rows)
    return path


def assert_same(found, plain, off_s=0.0):
    assert [p.label for p in found] == [p.label for p in plain]
    assert [p.end_s - off_s for p in found] == pytest.approx([p.end_s for p in plain], abs=1e-3)
    assert [p.probability for p in found] == pytest.approx([p.probability for p in plain], abs=1e-3)


MS = np.round(T * 1000).astype(int)


@pytest.mark.parametrize(
    ("name", "times", "off_s"),
    [
        ("timestamp", [f"{t:.2f}" for t in T], 0),
        ("time", MS + 1_717_400_000_000, 1_717_400_000),
        ("seconds_elapsed", T, 0),
        ("t", MS, 0),
    ],
)
def test_a_time_column_by_another_name(tmp_path, bundle, plain, name, times, off_s):
    path = written(tmp_path / "a.csv", times, names=(name, *PERSON.channels))
    assert_same(played(f"replay:{path}", bundle), plain, off_s)
    assert_same(piped("", path.read_bytes(), bundle), plain, off_s)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("unit", "counts", "bits", "off_s"),
    [
        ("us", (MS * 1000 + 2**32 - 30_000_000) % 2**32, 32, (2**32 - 30_000_000) / 1e6),
        ("ms", (MS + 2**32 - 30_000) % 2**32, 32, (2**32 - 30_000) / 1e3),
        ("ms", (MS + 30_000) % 2**16, 16, 30),
        ("us", (MS * 1000 - 30_000_000 + 2**31 + 2**31) % 2**32 - 2**31, 32, (2**31 - 30_000_000) / 1e6),
    ],
)
def test_counters_that_wrap(tmp_path, bundle, plain, unit, counts, bits, off_s, told):
    options = f"?t={unit}&bits={bits}" if told else f"?t={unit}"
    path = written(tmp_path / "a.csv", counts)
    assert_same(played(f"replay:{path}{options}", bundle), plain, off_s)
    lines = b"\n".join(path.read_bytes().split(b"\n")[1:])  # as a board prints them
    assert_same(piped(options, lines, bundle), plain, off_s)


def test_units_and_axes_are_said_and_the_recording_keeps_them(tmp_path, bundle, plain):
    turned = np.hstack([np.stack([-s[:, 1], s[:, 0], s[:, 2]], 1) for s in (S[:, :3] / G, np.rad2deg(S[:, 3:]))])
    path = written(tmp_path / "a.csv", T, turned)
    options = "?units=g,deg/s&axes=y,-x,z"
    assert_same(played(f"replay:{path}{options}", bundle), plain)
    assert_same(piped(options, path.read_bytes(), bundle), plain)
    Recording.load(f"{path}{options}").save(tmp_path / "a.npz")
    assert_same(played(f"replay:{tmp_path / 'a.npz'}", bundle), plain)


def test_units_in_names(tmp_path, bundle, plain):
    names = ("t (s)", *(f"acc_{a} (g)" for a in XYZ), *(f"gyro_{a} (deg/s)" for a in XYZ))
    path = written(tmp_path / "a.csv", T, np.hstack([S[:, :3] / G, np.rad2deg(S[:, 3:])]), names)
    assert_same(played(f"replay:{path}", bundle), plain)


@pytest.fixture
def export(tmp_path):
    """A phone's folder: one file per sensor, columns z, y, x, and a clock of its own for each."""
    folder = tmp_path / "walk"
    folder.mkdir()
    for name, off_s, k in (("TotalAcceleration", 0.003, 0), ("Gyroscope", 0.011, 3)):
        t = T[:-2] + off_s
        x = np.stack([np.interp(t, T, S[:, k + i]) for i in range(3)], 1)[:, ::-1]
        at = [f"{1_717_400_000_000_000_000 + round(a * 1e9)},{a:.6f}" for a in t]
        written(folder / f"{name}.csv", at, x, ("time", "seconds_elapsed", "z", "y", "x"))
    (folder / "Location.csv").write_text("time,latitude\n1,2\n")
    return folder


def test_one_file_per_sensor(export, bundle, plain, caplog, tmp_path):
    found = played(f"replay:{export}", bundle)
    assert "left out: Location.csv" in caplog.text
    files = f"{export / 'Gyroscope.csv'},TotalAcceleration.csv"
    assert found == [
        p._replace(window_s=f.window_s, engine_s=f.engine_s, decide_s=f.decide_s)
        for f, p in zip(found, played(f"replay:{files}", bundle), strict=True)
    ]
    assert [p.label for p in found] == [p.label for p in plain][: len(found)]
    assert len(found) >= len(plain) - 1
    spans = tmp_path / "spans.csv"
    begin_s = found[0].start_s
    spans.write_text(f"start_s,end_s,label\n{begin_s},{begin_s + 30},walking\n")
    cut = read_labels(spans, bundle.manifest, export).windows
    windower, recording = (
        Windower(bundle.manifest.signal, bundle.manifest.window, ClockSpec()),
        Recording.load(export, signal=bundle.manifest.signal),
    )
    for part, columns in (("acc", slice(0, 3)), ("gyro", slice(3, 6))):  # one whole after the other, of 8 s
        here = ~np.isnan(recording.samples[:800, columns]).all(axis=1)
        pushed = windower.push(recording.samples[:800][here][:, columns], recording.t[:800][here], part)
    assert np.array_equal(cut[0], pushed[0].samples)


def test_one_sensor_of_several_says_what_to_name(export, bundle):
    with pytest.raises(InputError, match=r"got one sensor \(time, .* Name the folder with a file for each sensor"):
        Replay(export / "Gyroscope.csv", bundle.manifest.signal)
    (export / "acc.csv").write_text("time,x,y,z\n1,2,3,4\n")
    with pytest.raises(InputError, match=r"walk: acc: expected one file whose name says that it is nothing, got Gy"):
        Recording.load(f"{export}?map=gyro:acc,acc:nothing", signal=bundle.manifest.signal)


def test_acceleration_without_gravity_is_refused(tmp_path, bundle):
    names = ("t", *(f"userAcceleration.{a}" for a in XYZ), *PERSON.channels[3:])
    with pytest.raises(InputError, match="acceleration without gravity"):
        Replay(written(tmp_path / "a.csv", T, names=names), bundle.manifest.signal)


def test_the_manifests_clock_is_kept_and_stamps_are_an_option(tmp_path, bundle):
    late = np.round(
        np.maximum.accumulate(T + np.repeat(np.random.default_rng(3).exponential(0.02, len(T) // 4), 4)) * 1000
    )
    path = written(tmp_path / "a.csv", late.astype(int), names=("t_ms", *PERSON.channels))
    lines = b"\n".join(path.read_bytes().split(b"\n")[1:])
    arrival = replace(bundle.manifest, clock=replace(bundle.manifest.clock, stamps="arrival"))

    def windows(options, manifest):
        read, write = os.pipe()
        with os.fdopen(write, "wb") as file:
            file.write(lines[:60_000].rsplit(b"\n", 1)[0])
        source = open_source(f"stdin?{options}", bundle.manifest.signal)
        source._file = read
        of = replace(bundle, manifest=manifest)
        with source:
            batches = list(source)
            clock = stream_for(source, of).windower.clock
        os.close(read)
        windower = Windower(manifest.signal, manifest.window, clock)
        return clock.stamps, sum(len(windower.push(*batch)) for batch in batches)

    assert windows("t=ms&stamps=measured", bundle.manifest)[0] == "measured"
    for options, manifest in (("t=ms&stamps=arrival", bundle.manifest), ("t=ms", arrival), ("t=ms", bundle.manifest)):
        stamps, n = windows(options, manifest)
        assert stamps == "arrival"
        assert n >= 8
    assert Replay(path, bundle.manifest.signal).stamps == "arrival"  # as it looks
