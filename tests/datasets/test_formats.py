"""Small archives in the official formats, and what is wrong with those that are not."""

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.recording import UNLABELLED
from sdk.datasets import _registry
from tests.datasets.archives import (
    G,
    array,
    dtype,
    encoded,
    hapt_members,
    listed,
    load_unknown,
    motionsense_members,
    numbers,
    seglearn_npy,
    text,
    uci_har_members,
    write_registry,
    write_tar,
    write_zip,
    zip_bytes,
)


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch):
    """A registry without hashes."""
    lines = [f"{name} {name}.{end} - -" for name in ("uci_har", "hapt", "motionsense") for end in ("zip", "tar.xz")]
    lines += ["hapt hapt.tar.gz - -", "seglearn_watch watch_dataset.npy - -"]
    monkeypatch.setattr(_registry, "REGISTRY", write_registry(tmp_path / "registry.txt", *lines))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_uci_har(tmp_path, line_end):
    write_zip(tmp_path / "uci_har.zip", uci_har_members(line_end))
    recordings = load_unknown("uci_har", tmp_path)
    assert [r.name for r in recordings] == ["uci_har/train/0000", "uci_har/train/0001", "uci_har/test/0000"]
    assert [r.subject for r in recordings] == ["1", "1", "2"]
    assert [r.label_names[r.labels[0]] for r in recordings] == ["walking", "laying", "sitting"]
    scale = np.array([G, G, G, 1, 1, 1, G, G, G])
    assert recordings[1].samples == pytest.approx(np.tile((1 + np.arange(9) / 10) * scale, (128, 1)), rel=1e-6)


def test_uci_har_as_a_zip_in_a_zip(tmp_path):
    inner = zip_bytes(uci_har_members())
    write_zip(tmp_path / "uci_har.zip", {"UCI HAR Dataset.names": b"words", "UCI HAR Dataset.zip": inner})
    assert len(load_unknown("uci_har", tmp_path)) == 3


def test_uci_har_with_a_missing_file_says_which(tmp_path):
    members = uci_har_members()
    del members["UCI HAR Dataset/test/Inertial Signals/body_gyro_y_test.txt"]
    write_tar(tmp_path / "uci_har.tar.xz", members)
    with pytest.raises(
        InputError, match=r"uci_har.tar.xz: expected a member test/Inertial Signals/body_gyro_y_test.txt"
    ):
        load_unknown("uci_har", tmp_path)


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("train/y_train.txt", b"1\n7\n", "train/y_train.txt: expected activities of 1 to 6, got 1 to 7"),
        ("train/subject_train.txt", b"1\n", "train/subject_train.txt: expected 2 lines, one per label, got 1"),
        ("train/y_train.txt", b"", "train/y_train.txt: expected rows of 1 numbers, got an empty file"),
        (
            "test/Inertial Signals/total_acc_x_test.txt",
            b"1 " * 127 + b"\n",
            "total_acc_x_test.txt: expected rows of 128 numbers, got rows of 127",
        ),
    ],
)
def test_uci_har_with_a_wrong_file(tmp_path, member, content, message):
    write_zip(tmp_path / "uci_har.zip", uci_har_members() | {f"UCI HAR Dataset/{member}": content})
    with pytest.raises(InputError, match=message):
        load_unknown("uci_har", tmp_path)


@pytest.mark.parametrize("top", ["HAPT Data Set/", ""])
def test_hapt(tmp_path, top):
    write_zip(tmp_path / "hapt.zip", hapt_members(top))
    check_hapt(load_unknown("hapt", tmp_path))


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_hapt_in_a_tar(tmp_path, compression):
    write_tar(tmp_path / f"hapt.tar.{compression}", hapt_members(), compression)
    check_hapt(load_unknown("hapt", tmp_path))


def check_hapt(recordings):
    assert [(r.name, r.subject) for r in recordings] == [("hapt/exp01_user01", "1"), ("hapt/exp02_user03", "3")]
    first = recordings[0]
    standing, lie_to_stand = first.label_names.index("standing"), first.label_names.index("lie_to_stand")
    assert first.labels.tolist() == [UNLABELLED, standing, standing, standing, UNLABELLED, lie_to_stand]
    assert first.samples[2].tolist() == pytest.approx([0, 0, G, 2, 0.5, -0.25])


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("labels.txt", b"1 1 5 2 7\n", "labels.txt, experiment 1: .* got activity 5 in samples 2 to 7"),
        ("labels.txt", b"1 1 13 2 3\n", "labels.txt, experiment 1: .* got activity 13"),
        ("labels.txt", b"3 1 5 2 3\n", "expected a member RawData/acc_exp03_user01.txt"),
        ("gyro_exp01_user01.txt", b"1 2 3\n", "experiment 1: expected as many rows .* got 1 and 6"),
        ("acc_exp01_user01.txt", b"1 2 3\n1 nan 3\n", "acc_exp01_user01.txt: line 2: expected finite numbers, got nan"),
        (
            "acc_exp01_user01.txt",
            b"1 2 3\n1 2\n",
            "acc_exp01_user01.txt: expected rows of 3 numbers, got .*changed from 3",
        ),
        ("acc_exp01_user01.txt", b"1 2 x\n", "acc_exp01_user01.txt: expected rows of 3 numbers, got could not convert"),
        ("acc_exp09_user01.txt", b"1 2 3\n", "expected a member RawData/gyro_exp09_user01.txt"),
    ],
)
def test_hapt_with_a_wrong_file(tmp_path, member, content, message):
    write_zip(tmp_path / "hapt.zip", hapt_members() | {f"HAPT Data Set/RawData/{member}": content})
    with pytest.raises(InputError, match=message):
        load_unknown("hapt", tmp_path)


