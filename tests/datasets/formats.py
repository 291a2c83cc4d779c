"""A small archive of every data set, in the format that its authors publish, and the same with a NaN in it.

Each function gives the members of the archive: two people or recordings, a few samples, numbers that a test can tell
apart. The formats of `goat` and `cosmo_mhad` and the lengths in `mri` are assumptions: see their readers.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.datasets.archives import (
    hapt_members,
    motionsense_members,
    seglearn_npy,
    uci_har_members,
    write_tar,
    write_zip,
    zip_bytes,
)

Members = dict[str, bytes]
NAN = float("nan")


def mat(**variables: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def csv(header: str, *rows: str) -> bytes:
    return "".join(f"{line}\n" for line in (header, *rows)).encode()


def basicmotions(bad: float = 0.0) -> Members:
    def series(first: float, separator: str) -> str:
        dimensions = [[first + 10 * d + i for i in range(100)] for d in range(6)]
        dimensions[5][99] += bad
        return separator.join(",".join(f"{value:g}" for value in values) for values in dimensions)

    head = "#words\n@problemName BasicMotions\n@classLabel true Standing Running Walking Badminton\n@data\n"
    train = head + series(0, ":") + ":Standing\n" + series(1, ":") + ":Badminton\n"
    arff = "%words\n@relation 'BasicMotions'\n@data\n" + "'" + series(2, "\\n") + "',Running\n"
    return {"BasicMotions_TRAIN.ts": train.encode(), "BasicMotions_TEST.arff": arff.encode()}


def capture24(bad: float = 0.0) -> Members:
    times = [f"2016-05-07 13:29:50.{ms:03}000" for ms in (0, 10, 20)]
    notes = ["7030 sleeping;MET 0.95", "", '"home, sitting;MET 1.3"']
    rows = [f"{time},{0.1 + bad},-0.5,1.0,{note}" for time, note in zip(times, notes, strict=True)]
    person = gzip.compress(csv("time,x,y,z,annotation", *rows))
    dictionary = csv(
        "annotation,label:Willetts2018,label:WillettsSpecific2018",
        "7030 sleeping;MET 0.95,sleep,sleep",
        '"home, sitting;MET 1.3",sit-stand,sitting',
        "somewhere,NA,NA",
    )
    return {
        "capture24/P001.csv.gz": person,
        "capture24/P117.csv.gz": person,
        "capture24/annotation-label-dictionary.csv": dictionary,
        "capture24/metadata.csv": b"pid,age,sex\n",
    }


def cosmo_mhad(bad: float = 0.0) -> Members:
    clip = np.tile(np.arange(9.0) + bad, (200, 1))
    return {"imu/s1_a1_c0.npy": npy(clip), "imu/s30_a14_c7.npy": npy(clip + 1)}


def daphnet(bad: float = 0.0) -> Members:
    def rows(x: float) -> bytes:
        return b"".join(
            f"{15 * i} {x} 29 -960 1000 0 0 0 0 500 {annotation}\n".encode()
            for i, annotation in enumerate((0, 0, 1, 1, 2))
        )

    top = "dataset_fog_release/"
    return {top + "dataset/S01R01.txt": rows(70), top + "dataset/S10R01.txt": rows(70 + bad), top + "README": b""}


def goat(bad: float = 0.0) -> Members:
    rows = [f"trotting,G1,1,{ms},0.5,0,{9.8 + bad},1" for ms in (0, 5, 10)]
    header = "label,animal_ID,segment_ID,timestamp_ms,ax,ay,az,gx"
    return {"goats/sensor_1.csv": csv(header, *rows, "shaking,G1,2,15,0.5,0,9.8,1"), "goats/readme.txt": b"words"}


def hhar(bad: float = 0.0) -> Members:
    header = "Index,Arrival_Time,Creation_Time,x,y,z,User,Model,Device,gt"

    def sensor(model: str, device: str, start_ns: int, step_ns: int, value: float) -> list[str]:
        gts = ["stand"] * 3 + ["null"] + ["bike"] * 2
        return [
            f"{i},1424696633908,{start_ns + i * step_ns},{value + i},{value},{value + bad},{user},{model},{device},{gt}"
            for user in "ab"
            for i, gt in enumerate(gts)
        ]

    epoch = 1_424_696_631_913_248_572
    files = {
        "Phones_accelerometer": sensor("nexus4", "nexus4_1", epoch, 5_000_000, 10),
        "Phones_gyroscope": sensor("nexus4", "nexus4_1", epoch - 2_500_000, 5_000_000, 1),
        "Watch_accelerometer": sensor("gear", "gear_2", 0, 10_000_000, 20),
        "Watch_gyroscope": sensor("gear", "gear_2", 0, 10_000_000, 2),
    }
    inner = {f"Activity recognition exp/{name}.csv": csv(header, *rows) for name, rows in files.items()}
    return {"Activity recognition exp.zip": zip_bytes(inner), "Still exp.zip": zip_bytes({"Still exp/x.csv": b""})}


HUGADB_HEAD = [
    "#Activity\twalking sitting standing_up standing ",
    "#ActivityID\t1 5 7 8 ",
    "#Date 10-26-17-47",
    "\t".join(
        [
            *(f"{s}_{p}_{a}" for p in ("rf", "rs", "rt", "lf", "ls", "lt") for s in ("acc", "gyro") for a in "xyz"),
            "EMG_r",
            "EMG_l",
            "act",
        ]
    ),
]
PEAKY = ["16384", "-32768", "0", "16384", "0"]  # and the last axis: 1 g, -2 g, 0, 1000 degrees/s, 0


def hugadb_file(rows: list[list[str]], head: list[str] = HUGADB_HEAD) -> bytes:
    """A file as version 2 has it: LF, tabs, a blank behind the activities and before the date."""
    return "".join(f"{line}\n" for line in [*head, *("\t".join(row) for row in rows)]).encode()


def hugadb(bad: float = 0.0) -> Members:
    values = [*PEAKY, f"{-8192 + bad:g}"] * 6 + ["128", "127"]
    content = hugadb_file([[*values, act] for act in "188"])
    return {f"HuGaDB v2/Data/HuGaDB_v2_various_{person}_00.txt": content for person in ("01", "18")}


def mobiact(bad: float = 0.0) -> Members:
    header = "timestamp,rel_time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z,azimuth,pitch,roll,label"
    rows = [
        f"{1000 + i},{i / 200},0.5,9.7,{1 + bad},0.1,0.2,0.3,30,60,90,{label}" for i, label in enumerate(("WAL", "STU"))
    ]
    folder = "MobiAct_Dataset_v2.0/Annotated Data/"
    return {
        folder + "WAL/WAL_1_1_annotated.csv": csv(header, *rows),
        folder + "SLH/SLH_67_1_annotated.csv": csv(header, *rows),
    }


MOVEMENTS = [*(f"pose_{i}" for i in range(1, 11)), "free_form", "walk"]


def mri(bad: float = 0.0) -> Members:
    """26 frames from T pose (100) to the end of walk (125); five rows a frame for person 1, one for person 2."""
    spans = {"T pose": [100, 101]} | {name: [102 + 2 * i, 103 + 2 * i] for i, name in enumerate(MOVEMENTS)}
    header = "address,axg,ayg,azg,AngleXdeg,AngleYdeg,AngleZdeg,hx,hy,hz,q0,q1,q2,q3"
    members = {}
    for person, rows in ((1, 130), (2, 26)):
        top = "dataset_release/"
        members[f"{top}raw_data/videolabels/subject{person}.json"] = json.dumps({"labels": spans}).encode()
        for sensor in range(6):
            content = csv(header, *[f"d4,{sensor},0,{1 + bad},1,2,3,4,5,6,1,0,0,0"] * rows)
            members[f"{top}aligned_data/imu/subject{person}/IMU{sensor}.csv"] = content
        points = np.arange(26 * 14 * 14 * 5, dtype=float).reshape(26, 14, 14, 5) + bad
        members[f"{top}features/radar/subject{person}_featuremap.npy"] = npy(points)
    return members


def pamap2(bad: float = 0.0) -> Members:
    """Four samples, the third lost by the hand's radio; heart rate in the first and the last."""

    def row(i: int, activity: int, lost: bool, heart: str) -> str:
        imus = []
        for imu in range(3):
            values = [f"{100 * imu + column}" for column in range(17)]
            imus += ["NaN"] * 17 if lost and imu == 0 else values
        return " ".join([f"{8.38 + i / 100 + (bad if i == 1 else 0):.2f}", str(activity), heart, *imus])

    rows = [row(0, 0, False, "104"), row(1, 24, False, "NaN"), row(2, 24, True, "NaN"), row(3, 1, False, "90")]
    content = "".join(line + "\n" for line in rows).encode()
    folder = "PAMAP2_Dataset/"
    inner = {folder + "Protocol/subject101.dat": content, folder + "Optional/subject109.dat": content}
    return {"PAMAP2_Dataset.zip": zip_bytes(inner), "readme.pdf": b""}


