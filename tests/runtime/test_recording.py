"""Recordings in files: what goes in comes out, and what is wrong is named."""

import io
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Modality, Signal, WindowSpec
from runtime.window import cut_windows

SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), 50.0)))
CHANNELS = ("acc_x", "acc_y", "gyro_z")


def recording(n=6, **changes):
    samples = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    return Recording(**{"samples": samples, "channels": CHANNELS, "rate_hz": 50.0, "name": "walk", **changes})


def npz(path, **arrays):
    np.savez(path, **{"samples": np.zeros((4, 3), np.float32), "channels": CHANNELS, "rate_hz": 50.0, **arrays})
    return path


def csv(path, *lines, end="\n"):
    path.write_bytes((end.join(lines) + end).encode())
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"t": 1.7e9 + np.arange(6) / 50},
        {"labels": np.array([0, 0, 1, UNLABELLED, 1, 1], np.int16), "label_names": ("stehen", "gehen é")},
        {"subject": "7", "rate_hz": 1 / 3},
        {"samples": np.zeros((0, 3), np.float32)},
    ],
)
def test_npz_round_trip(tmp_path, changes):
    before = recording(**changes)
    before.save(tmp_path / "a.npz")
    after = Recording.load(tmp_path / "a.npz")
    assert after.name == str(tmp_path / "a.npz")
    assert (after.channels, after.rate_hz, after.subject) == (before.channels, before.rate_hz, before.subject)
    assert after.label_names == before.label_names
    for name in ("samples", "t", "labels"):
        old, new = getattr(before, name), getattr(after, name)
        assert (new is None) == (old is None)
        if old is not None:
            assert new.dtype == old.dtype
            assert np.array_equal(new, old)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]  # no temporary file is left


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv(tmp_path, end):
    lines = [
        "label, t,gyro_z,comment_number,acc_x,acc_y",
        "walk,10.00,0.1,7,1,-2e-3",
        ",10.02,0.2,7,3,4",
        "sit,10.04,0.3,7,5,6",
    ]
    read = Recording.load(csv(tmp_path / "a.CSV", *lines, end=end))
    assert read.channels == ("gyro_z", "comment_number", "acc_x", "acc_y")
    assert read.samples.dtype == np.float32
    assert read.samples.tolist() == np.array([[0.1, 7, 1, -2e-3], [0.2, 7, 3, 4], [0.3, 7, 5, 6]], np.float32).tolist()
    assert read.t.tolist() == [10.0, 10.02, 10.04]
    assert read.rate_hz == pytest.approx(50)
    assert read.label_names == ("sit", "walk")
    assert read.labels.tolist() == [1, UNLABELLED, 0]
    assert read.fit(SIGNAL).samples.tolist() == read.samples[:, [2, 3, 0]].tolist()


def test_a_csv_without_times_or_labels_has_the_rate_that_is_asked_for(tmp_path):
    path = csv(tmp_path / "a.csv", "acc_x,acc_y,gyro_z", "1,2,3")
    read = Recording.load(path, 25.0)
    assert (read.rate_hz, read.t, read.labels) == (25.0, None, None)
    with pytest.raises(InputError, match=r"a.csv: expected a rate_hz or rising times t, got neither. Add one of them."):
        Recording.load(path)


def test_a_csv_of_a_spreadsheet_starts_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfacc_x,acc_y,gyro_z\n1,2,3\n")
    assert Recording.load(path, 50).channels == CHANNELS


@settings(max_examples=50)
@given(order=st.permutations([*CHANNELS, "mag_x", "baro"]))
def test_columns_are_matched_by_name(order):
    samples = np.arange(20, dtype=np.float32).reshape(4, 5)
    fitted = recording(samples=samples, channels=tuple(order)).fit(SIGNAL)
    assert fitted.channels == CHANNELS
    for column, name in zip(fitted.samples.T, CHANNELS, strict=True):
        assert column.tolist() == samples[:, order.index(name)].tolist()


def test_fit_leaves_the_recording_as_it_was():
    before = recording()
    kept = before.samples.copy()
    before.fit(SIGNAL).samples[:] = 0
    assert np.array_equal(before.samples, kept)


def test_duration():
    assert recording(100).duration_s == 2.0
    assert recording(3, t=np.array([5, 5.02, 5.5])).duration_s == pytest.approx(0.52)


def test_fit_needs_every_channel():
    with pytest.raises(
        InputError,
        match=r"walk: expected the channels acc_x, acc_y, gyro_z, got 2 channels \(acc_x, gyro_z\) without acc_y\. N",
    ):
        recording(samples=np.zeros((4, 2), np.float32), channels=("acc_x", "gyro_z")).fit(SIGNAL)


