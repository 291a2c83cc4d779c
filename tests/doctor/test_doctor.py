"""Machines made of files and answers, each with what is known to be wrong with it; and this machine, in a process."""

import json
import os
import shutil
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from runtime.engine.auto.measure import Candidate, Measured
from sdk.demo.__main__ import DATA
from sdk.doctor import Finding, Host, examine
from sdk.doctor.__main__ import describe, main
from sdk.doctor.clocks import Wall, clocks, speed
from sdk.doctor.devices import meters, nodes
from sdk.doctor.engines import engines, threads
from sdk.doctor.finding import NOTE, OK, PROBLEM
from sdk.doctor.host import import_ending
from sdk.doctor.libraries import libraries, system
from sdk.doctor.machine import board, room
from sdk.doctor.raw import raw
from tests.board_trees import BOARDS, Firmware, agx_orin, orin_nano, pi4, pi5, rapl, write_tree
from tests.waiting import PATIENCE_S

WALK = DATA / "walk.bundle"
BROKEN = Path(__file__).parent / "broken"
GOOD = {"numpy": "2.2.6", "onnxruntime": "1.31.1", "psutil": "7.2.2"}
CORTEX_A72 = {"proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd08\nSerial\t\t: 10000000abcdef01"}
CORTEX_A76 = {"proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd0b"}


@pytest.fixture
def tree(tmp_path):
    return partial(write_tree, tmp_path / "root")


def host(root="/nowhere", versions=None, endings=None, **more):
    """A machine of today's 64-bit Raspberry Pi OS on which all libraries are well."""
    known = {"machine": "aarch64", "bits": 64, "python": (3, 11, 2), "libc": ("glibc", "2.36"), "environ": {}}
    answers = {
        "version_of": (versions or GOOD).get,
        "probe": lambda module: (endings or {}).get(module, ""),
        "may": lambda path, mode: True,
        "free_bytes": lambda path: 5 << 30,
        "clock_is_set": lambda: True,
    }
    return Host(root=Path(root), **{**known, **answers, "cores": 4, **more})


def states(findings):
    return {finding.topic: finding.state for finding in findings}


def one(findings, topic):
    (found,) = (finding for finding in findings if finding.topic == topic)
    return found


# ---- boards


@pytest.mark.parametrize("name", BOARDS)
def test_the_meter_of_every_recorded_board_is_found(tree, name):
    files, _, _, source, _, _ = BOARDS[name]
    found = list(meters(host(tree(files()), gencmd=Firmware() if name == "pi5" else None)))
    kind = source.partition(":")[0]
    assert one(found, f"meter {kind}").state == OK
    assert source in one(found, f"meter {kind}").text
    expected = (NOTE, "not measured") if kind == "battery" else (OK, f"auto takes {source}")  # a battery only by name
    assert (one(found, "energy").state, one(found, "energy").text[: len(expected[1])]) == expected
    assert not any(finding.state == PROBLEM for finding in found)
    assert len(found) == 7


def test_a_raspberry_pi_4_is_told_that_it_has_no_sensor(tree):
    found = one(meters(host(tree(pi4()))), "energy")
    assert found.state == NOTE
    assert "Raspberry Pi 4 Model B Rev 1.4 has no power sensor: put an INA226 or INA228 into its supply" in found.text


@pytest.mark.parametrize(
    ("bits", "state", "words", "cures"),
    [
        ("0x0", OK, ["none now, none since boot"], []),
        ("0x50000", NOTE, ["under-voltage since boot", "throttled since boot"], ["power supply", "fan"]),
        ("0x50005", PROBLEM, ["under-voltage now", "throttled now"], ["power supply", "fan"]),
        ("0x80008", PROBLEM, ["soft temperature limit now"], ["fan"]),
    ],
)
def test_throttling_of_a_raspberry_pi(tree, bits, state, words, cures):
    found = one(board(host(tree(pi5()), gencmd=Firmware(throttled=f"throttled={bits}"))), "throttling")
    assert found.state == state
    assert all(word in found.text for word in words)
    assert all(cure in found.fix for cure in cures)
    assert ("power supply" in found.fix) == ("power supply" in cures)


def test_over_currents_of_a_jetson(tree):
    root = tree(agx_orin() | {"sys/class/hwmon/hwmon9/name": "soctherm_oc", "sys/class/hwmon/hwmon9/oc1_event_cnt": 3})
    found = one(board(host(root)), "throttling")
    assert (found.state, found.text) == (NOTE, "over-current at soctherm_oc oc1_event_cnt (3)")
    assert "power supply" in found.fix


