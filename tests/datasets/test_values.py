"""What the readers make of small archives: units, labels, people, times, and what they refuse.

The archives are those of `tests.datasets.formats`, whose numbers say where they came from.
"""

import io
import sys
import zipfile

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.recording import UNLABELLED
from sdk.datasets import _registry, at_position
from tests.datasets.archives import G, load_unknown, write_registry, zip_bytes
from tests.datasets.formats import (
    SMALL,
    capture24,
    csv,
    hhar,
    hugadb_file,
    mat,
    mri,
    npy,
    pvs,
    realworld,
    wisdm,
    wisdm_2019_files,
    write_small,
)

DEGREE = np.pi / 180


@pytest.fixture
def read(tmp_path, monkeypatch):
    """read(name, members=None): the recordings of a small archive by what follows the first slash of their name."""

    def load(name, members=None):
        file = {"wisdm": "small.tar.gz"}.get(name, "small.zip")
        monkeypatch.setattr(_registry, "REGISTRY", write_registry(tmp_path / "registry.txt", f"{name} {file} - -"))
        write_small(tmp_path / file, name, members)
        return {recording.name.partition("/")[2]: recording for recording in load_unknown(name, tmp_path)}

    return load


def words(recording):
    return [recording.label_names[i] if i != UNLABELLED else None for i in recording.labels]


def column(recording, name):
    return recording.samples[:, recording.channels.index(name)].tolist()


def test_basicmotions_from_ts_and_arff(read):
    found = read("basicmotions")
    assert list(found) == ["train/00", "train/01", "test/00"]
    assert found["train/01"].samples[3].tolist() == [4, 14, 24, 34, 44, 54]
    assert found["test/00"].samples[99].tolist() == [101, 111, 121, 131, 141, 151]
    assert [set(words(recording)) for recording in found.values()] == [{"standing"}, {"badminton"}, {"running"}]


@pytest.mark.parametrize(
    "line", ["1,2:3,4:Standing", "1,2:3:1:1:1:1:Standing", "a:1:1:1:1:1:Standing", "1:1:1:1:1:1:Flying"]
)
def test_basicmotions_with_a_wrong_line(read, line):
    with pytest.raises(InputError, match=r"expected (6 dimensions|samples in 6 columns)"):
        read("basicmotions", {f"BasicMotions_{split}.ts": f"@data\n{line}\n".encode() for split in ("TRAIN", "TEST")})


def test_capture24(read):
    found = read("capture24")
    assert list(found) == ["P001", "P117"]
    person = found["P001"]
    assert words(person) == ["sleeping", None, "sitting"]
    assert person.samples[0].tolist() == pytest.approx([0.1 * G, -0.5 * G, G])
    assert person.t.tolist() == pytest.approx([0, 0.01, 0.02], abs=1e-6)


def test_capture24_across_blocks(read, monkeypatch):
    """Lines that a block cuts in two, and a last line without an end, come out whole."""
    whole = read("capture24")["P001"]
    monkeypatch.setattr("sdk.datasets._archive._BLOCK_BYTES", 50)
    assert np.array_equal(read("capture24")["P001"].samples, whole.samples)
    assert read("capture24")["P001"].labels.tolist() == whole.labels.tolist()


def test_capture24_with_an_annotation_that_no_dictionary_has(read):
    members = capture24() | {
        "capture24/annotation-label-dictionary.csv": csv("annotation,label:WillettsSpecific2018", "a,sleep")
    }
    with pytest.raises(InputError, match=r"P001.csv.gz: expected labels among , a, got '7030 sleeping;MET 0.95'"):
        read("capture24", members)


def test_cosmo_mhad(read):
    found = read("cosmo_mhad")
    assert found["s30_a14_c7"].samples[0].tolist() == list(range(1, 10))
    assert [set(words(recording)) for recording in found.values()] == [{"sitting"}, {"thumping_cabinet"}]
    with pytest.raises(
        InputError, match=r"imu/s1_a1_c0.npy: expected 200 x 9 numbers, got float64 of shape \(100, 9\)"
    ):
        read("cosmo_mhad", {"imu/s1_a1_c0.npy": npy(np.zeros((100, 9)))})
    with pytest.raises(InputError, match="expected a NumPy array of numbers, got Object arrays"):
        read("cosmo_mhad", {"imu/s1_a1_c0.npy": npy(np.array([None]))})


