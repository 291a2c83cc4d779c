"""IIO: scan formats against an independent packer, devices as files, a FIFO in the place of the character device."""

import errno
import math
import os
import re
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import InputError, MissingError, Modality, Signal, Windower, WindowSpec
from runtime.sources import IIO, Backoff, open_source
from runtime.sources.iio_scan import ScanLayout, ScanType
from tests.board_trees import write_tree
from tests.runtime.sources.iio_trees import device, lsm6ds3, mpu6050, pack_mpu6050
from tests.waiting import PATIENCE_S, until

ACC = Modality("acc", "m/s^2", ("x", "y", "z"), 50.0)
GYRO = Modality("gyro", "rad/s", ("x", "y", "z"), 50.0)
SIGNAL = Signal((ACC, GYRO))
QUICK = Backoff(0.01, 0.02)


# ---- scans


@pytest.mark.parametrize(
    ("text", "stored", "value"),
    [
        ("le:s16/16>>0", b"\xfe\xff", -2),
        ("be:s16/16>>0", b"\xff\xfe", -2),
        ("be:u12/16>>4", b"\xab\xcf", 0xABC),
        ("le:s12/16>>4", b"\xf0\xff", -1),
        ("le:s12/16>>4", b"\x0f\x80", -2048),  # what lies below the shift means nothing
        ("be:s24/32>>8", b"\xff\xff\xfe\x77", -2),
        ("le:u8/8>>0", b"\xff", 255),
        ("le:s64/64>>0", struct.pack("<q", -(2**63)), -(2**63)),
        ("be:u64/64>>0", b"\xff" * 8, 2**64 - 1),
        ("le:s16/16", b"\x01\x00", 1),
    ],
)
def test_one_element_by_hand(text, stored, value):
    assert ScanLayout([("a", ScanType.parse(text))]).decode(stored)["a"].tolist() == [[value]]


@pytest.mark.parametrize(
    "text", ["", "s16/16", "le:s16/16>>1", "le:s0/16>>0", "le:s20/24>>0", "le:f32/32>>0", "me:s8/8>>0"]
)
def test_types_that_are_none(text):
    with pytest.raises(
        InputError, match=re.escape(f"in_x_type: expected a scan type such as le:s16/16>>0, got {text!r}")
    ):
        ScanType.parse(text, "in_x_type")


def test_the_layouts_of_the_kernel():
    s16, u32, s64 = (ScanType.parse(text) for text in ("be:s16/16>>0", "le:u32/32>>0", "le:s64/64>>0"))
    assert ScanLayout([("a", s16)] * 1).scan_bytes == 2
    assert ScanLayout([("a", s16), ("b", u32), ("c", s16)]).scan_bytes == 12  # 2, 2 of padding, 4, 2, 2 of padding
    assert ScanLayout([(str(i), s16) for i in range(3)] + [("t", s64)]).scan_bytes == 16
    assert ScanLayout([(str(i), s16) for i in range(6)] + [("t", s64)]).scan_bytes == 24
    quaternion = ScanType.parse("le:s32/32X4>>0")
    layout = ScanLayout([("q", quaternion)])
    assert layout.decode(struct.pack("<4i", 1, -2, 3, -4))["q"].tolist() == [[1, -2, 3, -4]]


CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