def test_a_board_that_is_hot(tree):
    zone = "sys/class/thermal/thermal_zone0/temp"
    assert one(board(host(tree({zone: 82300}))), "temperature").state == NOTE
    assert one(board(host(tree({zone: 61000}))), "temperature").text == "61.0 °C"


# ---- Python and wheels


@pytest.mark.parametrize(
    ("changes", "topic", "text", "fix"),
    [
        ({"bits": 32, "machine": "armv7l"}, "word size", "32-bit Python on armv7l", "64-bit system"),
        ({"bits": 32}, "word size", "32-bit Python on aarch64", "64-bit system"),
        ({"python": (3, 9, 2)}, "python", "Python 3.9.2", "3.10 or newer"),
        ({"libc": ("", "")}, "C library", "no glibc", "Debian"),
        ({"libc": ("glibc", "2.24")}, "C library", "glibc 2.24", "Update the system"),
    ],
)
def test_systems_without_wheels(changes, topic, text, fix):
    found = one(system(host(**changes)), topic)
    assert found.state == PROBLEM
    assert text in found.text
    assert fix in found.fix
    assert not any(state == PROBLEM for state in states(system(host())).values())


def test_telemetry():
    assert one(system(host()), "telemetry").state == OK
    found = one(system(host(environ={"ORT_DISABLE_TELEMETRY": "0"})), "telemetry")
    assert found.state == NOTE
    assert "export ORT_DISABLE_TELEMETRY=1" in found.fix


@pytest.mark.parametrize(
    ("core", "package", "version", "state", "fix"),
    [
        (CORTEX_A72, "onnxruntime", "1.21.0", PROBLEM, "onnxruntime!=1.21.0"),
        (CORTEX_A72, "onnxruntime", "1.21.1", OK, ""),
        (CORTEX_A72, "onnxruntime", "1.16.3", PROBLEM, "onnxruntime>=1.19"),
        (CORTEX_A76, "onnxruntime", "1.21.0", OK, ""),
        (CORTEX_A72, "torch", "2.10.0", OK, ""),  # its import came back
        (CORTEX_A72, "torch", "2.9.1", OK, ""),
        (CORTEX_A72, "torch", "2.6.0", NOTE, "torch==2.9.1"),
        (CORTEX_A76 | pi5(), "torch", "2.11.0", NOTE, "torch<2.11"),
        (CORTEX_A76 | pi5(), "torch", "2.11.0+cpu", OK, ""),
        (CORTEX_A72 | pi4(), "torch", "2.13.0", NOTE, "torch==2.9.1"),
        (orin_nano(), "torch", "2.13.0", OK, ""),
    ],
)
def test_versions_that_are_known_to_be_bad(tree, core, package, version, state, fix):
    found = one(libraries(host(tree(core), versions=GOOD | {package: version})), f"library {package}")
    assert (found.state, found.facts["version"]) == (state, version)
    assert fix in found.fix
    assert bool(fix) == bool(found.fix)


def test_torch_2_10_on_a_raspberry_pi_4(tree):
    endings, versions = {"torch": "killed by SIGILL"}, GOOD | {"torch": "2.10.0"}
    found = one(libraries(host(tree(CORTEX_A72), versions, endings)), "library torch")
    assert (
        found.text == "2.10.0: import killed by SIGILL; this version is known to die on a Cortex-A72 (Raspberry Pi 4)"
    )
    assert (found.state, "torch==2.9.1" in found.fix) == (PROBLEM, True)


def test_the_same_versions_on_a_pc_are_well(tree):
    versions = GOOD | {"onnxruntime": "1.21.0", "torch": "2.13.0"}
    found = libraries(host(tree({}), versions=versions, machine="x86_64"))
    assert set(states(found).values()) == {OK}


def test_an_import_that_dies_of_an_illegal_instruction(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(BROKEN))
    assert import_ending("onnxruntime") == "killed by SIGILL"
    assert import_ending("no_such_module") == "ModuleNotFoundError: No module named 'no_such_module'"
    assert import_ending("json") == ""


def test_a_library_that_dies_is_a_problem_and_nothing_is_run_with_it(tree):
    versions = GOOD | {"onnxruntime": "1.21.0"}
    found = examine(host(tree(pi4() | CORTEX_A72), versions=versions, endings={"onnxruntime": "killed by SIGILL"}))
    text = one(found.findings, "library onnxruntime").text
    assert text.startswith("1.21.0: import killed by SIGILL; this version dies of an illegal instruction on a Cortex")
    assert one(found.findings, "engines").text == "not run, since onnxruntime does not work"
    assert found.problems == 2
    unknown = libraries(host(endings={"onnxruntime": "killed by SIGILL"}))
    assert "instructions that the processor lacks" in one(unknown, "library onnxruntime").fix