def test_daphnet(read):
    found = read("daphnet")
    run = found["S01R01"]
    assert words(run) == [None, None, "no_freeze", "no_freeze", "freeze"]
    assert run.samples[0].tolist() == pytest.approx(np.array([70, 29, -960, 1000, 0, 0, 0, 0, 500]) * G / 1000)
    assert run.t.tolist() == pytest.approx([0, 0.015, 0.03, 0.045, 0.06])
    assert found["S10R01"].subject == "10"
    (thigh,) = at_position([run], "thigh")
    assert thigh.samples[0].tolist() == pytest.approx([G, 0, 0])
    with pytest.raises(InputError, match="annotations of 0 to 2"):
        read("daphnet", {"dataset/S01R01.txt": b"0 1 2 3 4 5 6 7 8 9 3\n"})


def test_goat(read):
    (tag,) = read("goat").values()
    assert (tag.name, tag.subject) == ("goat/G1_sensor_1", "G1")
    assert words(tag) == ["trotting"] * 3 + [None]
    assert tag.t.tolist() == [0, 0.005, 0.01, 0.015]
    assert tag.samples[0].tolist() == pytest.approx([0.5, 0, 9.8])
    with pytest.raises(InputError, match=r"line 1: expected a header with timestamp_ms, ax, .* got 'time,accx'"):
        read("goat", {"goats/a.csv": b"time,accx\n1,2\n"})


def test_hhar(read):
    """Half a step apart, the gyroscope is interpolated; before its first and after its last sample nothing is kept."""
    found = read("hhar")
    assert list(found) == ["a_nexus4_1/phone", "b_nexus4_1/phone", "a_gear_2/watch", "b_gear_2/watch"]
    phone = found["a_nexus4_1/phone"]
    assert (phone.rate_hz, phone.subject) == (200, "a")
    assert words(phone) == ["standing"] * 3 + [None, "cycling"]
    assert column(phone, "acc_x") == [10, 11, 12, 13, 14]
    assert column(phone, "gyro_x") == pytest.approx([1.5, 2.5, 3.5, 4.5, 5.5], abs=1e-3)
    assert phone.t.tolist() == pytest.approx([0, 0.005, 0.01, 0.015, 0.02], abs=1e-6)
    watch = found["b_gear_2/watch"]
    assert watch.rate_hz == 100
    assert column(watch, "gyro_x") == [2, 3, 4, 5, 6, 7]


def test_hhar_leaves_out_what_the_gyroscope_missed(read):
    header = "Index,Arrival_Time,Creation_Time,x,y,z,User,Model,Device,gt"

    def sensor(times_ms):
        return csv(header, *(f"0,0,{ms}000000,{ms},0,0,a,s3,s3_1,walk" for ms in times_ms))

    files = {
        f"Watch_{sensor}.csv": csv(header, "0,0,0,0,0,0,a,gear,gear_1,walk")
        for sensor in ("accelerometer", "gyroscope")
    }
    files["Phones_accelerometer.csv"] = sensor([100, 0, 200, 500, 700, 1000])  # not in order of creation
    files["Phones_gyroscope.csv"] = sensor([50, 150, 250, 650, 750, 750])  # a hole of 400 ms, one sample twice
    found = read("hhar", files)["a_s3_1/phone"]
    assert column(found, "acc_x") == [100, 200, 700]
    assert column(found, "gyro_x") == [100, 200, 700]
    assert found.t.tolist() == pytest.approx([0.1, 0.2, 0.7])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b",bike", b",swim", "Phones_accelerometer.csv: expected labels among .*, got 'swim'"),
        (b"nexus4_1", b"newphone_1", "device 'newphone_1': expected a model among nexus4"),
        (b"Creation_Time", b"Created", "Phones_accelerometer.csv: line 1: expected a header with Creation_Time"),
    ],
)
def test_hhar_with_a_wrong_file(read, old, new, message):
    inner = {}
    for name in ("Phones_accelerometer", "Phones_gyroscope", "Watch_accelerometer", "Watch_gyroscope"):
        inner[f"{name}.csv"] = member_of(hhar()["Activity recognition exp.zip"], name).replace(old, new)
    with pytest.raises(InputError, match=message):
        read("hhar", inner)


def member_of(archive, part):
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return file.read(next(name for name in file.namelist() if part in name))


