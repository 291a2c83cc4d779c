"""IIO devices as files, with the names, types and scales that their Linux drivers give."""

import struct


def device(number, name, elements, files, *, trigger="", folders=("scan_elements", "buffer")):
    """The files of a device; an element is (name, type), its index its place."""
    at = f"iio:device{number}"
    scan, buffer = folders
    tree = {f"{at}/name": name, f"{at}/{buffer}/enable": 0, f"{at}/{buffer}/length": 2, f"{at}/{buffer}/watermark": 1}
    for i, (element, kind) in enumerate(elements):
        tree |= {f"{at}/{scan}/{element}_{what}": v for what, v in (("en", 0), ("index", i), ("type", kind))}
    if trigger is not None:
        tree[f"{at}/trigger/current_trigger"] = trigger
    return tree | {f"{at}/{file}": content for file, content in files.items()}


XYZ = "xyz"
STAMP = ("in_timestamp", "le:s64/64>>0")


def mpu6050(number=0, **files):
    """Driver inv_mpu6050 at +-2 g and +-2000 degrees per second, its own data-ready trigger set."""
    elements = [
        *((f"in_accel_{axis}", "be:s16/16>>0") for axis in XYZ),
        ("in_temp", "be:s16/16>>0"),
        *((f"in_anglvel_{axis}", "be:s16/16>>0") for axis in XYZ),
        STAMP,
    ]
    raw = {
        f"in_{kind}_{axis}_raw": 100 * i + j
        for i, kind in enumerate(("accel", "anglvel"))
        for j, axis in enumerate(XYZ)
    }
    facts = {
        "in_accel_scale": "0.000598",
        "in_anglvel_scale": "0.001064724",
        "in_temp_raw": -512,
        "in_temp_offset": 12420,
        "in_temp_scale": "2.941176",
        "sampling_frequency": 50,
        "sampling_frequency_available": "10 20 50 100 200 500",
        "current_timestamp_clock": "realtime",
    }
    trigger = {"trigger0/name": f"mpu6050-dev{number}"}
    return device(number, "mpu6050", elements, raw | facts | files, trigger=f"mpu6050-dev{number}") | trigger


def lsm6ds3(kind, number):
    """Driver st_lsm6dsx: accelerometer and gyroscope are two devices, each with its own buffer and no trigger."""
    scale = {"accel": "0.000598205", "anglvel": "0.000152716"}[kind]
    elements = [*((f"in_{kind}_{axis}", "le:s16/16>>0") for axis in XYZ), STAMP]
    facts = {
        f"in_{kind}_scale": scale,
        "sampling_frequency": "12.5",
        "sampling_frequency_available": "12.500 26.000 52.000 104.000 208.000 416.000",
    }
    name = {"accel": "lsm6ds3_accel", "anglvel": "lsm6ds3_gyro"}[kind]
    return device(number, name, elements, facts, trigger=None, folders=("buffer0", "buffer0"))


def pack_mpu6050(accel, anglvel, stamp_ns):
    """A scan with acceleration, rotation and time stamp, temperature off: 12 bytes, 4 of padding, the stamp."""
    return struct.pack(">6h", *accel, *anglvel) + bytes(4) + struct.pack("<q", stamp_ns)