def test_what_is_needed_and_not_there():
    found = libraries(host(versions={"numpy": "2.2.6", "psutil": "7.2.2"}))
    assert one(found, "library onnxruntime").fix == "`pip install onnxruntime`."


def test_two_flavours_of_onnxruntime():
    found = list(libraries(host(versions=GOOD | {"onnxruntime-gpu": "1.31.1"})))
    clash = next(finding for finding in found if "overwrite" in finding.text)
    assert clash.state == PROBLEM
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in clash.fix


# ---- permissions


def forbid(monkeypatch, ending):
    open_file = os.open

    def guarded(path, *args, **options):
        if str(path).endswith(ending):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *args, **options)

    monkeypatch.setattr(os, "open", guarded)


def test_rapl_that_may_not_be_read(tree, monkeypatch):
    forbid(monkeypatch, "energy_uj")
    found = list(meters(host(tree(rapl()))))
    assert one(found, "meter rapl").state == PROBLEM
    assert "sudo chmod a+r /sys/class/powercap/*/energy_uj" in one(found, "meter rapl").fix
    assert "/etc/udev/rules.d/60-rapl.rules" in one(found, "meter rapl").fix


def test_the_firmware_of_a_raspberry_pi_that_may_not_be_asked(tree, monkeypatch):
    forbid(monkeypatch, "vcio")
    machine = host(tree(pi5() | {"dev/vcio": ""}), may=lambda path, mode: False)
    assert one(board(machine), "throttling").state == NOTE
    assert "usermod -aG video" in one(meters(machine), "meter pmic").fix
    found = one(nodes(machine), "firmware")
    assert (found.state, found.text) == (PROBLEM, "/dev/vcio: permission denied")
    assert found.fix == "`sudo usermod -aG video $USER`, then log in again."


@pytest.mark.parametrize(
    ("node", "topic", "group"),
    [
        ("i2c-1", "I2C", "i2c"),
        ("gpiochip0", "GPIO", "gpio"),
        ("ttyUSB0", "serial", "dialout"),
        ("ttyACM1", "serial", "dialout"),
        ("ttyAMA0", "serial", "dialout"),
        ("iio:device0", "IIO", "plugdev"),
    ],
)
def test_nodes_of_sensors(tree, node, topic, group):
    root = tree({f"dev/{node}": "", "dev/tty": "", "dev/ttyS0": ""})
    assert states(nodes(host(root))) == {topic: OK}
    found = one(nodes(host(root, may=lambda path, mode: False)), topic)
    assert (found.state, found.text) == (NOTE, f"/dev/{node}: permission denied")
    assert f"`sudo usermod -aG {group} $USER`" in found.fix


def test_the_default_asks_the_kernel(tree):
    root = tree({"dev/i2c-1": ""})
    (root / "dev/i2c-1").chmod(stat.S_IRUSR)
    may = os.access(root / "dev/i2c-1", os.R_OK | os.W_OK)  # root may whatever the mode says
    assert states(nodes(Host(root=root))) == {"I2C": OK if may else NOTE}


# ---- clocks


CPU = "sys/devices/system/cpu/cpufreq"


def cluster(number, governor, now, most, high):
    files = {"scaling_governor": governor, "scaling_cur_freq": now, "cpuinfo_max_freq": most, "scaling_max_freq": high}
    return {f"{CPU}/policy{number}/{name}": content for name, content in (files | {"scaling_min_freq": 600000}).items()}


def test_governor_and_frequencies(tree):
    root = tree(cluster(0, "ondemand", 1500000, 2400000, 2400000) | cluster(10, "ondemand", 600000, 2000000, 1800000))
    found = list(speed(host(root)))
    assert one(found, "governor").state == NOTE
    assert f"echo performance | sudo tee /{CPU}/policy*/scaling_governor" in one(found, "governor").fix
    text = one(found, "frequency").text
    assert text == "1500 MHz of 2400 MHz, 600 MHz of 2000 MHz; limited to 2400 MHz, 1800 MHz"
    assert one(found, "frequency").state == NOTE


def test_a_board_at_full_speed(tree):
    found = speed(host(tree(cluster(0, "performance", 2400000, 2400000, 2400000))))
    assert states(found) == {"governor": OK, "frequency": OK}


