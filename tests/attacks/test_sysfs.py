"""Files of /sys and /proc that somebody made up: a pipe does not keep us waiting, a link to /dev/zero fills nothing."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from runtime.engine.auto.device import _text as device_text
from runtime.errors import SensedgeError
from runtime.files.kernel import read_text
from runtime.sources.iio_sysfs import Folder
from sdk.doctor.raw import _content
from sdk.meters.energy import MeterError
from sdk.meters.hwmon import open_hwmon
from sdk.meters.memory import _peak_file
from sdk.meters.rapl import open_rapl
from sdk.meters.sysfs import board_model, int_or_none, read_int, text

KINDS = {
    "a pipe": os.mkfifo,
    "a link to a pipe": lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe")),
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/dev/urandom": lambda path: path.symlink_to("/dev/urandom"),
    "/dev/tty": lambda path: path.symlink_to("/dev/tty"),
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a huge file": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}
LIMIT_S = 60


@pytest.fixture(params=KINDS)
def strange(request, tmp_path):
    def make(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        KINDS[request.param](path)
        return path

    return make


def in_time(act):
    """What it gives or raises, in another thread: a read that waits would hang the test."""
    found = []

    def work():
        try:
            found.append(act())
        except (OSError, ValueError, SensedgeError, MeterError) as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert found, "it hangs"
    return found[0]


def test_one_file(strange, tmp_path):
    path = strange(tmp_path / "name")
    assert isinstance(in_time(lambda: read_text(path)), OSError)
    assert in_time(lambda: text(path)) == ""
    assert in_time(lambda: int_or_none(path)) is None
    assert isinstance(in_time(lambda: read_int(path)), (OSError, ValueError))
    assert in_time(lambda: device_text(path)) == ""
    assert in_time(lambda: _content(path)).startswith("error: ")


@pytest.mark.parametrize("name", ["name", "energy_uj", "max_energy_range_uj"])
def test_rapl(strange, tmp_path, name):
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for file, value in (("name", "package-0"), ("energy_uj", "1000"), ("max_energy_range_uj", "262143328850")):
        (zone / file).write_text(f"{value}\n")
    open_rapl(tmp_path, background=False)
    strange(zone / name)
    assert isinstance(in_time(lambda: open_rapl(tmp_path, background=False)), MeterError)


@pytest.mark.parametrize("name", ["name", "power1_input", "in1_label"])
def test_hwmon(strange, tmp_path, name):
    chip = tmp_path / "sys/class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    for file, value in (("name", "ina226"), ("power1_input", "1000"), ("in1_label", "VDD")):
        (chip / file).write_text(f"{value}\n")
    strange(chip / name)
    in_time(lambda: open_hwmon(tmp_path))


def test_proc(strange, tmp_path):
    strange(tmp_path / "proc/device-tree/model")
    strange(tmp_path / "proc/self/cgroup")
    assert in_time(lambda: board_model(tmp_path)) == ""
    assert in_time(lambda: _peak_file(tmp_path)) is None


def test_iio(strange, tmp_path):
    folder = tmp_path / "iio:device0"
    strange(folder / "in_accel_scale")
    assert isinstance(in_time(lambda: Folder(folder).text("in_accel_scale")), SensedgeError)


def test_what_the_kernel_writes_is_read(tmp_path):
    assert "processor" in read_text("/proc/cpuinfo")
    assert read_text("/proc/self/cgroup") == Path("/proc/self/cgroup").read_text()
    (tmp_path / "value").write_bytes(b"12\xff\n")
    assert read_text(tmp_path / "value") == "12\ufffd\n"
    (tmp_path / "long").write_bytes(b"x" * 300_000)
    assert len(read_text(tmp_path / "long")) == 300_000
