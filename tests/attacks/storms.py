"""The kinds of `tests/attacks/long.py`: each is a function of a random generator and an empty folder.

It returns if the attack was survived and raises otherwise, whatever it raises; `LackingError`, if something is not
installed.
"""

import copy
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

import runtime.engine.ort  # noqa: F401  # so that a case does not pay for the import
from runtime import Bundle, ClockSpec, InputError, SensedgeError, Store, Stream, Trust, Windower, open_engine
from runtime.bundle import Manifest
from runtime.files import npz, strict_json
from sdk.label import main as label
from sdk.stream import main as stream
from tests.attacks.test_filling import MOST_BYTES, SIGNAL, WINDOW, peak_of, stamps_of
from tests.attacks.test_names import ESCAPES, PLACES, PLAIN
from tests.attacks.test_stores import uses
from tests.commands.test_kill import SCRIPT
from tests.commands.tools import DATA, copy_bundle, environment
from tests.recorder_tools import everything, size_of
from tests.runtime.recorder import target as recorder_target

REPLAY, PATIENCE_S = DATA / "person_6.npz", 120.0
MOST_MB = 400  # of memory that a command may take, whatever it reads; it starts with about 90
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Random = random.Random


class LackingError(Exception):
    """What a kind needs is not installed."""


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Within, a thread does it again and again."""
    stopped, failed = threading.Event(), []

    def work() -> None:
        try:
            while not stopped.is_set():
                act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    if failed:
        raise failed[0]


def signed(folder: Path) -> tuple[Path, Trust]:
    try:
        from exporters.sign import create_keys, read_secret, sign_bundle
    except ImportError as error:
        raise LackingError(str(error)) from None
    secret, public = create_keys(folder / "key")
    path = copy_bundle(folder)
    sign_bundle(path, read_secret(secret))
    return path, Trust.of(public)


def swap(rng: Random, folder: Path) -> None:
    """A signed bundle and an unsigned one change places while it is opened under trust and run."""
    path, trust = signed(folder)
    other, away = shutil.copytree(path, folder / "other"), folder / "away"
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "walk"', '"name": "fake"'))
    name = rng.choice(("model.onnx", "golden.npz"))
    (other / name).write_bytes((other / name).read_bytes()[:-1] + b"x")
    whole = Bundle.open(path, trust=trust)
    windows = whole.golden().windows
    logits = open_engine(whole).run(windows)

    def exchange() -> None:
        for source, to in ((path, away), (other, path), (path, other), (away, path)):
            os.rename(source, to)
            time.sleep(rng.random() * 1e-3)

    with meanwhile(exchange):
        for _ in range(60):
            with suppress(SensedgeError):
                bundle = Bundle.open(path, trust=trust)
                assert bundle.manifest == whole.manifest
                assert (open_engine(bundle).run(windows) == logits).all()


def current(rng: Random, folder: Path) -> None:
    """Versions are renamed, emptied and made current while streams are opened."""
    path = copy_bundle(folder)
    base = Bundle.open(path)
    first = base.commit({"head.bias": base.tensor("head.bias") + 1}, {"parent": "base"})
    first.commit({"head.bias": base.tensor("head.bias") + 2}, {"parent": "0001"})
    personal, rows = path / "personal", np.zeros((128, 6), np.float32)
    known = [open_engine(Bundle.open(path, version)).logits(rows) for version in ("base", "0001", "0002")]

    def spoil() -> None:
        way = rng.randrange(4)
        if way == 0:
            (personal / "new").write_text(rng.choice(("0001", "0002", "base", "0003", "", "../..", "\x1b[2J")))
            os.replace(personal / "new", personal / "current")
        elif way == 1:
            with suppress(FileNotFoundError):
                os.rename(personal / "0002", personal / "0009")
            os.rename(personal / "0009", personal / "0002")
        elif way == 2:
            os.rename(personal, path / "elsewhere")
            os.rename(path / "elsewhere", personal)
        else:
            record = personal / "0001" / "record.json"
            data = record.read_bytes()
            record.write_bytes(data[: rng.randrange(len(data))])
            record.write_bytes(data)
        time.sleep(rng.random() * 1e-3)

    with meanwhile(spoil):
        for _ in range(60):
            with suppress(SensedgeError):
                found = Stream(path).push(rows)[0].probabilities
                likely = [np.exp(one) / np.exp(one).sum() for one in map(np.array, known)]
                assert min(np.abs(one - np.array(found)).max() for one in likely) < 1e-4
            with suppress(SensedgeError):
                base.versions()


def storm_finetune(rng: Random, folder: Path) -> None:
    """kill -9 while a head is trained and committed: what is in use is whole, every version opens."""
    path, seen = copy_bundle(folder), set()
    command = [sys.executable, str(SCRIPT), "loop", "head", str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment()) as target:
        assert target.stdout.readline() == "ready\n"
        for _ in range(8):
            told(target, f"{rng.uniform(0, 1)}")
            assert target.stdout.readline() == "killed\n"
            bundle = Bundle.open(path)
            assert np.isfinite(open_engine(bundle).run(bundle.golden().windows)).all()
            for version in set(bundle.versions()) - seen:
                Bundle.open(path, version)
            seen |= set(bundle.versions())
        target.stdin.close()
        assert target.wait(PATIENCE_S) == 0


def told(target: "subprocess.Popen[str]", line: str) -> None:
    target.stdin.write(f"{line}\n")
    target.stdin.flush()


def storm_store(rng: Random, folder: Path) -> None:
    """kill -9 while a recorder writes: what was committed is there, in order, within the budget."""
    path, committed, pipe = folder / "me.db", -1, subprocess.PIPE
    command = [sys.executable, recorder_target.__file__, str(path), "1.0"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment()) as target:
        assert target.stdout.readline() == "ready\n"
        for _ in range(8):
            told(target, f"{rng.uniform(0, 0.6)}")
            said, killed = map(int, target.stdout.readline().split())
            assert killed
            committed = max(committed, said)
            assert size_of(path) <= 1e6
            numbers = everything(path)
            assert numbers == list(range(numbers[0], numbers[-1] + 1)) if numbers else committed < 0
            assert not numbers or numbers[-1] >= committed
        target.stdin.close()
        assert target.wait(PATIENCE_S) == 0


def storm_label(rng: Random, folder: Path) -> None:
    """kill -9 while marks are made and taken back: none is half there, and the store takes the next."""
    path = folder / "me.db"
    assert stream([str(DATA / "walk.bundle"), "--replay", str(REPLAY), "--json", "--record", str(path)]) == 0
    with Store(path) as store:
        begin_s, end_s = store.span_s
    for _ in range(6):
        child = os.fork()
        if not child:
            with Store(path) as store:
                for i in range(10**9):
                    at = begin_s + i * 7 % (end_s - begin_s - 20)
                    store.mark(at, at + 10, rng.choice(("walking", "sitting", None)), 0.0)
                    if i % 3 == 2:
                        store.undo()
        time.sleep(rng.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with Store(path) as store:
            assert all(span.start_s < span.end_s for span in store.spans())
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    ends = db.execute('SELECT start, "end" FROM marks').fetchall()
    assert all(end - start == 10_000_000 for start, end in ends)
    db.close()
    assert label([str(path), "list"]) == 0


def strange_line(rng: Random) -> bytes:
    """A line that a source may send: good, nearly good, or anything."""
    good = {"t": rng.random() * 1e3, **{f"{m}_{c}": rng.gauss(0, 9) for m in ("acc", "gyro") for c in "xyz"}}
    way = rng.randrange(8)
    if way == 0:
        return rng.randbytes(rng.choice((1, 80, 5000))).replace(b"\n", b" ")
    if way == 1:
        good[rng.choice(list(good))] = rng.choice((1e308, -1e39, "x", None, [], {}, True, 10**400, 3e38))
    elif way == 2:
        return json.dumps({"t": [0.0] * 50, "samples": [[1.0] * rng.choice((5, 6, 7))] * 50}).encode()
    elif way == 3:
        return b"[" * rng.choice((10, 20_000))
    elif way == 4:
        return b"1,2,3,4,5,6,7"[: rng.randrange(14)] * rng.choice((1, 1, 900))
    elif way == 5:
        good["t"] = rng.choice((1e18, -1e18, 1e300, 0, 9e15))
    return json.dumps(good).encode()


def flood_stdin(rng: Random, folder: Path) -> None:
    """Megabytes of strange lines, one without an end, at a command: it ends well, in bounded memory."""
    lines = b"\n".join(strange_line(rng) for _ in range(3000))
    command = [
        "sdk.stream",
        DATA / "walk.bundle",
        "--source",
        "stdin",
        "--sink",
        "jsonl:out.jsonl",
        "--record",
        "me.db",
    ]
    with (folder / "lines").open("wb") as file:
        for _ in range(rng.choice((1, 4))):
            file.write(lines + b"\n")
        file.write(b"x" * rng.choice((0, 20_000_000)))
    with (folder / "lines").open("rb") as file:
        ended_well([*command, "--record", "me.db"], folder, stdin=file, codes=(0, 2))
    for line in (folder / "out.jsonl").read_text().splitlines() if (folder / "out.jsonl").exists() else ():
        strict_json.loads(line)


def flood_file(rng: Random, folder: Path) -> None:
    """Recordings of strange lines, or that unpack to much: one line, in bounded memory."""
    path = folder / rng.choice(("me.csv", "me.npz"))
    if path.suffix == ".csv":
        names = ["t", "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
        strange = ("nan", "1e39", "-inf", "x", "", "1e308", '"', "\x1b[2J", "1" * 5000)
        rows = [[f"{i / 50}", *(f"{rng.gauss(0, 5)}" for _ in range(6))] for i in range(20_000)]
        for _ in range(rng.choice((0, 1, 300))):
            row = rng.choice(rows)
            row[rng.randrange(len(row))] = rng.choice(strange)
        path.write_text("\n".join([",".join(names), *map(",".join, rows)]))
    else:
        with np.load(REPLAY) as file:
            parts = dict(file)
        way = rng.randrange(4)
        if way == 0:
            parts["samples"] = np.zeros((40_000_000, 6), np.float32)
        elif way == 1:
            parts["samples"] = rng.choice((1e39, np.nan, np.inf)) * parts["samples"].astype(np.float64)
        elif way == 2 and "t" in parts:
            parts["t"] = parts["t"] * rng.choice((1e18, -1.0, 0.0))
        np.savez_compressed(path, **parts)
        if way == 3:
            data = bytearray(path.read_bytes())
            for _ in range(rng.choice((1, 30))):
                data[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(data)
    ended_well(["sdk.stream", DATA / "walk.bundle", "--replay", path, "--json"], folder, codes=(0, 2))


def ended_well(command: list[Any], folder: Path, codes: tuple[int, ...], **options: Any) -> None:
    """It ends with one of the codes, without a traceback, in so much memory."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, command)], cwd=folder, stdout=out, stderr=err, env=environment(), **options
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    words = (folder / "stderr").read_text(errors="replace")
    assert process.returncode in codes, (process.returncode, words[-2000:])
    assert "Traceback" not in words, words[-2000:]
    assert all(line.isprintable() for line in words.split("\n")), words[-2000:]
    assert usage.ru_maxrss / 1024 < MOST_MB, f"{usage.ru_maxrss / 1024:.0f} MB"