NAN_AT_2 = np.ones((6, 3), np.float32)
NAN_AT_2[2, 1] = np.nan
STEPS = np.arange(6.0)


@pytest.mark.parametrize(
    ("changes", "n_windows"),  # of two rows each, one after the other
    [
        ({}, 3),
        ({"samples": NAN_AT_2}, 2),  # 0 1 | 3 4 (5)
        ({"t": np.where(STEPS == 2, np.nan, STEPS) / 50}, 2),
        ({"t": np.where(STEPS == 5, np.inf, STEPS) / 50}, 2),  # 0 1, 2 3 (4)
        ({"t": STEPS / -50}, 0),  # each late: one row
        ({"t": np.zeros(6)}, 0),
        ({"rate_hz": 100.0}, 1),  # 0, 20, 40 ms
        ({"rate_hz": 25.0}, 5),  # 0 to 200 ms
        ({"rate_hz": 25.0, "t": STEPS / 25}, 5),
        ({"t": STEPS * 1.04 / 50}, 3),  # 4 % slow: six rows in 104 ms
    ],
)
def test_cutting_takes_any_clock_and_leaves_out_what_is_no_number(changes, n_windows):
    windows = cut_windows(recording(**changes), SIGNAL, WindowSpec(2, 2))
    assert len(windows) == n_windows
    assert all(np.isfinite(window.samples).all() for window in windows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"t": np.zeros(5)},
            r"walk: t: expected one value per sample, 6, got shape \(5,\)\. Give every sample its own",
        ),
        ({"labels": np.zeros((6, 1), np.int16)}, r"walk: labels: expected one value per sample, 6, got shape \(6, 1\)"),
        ({"channels": ("a", "b")}, r"walk: expected samples of shape \(n, 2\), a column for each of a, b, got shape"),
        ({"samples": np.zeros(6, np.float32)}, r"walk: expected samples of shape \(n, 3\)"),
        ({"samples": np.zeros((), np.float32)}, r"walk: expected samples of shape \(n, 3\).*got shape \(\)"),
        (
            {"channels": ("acc_x", "acc_y", "acc_x")},
            "walk: expected channel names that differ, got acc_x, acc_y, acc_x",
        ),
        ({"rate_hz": 0.0}, "walk: rate_hz: expected a number above 0, got 0"),
        ({"rate_hz": float("nan")}, "walk: rate_hz: expected a number above 0, got nan"),
        (
            {"labels": np.array([0, 0, 0, 0, 0, 2], np.int16), "label_names": ("a", "b")},
            r"walk: labels: expected numbers from -1 to 1, got 0 to 2\.",
        ),
        ({"labels": np.full(6, -2, np.int16)}, "walk: labels: expected numbers from -1 to -1, got -2 to -2"),
    ],
)
def test_what_a_recording_refuses(changes, message):
    with pytest.raises(InputError, match=message):
        recording(**changes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["acc_x,acc_y,gyro_z", "1,2,3,4"],
            "a.csv: expected a header with the names of the columns, and rows, got 2 lines that are none, "
            "the first 'acc_x,acc_y,gyro_z'",
        ),
        (["acc_x,acc_y,gyro_z", "1,2,three"], "got 2 channels .acc_x, acc_y. without gyro_z"),
        (["acc_x,acc_y,acc_x", "1,2,3"], "a.csv: expected column names that differ, got acc_x, acc_y, acc_x"),
        (["t,acc_x,t", "1,2,3"], "a.csv: expected column names that differ, got t, acc_x, t"),
        (["label,acc_x,label", "a,2,b"], "a.csv: expected column names that differ, got label, acc_x, label"),
        ([""], "a.csv: expected a header with the names of the columns, and rows, got none"),
        (["acc_x,acc_y,gyro_z"], "and rows, got 1 lines that are none, the first 'acc_x,acc_y,gyro_z'"),
        (["t,acc_x", "3,1", "3,1", "3,1"], "a.csv: expected a rate_hz or rising times t, got neither"),
        (["t,acc_x", "1,1"], "a.csv: expected a rate_hz or rising times t, got neither"),
        (["acc_x\x00,acc_y", "1,2"], "a.csv"),
        (
            ["acc_x,label", *(f"1,{i}" for i in range(40_000))],
            "a.csv: expected at most 32767 different labels, got 3",
        ),
    ],
)
def test_what_is_wrong_in_a_csv(tmp_path, lines, message):
    rate_hz = None if lines[0].startswith("t,") else 50
    with pytest.raises(InputError, match=message):
        Recording.load(csv(tmp_path / "a.csv", *lines), rate_hz).fit(SIGNAL)