def pvs(bad: float = 0.0) -> Members:
    places = ("dashboard", "above_suspension", "below_suspension")
    columns = [f"{s}_{a}_{p}" for s in ("acc", "gyro", "mag") for p in places for a in "xyz"]
    header = ",".join(["timestamp", *columns, "temp_dashboard"])
    values = [f"{i + bad}" for i in range(27)]
    mpu = csv(header, *(",".join([f"{1577218796.59 + i / 100:.2f}", *values, "38"]) for i in range(3)))
    labels = csv(
        "paved_road,unpaved_road,dirt_road,cobblestone_road,asphalt_road,no_speed_bump",
        "1,0,0,0,1,1",
        "0,1,1,0,0,1",
        "1,0,0,0,0,1",
    )
    files = {"dataset_mpu_left.csv": mpu, "dataset_mpu_right.csv": mpu, "dataset_labels.csv": labels}
    return {f"PVS {drive}/{name}": content for drive in (1, 6) for name, content in files.items()}


def realworld(bad: float = 0.0) -> Members:
    def sensor(kind: str, place: str, activity: str, start_ms: int, value: float) -> Members:
        name = {"acc": "acc", "gyr": "Gyroscope"}[kind]
        rows = [f"{i},{start_ms + 20 * i},{value + i},{value},{value + bad}" for i in range(4)]
        return {f"{name}_{activity}_{place}.csv": csv("id,attr_time,attr_x,attr_y,attr_z", *rows), "readMe": b"words"}

    epoch = 1_435_993_654_321
    members: Members = {}
    for person in (1, 12):
        data = f"realworld2016_dataset/proband{person}/data/"
        for kind, start, value in (("acc", epoch, 5.0), ("gyr", epoch - 10, 1.0)):
            members[f"{data}{kind}_walking_csv.zip"] = zip_bytes(sensor(kind, "waist", "walking", start, value))
            parts = {
                f"{kind}_climbingup{'' if kind == 'gyr' and part == 1 else f'_{part}'}_csv.zip": zip_bytes(
                    sensor(kind, "shin", "climbingup" if part == 1 else f"climbingup_{part}", start, value + part)
                )
                for part in (1, 2)
            }
            members[f"{data}{kind}_climbingup_csv.zip"] = zip_bytes(parts)
        members[f"{data}mic_walking_csv.zip"] = b"not looked into"
    return members


