"""Ten boards with a meter and two without, from trees of files: joules of a changing power, and what could mislead."""

import math
import os
import time
from itertools import pairwise

import pytest

from sdk.meters import list_meters, open_meter
from sdk.meters.battery import open_battery
from sdk.meters.energy import MeterError
from sdk.meters.firmware import ask_device, open_firmware
from sdk.meters.hwmon import open_hwmon
from sdk.meters.iio import open_iio
from sdk.meters.jetson import BOARDS as JETSONS
from sdk.meters.jetson import board_of
from sdk.meters.model import open_model
from sdk.meters.nvml import open_nvml
from sdk.meters.pmic import open_pmic, rail_watts
from tests.board_trees import (
    BOARDS,
    HWMON,
    I2C,
    FakeNvml,
    Firmware,
    agx_orin,
    agx_xavier,
    iio,
    ina226_on_a_pi,
    laptop,
    model,
    nano,
    orin_nano,
    pi4,
    pi5,
    rapl,
    single,
)


def meter_of(name, root, clock, firmware):
    """The meter of a board, on a clock that the test turns."""
    opener = {"pmic": open_pmic, "iio": open_iio, "hwmon": open_hwmon, "battery": open_battery}[name]
    more = {"gencmd": firmware} if name == "pmic" else {}
    return opener(root, clock=clock, background=False, **more)


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_that_gets_busy(tree, clock, board):
    """Ten periods idle, one in which the power rises, twenty busy: joules by hand, with rails counted once."""
    files, idle_w, busy_w, source, rails, tier = BOARDS[board]
    firmware = Firmware(core_amps=2.0)
    meter = meter_of(source.split(":")[0], tree(files()), clock, firmware)
    meter.shortest_s = 0.0
    meter.start()
    for i in range(31):
        if i == 10:
            tree(files(busy=True))
            firmware.core_amps = 12.0
        clock.now += meter.period_s
        meter.sample()
    energy = meter.stop()
    truth = meter.period_s * (10 * idle_w + (idle_w + busy_w) / 2 + 20 * busy_w)
    assert energy.joules == pytest.approx(truth, rel=1e-9)
    assert (energy.source, energy.tier, energy.method) == (source, tier, "integrated power")
    assert set(energy.rails) == set(rails)
    assert energy.seconds == pytest.approx(31 * meter.period_s)
    assert energy.n_repeats == 31  # of 33 readings one is the first and one is new
    steps_w = [getattr(rail, "step_w", None) for rail in meter.rails]
    jump_w = busy_w - idle_w  # one change at most, which stands in for a step that the chip does not tell
    rounding = sum((31 * (step_w or jump_w)) ** 2 for step_w in steps_w)
    expected = meter.period_s * math.sqrt((rounding + jump_w**2) / 12)
    # of the steady rails of a Raspberry Pi 5 nothing tells the step
    assert energy.uncertainty_j == (None if board == "pi5" else pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize("board", BOARDS)
def test_auto_and_the_list_agree(tree, board):
    files, _, _, source, rails, tier = BOARDS[board]
    root, firmware = tree(files()), Firmware() if board == "pi5" else None
    by_name = {status.name: status for status in list_meters(root, gencmd=firmware)}
    assert list(by_name) == ["rapl", "hwmon", "iio", "pmic", "nvml", "battery"]
    status = by_name[source.split(":")[0]]
    assert status.found
    assert status.detail.startswith(f"{source}: ")
    assert f"; {tier}" in status.detail
    assert all(rail in status.detail for rail in rails)
    assert status.fix == ""
    assert [name for name, status in by_name.items() if status.found] == [source.split(":")[0]]
    meter = open_meter("battery" if board == "laptop" else "auto", root=root, gencmd=firmware)
    assert (meter.name, meter.tier) == (source, tier)


def test_every_source_that_is_missing_says_what_to_do(tmp_path):
    statuses = list_meters(tmp_path)
    assert [status.found for status in statuses] == [False] * 6
    assert all(status.detail for status in statuses)
    assert [status.name for status in statuses if not status.fix] == ["nvml"]  # a recorded tree has no driver
    assert all(status.fix for status in list_meters() if not status.found)  # this machine


# ---- rails


def test_jetson_totals_hold_no_part():
    for board in JETSONS:
        assert not set(board.total) & set(board.parts)
        assert board_of({*board.total, *board.parts}) == board
    assert board_of({"VDD_SOC", "VDD_CPU_GPU_CV"}) is None


def test_chips_that_change_their_numbers_between_boots(clock, tmp_path_factory):
    for files in (agx_orin, agx_xavier):
        energies = []
        for n in (0, 7):
            root = tmp_path_factory.mktemp("boot")
            for name, content in files(n=n).items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(f"{content}\n")
            meter = open_hwmon(root, clock=clock, background=False)
            meter.start()
            clock.now += 0.01
            energies.append(meter.stop())
        assert energies[0].joules == pytest.approx(energies[1].joules, rel=1e-12)
        assert energies[0].rails == energies[1].rails


def test_a_disabled_channel_that_answers_enodata(tree, monkeypatch):
    """The third channel of an AGX Orin's second chip: its read fails with errno 61."""
    root = tree(agx_orin())
    read, opened = os.read, {}
    open_file = os.open

    def remember(path, *args, **options):
        handle = open_file(path, *args, **options)
        opened[handle] = str(path)
        return handle

    def guarded(handle, n):
        if opened.get(handle, "").endswith(("hwmon4/in3_input", "hwmon4/curr3_input")):
            raise OSError(61, "No data available")
        return read(handle, n)

    monkeypatch.setattr(os, "open", remember)
    monkeypatch.setattr(os, "read", guarded)
    assert open_hwmon(root).rails[-1].name == "VIN_SYS_5V0"
    tree({f"{I2C}/ina3221/1-0041/hwmon/hwmon4/in3_label": "VDD_ODD"})
    with pytest.raises(MeterError, match="ina3221 has no rail VDD_ODD: it has"):
        open_hwmon(root, "ina3221:VDD_ODD")


def test_a_total_whose_label_is_missing(tree):
    """The rails that are left are not a total, and a sum of whatever is there would be one."""
    files = agx_orin()
    del files[f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in2_label"]
    meter = open_meter(root=tree(files))
    assert "no total is known for the rails VDDQ_VDD2_1V8AO, VDD_GPU_SOC, VIN_SYS_5V0" in meter.reason
    assert "hwmon:CHIP:VDDQ_VDD2_1V8AO+VDD_GPU_SOC+VIN_SYS_5V0" in meter.reason


def test_rails_by_name_of_any_chip(tree, clock):
    other = single("nct6775", f"{HWMON}/hwmon9", power1_average=5000000, power1_label="CPU", energy2_input=7)
    root = tree(orin_nano() | other)
    parts = open_hwmon(root, "ina3221:VDD_SOC+VDD_CPU_GPU_CV", clock=clock, background=False)
    parts.start()
    clock.now += 0.01
    energy = parts.stop()
    assert energy.joules == pytest.approx((5008 * 296 + 5016 * 184) / 1e6 * 0.01)
    assert (energy.rails, energy.tier) == (("VDD_SOC", "VDD_CPU_GPU_CV"), "partial")
    assert open_meter("hwmon:nct6775:CPU", root=root).rails[0].read() == 5
    assert open_meter("hwmon:nct6775:power1", root=root).rails[0].name == "CPU"
    assert open_meter("hwmon:nct6775:energy2", root=root).method == "counter"
    assert "cannot be summed" in open_meter("hwmon:nct6775:CPU+energy2", root=root).reason
    assert (
        open_meter("hwmon:nct6775:power7", root=root).reason
        == "nct6775 has no rail power7: it has energy2, power1, CPU"
    )
    assert open_meter("hwmon:it87:power1", root=root).reason.startswith(
        "no it87 under /sys/class/hwmon: load the driver"
    )


def test_garbage_in_the_total_of_jetpack_4(tree):
    """It takes that rail away; the parts are no stand-in for it."""
    root = tree(nano() | iio("6-0040/iio:device0", ("POM_5V_IN", "garbage")))
    with pytest.raises(MeterError, match="ina3221x: no total is known for the rails POM_5V_CPU, POM_5V_GPU"):
        open_iio(root)


@pytest.mark.parametrize(
    ("board", "says"),
    [
        (pi4(), "Raspberry Pi 4 Model B Rev 1.4 has no power sensor: put an INA226"),
        (model("NVIDIA Jetson Nano 2GB Developer Kit"), "the Jetson Nano 2GB has no power monitor: put an INA226"),
        (pi5(), "no /dev/vcio; put an INA226"),
        ({}, "no /dev/vcio; put an INA226"),
    ],
)
def test_boards_without_a_meter_are_told_so(tree, board, says):
    meter = open_meter(root=tree(board))
    assert meter.name == "none"
    assert says in meter.reason
    assert meter.reason.endswith("docs/meters.md")


# ---- chips with a shunt


def test_the_shunt_is_told_and_gives_the_step(tree, clock):
    root = tree(ina226_on_a_pi())
    (status,) = [status for status in list_meters(root) if status.name == "hwmon"]
    assert status.detail.endswith("shunt 10 mOhm: a wrong value here scales every figure")
    # data sheet: 25 V * 2.5 uV / 10 mOhm = 6.25 mW
    assert open_hwmon(root).rails[0].step_w == pytest.approx(0.00625)
    tree(single("ina219", f"{HWMON}/hwmon3", power1_input=5, shunt_resistor=100000))
    assert open_hwmon(root, "ina219").rails[0].step_w == pytest.approx(0.002)  # 20 V * 10 uV / 100 mOhm


def test_the_step_of_an_ina3221(tree):
    """Orin Nano: 40 uV / 5 mOhm = 8 mA at 5.016 V, and 8 mV at 0.976 A."""
    assert open_hwmon(tree(orin_nano())).rails[0].step_w == pytest.approx(5.016 * 0.008 + 0.976 * 0.008)
    tree({f"{I2C}/ina3221/1-0040/hwmon/hwmon1/shunt1_resistor": 0})
    assert open_hwmon(tree({})).rails[0].step_w is None


# ---- Raspberry Pi 5


def test_pmic_lines_are_paired_by_name():
    assert rail_watts(Firmware()("pmic_read_adc")) == {"3V3_SYS": 2.0, "VDD_CORE": 1.0, "3V7_WL_SW": 0.0}
    real = """
     3V7_WL_SW_A current(0)=0.00000000A
       3V3_SYS_A current(1)=0.06245952A
      VDD_CORE_A current(7)=10.87674000A
          HDMI_A current(22)=0.01367520A
     3V7_WL_SW_V volt(8)=3.79999600V
       3V3_SYS_V volt(9)=3.30632200V
      VDD_CORE_V volt(15)=0.89745940V
          HDMI_V volt(23)=5.07056000V
         EXT5V_V volt(24)=5.06788000V
          BATT_V volt(25)=3.01110800V
    """
    assert sum(rail_watts(real).values()) == pytest.approx(0.2065113 + 9.7614325 + 0.0693409, abs=1e-6)


@pytest.mark.parametrize("answer", ["", 'error=1 error_msg="Command not registered"', "EXT5V_V volt(24)=5.06788000V"])
def test_firmware_without_a_pmic(tree, answer):
    """A Raspberry Pi 4 has the command; its firmware answers with an error."""
    meter = open_meter(root=tree(pi4()), gencmd=lambda command: answer)
    assert meter.name == "none"
    assert "the firmware gave no volts and amperes to pmic_read_adc" in meter.reason
    assert "has no power sensor" in meter.reason


def test_corrections_of_the_pmic_are_labelled(clock):
    """3 W on the rails: 1.1451 * 3 + 0.5879 = 4.0232 W, for two seconds."""
    for line, watts in (("jfikar", 4.0232), ("1.2,0.5", 4.1), ("", 3.0)):
        meter = open_pmic(line=line, gencmd=Firmware(), clock=clock, background=False)
        meter.start()
        for _ in range(20):
            clock.now += 0.1
            meter.sample()
        energy = meter.stop()
        assert energy.joules == pytest.approx(2 * watts, rel=1e-9)
        assert energy.source == (f"pmic+linear({line})" if line else "pmic")
        assert energy.tier == ("estimated" if line else "partial")
        assert str(energy).startswith("~" if line else "6 J (pmic: 3V3_SYS + VDD_CORE + 3V7_WL_SW; partial")
    assert open_meter("pmic:best", gencmd=Firmware()).reason == (
        "no correction 'best': take one of jfikar or SLOPE,WATTS"
    )


def test_a_pmic_that_loses_a_rail(clock):
    firmware = Firmware()
    meter = open_pmic(gencmd=lambda command: firmware(command), clock=clock, background=False)
    meter.start()
    firmware = lambda command: "   3V3_SYS_A current(1)=0.5A\n   3V3_SYS_V volt(9)=4.0V\n"  # noqa: E731
    clock.now += 0.1
    assert meter.stop().reason == "incomplete: pmic_read_adc gave no VDD_CORE"


def test_one_question_per_sample_of_the_pmic(clock):
    asked = []
    meter = open_pmic(
        gencmd=lambda command: asked.append(command) or Firmware()(command), clock=clock, background=False
    )
    asked.clear()
    run = meter.start, meter.sample, meter.stop
    for step in run:
        step()
    assert asked == ["pmic_read_adc"] * 3


def test_the_device_of_the_firmware(tree, monkeypatch):
    """The message that the ioctl gets and gives, word for word as vcgencmd lays it out."""
    import fcntl
    import struct

    seen = []

    def ioctl(handle, request, message, mutate):
        seen.append((request, struct.unpack_from("=6I", message), bytes(message[24:]).rstrip(b"\0"), len(message)))
        answer = b"throttled=0x50005"
        message[24 : 24 + len(answer) + 1] = answer + b"\0"

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    root = tree({"dev/vcio": ""})
    assert open_firmware(root)("get_throttled") == "throttled=0x50005"
    request, words, command, size = seen[-1]
    assert request == 0xC0086400
    assert words == (size, 0, 0x00030080, 4096, 0, 0)
    assert (command, size) == (b"get_throttled", 24 + 4096 + 4)
    monkeypatch.setattr(fcntl, "ioctl", lambda handle, request, message, mutate: struct.pack_into("=I", message, 20, 1))
    with pytest.raises(OSError, match="answered 'version' with error 1"):
        ask_device(root / "dev/vcio", "version")


def test_the_device_of_the_firmware_is_forbidden(tree, monkeypatch):
    open_file = os.open

    def guarded(path, *args, **options):
        if str(path).endswith("vcio"):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *args, **options)

    monkeypatch.setattr(os, "open", guarded)
    meter = open_meter(root=tree(pi5() | {"dev/vcio": ""}))
    assert meter.reason.endswith("/dev/vcio: permission denied: `sudo usermod -aG video $USER`, then log in again")


# ---- graphics cards, batteries, the model


def test_a_graphics_card(clock):
    nvml = FakeNvml()
    meter = open_nvml(nvml=nvml, clock=clock, background=False)
    meter.start()
    clock.now += 10
    nvml.energy_mj += 123_456
    energy = meter.stop()
    assert energy.joules == pytest.approx(123.456)
    assert (energy.source, energy.rails, energy.tier) == ("nvml", ("Fake Card",), "partial")
    # 1 mJ steps, 12.3456 W that may be 0.1 s old: sqrt((0.001^2 + 1.23456^2) / 6)
    assert energy.uncertainty_j == pytest.approx(0.504007, rel=1e-5)


@pytest.mark.parametrize(
    ("nvml", "index", "says"),
    [
        (FakeNvml(error="Library Not Found"), "", "NVML: Library Not Found: install the driver of the card"),
        (
            FakeNvml(error="Not Supported"),
            "",
            "NVML: no energy counter: Fake Card: Not Supported: on a Jetson take hwmon",
        ),
        (FakeNvml(names=("A", b"B")), "", "NVML: 2 cards: name one as nvml:INDEX"),
        (FakeNvml(), "1", "NVML: 1 cards: name one as nvml:INDEX"),
        (FakeNvml(names=()), "", "NVML: 0 cards"),
    ],
)
def test_graphics_cards_that_cannot_be_measured(nvml, index, says):
    with pytest.raises(MeterError) as caught:
        open_nvml(index, nvml=nvml)
    assert str(caught.value).startswith(says)


class Ramp(FakeNvml):
    """A card whose power rises by 10 W each second from 50 W on."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.began_s = clock, clock()

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        return 1000 * (50 + 10 * (self.clock() - self.began_s))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        seconds = self.clock() - self.began_s
        return 1000 * (50 * seconds + 5 * seconds**2)


def installed_card():
    """This machine's own, or skip."""
    nvml = pytest.importorskip("pynvml", reason='needs an NVIDIA GPU and pip install "sensedge[nvml]"')
    try:
        open_nvml(nvml=nvml)
    except MeterError as error:
        pytest.skip(f"needs an NVIDIA GPU: {error}")
    return nvml


@pytest.mark.parametrize("card", ["fake", pytest.param("real", marks=pytest.mark.gpu)])
def test_the_counter_of_a_card_is_the_integral_of_its_power(card, clock):
    """Over ten seconds, 50 samples of power each; of the fake: 50 W * 10 s + 5 W/s * (10 s)^2 = 1000 J."""
    nvml, now, tolerance = (Ramp(clock), clock, 1e-6) if card == "fake" else (installed_card(), time.monotonic, 0.1)
    meter = open_nvml(nvml=nvml, clock=now, background=False)
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    samples = []
    meter.start()
    for i in range(51):
        samples.append((now(), nvml.nvmlDeviceGetPowerUsage(handle) / 1000))
        if i == 50:
            break
        if card == "fake":
            clock.now += 0.2
        else:
            time.sleep(0.2)
    joules = meter.stop().joules
    integral = sum((b - a) * (p + q) / 2 for (a, p), (b, q) in pairwise(samples))
    print(f"counter {joules:.2f} J, integral of the power {integral:.2f} J")
    assert joules == pytest.approx(integral, rel=tolerance)
    assert card == "real" or joules == pytest.approx(1000)


def test_the_second_of_two_cards():
    assert open_nvml("1", nvml=FakeNvml(names=("A", b"B"))).rails[0].name == "B"


def test_a_window_that_is_too_short_for_a_battery(tree, clock):
    meter = open_battery(tree(laptop()), clock=clock, background=False)
    meter.start()
    clock.now += 2
    assert meter.stop().reason == "2 s are too short for this slow sensor: measure at least 600 s"


def test_a_battery_that_is_charged(tree, clock):
    root = tree(laptop())
    meter = open_battery(root, clock=clock, background=False)
    meter.start()
    tree(laptop(status="Charging"))
    clock.now += 1
    assert meter.stop().reason == "incomplete: BAT0 is Charging: unplug the charger"
    assert open_meter("battery", root=root).reason == "BAT0 is Charging: unplug the charger"


def test_a_battery_that_tells_power(tree):
    files = {
        f"sys/class/power_supply/BAT1/{file}": content
        for file, content in {"type": "Battery", "status": "Discharging", "power_now": 9500000}.items()
    }
    assert open_battery(tree(files)).rails[0].read() == 9.5


def stat(user, idle, cores=4):
    """Ticks of user, nice, system, idle, iowait, irq, softirq, steal, guest (in user already) and guest_nice."""
    row = f"{user // 4} {user // 4} {user // 4} {idle // 2} {idle // 2} {user // 4} 0 0 {user // 4} 0"
    return {"proc/stat": f"cpu  {row}\n" + "".join(f"cpu{i} {row}\n" for i in range(cores)) + "intr 1"}


def test_the_model_by_hand(tree, clock):
    """Pi 4 (rev. 1.2 and later): 2.286 W idle. 10 s, half of the ticks of them busy: 22.86 + 4.534 * 5 J."""
    root = tree(pi4() | stat(1000, 5000))
    meter = open_model(root, clock=clock, background=False)
    meter.start()
    for second in range(1, 11):
        tree(stat(1000 + 200 * second, 5000 + 200 * second))
        clock.now += 1
        meter.sample()
    energy = meter.stop()
    assert energy.joules == pytest.approx(22.86 + 22.67, rel=1e-9)
    assert (energy.tier, energy.method) == ("estimated", "model")
    assert energy.source == "model:powerjoular(Raspberry Pi 4 Model B)"
    assert energy.uncertainty_j == pytest.approx(0.3 * energy.joules)
    assert str(energy) == "~45.53 J (model:powerjoular(Raspberry Pi 4 Model B): board; estimated)"


def test_the_model_is_never_chosen_by_itself(tree):
    root = tree(pi4() | stat(1, 1))
    assert open_meter(root=root).name == "none"
    assert open_meter("model", root=root).name == "model:powerjoular(Raspberry Pi 4 Model B)"
    assert open_meter("model:2.5,4", root=root).name == "model:own(2.5,4)"
    assert open_meter("model:low", root=root).reason == "no line 'low': give IDLE_W,SLOPE_W, as model:2.1,4.2"
    tree(model("Some Board"))
    assert open_meter("model", root=root).reason.startswith("no power model of Some Board: give your own line")


def test_a_pc_counts_its_package_only(tree):
    root = tree(rapl())
    meter = open_meter(root=root)
    meter.start()
    tree(rapl(energy_uj=3500000, core_uj=900))
    energy = meter.stop()
    assert energy.joules == pytest.approx(2.5)
    assert (energy.rails, energy.tier) == (("package-0",), "partial")