def test_hugadb(read):
    found = read("hugadb")
    assert [(name, recording.subject) for name, recording in found.items()] == [
        ("various_01_00", "1"),
        ("various_18_00", "18"),
    ]
    recording = found["various_01_00"]
    assert words(recording) == ["walking", "standing", "standing"]
    shin = at_position([recording], "right_shin")[0].samples[0]
    assert shin.tolist() == pytest.approx([G, -2 * G, 0, 1000 * DEGREE, 0, -500 * DEGREE])
    with pytest.raises(InputError, match="line 4: expected six columns each for RF, RS, RT, LF, LS, LT"):
        read("hugadb", {"HuGaDB_v1_walking_01_00.txt": b"#\n#\n#\na\tb\n1\t2\n"})


def test_hugadb_of_version_1(read):
    """The columns as the authors' README has them."""
    names = [f"{p}_{s}_{a}" for p in ("RF", "RS", "RT", "LF", "LS", "LT") for s in ("acc", "gyro") for a in "xyz"]
    head = [
        "#Activity\tbicycling ",
        "#ActivityID\t9 ",
        "#Date\t04-13-11-06",
        "\t".join([*names, "R_EMG", "L_EMG", "act"]),
    ]
    members = {"Data/HuGaDB_v1_bicycling_04_02.txt": hugadb_file([["16384"] * 38 + ["9"]], head)}
    (recording,) = read("hugadb", members).values()
    assert (recording.name, recording.subject, words(recording)) == ("hugadb/bicycling_04_02", "4", ["cycling"])
    assert column(recording, "left_thigh_acc_z") == pytest.approx([G])
    swapped = [*names]
    swapped[0], swapped[6] = swapped[6], swapped[0]  # columns of another order are not guessed at
    head[3] = "\t".join([*swapped, "R_EMG", "L_EMG", "act"])
    with pytest.raises(InputError, match="line 4: expected six columns each"):
        read("hugadb", {"Data/HuGaDB_v1_bicycling_04_02.txt": hugadb_file([["16384"] * 38 + ["9"]], head)})
    both = SMALL["hugadb"]() | members
    with pytest.raises(InputError, match=r"expected one version of the data, got v1 and v2. Keep one"):
        read("hugadb", both)


def hugadb_rows(act, gyroscopes, n=60):
    """n rows of an activity: 1 g along z everywhere, and of the gyroscopes one axis that turns, in rad/s."""
    row = []
    for rad_s in gyroscopes:
        row += ["0", "0", "16384", "0", f"{round(rad_s / DEGREE / 2000 * 32768)}", "0"]
    return [[*row, "128", "127", str(act)]] * n


def test_corrupted_gyroscopes_of_hugadb_are_missing(read):
    """A place whose median is above 7 rad/s in walking or on stairs; elsewhere and at rest nothing is judged."""
    good, bad = [2.0] * 6, [2.0, 2.0, 12.0, 2.0, 2.0, 15.0]
    files = {
        "01_00": hugadb_rows(1, good) + hugadb_rows(6, [12.0] * 6),  # fast while sitting down only
        "01_01": hugadb_rows(1, bad) + hugadb_rows(8, [0.1] * 6, 200),
        "02_00": hugadb_rows(3, [6.9, 7.1, 2.0, 2.0, 2.0, 2.0]),
        "02_01": hugadb_rows(2, [12.0] * 6) + hugadb_rows(1, [12.0] * 6, 50),  # too few steps to tell
    }
    members = {f"Data/HuGaDB_v2_various_{name}.txt": hugadb_file(rows) for name, rows in files.items()}
    told = (
        r"3 of 24 gyroscopes, in 2 of 4 recordings, are corrupted \(a median above 7 rad/s while walking or on stairs"
        r"\), left out as missing; 1 recordings without 1 s of"
    )
    with pytest.warns(UserWarning, match=told):
        found = read("hugadb", members)
    missing = {name: np.isnan(recording.samples) for name, recording in found.items()}
    assert {name: int(nan[0].sum()) for name, nan in missing.items()} == {
        "various_01_00": 0,
        "various_01_01": 6,
        "various_02_00": 3,
        "various_02_01": 0,
    }
    assert all((nan == nan[0]).all() for nan in missing.values())  # the place's whole recording
    channels = found["various_01_01"].channels
    assert [channels[i] for i in np.flatnonzero(missing["various_01_01"][0])] == [
        f"{place}_gyro_{axis}" for place in ("right_thigh", "left_thigh") for axis in "xyz"
    ]
    assert column(found["various_01_01"], "right_thigh_acc_z") == pytest.approx([G] * 260)