def test_motionsense(tmp_path):
    write_zip(tmp_path / "motionsense.zip", motionsense_members())
    recordings = load_unknown("motionsense", tmp_path)
    assert [r.name.removeprefix("motionsense/") for r in recordings] == [
        "std_6/sub_2",
        "wlk_15/sub_2",
        "std_6/sub_10",
        "wlk_15/sub_10",
    ]
    first = recordings[0]
    assert first.channels[:6] == ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    row = dict(zip(first.channels, first.samples[0].tolist(), strict=True))
    assert row["acc_x"] == pytest.approx(0.5 * G)
    assert row["acc_z"] == pytest.approx(-G)
    assert row["gyro_y"] == pytest.approx(0.2)
    assert row["attitude_yaw"] == 3
    assert row["gravity_z"] == pytest.approx(-G)
    assert row["user_acc_x"] == pytest.approx(0.5 * G)
    assert {first.label_names[i] for i in first.labels} == {"standing"}


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("std_6/sub_2.csv", b"a,b\n1,2\n", r"std_6/sub_2.csv: line 1: expected the header ,attitude.roll.* got 'a,b'"),
        ("xyz_6/sub_2.csv", b"", r"xyz_6/sub_2.csv: expected a file like dws_1/sub_1.csv"),
        ("std_6/sub_3.csv", None, r"expected a member wlk_15/sub_3.csv"),
    ],
)
def test_motionsense_with_a_wrong_file(tmp_path, member, content, message):
    members = motionsense_members()
    content = members["A_DeviceMotion_data/std_6/sub_2.csv"] if content is None else content
    write_zip(tmp_path / "motionsense.zip", members | {f"A_DeviceMotion_data/{member}": content})
    with pytest.raises(InputError, match=message):
        load_unknown("motionsense", tmp_path)


def test_motionsense_counts_the_header_in_line_numbers(tmp_path):
    members = motionsense_members()
    name = "A_DeviceMotion_data/std_6/sub_2.csv"
    members[name] = members[name].replace(b"2,1,2,3", b"2,inf,2,3")
    write_zip(tmp_path / "motionsense.zip", members)
    with pytest.raises(InputError, match=r"std_6/sub_2.csv: line 4: expected finite numbers, got inf"):
        load_unknown("motionsense", tmp_path)


def test_motionsense_with_nothing_but_a_header(tmp_path):
    members = motionsense_members()
    name = "A_DeviceMotion_data/std_6/sub_2.csv"
    members[name] = members[name].splitlines(keepends=True)[0]
    write_zip(tmp_path / "motionsense.zip", members)
    with pytest.raises(InputError, match=r"std_6/sub_2.csv: expected rows of 12 numbers, got an empty file"):
        load_unknown("motionsense", tmp_path)


def test_seglearn(tmp_path):
    (tmp_path / "watch_dataset.npy").write_bytes(seglearn_npy())
    first, second = load_unknown("seglearn_watch", tmp_path)
    assert (first.name, first.subject) == ("seglearn_watch/subject4_right_pendulum", "4")
    assert (second.name, second.subject) == ("seglearn_watch/subject7_left_row", "7")
    assert first.samples == pytest.approx(np.tile([G, 2 * G, 3 * G, 4, 5, 6], (3, 1)))
    assert second.labels.tolist() == [6, 6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": numbers(np.array([0, 7]))}, "recording 1: expected an exercise and a side, got 7 and 0"),
        ({"y": numbers(np.array([0]))}, "y: expected a list X and one number for each"),
        ({"side": numbers(np.array([1.0, np.nan]))}, "side: expected a list X and one number for each"),
        ({"X_labels": listed(text("az"))}, "X_labels: expected .*'ax'.* got .*'az'"),
        ({"y_labels": b"N"}, "y_labels: expected .*'PEN'.* got None"),
        ({"X": b"N"}, "y: expected a list X"),
        ({"X": listed(b"N", b"N")}, r"recording 0: expected real numbers in 6 columns, got shape \(\)"),
        (
            {"X": listed(*[array(encoded(bytes(24)), (3,), dtype("f8"))] * 2)},
            r"recording 0: expected real numbers in 6 columns, got shape \(3,\)",
        ),
    ],
)
def test_seglearn_with_wrong_content(tmp_path, changes, message):
    (tmp_path / "watch_dataset.npy").write_bytes(seglearn_npy(**changes))
    with pytest.raises(InputError, match=message):
        load_unknown("seglearn_watch", tmp_path)


def test_seglearn_with_nan(tmp_path):
    signals = [np.ones((3, 6)), np.ones((2, 6))]
    signals[1][1, 4] = np.nan
    (tmp_path / "watch_dataset.npy").write_bytes(seglearn_npy(signals))
    with pytest.raises(InputError, match="recording 1: sample 1, channel gyro_y: expected a finite number"):
        load_unknown("seglearn_watch", tmp_path)