@pytest.mark.parametrize("word", ["nan", "inf", "-1e400", "1e39"])
def test_a_number_in_a_csv_that_is_not_finite_is_a_missing_sample(tmp_path, word):
    path = csv(tmp_path / "a.csv", "acc_x,acc_y,gyro_z", "1,2,3", "1,2,4", f"1,2,{word}", "1,2,5", "1,2,6")
    windows = cut_windows(Recording.load(path, 50), SIGNAL, WindowSpec(2, 1))
    assert [window.samples[:, 2].tolist() for window in windows] == [[3, 4], [5, 6]]


def test_a_csv_that_is_empty_or_not_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"a.csv: expected a header with the names of the columns, and rows, got none"):
        Recording.load(tmp_path / "a.csv", 50)
    (tmp_path / "a.csv").write_bytes("acc_x,größe\n1,2\n".encode("latin-1"))
    assert Recording.load(tmp_path / "a.csv", 50).channels[0] == "acc_x"  # a name that nobody wants may be in any code
    for code in ("utf-16", "utf-16-be", "utf-32"):
        (tmp_path / "a.csv").write_bytes("acc_x,acc_y\n1,2\n".encode(code))
        with pytest.raises(InputError, match=r"a.csv: expected text in UTF-8, got UTF-16 or UTF-32. Save it as UTF-8"):
            Recording.load(tmp_path / "a.csv", 50)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["4,5"], r"'4,5' .2 columns, the header has 3"),
        (["4,5,6,7"], "'4,5,6,7' .4 columns, the header has 3"),
        (['"4', '",5,6'], "'.4"),  # a quoted line break
        (["4,5,six"], "'4,5,six' .not numbers: 'six'"),
        (["4,5," + "9" * (1 << 20)], "longer than 1048576 bytes"),
    ],
)
def test_a_line_that_is_none_is_a_missing_sample_and_told(tmp_path, caplog, lines, why):
    path = csv(tmp_path / "a.csv", "acc_x,acc_y,gyro_z", "1,2,3", *lines, "", "7,8,9")
    samples = Recording.load(path, 50).samples
    assert samples[[0, -1]].tolist() == [[1, 2, 3], [7, 8, 9]]
    assert np.isnan(samples[1:-1]).all()
    assert len(samples) == 2 + len(lines)
    (told,) = [record.getMessage() for record in caplog.records]
    assert re.search(f"a.csv: {len(lines)} lines left out, the first: .*{why}", told)


def test_a_line_that_is_none_leaves_no_row_where_others_have_times(tmp_path):
    path = csv(tmp_path / "a.csv", "t,acc_x,acc_y,gyro_z", "0,1,2,3", "0.02,1,2", "0.04,7,8,9")
    assert Recording.load(path).t.tolist() == [0, 0.04]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("walk.txt", r"walk.txt: expected a .csv or .npz file, got .txt. Convert it first."),
        ("walk", "walk: expected a .csv or .npz file, got no suffix"),
        ("none.npz", "none.npz: expected a file that can be read, got No such file or directory. Check the path."),
        ("none.csv", "none.csv: expected a file that can be read, got No such file or directory"),
        ("folder.npz", "folder.npz: expected a file that can be read, got Is a directory"),
        ("folder.csv", "folder.csv: expected a file that can be read, got Is a directory"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, message):
    for folder in ("folder.npz", "folder.csv"):
        (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match=message):
        Recording.load(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"samples": np.array([["1"] * 3] * 4)},
            r"samples: expected real numbers of shape \(n, n_channels\), got dtype <U1, ",
        ),
        (
            {"samples": np.zeros((4, 3), complex)},
            r"samples: expected real numbers.*dtype complex128, shape \(4, 3\)\. Save ",
        ),
        ({"samples": np.zeros((4, 3), bool)}, "samples: expected real numbers.*dtype bool"),
        ({"samples": np.float32(3)}, r"samples: expected real numbers.*got dtype float32, shape \(\)"),
        (
            {"samples": np.zeros((4, 2))},
            r"expected samples of shape \(n, 3\), a column for each of acc_x, acc_y, gyro_z",
        ),
        ({"channels": "acc_x"}, r"channels: expected a list of names, got dtype <U5, shape \(\)"),
        (
            {"channels": [["acc_x", "acc_y", "gyro_z"]]},
            r"channels: expected a list of names, got dtype <U6, shape \(1, 3\)",
        ),
        ({"channels": ["acc_x", "acc_y", "acc_x"]}, "expected channel names that differ, got acc_x, acc_y, acc_x"),
        ({"rate_hz": "fast"}, r"rate_hz: expected one number, got dtype <U4, shape \(\)"),
        ({"rate_hz": [50.0, 50.0]}, r"rate_hz: expected one number, got dtype float64, shape \(2,\)"),
        ({"rate_hz": -50.0}, "rate_hz: expected a number above 0, got -50"),
        ({"t": ["a"] * 4}, r"t: expected real numbers of shape \(n,\), got dtype <U1"),
        ({"t": np.zeros(4, "M8[s]")}, r"t: expected real numbers of shape \(n,\), got dtype datetime64\[s\]"),
        ({"t": [0.0, 0.02]}, r"t: expected one value per sample, 4, got shape \(2,\)"),
        ({"labels": ["a"] * 4, "label_names": ["a"]}, r"labels: expected whole numbers of shape \(n,\), got dtype <U1"),
        ({"labels": [0, 0, 0, 65536], "label_names": ["a"]}, "labels: expected numbers from -1 to 0, got 0 to 65536"),
        ({"labels": [0, 0, 0, np.nan], "label_names": ["a"]}, "labels: expected whole numbers.*got dtype float64"),
        ({"labels": [0] * 4, "label_names": "a"}, r"label_names: expected a list of names, got dtype <U1, shape \(\)"),
        ({"labels": [0] * 4}, "labels: expected numbers from -1 to -1, got 0 to 0"),
    ],
)
def test_what_is_wrong_in_an_npz(tmp_path, arrays, message):
    with pytest.raises(InputError, match=f"a.npz: {message}"):
        Recording.load(npz(tmp_path / "a.npz", **arrays))


