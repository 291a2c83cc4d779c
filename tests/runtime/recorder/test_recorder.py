import os
import random
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import (
    Bundle,
    InputError,
    Quality,
    RecordedStream,
    Recorder,
    Recording,
    Store,
    Stream,
    cut_windows,
    open_engine,
)
from runtime.recorder.marks import Span, paint
from runtime.recorder.schema import US, encoder_id
from runtime.recorder.writer import StoreRow, StoreWriter
from runtime.specs import Modality, Normalise, Signal, WindowSpec
from tests.recorder_tools import BUNDLE, CHANNELS, EPOCH_S, HOP_S, WINDOW_S, everything, number_of, pair, size_of, walk
from tests.runtime.recorder import target as recorder_target
from tests.waiting import PATIENCE_S, until

KILLS = int(os.environ.get("SENSEDGE_KILLS", "12"))
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle():
    return walk()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "me.db"


def fill(recorder, numbers):
    labels = recorder.bundle.manifest.labels
    for k in numbers:
        recorder.write(*pair(k, labels))


# ---- what goes in comes out


def test_windows_and_predictions_come_back_bit_for_bit(bundle, path):
    """Real samples with real gaps; the truth is what a stream without a recorder gives."""
    recording = Recording.load(BUNDLE.parent / "person_6.npz").fit(bundle.manifest.signal)
    expected = Stream(bundle).push(recording.samples, recording.t)
    windows = cut_windows(recording, bundle.manifest.signal, bundle.manifest.window, bundle.manifest.clock)
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        stream, found = RecordedStream(recorder), []
        for begin in range(0, len(recording.samples), 333):
            found += stream.push(recording.samples[begin : begin + 333], recording.t[begin : begin + 333])
        assert recorder.flush()
        assert recorder.counters.written == len(found) == len(expected) > 300
    assert [p[:6] for p in found] == [p[:6] for p in expected]
    with Store(path) as store:
        rows, kept = list(store.predictions(*store.span_s)), list(store.windows(*store.span_s))
        assert store.channels == recording.channels
    assert [row.label for row in rows] == [p.label for p in expected]
    assert [row.quality for row in rows] == [p.quality for p in expected]
    assert [row.start_s - EPOCH_S for row in rows] == pytest.approx([p.start_s for p in expected], abs=1e-6)
    assert [row.probability for row in rows] == [p.probability for p in expected]
    assert np.array([list(row.probabilities.values()) for row in rows]) == pytest.approx(
        np.array([p.probabilities for p in expected]), rel=1e-6
    )
    assert {row.version for row in rows} == {"base"}
    assert len(kept) == len(windows)
    for window, entry in zip(windows, kept, strict=True):
        assert entry.data.tobytes() == window.samples.tobytes()
        assert entry.start_s - EPOCH_S == pytest.approx(window.start_s, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(steps=st.lists(st.sampled_from([1, 1, 1, 2, 3, 0]), min_size=1, max_size=30), split=st.integers(1, 9))
def test_overlapping_windows_share_their_samples_and_lose_none(tmp_path_factory, steps, split):
    """Whatever windows are left out or come twice, and however they are spread over transactions."""
    path, bundle = tmp_path_factory.mktemp("share") / "s.db", walk()
    numbers = np.cumsum(steps).tolist()
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        for i, k in enumerate(numbers):
            fill(recorder, [k])
            if i % split == 0:
                recorder.flush()
    assert everything(path, first_partial=False) == numbers


def test_samples_that_two_windows_have_are_stored_once(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(1000))
    db = sqlite3.connect(path)
    stored = db.execute("SELECT sum(length(samples)) FROM windows").fetchone()[0]
    db.close()
    assert stored == (1000 + 1) * 64 * CHANNELS * 4
    assert os.path.getsize(path) < 1.5 * stored


def test_a_window_that_only_seems_to_follow_shares_nothing(bundle, path):
    """Two streams in one store, against the rules: places fit, samples do not."""
    labels = bundle.manifest.labels
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        for k in range(6):
            prediction, window = pair(k, labels)
            recorder.write(prediction, window._replace(samples=window.samples + np.float32(1000 * (k % 2))))
    with Store(path) as store:
        found = [entry.data[0, 0] for entry in store.windows(*store.span_s)]
    assert found == [k * 64 + 1000 * (k % 2) for k in range(6)]


def test_a_view_is_copied(bundle, path):
    prediction, window = pair(5, bundle.manifest.labels)
    shared = window.samples.copy()
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        recorder.write(prediction, window._replace(samples=shared))
        shared[:] = 0
    assert everything(path) == [5]


def test_predictions_alone(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S, keep="predictions") as recorder:
        fill(recorder, range(20))
        recorder.write(pair(20, bundle.manifest.labels)[0])
    with Store(path) as store:
        assert store.keeps() == ()
        assert len(list(store.predictions(*store.span_s))) == 21


def test_features_are_those_of_the_encoder(bundle, path):
    windows = bundle.golden().windows[:8]
    with Recorder(path, bundle, epoch=EPOCH_S, keep="features") as recorder:
        for k, samples in enumerate(windows):
            prediction, window = pair(k, bundle.manifest.labels)
            recorder.write(prediction, window._replace(samples=samples))
    engine = open_engine(bundle)
    expected = engine.run(windows, "features")
    engine.close()
    with Store(path) as store:
        assert store.keeps() == ("features",)
        found = [entry.data for entry in store.features(*store.span_s, encoder_id(bundle))]
        assert list(store.features(*store.span_s, "another")) == []
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_every_row_knows_its_version(tmp_path, path):
    bundle = Bundle.open(shutil.copytree(BUNDLE, tmp_path / "walk.bundle"))
    head = bundle.manifest.head.bias
    for k in range(3):
        with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
            fill(recorder, range(10 * k, 10 * k + 10))
        bundle = bundle.commit({head: bundle.tensor(head) + np.float32(1)}, {})
    with Store(path) as store:
        versions = [row.version for row in store.predictions(*store.span_s)]
    assert versions == ["base"] * 10 + ["0001"] * 10 + ["0002"] * 10
    assert everything(path, first_partial=False) == list(range(30))


def test_the_encoder_is_another_when_it_moved(tmp_path):
    bundle = Bundle.open(shutil.copytree(BUNDLE, tmp_path / "walk.bundle"))
    head = bundle.manifest.head.bias
    below = next(spec.name for spec in bundle.manifest.tensors if not spec.name.startswith("head"))
    same = bundle.commit({head: bundle.tensor(head) + np.float32(1)}, {})
    moved = bundle.commit({below: bundle.tensor(below) + np.float32(1)}, {})
    assert encoder_id(same) == encoder_id(bundle) != encoder_id(moved)


# ---- stream time and wall time


def test_a_live_stream_is_tied_to_the_clock(bundle, path):
    """The stream begins at 0 s at noon; then NTP sets the clock forward by an hour, later back by two."""
    now, labels = [EPOCH_S], bundle.manifest.labels
    with Recorder(path, bundle, clock=lambda: now[0]) as recorder:
        for k in range(60):
            now[0] = EPOCH_S + k * HOP_S + WINDOW_S + 0.2 + (3600 if k >= 20 else 0) - (7200 if k >= 40 else 0)
            recorder.write(*pair(k, labels))
        recorder.flush()
        assert recorder.counters.clock_set == 2
    with Store(path) as store:
        starts = sorted(row.start_s for row in store.predictions(*store.span_s))
    expected = [EPOCH_S + 0.2 + k * HOP_S + (3600 if k >= 20 else 0) - (7200 if k >= 40 else 0) for k in range(60)]
    assert starts == pytest.approx(sorted(expected), abs=1e-5)


@pytest.mark.parametrize(("stamped", "n"), [(False, 1), (True, 0)])
def test_a_burst_after_a_stall(bundle, path, stamped, n):
    """30 s come at once, 30 s late. Stamps are believed; without them, samples that came late may have been lost."""
    now, labels = [EPOCH_S + WINDOW_S], bundle.manifest.labels
    quality = Quality(source_hz=(50.0,)) if stamped else Quality()
    with Recorder(path, bundle, clock=lambda: now[0]) as recorder:
        for k in range(40):
            now[0] = EPOCH_S + WINDOW_S + (HOP_S * k if k < 10 or k > 33 else HOP_S * 33)
            recorder.write(*pair(k, labels, quality=quality))
        assert (recorder.counters.clock_set > 0) == bool(n)
    if stamped:
        assert everything(path) == list(range(40))


def test_a_sensor_that_is_a_little_slow_stays_near_the_clock(bundle, path):
    """Its 50 Hz are 49.5, and it has no stamps: stream time falls behind by 36 s per hour."""
    now, labels = [0.0], bundle.manifest.labels
    with Recorder(path, bundle, clock=lambda: now[0], keep="predictions") as recorder:
        for k in range(2800):
            now[0] = EPOCH_S + (k * HOP_S + WINDOW_S) / 0.99
            recorder.write(pair(k, labels)[0])
        recorder.flush()
    with Store(path) as store:
        found = [row.end_s for row in store.predictions(0, 2 * EPOCH_S)]
    late_s = EPOCH_S + (np.arange(2800) * HOP_S + WINDOW_S) / 0.99 - found
    assert late_s.min() > -1e-5
    assert late_s.max() <= 5.01


def test_a_clock_set_back_onto_the_same_instants_loses_nothing(bundle, path):
    labels = bundle.manifest.labels
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        for k in (0, 1, 2, 0, 1, 2, 0):
            recorder.write(*pair(k, labels))
        recorder.flush()
        assert recorder.counters.written == 7
        assert recorder.counters.clock_set == 2
    assert sorted(everything(path, first_partial=False)) == [0, 0, 0, 1, 1, 2, 2]


# ---- the budget


@pytest.mark.parametrize(("keep", "max_mb"), [("windows", 1.0), ("windows", 2.0), ("predictions", 1.0)])
def test_the_budget_holds_at_all_times(bundle, path, keep, max_mb):
    n = {"windows": int(max_mb * 900), "predictions": 12000}[keep]
    largest, stop = [0], threading.Event()

    def watch():
        while not stop.wait(0.0005):
            largest[0] = max(largest[0], size_of(path))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with Recorder(path, bundle, max_mb=max_mb, epoch=EPOCH_S, keep=keep) as recorder:
        for begin in range(0, n, 300):
            fill(recorder, range(begin, begin + 300))
            assert recorder.flush()
            largest[0] = max(largest[0], size_of(path))
    stop.set()
    watcher.join()
    assert recorder.counters.dropped == 0
    assert recorder.counters.written == n + (-n) % 300
    assert recorder.counters.removed > n / 5
    assert 0.5 * max_mb * 1e6 < largest[0] <= max_mb * 1e6
    with Store(path) as store:
        numbers = [number_of(row) for row in store.predictions(*store.span_s)]
        assert sum(store.counts(*store.span_s).values()) == len(numbers) == n + (-n) % 300 - recorder.counters.removed
    assert numbers == list(range(numbers[0], n + (-n) % 300))  # the newest, without a hole
    if keep == "windows":
        everything(path)


def test_the_budget_holds_while_somebody_reads(bundle, path):
    """An open reading keeps the log from being folded: rows wait, then are dropped, and the log does not grow."""
    with Recorder(path, bundle, max_mb=1.0, epoch=EPOCH_S) as recorder:
        fill(recorder, range(100))
        assert recorder.flush()
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM predictions").fetchone()
        recorder._writer._db.execute("PRAGMA busy_timeout = 20")
        for begin in range(100, 3100, 300):
            fill(recorder, range(begin, begin + 300))
            recorder.flush()
            assert size_of(path) <= 1e6
        assert "reads the store" in recorder.trouble or "locked" in recorder.trouble
        reader.close()
        assert recorder.flush()
        assert recorder.trouble == ""
        assert recorder.counters.dropped > 0
        assert recorder.counters.written + recorder.counters.dropped == 3100


@pytest.mark.parametrize("way", ["link", "chdir"])
def test_the_budget_holds_wherever_the_name_leads(bundle, tmp_path, monkeypatch, way):
    """The log is beside the file itself."""
    (tmp_path / "card").mkdir()
    real, given = tmp_path / "card" / "me.db", Path("card/me.db")
    monkeypatch.chdir(tmp_path)
    if way == "link":
        given = tmp_path / "me.db"
        given.symlink_to(real)
    with Recorder(given, bundle, max_mb=1.0, epoch=EPOCH_S) as recorder:
        if way == "chdir":
            monkeypatch.chdir("/")
        for k in range(0, 600, 20):
            fill(recorder, range(k, k + 20))
            assert recorder.flush()
            assert size_of(real) <= 1_000_000


@pytest.mark.parametrize("way", ["removed", "replaced"])
def test_a_store_that_was_taken_away_is_told(bundle, path, caplog, way):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(5))
        assert recorder.flush()
        path.rename(path.with_name("old.db"))
        if way == "replaced":
            path.touch()
        fill(recorder, range(5, 10))
        assert not recorder.flush()
        assert recorder.trouble == "it was removed or replaced"
    assert (recorder.counters.written, recorder.counters.dropped) == (5, 5)
    assert "it was removed or replaced" in caplog.text