def test_mobiact(read):
    found = read("mobiact")
    assert [recording.subject for recording in found.values()] == ["1", "67"]
    walk = found["WAL_1_1"]
    assert words(walk) == ["walking", "upstairs"]
    assert walk.samples[1].tolist() == pytest.approx([0.5, 9.7, 1, 0.1, 0.2, 0.3])
    assert walk.t.tolist() == [0, 0.005]


def test_mri(read):
    found = read("mri")
    assert [(name, recording.rate_hz, len(recording.samples)) for name, recording in found.items()] == [
        ("subject1", 50, 130),
        ("subject2", 10, 26),
    ]
    assert column(found["subject2"], "imu3_acc_x") == pytest.approx([3 * G] * 26)
    assert column(found["subject2"], "imu5_orientation_w") == [1] * 26
    poses = [name for i in range(1, 11) for name in [f"pose_{i}"] * 2]
    frames = [None, None, *poses, "free_form", "free_form", "walking", "walking"]
    assert words(found["subject2"]) == frames
    assert words(found["subject1"]) == [frame for frame in frames for _ in range(5)]


def test_mri_refuses_rows_of_an_unknown_rate(read):
    members = mri()
    for sensor in range(6):
        name = f"dataset_release/aligned_data/imu/subject1/IMU{sensor}.csv"
        members[name] = b"\n".join(members[name].splitlines()[:79])
    with pytest.raises(InputError, match="subject 1: expected one or five rows for each of 26 frames, got 78 rows"):
        read("mri", members)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("aligned_data/imu/subject2/IMU4.csv", "expected a member aligned_data/imu/subject2/IMU4.csv"),
        ("raw_data/videolabels/subject1.json", "expected a member videolabels/subject1.json"),
    ],
)
def test_mri_with_a_missing_file(read, member, message):
    members = mri()
    del members[f"dataset_release/{member}"]
    with pytest.raises(InputError, match=message):
        read("mri", members)


def test_mri_with_wrong_labels(read):
    with pytest.raises(InputError, match=r"subject1.json: expected the frames of T pose, pose_1"):
        read("mri", mri() | {"dataset_release/raw_data/videolabels/subject1.json": b'{"labels": {"T pose": [1, 2]}}'})


def test_mri_radar_has_the_names_of_the_inertial_sensors(read):
    found = read("mri_radar")
    assert list(found) == ["subject1", "subject2"]
    frame = found["subject2"].samples[1].reshape(5, 14, 14)
    assert frame[:, 2, 3].tolist() == [14 * 14 * 5 + (2 * 14 + 3) * 5 + k for k in range(5)]
    assert found["subject2"].channels[14 * 14] == "y_r00c00"
    assert words(found["subject2"]) == words(read("mri")["subject2"])


def test_pamap2(read):
    found = read("pamap2")
    assert [(name, r.subject) for name, r in found.items()] == [("protocol_101", "101"), ("optional_109", "109")]
    recording = found["protocol_101"]
    assert words(recording) == [None, "rope_jumping", "laying"]
    assert recording.t.tolist() == pytest.approx([8.38, 8.39, 8.41])
    (ankle,) = at_position([recording], "ankle")
    assert ankle.channels == tuple(f"{m}_{axis}" for m in ("acc", "gyro", "mag") for axis in "xyz")
    assert ankle.samples[0].tolist() == [201, 202, 203, 207, 208, 209, 210, 211, 212]


def test_pamap2_heart_rate_has_the_names_of_the_imus(read):
    found = read("pamap2_heart_rate")
    assert list(found) == list(read("pamap2"))
    assert found["protocol_101"].samples.tolist() == [[104], [90]]
    assert found["protocol_101"].t.tolist() == pytest.approx([8.38, 8.41])
    assert words(found["protocol_101"]) == [None, "laying"]


def test_pvs(read):
    found = read("pvs")
    assert list(found) == ["drive1_left", "drive1_right", "drive6_left", "drive6_right"]
    assert [recording.subject for recording in found.values()] == ["1", "1", "2", "2"]
    left = found["drive1_left"]
    assert words(left) == ["asphalt", "dirt", None]
    (above,) = at_position([left], "above_suspension")
    expected = [3, 4, 5, 12 * DEGREE, 13 * DEGREE, 14 * DEGREE, 21, 22, 23]
    assert above.samples[0].tolist() == pytest.approx(expected)
    assert left.t.tolist() == pytest.approx([0, 0.01, 0.02], abs=1e-6)