def refused_in_words(error: SensedgeError) -> None:
    assert str(error).isprintable(), ascii(str(error))


def text(rng: Random, folder: Path) -> None:
    """Strange text in every place of a manifest, and as a label: printable words, or a model that is as it says."""
    signs = "".join([*ESCAPES.values(), "walk é日🚶'\"\\%{}<>&/", "".join(map(chr, range(32))), "\u2066\u200d\ufeff"])
    for _ in range(300):
        manifest = copy.deepcopy(PLAIN)
        word = "".join(rng.choice(signs) if rng.random() < 0.8 else chr(rng.randrange(0xD800)) for _ in range(9))
        rng.choice(list(PLACES.values()))(manifest, word)
        try:
            found = Manifest.from_json(json.dumps(manifest))
        except SensedgeError as error:
            refused_in_words(error)
        else:
            names = [found.name, *found.labels, *(part.name for part in found.signal.modalities)]
            assert all(name.isprintable() for name in names), ascii(names)


def stamps(rng: Random, folder: Path) -> None:
    """Any clock and any stamps: nothing raises, nothing grows."""
    for _ in range(12):
        seconds = [rng.choice((0.0, 1e-9, 0.5, 20.0, 3600.0, 86400.0, 1e10, 1e18, 10 ** rng.uniform(-9, 18)))] * 4
        rng.shuffle(seconds)
        clock = ClockSpec(
            gap=rng.choice(("split", "hold", "mark")), gap_s=rng.choice((None, *seconds[:1])),
            longest_hold_s=seconds[1], least_real=rng.random(), reorder_s=seconds[2], back_s=seconds[3],
            stamps=rng.choice(("measured", "arrival")),
        )  # fmt: skip
        windower = Windower(SIGNAL, WINDOW, clock, rng.choice((None, 50.0, 200.0, 13.7)))
        t = stamps_of([rng.choice((-1.0, 1.0)) * 10 ** rng.uniform(-12, 18) for _ in range(rng.randrange(1, 20))])
        rows, counted = np.ones((len(t), 2), np.float32), []
        rows[rng.randrange(len(rows))] = rng.choice((np.nan, np.inf, 3e38))

        def feed(windower: Windower = windower, rows: Any = rows, t: Any = t, counted: list[int] = counted) -> None:
            pieces = [(rows[begin : begin + 50], t[begin : begin + 50]) for begin in range(0, len(t), 50)]
            counted += [sum(1 for _ in windower.take(*piece)) for piece in pieces]
            counted += [len(windower.flush("hold"))]

        assert peak_of(feed) < MOST_BYTES, clock
        assert windower.counters.windows == sum(counted), clock
        assert windower.counters.samples == len(t), clock