def test_rows_of_a_clock_that_was_wrong_go_first(bundle, path):
    """Else the store would stay full of them, and all that is new would be the oldest."""
    now = [EPOCH_S + 1e8]
    with Recorder(path, bundle, max_mb=1.0, clock=lambda: now[0]) as recorder:

        def live(numbers):
            for k in numbers:
                now[0] += HOP_S
                fill(recorder, [k])
                if k % 20 == 0:
                    recorder.flush()
            recorder.flush()

        live(range(600))
        now[0] = EPOCH_S
        live(range(600, 680))
        assert recorder.counters.clock_set == 1
        with Store(path) as store:
            assert sum(store.counts(EPOCH_S - 100, EPOCH_S + 1e6).values()) == 80
            span = store.span_s
            assert span[1] > EPOCH_S + 1e8  # those that need not go stay
            rows = list(store.predictions(*span))
            assert sum(n for quarter in store.timeline(*span).values() for n in quarter.values()) == len(rows)
        now[0] -= 3600  # an hour is no reason to throw anything away but the oldest
        live(range(680, 760))
        with Store(path) as store:
            assert sum(store.counts(EPOCH_S - 10_000, EPOCH_S + 1e6).values()) == 160


@pytest.mark.parametrize("epoch", [1e12, -1e12], ids=["milliseconds", "before the calendar"])
def test_times_that_no_calendar_has_are_dropped(bundle, path, epoch):
    with Recorder(path, bundle, epoch=epoch) as recorder:
        fill(recorder, range(3))
        assert recorder.flush()
    assert (recorder.counters.written, recorder.counters.dropped) == (0, 3)