def shoaib(bad: float = 0.0) -> Members:
    fields = ["time_stamp", "Ax", "Ay", "Az", "Lx", "Ly", "Lz", "Gx", "Gy", "Gz", "Mx", "My", "Mz", ""]
    phones = [",".join(["1.39E+12", *(f"{p + k / 100 + bad:g}" for k in range(1, 13))]) for p in range(5)]
    rows = [",,".join(phones) + f",{activity}" for activity in ("walking", "biking", "upsatirs")]
    content = csv("Left_pocket" + "," * 69, ",".join(fields * 5), *rows)
    return {"DataSet/Participant_1.csv": content, "DataSet/Participant_10.csv": content, "DataSet/Readme.txt": b"words"}


def sp_sw_har(bad: float = 0.0) -> Members:
    rows = [
        f"0.5,-3.5,{9.1 + bad},0.1,0.2,0.3,{1657533977810 + 9 * i},{a}" for i, a in enumerate(("SEATED", "TURNING"))
    ]
    content = csv("x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label", *rows)
    top = "GeoTecINIT-sp-sw-har-dataset-25bcf90/DATA/"
    return {
        f"{top}s01/s01_01_sp.csv": content,
        f"{top}s01/s01_01_sw.csv": content,
        f"{top}s23/s23_09_sw.csv": content,
        f"{top}subjects_info.csv": b"subject\n",
    }


def usc_had(bad: float = 0.0) -> Members:
    readings = np.tile([1.0, 0.0, 0.0, 180.0, 0.0, -90.0 + bad], (4, 1))
    content = mat(sensor_readings=readings, subject=np.array(["1"]), title=np.array(["USC Human Motion Database"]))
    return {f"USC-HAD/Subject{s}/a{a}t5.mat": content for s, a in ((1, 1), (14, 12))} | {"USC-HAD/Readme.txt": b""}


def utd_mhad(bad: float = 0.0) -> Members:
    readings = np.tile([0.0, -1.0, 0.0, 180.0, 0.0, -90.0 + bad], (107, 1))
    return {f"Inertial/{clip}_inertial.mat": mat(d_iner=readings) for clip in ("a1_s1_t1", "a27_s8_t2")}