@st.composite
def scans(draw):
    """Elements with their values in some scans, and the bytes, packed number by number."""
    elements = []
    for i in range(draw(st.integers(1, 6))):
        storage = draw(st.sampled_from(sorted(CODES)))
        shift = draw(st.integers(0, storage - 1))
        bits = draw(st.integers(1, storage - shift))
        end, signed = draw(st.sampled_from(["le", "be"])), draw(st.booleans())
        text = f"{end}:{'s' if signed else 'u'}{bits}/{storage}>>{shift}"
        elements.append((f"e{i}", text, end, signed, bits, storage, shift))
    n = draw(st.integers(1, 4))
    values = {
        name: draw(
            st.lists(
                st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1),
                min_size=n,
                max_size=n,
            )
        )
        for name, _, _, signed, bits, _, _ in elements
    }
    noise = draw(st.integers(0, 2**64 - 1))  # in the bits that mean nothing
    largest = max(storage // 8 for *_, storage, _ in elements)
    data = b""
    for k in range(n):
        scan = b""
        for name, _, end, _, bits, storage, shift in elements:
            while len(scan) % (storage // 8):
                scan += b"\xaa"
            meant = ((1 << bits) - 1) << shift
            word = ((values[name][k] << shift) & meant) | (noise & ~meant & ((1 << storage) - 1))
            scan += struct.pack(("<" if end == "le" else ">") + CODES[storage], word)
        while len(scan) % largest:
            scan += b"\xaa"
        data += scan
    return [(name, text) for name, text, *_ in elements], values, data


@settings(max_examples=50, deadline=None)
@given(scans())
def test_any_layout_comes_back(made):
    elements, values, data = made
    layout = ScanLayout([(name, ScanType.parse(text)) for name, text in elements])
    decoded = layout.decode(data)
    assert {name: column[:, 0].tolist() for name, column in decoded.items()} == values


# ---- a device: files, and a FIFO for the node


@pytest.fixture
def board(tmp_path):
    """board(files): a tree with these devices, whose nodes are FIFOs; the folder with sys/ and dev/."""

    def make(*trees):
        for tree in trees:
            write_tree(tmp_path / "sys", tree)
        (tmp_path / "dev").mkdir()
        for path in (tmp_path / "sys").glob("iio:device*"):
            os.mkfifo(tmp_path / "dev" / path.name)
        return tmp_path

    return make


def opened(board, signal=SIGNAL, name="mpu6050", **options):
    return IIO(name, signal, root=board / "sys", dev=board / "dev", **{"backoff": QUICK, **options})


def taken(source, n):
    """The next n batches' samples, as one."""
    batches = []
    for batch in source:
        batches.append(batch)
        if sum(len(b.samples) for b in batches) >= n:
            break
    return batches


def text(board, path):
    return (board / "sys" / path).read_text().strip()


def feed(board, data, node="iio:device0", piece=None):
    """Write into the node as the kernel would, once somebody reads it."""

    def work():
        with (board / "dev" / node).open("wb", buffering=0) as pipe:
            for begin in range(0, len(data), piece or len(data)):
                pipe.write(data[begin : begin + (piece or len(data))])
                time.sleep(0.002)
            done.wait(PATIENCE_S)

    done = threading.Event()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return done, thread


RAW = np.random.default_rng(0).integers(-32768, 32767, (40, 6))
STAMPS = 1_700_000_000_000_000_000 + np.arange(40) * 20_000_000
DATA = b"".join(pack_mpu6050(row[:3], row[3:], stamp) for row, stamp in zip(RAW.tolist(), STAMPS.tolist(), strict=True))


@pytest.mark.parametrize("piece", [None, 24, 7])
def test_an_mpu6050(board, piece):
    board = board(mpu6050())
    with opened(board) as source:
        assert text(board, "iio:device0/buffer/enable") == "1"
        enabled = {
            p.name for p in (board / "sys/iio:device0/scan_elements").glob("*_en") if p.read_text().strip() == "1"
        }
        assert enabled == {f"in_{kind}_{axis}_en" for kind in ("accel", "anglvel") for axis in "xyz"} | {
            "in_timestamp_en"
        }
        assert (text(board, "iio:device0/buffer/length"), text(board, "iio:device0/buffer/watermark")) == ("512", "8")
        assert (source.rate_hz, source.stamps) == (50.0, "measured")
        done, thread = feed(board, DATA, piece=piece)
        batches = taken(source, 40)
    done.set()
    thread.join()
    samples, t = (np.concatenate([batch[i] for batch in batches]) for i in (0, 1))
    expected = RAW * ([0.000598] * 3 + [0.001064724] * 3)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, expected, rtol=1e-6)
    np.testing.assert_allclose(t, STAMPS / 1e9, rtol=0, atol=1e-6)
    assert all(batch.modality is None for batch in batches)
    assert text(board, "iio:device0/buffer/enable") == "0"


def test_only_what_the_bundle_wants_is_switched_on(board):
    board = board(mpu6050(**{"scan_elements/in_temp_en": 1}))
    gyro = Signal((Modality("g", "deg/s", ("z", "x"), 100.0),))
    data = b"".join(
        struct.pack(">2h", x, z) + bytes(4) + struct.pack("<q", i) for i, (x, z) in enumerate([(1, 2), (3, 4)])
    )
    with opened(board, gyro) as source:
        assert text(board, "iio:device0/scan_elements/in_temp_en") == "0"
        assert text(board, "iio:device0/sampling_frequency") == "100"
        done, thread = feed(board, data)
        batches = taken(source, 2)
    done.set()
    thread.join()
    samples = np.concatenate([batch.samples for batch in batches])  # scans lie in the order of x, z
    np.testing.assert_allclose(samples, np.array([[2, 1], [4, 3]]) * math.degrees(0.001064724), rtol=1e-6)


def test_offset_scale_and_microtesla(board):
    elements = [("in_magn_x", "le:s16/16>>0"), ("in_magn_y", "le:s16/16>>0")]
    facts = {
        "in_magn_x_scale": "0.001",
        "in_magn_scale": "0.5",
        "in_magn_y_offset": 10,
        "in_magn_sampling_frequency": 20,
    }
    board = board(device(0, "ak8975", elements, facts, trigger=None))
    signal = Signal((Modality("mag", "uT", ("x", "y"), 20.0),))
    with opened(board, signal, "ak8975") as source:
        assert (source.stamps, source.rate_hz) == ("arrival", 20.0)  # it has no time stamps
        before = time.time()
        done, thread = feed(board, struct.pack("<2h", 300, -2))
        (batch,) = taken(source, 1)
    done.set()
    thread.join()
    np.testing.assert_allclose(batch.samples, [[300 * 0.001 * 100, (-2 + 10) * 0.5 * 100]])
    assert before - 0.01 < batch.t[0] < time.time()


def test_two_devices_have_two_clocks(board):
    board = board(lsm6ds3("accel", 0), lsm6ds3("anglvel", 1))
    with opened(board, name="lsm6ds3_accel,lsm6ds3_gyro") as source:
        assert source.rate_hz == 52.0  # the next above 50
        packed = struct.pack("<3h2xq", 1, 2, 3, 10**9)
        feeds = [feed(board, packed), feed(board, packed, "iio:device1")]
        batches = taken(source, 2)
    for done, thread in feeds:
        done.set()
        thread.join()
    by_name = {batch.modality: batch for batch in batches}
    assert by_name.keys() == {"acc", "gyro"}
    np.testing.assert_allclose(by_name["gyro"].samples, [[0.000152716, 2 * 0.000152716, 3 * 0.000152716]], rtol=1e-6)
    assert by_name["acc"].t.tolist() == [1.0]


def test_one_device_for_modalities_of_two_rates(board):
    board = board(mpu6050())
    uneven = Signal((ACC, Modality("gyro", "rad/s", ("x", "y", "z"), 25.0)))
    windower = Windower(uneven, WindowSpec(20, 20), source_hz=50)
    with opened(board, uneven) as source:
        done, thread = feed(board, DATA)
        windows = []
        for batch in source:
            windows += windower.push(*batch)
            if windows:
                break
    done.set()
    thread.join()
    assert windows[0].samples.shape == (20 * 3 + 10 * 3,)
    np.testing.assert_allclose(windows[0].samples[:60].reshape(20, 3), RAW[:20, :3] * 0.000598, rtol=1e-6)


def test_a_device_that_goes_away_comes_back(board):
    board = board(mpu6050())
    with opened(board) as source:
        done, thread = feed(board, DATA[: 24 * 10])
        first = taken(source, 10)
        done.set()
        thread.join()  # the node is at its end
        until(lambda: source.counters.reconnects)
        done, thread = feed(board, DATA[24 * 20 :])
        second = taken(source, 20)
    done.set()
    thread.join()
    assert source.counters.lost >= 1
    t = np.concatenate([batch.t for batch in first + second])
    np.testing.assert_allclose(t, np.delete(STAMPS, slice(10, 20)) / 1e9, rtol=0, atol=1e-6)


def test_an_event_without_data_is_no_death(board, monkeypatch):
    """A read that does not wait may find nothing where poll saw something."""
    board, read, blocked = board(mpu6050()), os.read, []

    def sometimes(file, n):
        if len(blocked) < 3:
            blocked.append(file)
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return read(file, n)

    with opened(board) as source:
        monkeypatch.setattr(os, "read", sometimes)
        done, thread = feed(board, DATA)
        assert sum(len(batch.samples) for batch in taken(source, 40)) == 40
        assert source.counters.lost == 0
    done.set()
    thread.join()


def test_a_removed_device_of_which_poll_says_nothing(board, monkeypatch):
    board, read = board(mpu6050()), os.read
    gone = threading.Event()

    def removed(file, n):
        if gone.is_set():
            gone.clear()
            raise OSError(errno.ENODEV, "No such device")
        return read(file, n)

    monkeypatch.setattr(os, "read", removed)
    with opened(board) as source:
        gone.set()
        until(lambda: source.counters.reconnects)
    assert (source.counters.lost, source.counters.reconnects) == (1, 1)


def test_polling_reads_one_row_per_period_with_the_hosts_time(board):
    board = board(mpu6050())
    with opened(board, poll=True, rate_hz=100.0) as source:
        assert text(board, "iio:device0/buffer/enable") == "0"
        before = time.time()
        batches = taken(source, 10)
        after = time.time()
    samples, t = (np.concatenate([batch[i] for batch in batches]) for i in (0, 1))
    np.testing.assert_allclose(samples[0], [0, 0.000598, 0.001196, 0.1064724, 0.107537124, 0.108601848], rtol=1e-6)
    assert before - 0.1 <= t[0] < t[-1] <= after
    assert (np.diff(t) > 0).all()
    assert t[-1] - t[0] > 0.08  # no faster than asked for


def test_a_device_without_a_buffer_is_polled(board):
    facts = {f"in_accel_{axis}_raw": 7 for axis in "xyz"} | {"in_accel_scale": 2, "in_accel_offset": -4}
    tree = {f"iio:device0/{name}": value for name, value in (facts | {"name": "mma7660"}).items()}
    board = board(tree)
    with opened(board, Signal((ACC,)), "iio:device0") as source:
        (batch,) = taken(source, 1)
    assert batch.samples.tolist() == [[6, 6, 6]]


def test_the_trigger(board):
    board = board(
        mpu6050(**{"trigger/current_trigger": ""}) | {"trigger1/name": "sensedge", "trigger1/sampling_frequency": 10}
    )
    opened(board).__enter__().__exit__()
    assert text(board, "iio:device0/trigger/current_trigger") == "mpu6050-dev0"
    opened(board, trigger="sensedge", rate_hz=25).__enter__().__exit__()
    assert text(board, "iio:device0/trigger/current_trigger") == "sensedge"
    assert text(board, "trigger1/sampling_frequency") == "25"
    with pytest.raises(
        MissingError, match=r"expected a trigger none, got mpu6050-dev0, sensedge. Run: sudo modprobe iio-trig-h"
    ):
        opened(board, trigger="none").__enter__()


# ---- what is not there


def test_two_devices_of_one_name(board):
    board = board(mpu6050(0), mpu6050(1))
    with pytest.raises(InputError, match="one device of that name, got iio:device0 and iio:device1"):
        opened(board).__enter__()
    opened(board, name="iio:device1").__enter__().__exit__()


def test_no_such_device(board):
    board = board(mpu6050())
    with pytest.raises(
        MissingError, match=r"bmi160: expected the name of an IIO device, got iio:device0 mpu6050. Load its"
    ):
        opened(board, name="bmi160").__enter__()
    with pytest.raises(MissingError, match=r"got no device at all. .*dtoverlay=mpu6050"):
        IIO("mpu6050", SIGNAL, root=board / "nowhere").__enter__()


def test_no_such_channel(board):
    board = board(lsm6ds3("accel", 0))
    with pytest.raises(
        MissingError, match="expected the channels in_anglvel_x, in_anglvel_y, in_anglvel_z, got a device without"
    ):
        opened(board, name="lsm6ds3_accel").__enter__()
    assert text(board, "iio:device0/buffer0/enable") == "0"


def test_units_that_iio_does_not_have():
    heart = Signal((Modality("heart", "bpm", ("rate",), 1.0),))
    with pytest.raises(InputError, match="modality heart: expected one modality for each unit of m/s"):
        IIO("mpu6050", heart).__enter__()


def test_a_type_that_cannot_be_read_leaves_the_buffer_off(board):
    board = board(mpu6050(**{"scan_elements/in_accel_y_type": "le:f32/32>>0"}))
    with pytest.raises(InputError, match="in_accel_y_type: expected a scan type such as"):
        opened(board).__enter__()
    assert text(board, "iio:device0/buffer/enable") == "0"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (13, r"Permission denied. Run it once as root, or: echo 'SUBSYSTEM==\"iio\""),
        (16, "busy. End the other program"),
    ],
)
def test_a_node_that_refuses(board, monkeypatch, number, told):
    board = board(mpu6050())
    really = os.open

    def refuse(path, *rest, **more):
        if str(path).endswith("dev/iio:device0"):
            raise OSError(number, os.strerror(number), str(path))
        return really(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MissingError, match=told) as caught:
        opened(board).__enter__()
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_missing_node(board):
    board = board(mpu6050())
    (board / "dev/iio:device0").unlink()
    with pytest.raises(MissingError, match=r"iio:device0: expected a file that can be read, got No such file.*dmesg"):
        opened(board).__enter__()


def test_by_url(board):
    board = board(mpu6050())
    url = f"iio:mpu6050?rate=100&watermark=4&root={board}/sys&dev={board}/dev"
    with open_source(url, SIGNAL) as source:
        assert source.rate_hz == 100
        assert text(board, "iio:device0/buffer/watermark") == "4"
    with pytest.raises(
        InputError, match="iio: expected the options axes, stamps, rate, poll, trigger, watermark, root, dev, got speed"
    ):
        open_source("iio:mpu6050?speed=1", SIGNAL)
    with pytest.raises(InputError, match="iio: rate: expected a number above 0, got fast"):
        open_source("iio:mpu6050?rate=fast", SIGNAL)