def damaged(rng: Random, data: bytes) -> bytes:
    """Some bytes are others, or gone, or twice there."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 3, 40))):
        at, way = rng.randrange(len(found) or 1), rng.randrange(4)
        if way == 0 and found:
            found[at] = rng.randrange(256)
        elif way == 1:
            del found[at : at + rng.randrange(64)]
        elif way == 2:
            found[at:at] = found[at : at + rng.randrange(64)]
        else:
            found[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"1e999", b"-1", b"9" * 20))
    return bytes(found)


def manifests(rng: Random, folder: Path) -> None:
    """Damaged files in a bundle: it is refused in printable words, or it runs."""
    path = copy_bundle(folder)
    base = Bundle.open(path)
    base.commit({"head.bias": base.tensor("head.bias") + 1}, {"parent": "base"})
    names = ["manifest.json"] * 8 + [
        *("weights.safetensors", "golden.npz", "model.onnx", "train/00.onnx", "personal/current"),
        *("personal/0001/record.json", "personal/0001/weights.safetensors"),
    ]
    for _ in range(60):
        name = rng.choice([one for one in names if (path / one).exists()])
        data = (path / name).read_bytes()
        (path / name).write_bytes(damaged(rng, data))
        try:
            Stream(path).push(np.zeros((200, 6), np.float32))
            base.versions()
        except SensedgeError as error:
            refused_in_words(error)
        (path / name).write_bytes(data)
    for _ in range(200):
        with suppress(SensedgeError):
            npz.read_stored(damaged(rng, (path / "golden.npz").read_bytes()), path)


def stores(rng: Random, folder: Path) -> None:
    """Damaged stores, whatever is done with them: an answer or our own error."""
    path = folder / "me.db"
    assert stream([str(DATA / "walk.bundle"), "--replay", str(REPLAY), "--json", "--record", str(path)]) == 0
    with Store(path) as store:
        store.mark(*store.span_s, "walking", 0.0)
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = DELETE")
    columns = {
        table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    }
    db.close()
    whole = path.read_bytes()
    for _ in range(25):
        path.write_bytes(damaged(rng, whole) if rng.random() < 0.5 else whole)
        if rng.random() < 0.6:
            table = rng.choice(list(columns))
            value = rng.choice(("'x'", "x'ff'", "NULL", "-1", "9e18", "1e400", "''", "9223372036854775807", "'[]'"))
            with suppress(sqlite3.Error):
                db = sqlite3.connect(path)
                column = rng.choice(columns[table])
                where = rng.choice(("", "WHERE rowid % 7 = 3"))
                db.execute(f'UPDATE "{table}" SET "{column}" = {value} {where}')
                db.commit()
            db.close()
        with suppress(InputError):
            uses(path)
        assert label([str(path), *rng.choice((["list"], ["list", "--json"], ["undo"]))]) in (0, 2)


def endings(rng: Random, folder: Path) -> None:
    """A signal at any moment: a stream ends with what was told also stored, and leaves no process."""
    url = f"synthetic?rate=50&seed={rng.randrange(99)}&jitter=0.001&gap_every=5&gap=1"
    words = ["sdk.stream", str(DATA / "walk.bundle"), "--source", url, "--record", "me.db", "--sink", "jsonl:out.jsonl"]
    with (folder / "stderr").open("wb") as err:
        process = subprocess.Popen([sys.executable, "-m", *words], cwd=folder, stderr=err, env=environment())
    out = folder / "out.jsonl"
    end_s = time.monotonic() + PATIENCE_S
    while not out.exists():  # before, the interpreter itself answers
        assert time.monotonic() < end_s
        time.sleep(0.01)
    time.sleep(rng.uniform(0.2, 5))
    n_signals = rng.choice((1, 1, 1, 2))
    for _ in range(n_signals):
        process.send_signal(rng.choice(SIGNALS))
        time.sleep(rng.uniform(0, 0.01))
    code, words = process.wait(PATIENCE_S), (folder / "stderr").read_text()
    late = n_signals > 1 and "written" in words  # the second came when all was done
    assert code in (0, 1) or (late and -code in SIGNALS), (code, words)
    assert "Traceback" not in words, words
    said = [strict_json.loads(line)["label"] for line in out.read_text().splitlines()]
    kept = []
    with suppress(InputError), Store(folder / "me.db") as store:
        kept = [prediction.label for prediction in store.predictions(0, 4e9)]
    assert kept == said or (code == 1 and said[: len(kept)] == kept), (code, said, kept)


def orphans(rng: Random, folder: Path) -> None:
    """kill -9 or a signal for the parent of a child that never ends: the child ends too, and its folder goes."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise LackingError(str(error)) from None
    from tests.attacks.graphs import endless, with_tail
    from tests.commands.test_children import below, lives

    path = with_tail(folder / "endless.bundle", endless())
    words = rng.choice(
        (["sdk.profile", path, "--windows", "20"], ["sdk.stream", path, "--replay", REPLAY, "--engine", "auto"])
    )
    process = subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=folder, env=environment())
    end_s = time.monotonic() + PATIENCE_S
    while not below(process.pid) and process.poll() is None:
        assert time.monotonic() < end_s
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 3))
    children = below(process.pid)
    process.send_signal(rng.choice((signal.SIGKILL, *SIGNALS)))
    process.wait(PATIENCE_S)
    end_s = time.monotonic() + PATIENCE_S
    while any(map(lives, children)):
        assert time.monotonic() < end_s, "a child goes on"
        time.sleep(0.02)


KINDS: dict[str, Callable[[Random, Path], None]] = {
    "swap": swap,
    "current": current,
    "storm-finetune": storm_finetune,
    "storm-store": storm_store,
    "storm-label": storm_label,
    "flood-stdin": flood_stdin,
    "flood-file": flood_file,
    "text": text,
    "stamps": stamps,
    "manifests": manifests,
    "stores": stores,
    "endings": endings,
    "orphans": orphans,
}