def test_an_npz_without_its_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", samples=np.zeros((4, 3)))
    with pytest.raises(
        InputError, match=r"a.npz: expected the arrays samples and channels, got samples. Add channels."
    ):
        Recording.load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"got none. Add samples and channels."):
        Recording.load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", samples=np.zeros((4, 3)), channels=CHANNELS)
    with pytest.raises(InputError, match=r"a.npz: expected a rate_hz or rising times t, got neither"):
        Recording.load(tmp_path / "a.npz")
    assert Recording.load(tmp_path / "a.npz", 20).rate_hz == 20


class Bomb:
    went_off = False

    def __reduce__(self):
        return setattr, (Bomb, "went_off", True)


def test_pickles_are_refused_and_not_run(tmp_path):
    npz(tmp_path / "a.npz", samples=np.array([[Bomb()] * 3] * 4, object))
    with pytest.raises(
        InputError, match=r"a.npz: expected a NumPy .npz archive, got .*allow_pickle.* Save it again with"
    ):
        Recording.load(tmp_path / "a.npz")
    mark = tmp_path / "mark"
    (tmp_path / "a.npz").write_bytes(f"cos\nsystem\n(S'touch {mark}'\ntR.".encode())
    with pytest.raises(InputError, match=r"a.npz: expected a NumPy .npz archive"):
        Recording.load(tmp_path / "a.npz")
    assert not Bomb.went_off
    assert not mark.exists()


def test_a_single_array_is_no_npz(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"a.npz: expected a NumPy .npz archive, got a single array"):
        Recording.load(tmp_path / "a.npz")


def test_an_array_that_claims_to_be_huge(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (900000000000000, 3), }"
    header += b" " * (-len(header) - 11 % 64) + b"\n"
    with zipfile.ZipFile(npz(tmp_path / "a.npz"), "a") as archive:
        archive.writestr("t.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match=r"a.npz: expected a NumPy .npz archive, got "):
        Recording.load(tmp_path / "a.npz")


@pytest.fixture(scope="module")
def whole():
    """A compressed archive, as bytes."""
    buffer = io.BytesIO()
    t, labels = np.arange(40) / 50, np.zeros(40, np.int16)
    arrays = {"samples": recording(40).samples, "channels": CHANNELS, "rate_hz": 50.0, "t": t}
    np.savez_compressed(buffer, **arrays, labels=labels, label_names=["a"])
    return buffer.getvalue()


def test_a_truncated_npz_is_an_input_error_wherever_it_ends(tmp_path, whole):
    path = tmp_path / "a.npz"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"a.npz: expected a NumPy .npz archive"):
            Recording.load(path)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_spoilt_npz_is_an_input_error_or_a_recording(tmp_path, whole, flips):
    data = bytearray(whole)
    for place, flip in flips:
        data[place % len(data)] ^= flip
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    try:
        read = Recording.load(path)
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
    else:
        assert read.samples.shape == (40, 3)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=60)
    | st.lists(st.sampled_from(["t", "label", "acc_x", "1", "nan", ",", ",", "\n", "\n", '"', "\r", "é", "\0"])).map(
        lambda words: "".join(words).encode()
    )
)
def test_any_bytes_as_csv_are_an_input_error_or_a_recording(tmp_path, data):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    try:
        assert Recording.load(path, 50).samples.ndim == 2
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