def utd_mhad_skeleton(bad: float = 0.0) -> Members:
    joints = np.arange(20 * 3 * 4, dtype=float).reshape(20, 3, 4) / 100 + bad
    return {f"Skeleton/{clip}_skeleton.mat": mat(d_skel=joints) for clip in ("a1_s1_t1", "a27_s8_t2")}


def utd_mhad_depth() -> Members:
    images = np.zeros((240, 320, 2), np.uint16)
    images[0, 1, 0], images[239, 319, 1] = 1500, 2500
    return {f"Depth/{clip}_depth.mat": mat(d_depth=images) for clip in ("a1_s1_t1", "a27_s8_t2")}


def wisdm(bad: float = 0.0) -> Members:
    """A stretch whose times rise, one with a time of 0, two records on a line, one that is cut in a hundred."""
    rows = [f"33,Jogging,{49105962326000 + 50_000_000 * i},-0.7,12.7,{0.5 + bad};" for i in range(100)]
    rows += [
        "33,Sitting,0,0.1,0.2,9.8;33,Sitting,0,0.1,0.2,9.8;",
        "17,Walking,49394992294000,0.84,",
        "",
        "17,Upstairs,1,1,2,3,;",
    ]
    return {"WISDM_ar_v1.1/WISDM_ar_v1.1_raw.txt": "\n".join(rows).encode(), "WISDM_ar_v1.1/readme.txt": b""}


def wisdm_2019(bad: float = 0.0) -> Members:
    """As the UCI repository serves it: a zip inside a zip."""
    inner = wisdm_2019_files(bad)
    return {"wisdm-dataset.zip": zip_bytes(inner | {"wisdm-dataset/activity_key.txt": b"walking = A\n"})}


def wisdm_2019_files(bad: float = 0.0) -> Members:
    """Person 1600 walks (A) and folds (S); 1650 has no gyroscope while walking."""

    def rows(person: int, letters: str, value: float) -> bytes:
        return "".join(
            f"{person},{letter},{252207666810782 + 50_000_000 * i},{value + i},{value},{value + bad};\n"
            for letter in letters
            for i in range(3)
        ).encode()

    inner = {}
    for device in ("phone", "watch"):
        for person, acc, gyro in ((1600, "AS", "AS"), (1650, "AS", "S")):
            for kind, letters, value in (("accel", acc, 8.0), ("gyro", gyro, 1.0)):
                name = f"wisdm-dataset/raw/{device}/{kind}/data_{person}_{kind}_{device}.txt"
                inner[name] = rows(person, letters, value)
    return inner


def _hapt(bad: float = 0.0) -> Members:
    return {k: v.replace(b"0 0 1\n", f"0 0 {1 + bad}\n".encode()) for k, v in hapt_members().items()}


def _motionsense(bad: float = 0.0) -> Members:
    return {k: v.replace(b",0,0,-1,", f",0,0,{-1 + bad},".encode()) for k, v in motionsense_members().items()}


def _uci_har(bad: float = 0.0) -> Members:
    old, new = b"  1.0000000e+000", b"             nan" if bad else b"  1.0000000e+000"
    return {k: v.replace(old, new) for k, v in uci_har_members().items()}


def _seglearn(bad: float = 0.0) -> Members:
    return {"": seglearn_npy([np.full((3, 6), 1 + bad), np.ones((2, 6))])}


SMALL: dict[str, Callable[..., Members]] = {
    "basicmotions": basicmotions,
    "capture24": capture24,
    "cosmo_mhad": cosmo_mhad,
    "daphnet": daphnet,
    "goat": goat,
    "hapt": _hapt,
    "hhar": hhar,
    "hugadb": hugadb,
    "mobiact": mobiact,
    "motionsense": _motionsense,
    "mri": mri,
    "mri_radar": mri,
    "pamap2": pamap2,
    "pamap2_heart_rate": pamap2,
    "pvs": pvs,
    "realworld": realworld,
    "seglearn_watch": _seglearn,
    "shoaib": shoaib,
    "sp_sw_har": sp_sw_har,
    "uci_har": _uci_har,
    "usc_had": usc_had,
    "utd_mhad": utd_mhad,
    "utd_mhad_depth": utd_mhad_depth,
    "utd_mhad_skeleton": utd_mhad_skeleton,
    "wisdm": wisdm,
    "wisdm_2019": wisdm_2019,
}


def write_small(path: Path, name: str, members: Members | None = None) -> Path:
    """The small archive of a data set in its own container: a zip, but for a .tar.gz and a bare .npy."""
    members = SMALL[name]() if members is None else members
    if path.name.endswith(".npy"):
        path.write_bytes(next(iter(members.values())))
        return path
    return write_tar(path, members, "gz") if path.name.endswith(".gz") else write_zip(path, members)
