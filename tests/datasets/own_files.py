"""Recordings of one's own, as loggers and apps write them: some people who sit for 8 s and then walk for 8 s."""

import json
import zipfile

import numpy as np

G = 9.80665
PART_S = 8.0
SPANS = [(0.0, PART_S, "Sitting"), (PART_S, 2 * PART_S, "walking")]
TOML = """
name = "ward"
rate_hz = 50
[signal.acc]
[signal.gyro]
"""


def motion(seed=0, rate_hz=50.0, begin_s=0.0):
    """Times, acceleration in m/s^2 and rotation in rad/s of 16 s, each of shape (n, ...)."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(2 * PART_S * rate_hz)) / rate_hz + begin_s
    moves = (t >= begin_s + PART_S)[:, None]
    swing = np.sin(2 * np.pi * 2 * (t - begin_s))[:, None]
    acc = np.array([0.2, -0.3, 9.78]) + moves * swing * [2, 1, 4] + rng.normal(0, 0.02, (len(t), 3))
    gyro = moves * swing * [1.0, 0.4, 0.2] + rng.normal(0, 0.005, (len(t), 3))
    return t, acc, gyro


def lines(header, table, fmt="%.6f", separator=","):
    rows = [separator.join(fmt % cell for cell in row) for row in table]
    return "\n".join([header, *rows]) + "\n"


def write_set(folder, toml="", people=("anna", "ben"), **options):
    """One .csv per person, with a column of labels, in g and deg/s where `toml` says so."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, person in enumerate(people):
        write_csv(folder / f"{person}_1.csv", seed=i, **options)
    (folder / "dataset.toml").write_text(toml or TOML + '[people]\npattern = "{subject}_{session}"\n')
    return folder


def write_csv(path, *, seed=0, rate_hz=50.0, scale=(1.0, 1.0), labelled=True, header="t,ax,ay,az,gx,gy,gz"):
    t, acc, gyro = motion(seed, rate_hz)
    rows = [",".join(f"{v:.5f}" for v in row) for row in np.column_stack([t, acc / scale[0], gyro / scale[1]])]
    if labelled:
        header += ",activity"
        rows = [f"{row},{SPANS[int(s >= PART_S)][2]}" for row, s in zip(rows, t, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")


def sensor_logger(begin_ns=1717400000_000000000):
    """Files of Sensor Logger's zip: one per sensor, each with its own times, columns z, y, x."""
    t, acc, _ = motion(0, 100.0)
    t_gyro, _, gyro = motion(0, 90.0)
    files = {}
    parts = {
        "TotalAcceleration": (t + 0.003, acc),
        "Accelerometer": (t + 0.003, acc - [0, 0, G]),
        "Gravity": (t + 0.003, 0 * acc + [0, 0, G]),
        "Gyroscope": (t_gyro + 0.011, gyro),
    }
    for name, (own, xyz) in parts.items():
        rows = [
            f"{begin_ns + round(s * 1e9)},{s:.6f},{z:.9f},{y:.9f},{x:.9f}"
            for s, (x, y, z) in zip(own, xyz, strict=True)
        ]
        files[f"{name}.csv"] = "\n".join(["time,seconds_elapsed,z,y,x", *rows]) + "\n"
    files["Annotation.csv"] = "time,seconds_elapsed,text,millisecond_press_duration\n"
    files["Metadata.csv"] = "version,device name,recording epoch time,platform\n3,Pixel 6,1717400000000,android\n"
    return files


def sensor_logger_json():
    """The same as one list of objects, in which every value is a text."""
    rows = [{"sensor": "Metadata", "version": "3", "device name": "Pixel 6", "platform": "android"}]
    for name, text in sensor_logger().items():
        if name.startswith(("Total", "Gyro")):
            for row in text.splitlines()[1:]:
                cells = dict(zip(("time", "seconds_elapsed", "z", "y", "x"), row.split(","), strict=True))
                rows.append({"sensor": name.removesuffix(".csv"), **cells})
    rows.append({"sensor": "Location", "time": "1717400001000000000", "seconds_elapsed": "1", "latitude": "52"})
    return json.dumps(rows)


def phyphox():
    """Files of phyphox's zip: quoted headers with units, numbers with exponents, a folder meta beside."""
    t, acc, gyro = motion(0, 100.0)
    axes = "xyz"
    files = {}
    for name, word, unit, xyz in (
        ("Accelerometer", "Acceleration", "m/s^2", acc),
        ("Gyroscope", "Gyroscope", "rad/s", gyro),
    ):
        header = ",".join(['"Time (s)"', *(f'"{word} {a} ({unit})"' for a in axes), f'"Absolute ({unit})"'])
        table = np.column_stack([t + 0.01, xyz, np.linalg.norm(xyz, axis=1)])
        files[f"{name}.csv"] = lines(header, table, "%.9E")
    files["meta/device.csv"] = '"property","value"\n"deviceModel","Pixel 6"\n'
    files["meta/time.csv"] = '"event","experiment time","system time","system time text"\n"START",0.0E0,1.7E9,"2024"\n'
    return files


def edge_impulse(part, person="anna"):
    """A sample of one label, as Edge Impulse exports it."""
    t, acc, gyro = motion(len(person), 62.5)
    rows = (t >= PART_S) == bool(part)
    names = [f"{sensor}{axis}" for sensor in ("acc", "gyr") for axis in "XYZ"]
    sensors = [{"name": name, "units": "m/s2" if name.startswith("acc") else "rad/s"} for name in names]
    payload = {"device_type": "NANO33BLE", "interval_ms": 16, "sensors": sensors}
    payload["values"] = np.round(np.column_stack([acc, gyro])[rows], 5).tolist()
    return {"protected": {"ver": "v1", "alg": "none", "iat": 1717400000}, "signature": "0" * 64, "payload": payload}


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def write_files(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