def test_a_fork_leaves_the_store_alone(bundle, path):
    code = f"""if True:
        import os
        from runtime import Recorder
        from tests.recorder_tools import pair, walk
        recorder = Recorder({str(path)!r}, walk(), epoch={EPOCH_S})
        labels = walk().manifest.labels
        recorder.write(*pair(0, labels))
        if os.fork() == 0:
            recorder.write(*pair(1, labels))
            print(recorder.flush(), recorder.counters.dropped, flush=True)
            recorder.close()
            os._exit(0)
        os.wait()
        recorder.write(*pair(2, labels))
        recorder.close()"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert found.stdout.split() == ["False", "1"]
    assert everything(path) == [0, 2]


def test_a_damaged_store_is_an_error_and_not_a_crash(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(100))
    whole, found = path.read_bytes(), set()
    for page in range(1, len(whole) // 4096, 2):
        path.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        try:
            with Store(path) as store:
                span = store.span_s
                assert store.labels
                assert store.keeps() is not None
                list(store.windows(*span)), list(store.samples(*span)), store.counts(*span), store.timeline(*span)
                store.mark(span[0], span[1], "walking", 0.0)
                assert store.spans()
                store.undo()
            found.add("whole")
        except InputError as error:
            found.add(str(error).split(", got")[0].split("expected ")[1])
    assert "a whole store" in found  # anything but an InputError ends the test


def test_the_log_keeps_its_share_while_old_days_go(bundle, path):
    """Nothing is written but what takes old rows away: many transactions, and no window asks for room."""
    writer = StoreWriter(path, bundle, 8.0, 3.0)
    rows = [
        StoreRow(int((EPOCH_S + k * HOP_S) * US), pair(k, bundle.manifest.labels)[0], k * 64, bytes([k % 256]) * 3072)
        for k in range(1500)
    ]
    while rows:
        n = writer.fitting(rows)
        writer.commit(rows[:n])
        del rows[:n]
    later = pair(0, bundle.manifest.labels)[0]
    writer.commit([StoreRow(int((EPOCH_S + 30 * 86400) * US), later, 0, b"", True)])
    sizes, fold = [], writer.fold
    writer.fold = lambda: (sizes.append(os.stat(f"{path}-wal").st_size), fold())
    writer.commit([StoreRow(int((EPOCH_S + 30 * 86400 + 1) * US), later, 0, b"", True)])
    assert writer.removed == 1500
    assert 0 < max(sizes) <= 8e6 / 8
    writer.close()


@pytest.mark.parametrize(("missing", "asked"), [(0, 0), (1, 2)])
def test_room_is_made_only_where_there_is_too_little(bundle, path, missing, asked):
    """Twice what comes and 64 KiB: 17 whole pages for 4,000 bytes."""
    writer, tried = StoreWriter(path, bundle, 1.0), []
    writer._free_pages = lambda: 17 - missing
    writer._remove = lambda *since: tried.append(since)
    writer._make_room(4_000, 0)
    assert len(tried) == asked  # the rows of a clock that was wrong, and the oldest
    writer.close()


def test_windows_of_modalities_with_rates_of_their_own_share_no_samples(path):
    signal = Signal((Modality("acc", "m/s^2", ("x",), 50.0), Modality("gyro", "rad/s", ("z",), 25.0)))
    bundle = walk()
    manifest = replace(
        bundle.manifest, signal=signal, window=WindowSpec(4, 2), normalise=Normalise((0.0, 0.0), (1.0, 1.0))
    )
    writer = StoreWriter(path, SimpleNamespace(manifest=manifest, version="base", personal_tensors={}), 1.0)
    told = pair(0, manifest.labels)[0]
    writer.commit([StoreRow(int((EPOCH_S + k * 0.04) * US), told, 2 * k, bytes(4 * 6)) for k in range(3)])
    assert writer._db.execute("SELECT shared, length(samples) FROM windows").fetchall() == [(0, 24)] * 3
    writer.close()


@pytest.mark.parametrize("keep", ["windows", "features"])
def test_what_is_of_a_span_lies_wholly_inside(bundle, path, keep):
    with Recorder(path, bundle, epoch=EPOCH_S, keep=keep) as recorder:
        fill(recorder, range(8))
    first_s, last_s, us = EPOCH_S + 2 * HOP_S, EPOCH_S + 4 * HOP_S + WINDOW_S, 1e-6
    edges = {(0, 0): [2, 3, 4], (3 * us, 0): [3, 4], (0, -3 * us): [2, 3], (-3 * us, 3 * us): [2, 3, 4]}
    with Store(path) as store:
        for (begin, end), expected in edges.items():
            span = first_s + begin, last_s + end
            found = store.windows(*span) if keep == "windows" else store.features(*span, encoder_id(bundle))
            assert [round((one.start_s - EPOCH_S) / HOP_S) for one in found] == expected


def test_half_a_feature_is_damage(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S, keep="features") as recorder:
        fill(recorder, range(2))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE features SET data = substr(data, 2) WHERE at = (SELECT max(at) FROM features)")
    db.close()
    with Store(path) as store, pytest.raises(InputError, match="expected a whole store, got the features at 17000000"):
        list(store.features(*store.span_s, encoder_id(bundle)))


def test_a_store_that_is_refused_is_not_left_open(bundle, path, tmp_path):
    """The errors are kept, and with them all that the frames have that raised them."""
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(3))
    foreign, run, text = (tmp_path / name for name in ("foreign.db", "run.db", "text.db"))
    shutil.copy(path, foreign), shutil.copy(path, run)
    text.write_text("not a database, but long enough to look at" * 100)
    for copy, statement in (
        (foreign, "PRAGMA application_id = 9"),
        (run, "UPDATE meta SET value = 'x' WHERE key = 'run'"),
    ):
        with sqlite3.connect(copy) as db:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute(statement)
        db.close()
    other = with_windows(bundle, 32)
    errors = []
    for refused in (
        lambda: StoreWriter(foreign, bundle, 1.0), lambda: StoreWriter(text, bundle, 1.0),
        lambda: StoreWriter(run, bundle, 1.0), lambda: StoreWriter(path, other, 1.0),
        lambda: Store(foreign), lambda: Store(text),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            refused()
        errors.append(caught)
    open_now = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd_is_here(fd)]
    assert [name for name in open_now if name.startswith(str(tmp_path))] == []


def fd_is_here(fd):
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.parametrize(("max_mb", "log_bytes"), [(1.0, 1 << 18), (8.0, 1_000_000), (100.0, 1 << 22)])
def test_an_eighth_of_the_room_is_the_logs(bundle, path, max_mb, log_bytes):
    """Within a quarter of a megabyte and four; what is left is the store's, but for what a transaction adds."""
    writer = StoreWriter(path, bundle, max_mb)
    writer.close()
    assert writer._wal_bytes == log_bytes
    assert max_mb * 1e6 - 4096 <= writer._max_pages * 4096 + log_bytes + (1 << 16) <= max_mb * 1e6