def test_wall_clocks(monkeypatch):
    good = 1.8e9
    assert one(clocks(host(), Wall(), good), "wall clock").text == "synchronised"
    found = one(clocks(host(clock_is_set=lambda: False), Wall(), good), "wall clock")
    assert (found.state, found.text) == (NOTE, "nobody keeps it right (not synchronised)")
    assert one(clocks(host(), Wall(), 3600.0), "wall clock").text == "stands at 1970-01-01"
    wall = Wall()
    wall._ahead_s -= 2.5
    assert one(clocks(host(), wall, good), "wall clock").text == "was moved by 2.5 s while this ran"


def test_a_coarse_monotonic_clock(tree):
    source = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert one(clocks(host(tree({source: "jiffies"})), Wall()), "monotonic clock").state == NOTE
    assert one(clocks(host(tree({source: "arch_sys_counter"})), Wall()), "monotonic clock").state == OK


# ---- room


def memory(free_mb, swap_mb=0, swap_free_mb=0):
    lines = {"MemTotal": 1000, "MemAvailable": free_mb, "SwapTotal": swap_mb, "SwapFree": swap_free_mb}
    return {"proc/meminfo": "\n".join(f"{name}:   {mb * 1000} kB" for name, mb in lines.items())}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (memory(900), {"memory": OK, "swap": OK}),
        (memory(100), {"memory": PROBLEM, "swap": NOTE}),
        (memory(300), {"memory": OK, "swap": NOTE}),
        (memory(300, 500, 400), {"memory": OK, "swap": OK}),
        (memory(300, 900, 100), {"memory": OK, "swap": NOTE}),
    ],
)
def test_memory_and_swap(tree, tmp_path, files, expected):
    found = states(room(host(tree(files)), tmp_path))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("free", "state"), [(50 << 20, PROBLEM), (500 << 20, NOTE), (5 << 30, OK)])
def test_disk(tmp_path, free, state):
    assert one(room(host(free_bytes=lambda path: free), tmp_path), "disk").state == state


@pytest.mark.parametrize(
    ("group", "limit", "quota", "state", "text"),
    [
        ("/", "max", "max 100000", OK, "no limit of memory or processor"),
        ("/", "512000000", "200000 100000", OK, "allows 512 MB of memory and 2 cores"),
        ("/user.slice/a", "max", "50000 100000", NOTE, "allows 0.5 cores"),
        ("/", "64000000", "max 100000", NOTE, "allows 64 MB of memory"),
    ],
)
def test_control_groups(tree, tmp_path, group, limit, quota, state, text):
    folder = f"sys/fs/cgroup{group}"
    root = tree({"proc/self/cgroup": f"0::{group}", f"{folder}/memory.max": limit, f"{folder}/cpu.max": quota})
    found = one(room(host(root), tmp_path), "control group")
    assert (found.state, found.text) == (state, text)


# ---- engines


@pytest.fixture
def bundle():
    from runtime import Bundle

    return Bundle.open(WALK)


def test_golden_windows_on_the_engines_of_this_machine(bundle):
    found = [finding for finding in engines(bundle) if finding.facts]
    assert one(found, "engine onnxruntime").state == OK
    for finding in found:
        assert 0 < finding.facts["relative_error"] < 1e-4
        assert finding.facts["labels_agree"] == 1


def test_an_engine_with_wrong_answers_is_a_problem(bundle, monkeypatch):
    wrong = Measured(Candidate("onnxruntime"), relative_error=0.2, dropped="golden answers off by 2.0e-01")
    monkeypatch.setattr("runtime.engine.auto.choice.measure_apart", lambda *args, **options: (wrong,))
    found = one(engines(bundle), "engine onnxruntime")
    assert (found.state, found.facts["relative_error"]) == (PROBLEM, 0.2)
    assert found.text == "golden windows of walk: golden answers off by 2.0e-01"


def spin(ours_cpu_s, default_cpu_s):
    return lambda bundle: {
        "ours_cpu_s": ours_cpu_s,
        "default_cpu_s": default_cpu_s,
        "period_s": 0.05,
        "threads": 2.0,
    }


@pytest.mark.parametrize(
    ("ours", "default", "state"),
    [(3e-4, 33e-3, OK), (30e-3, 33e-3, PROBLEM), (3e-4, 3e-4, OK), (6e-3, 33e-3, OK)],
)
def test_spinning(bundle, ours, default, state):
    assert one(threads(host(spinning=spin(ours, default)), bundle), "spinning").state == state


def test_spinning_that_cannot_be_measured(bundle):
    def fail(bundle):
        raise OSError("no answer in 60 s")

    found = one(threads(host(spinning=fail), bundle), "spinning")
    assert (found.state, found.text) == (NOTE, "not measured (no answer in 60 s)")