def test_pvs_with_a_wrong_file(read):
    members = pvs()
    members["PVS 6/dataset_mpu_right.csv"] = b"\n".join(members["PVS 6/dataset_mpu_right.csv"].splitlines()[:3])
    with pytest.raises(InputError, match=r"PVS 6/dataset_mpu_right.csv: expected 3 rows, one per label, got 2"):
        read("pvs", members)
    del members["PVS 6/dataset_mpu_right.csv"]
    with pytest.raises(InputError, match=r"expected a member PVS 6/dataset_mpu_right.csv"):
        read("pvs", members)


def test_realworld(read):
    found = read("realworld")
    assert list(found) == [
        f"proband{person}_{part}"
        for person in (1, 12)
        for part in ("climbingup/shin", "climbingup_2/shin", "walking/waist")
    ]
    waist = found["proband12_walking/waist"]
    assert waist.subject == "12"
    assert set(words(waist)) == {"walking"}
    assert column(waist, "acc_x") == [5, 6, 7]  # the gyroscope began and ended half a step earlier
    assert column(waist, "gyro_x") == pytest.approx([1.5, 2.5, 3.5], abs=1e-3)
    assert set(words(found["proband1_climbingup_2/shin"])) == {"upstairs"}
    assert column(found["proband1_climbingup_2/shin"], "acc_y") == [7, 7, 7]


def test_realworld_warns_of_what_it_leaves_out(read):
    members = realworld()
    name = "realworld2016_dataset/proband1/data/gyr_walking_csv.zip"
    rows = [f"{i},{1_435_993_654_321 + 20 * i},1,1,1" for i in range(4)]
    members[name] = zip_bytes({"Gyroscope_walking_chest.csv": csv("id,attr_time,attr_x,attr_y,attr_z", *rows)})
    with pytest.warns(UserWarning, match="2 places without both sensors were left out"):
        assert len(read("realworld", members)) == 5


def test_shoaib(read):
    found = read("shoaib")
    assert [recording.subject for recording in found.values()] == ["1", "10"]
    person = found["participant_1"]
    assert words(person) == ["walking", "cycling", "upstairs"]
    (wrist,) = at_position([person], "wrist")
    assert wrist.samples[0].tolist() == pytest.approx([2.01, 2.02, 2.03, 2.07, 2.08, 2.09, 2.1, 2.11, 2.12])
    with pytest.raises(InputError, match="line 2: expected five times time_stamp Ax"):
        read("shoaib", {"Participant_1.csv": b"a,b\nc,d\n1,2\n"})


def test_sp_sw_har(read):
    found = read("sp_sw_har")
    assert list(found) == ["s01_01/phone", "s01_01/watch", "s23_09/watch"]
    watch = found["s23_09/watch"]
    assert watch.subject == "23"
    assert words(watch) == ["sitting", "turning"]
    assert watch.samples[0].tolist() == pytest.approx([0.5, -3.5, 9.1, 0.1, 0.2, 0.3])
    assert watch.t.tolist() == [0, 0.009]


def test_usc_had(read):
    found = read("usc_had")
    assert [(name, r.subject) for name, r in found.items()] == [("subject1_a1_t5", "1"), ("subject14_a12_t5", "14")]
    last = found["subject14_a12_t5"]
    assert set(words(last)) == {"elevator_down"}
    assert last.samples[3].tolist() == pytest.approx([G, 0, 0, np.pi, 0, -np.pi / 2])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Subject1/a13t1.mat", mat(sensor_readings=np.ones((2, 6))), "expected Subject<s>/a<1 to 12>t<t>.mat"),
        (
            "Subject1/a1t1.mat",
            mat(other=np.ones((2, 6))),
            "sensor_readings: expected a variable of that name, got none",
        ),
        ("Subject1/a1t1.mat", mat(sensor_readings=np.ones((2, 5))), "expected n x 6 numbers, got float64 of shape"),
        ("Subject1/a1t1.mat", b"words" * 99, "expected a MATLAB 5 file, got"),
        ("Subject1/a1t1.mat", b"", "expected a MATLAB 5 file, got"),
    ],
)
def test_usc_had_with_a_wrong_file(read, name, content, message):
    with pytest.raises(InputError, match=message):
        read("usc_had", {f"USC-HAD/{name}": content})


def test_mat_files_need_scipy_and_say_so(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r'needs scipy: pip install "sensedge\[data\]"'):
        read("usc_had")