def test_what_goes_is_not_overwritten_where_that_would_be_another_write(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        assert recorder._writer._db.execute("PRAGMA secure_delete").fetchone() == (2,)  # FAST


def with_windows(bundle, length):
    manifest = replace(bundle.manifest, window=WindowSpec(length, length))
    return SimpleNamespace(manifest=manifest, version="base", personal_tensors={})


@pytest.mark.parametrize("length", [5_000, 30_000, 43_685])
def test_the_room_that_is_asked_for_is_enough(bundle, path, length):
    large = with_windows(bundle, length)
    with pytest.raises(InputError, match="max_mb: expected at least") as caught:
        StoreWriter(path, large, 1.0)
    least_mb = float(caught.value.expected.removeprefix("at least "))
    StoreWriter(path, large, least_mb).close()
    with pytest.raises(InputError, match="max_mb: expected at least"):
        StoreWriter(path, large, least_mb - 1.5)


def test_a_window_that_no_room_is_enough_for_is_not_asked_more_room_for(bundle, path):
    with pytest.raises(InputError, match=r"^window: expected at most 1048448 bytes, got 1048464\. No max_mb is enough"):
        StoreWriter(path, with_windows(bundle, 43_686), 1e6)
    assert not path.exists()


def test_a_smaller_budget_shrinks_the_file(bundle, path):
    with Recorder(path, bundle, max_mb=8.0, epoch=EPOCH_S) as recorder:
        for begin in range(0, 1500, 500):
            fill(recorder, range(begin, begin + 500))
            assert recorder.flush()
    assert 2e6 < size_of(path) < 8e6
    with Recorder(path, bundle, max_mb=1.0, epoch=EPOCH_S) as recorder:
        assert size_of(path) <= 1e6
        fill(recorder, range(1500, 1510))
    numbers = everything(path)
    assert numbers == list(range(numbers[0], 1510))
    assert len(numbers) > 100


def test_days_go_too(bundle, path):
    labels = bundle.manifest.labels
    with Recorder(path, bundle, max_days=2, epoch=EPOCH_S, keep="predictions") as recorder:
        for hour in range(24 * 5):
            prediction = pair(0, labels)[0]._replace(start_s=hour * 3600.0, end_s=hour * 3600.0 + WINDOW_S)
            recorder.write(prediction)
            if hour % 10 == 0:
                recorder.flush()
        recorder.flush()
        recorder.write(pair(0, labels)[0]._replace(start_s=4e9, end_s=4e9 + WINDOW_S))  # a clock gone mad
        recorder.flush()
        recorder.write(pair(0, labels)[0]._replace(start_s=120 * 3600.0, end_s=120 * 3600.0 + WINDOW_S))
        recorder.flush()
        assert recorder.counters.removed < 125
    with Store(path) as store:
        hours = [round((row.start_s - EPOCH_S) / 3600) for row in store.predictions(0, EPOCH_S + 3e9)]
    assert hours[-1] == 120 or hours == []


# ---- kill -9


def test_kill_at_any_moment(tmp_path):
    """Every row that was committed is there, the budget holds, and the next recorder goes on."""
    path, rng, max_mb = tmp_path / "me.db", random.Random(), 1.0
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, recorder_target.__file__, str(path), str(max_mb)]
    committed, logs, longest, lives = -1, 0, 0, 0
    longest_s = 0.25  # of a life; adapts itself to the machine so that most lives commit something
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as target:
        assert target.stdout.readline() == "ready\n"
        for _ in range(KILLS):
            target.stdin.write(f"{rng.uniform(0, longest_s)}\n")
            target.stdin.flush()
            said, killed = map(int, target.stdout.readline().split())
            assert killed
            committed, lives = max(committed, said), lives + (said >= 0)
            longest_s *= 0.9 if said >= 0 else 2
            assert size_of(path) <= max_mb * 1e6
            logs += os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal") > 0
            numbers = everything(path)
            assert numbers == list(range(numbers[0], numbers[-1] + 1)) if numbers else committed < 0
            assert not numbers or numbers[-1] >= committed
            longest = max(longest, len(numbers))
        target.stdin.close()
        assert target.wait(PATIENCE_S) == 0
    assert committed > 0
    assert lives > KILLS / 4
    assert logs > KILLS / 8  # they were killed with work in the log
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()
    with Recorder(path, walk(), max_mb=max_mb, epoch=EPOCH_S) as recorder:
        fill(recorder, [10**6])
    assert everything(path)[-1] == 10**6
    print(f"{KILLS} kills, {logs} with a log, row {committed} committed, {longest} rows kept")