def test_a_bundle_that_does_not_open(tree, tmp_path):
    spoiled = shutil.copytree(WALK, tmp_path / "walk.bundle")
    (spoiled / "model.onnx").write_bytes(b"nothing")
    found = one(examine(host(tree(pi4())), spoiled).findings, "bundle")
    assert found.state == PROBLEM
    assert "model.onnx" in found.text
    assert found.fix


# ---- the command


def test_findings_are_of_three_kinds_and_problems_have_a_fix():
    with pytest.raises(ValueError, match="a problem with its fix"):
        Finding("x", PROBLEM, "broken")
    with pytest.raises(ValueError, match="ok, a note, or"):
        Finding("x", "fine", "")


def test_the_text_of_a_finding():
    text = describe(Finding("meter rapl", PROBLEM, "energy_uj: permission denied", "`sudo chmod a+r x`."))
    assert text.splitlines() == [
        "problem  meter rapl                   energy_uj: permission denied",
        "                                      -> `sudo chmod a+r x`.",
    ]
    assert max(map(len, describe(Finding("x", NOTE, "many words " * 40, "a cure " * 40)).splitlines())) <= 118


def test_the_raw_part_of_a_report(tree):
    files = orin_nano() | CORTEX_A72 | {"boot/firmware/config.txt": "dtoverlay=i2c-sensor,ina226\n# wifi_password=x"}
    files |= {"proc/device-tree/serial-number": "1422219000000", "etc/hostname": "kitchen", "etc/os-release": "ID=a"}
    found = raw(host(tree(files), gencmd=Firmware()))
    (chip,) = found["monitors"].values()
    assert (chip["update_interval"], chip["in1_label"], chip["shunt1_resistor"]) == ("7", "VDD_IN", "5000")
    assert found["files"]["proc/device-tree/model"].startswith("NVIDIA Jetson Orin Nano")
    assert found["config"] == ["dtoverlay=i2c-sensor,ina226"]
    assert found["firmware"]["get_throttled"] == "throttled=0x0"
    assert found["firmware"]["pmic_refresh"]["changes"] == 0
    assert not any(secret in json.dumps(found) for secret in ("1422219", "abcdef01", "kitchen", "password"))


def test_this_machine(tmp_path, capsys, monkeypatch):
    """As a user calls it, but for libraries that are slow to import; what it finds depends on the machine."""
    monkeypatch.setattr("sdk.doctor.libraries.LIBRARIES", {"numpy": "numpy", "onnxruntime": "onnxruntime"})
    report = tmp_path / "doctor.json"
    code = main(["--json", "--report", str(report)])
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["kind"]) == (1, "sensedge doctor")
    kept = json.loads(report.read_text())
    assert set(kept) - set(found) == {"raw"}
    by_state = [finding["state"] for finding in found["findings"]]
    assert code == (1 if by_state.count(PROBLEM) else 0)
    assert (found["problems"], found["notes"]) == (by_state.count(PROBLEM), by_state.count(NOTE))
    by_topic = {finding["topic"]: finding for finding in found["findings"]}
    assert by_topic["engine onnxruntime"]["state"] == OK
    spinning = by_topic["spinning"]
    assert spinning["state"] == OK
    assert 0 < spinning["facts"]["ours_cpu_s"] < 0.01


def test_the_command_survives_a_library_that_kills(monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(BROKEN))
    monkeypatch.setattr("sdk.doctor.libraries.LIBRARIES", {"onnxruntime": "onnxruntime"})
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "import killed by SIGILL" in out
    assert "not run, since onnxruntime does not work" in out
    assert "2 problems" in out


def test_help_starts_at_once():
    """Neither NumPy nor the meters are read for it."""
    command = [sys.executable, "-X", "importtime", "-m", "sdk.doctor", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    names = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines()}
    assert {"argparse", "sdk.doctor"} <= names
    assert not names & {"numpy", "onnxruntime", "psutil", "sdk.meters", "sdk.doctor.run"}
    assert "then the exit code is 1" in done.stdout


def test_keys_without_a_bundle(capsys):
    assert main(["--trust", "vendor.pub"]) == 2
    assert "--trust: expected a bundle with it, got none" in capsys.readouterr().err


def test_a_report_that_cannot_be_written(monkeypatch, capsys):
    monkeypatch.setattr("sdk.doctor.run._all", lambda host, path, opener, source: iter(()))
    assert main(["--report", "/nowhere/doctor.json"]) == 1
    assert "No such file" in capsys.readouterr().err