def test_the_three_modalities_of_utd_mhad_can_be_paired(read):
    inertial, skeleton, depth = (read(name) for name in ("utd_mhad", "utd_mhad_skeleton", "utd_mhad_depth"))
    assert list(inertial) == list(skeleton) == list(depth) == ["a1_s1_t1", "a27_s8_t2"]
    last = [found["a27_s8_t2"] for found in (inertial, skeleton, depth)]
    assert {recording.subject for recording in last} == {"8"}
    assert {word for recording in last for word in words(recording)} == {"squat"}
    assert last[0].samples[0].tolist() == pytest.approx([0, -G, 0, np.pi, 0, -np.pi / 2])
    assert column(last[1], "skeleton_right_foot_z") == pytest.approx([2.36, 2.37, 2.38, 2.39])
    images = last[2].samples.reshape(-1, 240, 320)
    assert (images[0, 0, 1], images[1, 239, 319], images.sum()) == (1.5, 2.5, 4.0)
    assert column(last[2], "depth_r239c319") == [0, 2.5]


def test_wisdm(read):
    found = read("wisdm")
    assert list(found) == ["33_jogging_0", "33_sitting_1", "17_upstairs_2"]
    jogging = found["33_jogging_0"]
    assert len(jogging.samples) == 100
    assert jogging.t[:3].tolist() == pytest.approx([0, 0.05, 0.1])
    assert jogging.samples[0].tolist() == pytest.approx([-0.7, 12.7, 0.5])
    assert found["33_sitting_1"].t is None
    assert len(found["33_sitting_1"].samples) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"33,Jogging", b"Jogging", "expected records of person,activity,timestamp,x,y,z;, got 3 of 104"),
        (b"Upstairs", b"Flying", "expected labels among walking, .*, got 'flying'"),
        (b"12.7", b"x", "expected whole records, got could not convert"),
    ],
)
def test_wisdm_with_wrong_records(read, old, new, message):
    with pytest.raises(InputError, match=message):
        read("wisdm", {name: content.replace(old, new) for name, content in wisdm().items()})


def test_wisdm_2019(read):
    found = read("wisdm_2019")
    names = ["1600_A/phone", "1600_S/phone", "1650_S/phone"]
    assert list(found) == [*names, *(name.replace("phone", "watch") for name in names)]
    walk = found["1600_A/phone"]
    assert walk.subject == "1600"
    assert set(words(walk)) == {"walking"}
    assert column(walk, "acc_x") == [8, 9, 10]
    assert column(walk, "gyro_x") == [1, 2, 3]
    assert walk.t.tolist() == pytest.approx([0, 0.05, 0.1], abs=1e-6)


def test_what_wisdm_2019_leaves_out_is_said(read):
    members = wisdm_2019_files()
    del members["wisdm-dataset/raw/watch/accel/data_1600_accel_watch.txt"]
    del members["wisdm-dataset/raw/phone/gyro/data_1650_gyro_phone.txt"]
    told = (
        r"2 devices with the file of one sensor only were left out: "
        r"phone of 1650 \(accel only\), watch of 1600 \(gyro only\); 1 activities"
    )
    with pytest.warns(UserWarning, match=told):
        assert set(read("wisdm_2019", members)) == {"1600_A/phone", "1600_S/phone", "1650_S/watch"}


def test_devices_of_hhar_with_one_sensor_are_said(read):
    members = hhar()
    inner = zipfile.ZipFile(io.BytesIO(members["Activity recognition exp.zip"]))
    files = {name: inner.read(name) for name in inner.namelist()}
    acc = next(name for name in files if name.endswith("Watch_accelerometer.csv"))
    files[acc] = files[acc] + files[acc].splitlines(keepends=True)[1].replace(b",a,", b",c,")
    with pytest.warns(UserWarning, match="1 devices with one sensor only were left out: gear_2 of c"):
        read("hhar", members | {"Activity recognition exp.zip": zip_bytes(files)})


def test_line_numbers_are_those_of_the_file(read):
    """In the third block of a file that is read in blocks."""
    content = SMALL["sp_sw_har"]()["GeoTecINIT-sp-sw-har-dataset-25bcf90/DATA/s01/s01_01_sp.csv"]
    header, first, _ = content.splitlines()
    lines = [header, *[first] * 5, first.replace(b"-3.5", b"inf")]
    with pytest.raises(InputError, match=r"s01_01_sp.csv: line 7: expected finite numbers, got inf"):
        read("sp_sw_har", {"DATA/s01/s01_01_sp.csv": b"\n".join(lines)})