# ---- a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    if shutil.which("mount") is None:
        pytest.skip("cannot mount a small tmpfs: no mount here. Run: apt-get install mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_drops_counts_says_so_once_and_goes_on(small_disk, bundle, caplog):
    path, ballast = small_disk / "me.db", small_disk / "ballast"
    ballast.write_bytes(b"x" * 500_000)
    with Recorder(path, bundle, max_mb=8.0, epoch=EPOCH_S) as recorder:
        k = 0
        while recorder.flush():
            fill(recorder, range(k, k + 50))
            k += 50
        committed = recorder.counters.written
        assert 20 < committed < k
        while not recorder.counters.dropped:
            fill(recorder, range(k, k + 50))
            k += 50
            assert not recorder.flush()
        assert "full" in recorder.trouble
        assert recorder.counters.written == committed
        assert [number_of(row) for row in _rows(path)] == list(range(committed))
        ballast.unlink()
        assert not recorder.flush() or recorder.counters.written > committed
        assert recorder.counters.written > committed
    assert len(caplog.records) == 1
    assert "cannot be written (database or disk is full)" in caplog.text
    assert recorder.counters.written + recorder.counters.dropped == k
    numbers = [number_of(row) for row in _rows(path)]
    assert numbers == list(range(recorder.counters.written))


def _rows(path):
    with Store(path) as store:
        return list(store.predictions(*store.span_s))


def test_a_disk_that_frees_again_loses_only_what_was_dropped(small_disk, bundle):
    path, ballast = small_disk / "me.db", small_disk / "ballast"
    with Recorder(path, bundle, max_mb=8.0, epoch=EPOCH_S) as recorder:
        fill(recorder, range(50))
        assert recorder.flush()
        free = shutil.disk_usage(small_disk).free
        ballast.write_bytes(b"x" * (free - free % 4096))
        fill(recorder, range(50, 100))
        fill(recorder, range(100, 150))
        assert not recorder.flush()
        ballast.unlink()
        assert recorder.flush()
        assert (recorder.counters.dropped, recorder.counters.written, recorder.trouble) == (0, 150, "")
    assert everything(path, first_partial=False) == list(range(150))


def test_a_file_size_limit_is_a_full_disk_too(tmp_path):
    """RLIMIT_FSIZE in a process of its own: writes fail with EFBIG."""
    path = tmp_path / "me.db"
    code = f"""
import resource
from tests.recorder_tools import *
from runtime import Recorder
bundle = walk()
with Recorder({str(path)!r}, bundle, max_mb=8, epoch=EPOCH_S) as recorder:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    for k in range(4000):
        recorder.write(*pair(k, bundle.manifest.labels))
        if k % 40 == 39: recorder.flush()
    trouble, before = recorder.trouble, recorder.counters.written
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(before, recorder.counters.dropped, recorder.flush(), recorder.counters.written, trouble)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    before, dropped, flushed, written, trouble = done.stdout.split(maxsplit=4)
    assert 50 < int(before) < int(written)
    assert int(dropped) + int(written) == 4000
    assert (flushed, bool(trouble)) == ("True", True)
    assert done.stderr.count("cannot be written") == 1
    assert everything(path, first_partial=False) == list(range(int(written)))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 400_000


# ---- opening, closing, refusing


def test_nobody_else_may_read_it(bundle, path):
    old = os.umask(0)
    try:
        with Recorder(path, bundle) as recorder:
            fill(recorder, range(3))
            recorder.flush()
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert len(list(path.parent.iterdir())) == 3
    finally:
        os.umask(old)
    assert modes == {0o600}
    assert [file.name for file in path.parent.iterdir()] == ["me.db"]


def test_another_signal_or_window_is_refused(bundle, path, tmp_path):
    with Recorder(path, bundle) as recorder:
        fill(recorder, range(3))
    other = replace(bundle, manifest=replace(bundle.manifest, window=replace(bundle.manifest.window, hop_samples=32)))
    with pytest.raises(InputError, match=r"expected a store of the window .*choose another path"):
        Recorder(path, other)
    with Store(path) as store, pytest.raises(InputError, match="same signal and window"):
        store.check_fits(other.manifest)


def test_files_that_are_no_stores_are_left_alone(bundle, tmp_path):
    text, foreign = tmp_path / "text.db", tmp_path / "foreign.db"
    text.write_text("not a database, but long enough to look at" * 100)
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    before = text.read_bytes(), foreign.read_bytes()
    for path in (text, foreign, tmp_path / "none" / "me.db"):
        with pytest.raises(InputError):
            Recorder(path, bundle)
        with pytest.raises(InputError):
            Store(path)
    assert (text.read_bytes(), foreign.read_bytes()) == before
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"keep": "all"}, "keep: expected windows, features or predictions, got all"),
        ({"commit_s": 0}, "commit_s: expected seconds above 0"),
        ({"max_mb": 0.1}, "max_mb: expected at least 1, got 0.1"),
        ({"max_mb": float("nan")}, "max_mb: expected a number"),
        ({"max_days": 0}, "max_days: expected days above 0"),
    ],
)
def test_options_that_make_no_sense(bundle, path, options, text):
    with pytest.raises(InputError, match=text):
        Recorder(path, bundle, **options)
    assert not path.exists()


def test_a_prediction_of_another_bundle(bundle, path):
    with Recorder(path, bundle) as recorder, pytest.raises(InputError, match="expected one of the recorder's bundle"):
        recorder.write(pair(0, bundle.manifest.labels)[0]._replace(label="flying"))


def test_closing_twice_and_writing_after(bundle, path):
    recorder = Recorder(path, bundle, epoch=EPOCH_S)
    fill(recorder, range(3))
    recorder.close()
    recorder.close()
    fill(recorder, range(3, 5))
    assert (recorder.counters.written, recorder.counters.dropped, recorder.flush()) == (3, 2, True)


def test_a_store_that_was_closed_is_not_called_damaged(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(3))
    store = Store(path)
    span = store.span_s
    store.close()
    store.close()
    for late in (
        lambda: store.span_s,
        lambda: store.counts(*span),
        lambda: list(store.predictions(*span)),
        lambda: list(store.windows(*span)),
        lambda: store.mark(*span, "walking", 0.0),
        lambda: store.undo(),
    ):
        with pytest.raises(InputError, match=r"me.db: expected an open store, got a closed one. Open it again."):
            late()


def test_rows_are_committed_without_a_flush(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S, commit_s=0.05, durable=True) as recorder:
        fill(recorder, range(3))
        until(lambda: recorder.counters.written == 3)


# ---- marks


def test_paint_by_hand():
    marks = [(0, 100, "a"), (20, 40, "b"), (30, 50, None), (50, 60, "a"), (90, 120, "a")]
    assert paint(marks) == [(0, 20, "a"), (20, 30, "b"), (50, 120, "a")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10), st.sampled_from(["a", "b", None])), max_size=12))
def test_paint_is_the_last_mark_of_every_instant(marks):
    marks = [(start, start + length, label) for start, length, label in marks]
    instants = [None] * 41
    for start, end, label in marks:
        instants[start:end] = [label] * (end - start)
    spans = paint(marks)
    found = [None] * 41
    for start, end, label in spans:
        assert found[start:end] == [None] * (end - start)
        found[start:end] = [label] * (end - start)
    assert found == instants
    assert all(a[1] < b[0] or a[2] != b[2] for a, b in pairwise(spans))


def test_counts_are_those_of_the_rows(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S, keep="predictions") as recorder:
        fill(recorder, range(6000))
    rng = np.random.default_rng(0)
    with Store(path) as store:
        rows = [(row.start_s, row.label) for row in store.predictions(*store.span_s)]
        for start_s, length_s in zip(rng.uniform(-500, 7000, 40), 10 ** rng.uniform(0, 3.9, 40), strict=True):
            a, b = EPOCH_S + start_s, EPOCH_S + start_s + length_s
            inside = [label for at, label in rows if a <= at < b]
            assert store.counts(a, b) == {label: inside.count(label) for label in set(inside)}
            marked = store.inside(a, b)
            assert marked.inside == sum(a <= at and at + WINDOW_S <= b for at, _ in rows)
            touched = sum(at < b and at + WINDOW_S > a for at, _ in rows)
            assert marked.straddling == touched - marked.inside


def test_marks_while_recording(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(100))
        recorder.flush()
        with Store(path) as store:
            assert store.mark(EPOCH_S + 1.28, EPOCH_S + 64.0, "walking", 0.0) == (48, 2)
            fill(recorder, range(100, 200))
            assert recorder.flush()
            assert store.spans() == [Span(EPOCH_S + 1.28, EPOCH_S + 64.0, "walking")]
            with pytest.raises(InputError, match="none that lies inside, 3 that it cuts"):
                store.mark(EPOCH_S + 11, EPOCH_S + 12, "walking", 0.0)
            assert store.undo() is not None
            assert (store.undo(), store.spans()) == (None, [])


def test_a_mark_that_takes_labels_away_is_taken_back_as_one(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(20))
    span = EPOCH_S, EPOCH_S + 10
    with Store(path) as store:
        store.mark(*span, "walking", 0.0)
        store.mark(*span, None, 0.0)
        assert store.spans() == []
        assert store.undo() == Span(*span, "")
        assert store.spans() == [Span(*span, "walking")]
        assert store.undo() == Span(*span, "walking")
        assert store.labels == bundle.manifest.labels


def test_samples_come_once_with_the_time_of_their_first(bundle, path):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, [0, 1, 2, 9])
    with Store(path) as store:
        pieces = list(store.samples(*store.span_s))
    times = [(round((piece.start_s - EPOCH_S) * 50), len(piece.data)) for piece in pieces]
    assert times == [(0, 128), (128, 64), (192, 64), (576, 128)]
    assert all(piece.data[0, 0] == begin for piece, (begin, _) in zip(pieces, times, strict=True))


def test_a_store_without_a_row(bundle, path):
    Recorder(path, bundle).close()
    with Store(path) as store:
        assert (store.span_s, store.spans(), store.keeps(), store.labels) == (None, [], (), bundle.manifest.labels)


def test_a_transaction_takes_the_rows_that_fit_and_at_least_one(bundle, path):
    writer = StoreWriter(path, bundle, 1.0)
    told, most = pair(0, bundle.manifest.labels)[0], (1 << 18) // 4
    half, large = (StoreRow(0, told, 0, bytes(n)) for n in (most // 2 - 128, most))
    assert half.n_bytes == most // 2
    assert [writer.fitting(rows) for rows in ([half], [half] * 2, [half] * 3, [large, half], [half, large])] == [
        *(1, 2, 2, 1, 1)
    ]
    writer.close()


@pytest.mark.parametrize(("n_bytes", "rows"), [(24, 1), (72, 3), (60, None)])
def test_a_piece_is_of_any_number_of_whole_rows(bundle, path, n_bytes, rows):
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(1))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE windows SET samples = substr(samples, 1, ?)", (n_bytes,))
    db.close()
    with Store(path) as store:
        if rows is None:
            with pytest.raises(InputError, match="expected a whole store, got the window at"):
                list(store.samples(*store.span_s))
            return
        assert [piece.data.shape for piece in store.samples(*store.span_s)] == [(rows, CHANNELS)]


def test_a_span_as_long_as_a_window_holds_it(bundle, path):
    start_s = round(EPOCH_S)
    with Recorder(path, bundle, epoch=start_s) as recorder:
        fill(recorder, range(3))
    with Store(path) as store:
        assert store.inside(start_s, start_s + store.window_s).inside == 1
        assert store.inside(start_s, start_s + store.window_s - 1e-5).inside == 0


def test_old_rows_go_a_batch_at_a_time(bundle, path):
    writer = StoreWriter(path, bundle, 8.0)
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        fill(recorder, range(30))
    assert writer._remove() == 30
    writer.close()


def test_the_room_that_is_asked_for_by_hand(bundle, path):
    values = 5_000 * len(bundle.manifest.signal.channel_names)
    with pytest.raises(InputError) as caught:
        StoreWriter(path, with_windows(bundle, 5_000), 1.0)
    assert caught.value.expected == f"at least {-(-(4 * values + 128) * 32 // 1_000_000):g}"
