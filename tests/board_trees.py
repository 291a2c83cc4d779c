"""The files of power monitors as boards have them, and what the firmware of a Raspberry Pi answers.

Values obey the steps of the chips, so that watts are exact: 8 mV, and 40 uV over the shunt. A board is a function of
its load: `busy` turns its main rail up.
"""

import queue

I2C = "sys/bus/i2c/drivers"
HWMON = "sys/class/hwmon"


def ina3221(folder, *channels, shunt_uohm=5000, **files):
    """The files of a chip; a channel is (label, mV, mA), and its label may be None."""
    tree = {"name": "ina3221", "in7_label": "sum of shunt voltages", "in7_input": 7280, "curr4_input": 1456}
    for i, (label, mv, ma) in enumerate(channels, start=1):
        tree |= {f"in{i}_input": mv, f"curr{i}_input": ma, f"in{i}_enable": 1, f"shunt{i}_resistor": shunt_uohm}
        tree[f"curr{i}_crit_alarm"] = 0
        if label is not None:
            tree[f"in{i}_label"] = label
    return {f"{folder}/{name}": content for name, content in (tree | {"update_interval": 7} | files).items()}


def single(name, folder=f"{HWMON}/hwmon2", **files):
    return {f"{folder}/{file}": content for file, content in ({"name": name} | files).items()}


def iio(folder, *channels):
    """The files of JetPack 4; a channel is (name, mW)."""
    tree = {}
    for i, (name, mw) in enumerate(channels):
        tree |= {f"rail_name_{i}": name, f"in_power{i}_input": mw, f"crit_current_limit_{i}": "32760 ma"}
    return {f"{I2C}/ina3221x/{folder}/{name}": content for name, content in tree.items()}


def model(name):
    return {"proc/device-tree/model": f"{name}\0"}


def nano(busy=False):
    channels = ("POM_5V_IN", 7875 if busy else 2875), ("POM_5V_GPU", 0), ("POM_5V_CPU", 410)
    return model("NVIDIA Jetson Nano Developer Kit") | iio("6-0040/iio:device0", *channels)


def tx2(busy=False):
    return (
        model("quill")
        | iio("0-0040/iio_device", ("VDD_SYS_GPU", 77), ("VDD_SYS_SOC", 539), ("VDD_4V0_WIFI", 19))
        | iio("0-0041/iio_device", ("VDD_IN", 7930 if busy else 2930), ("VDD_SYS_CPU", 539), ("VDD_SYS_DDR", 727))
        | iio("0-0042/iio_device", ("VDD_MUX", 3900), ("VDD_5V_IO_SYS", 800), ("VDD_3V3_SYS", 100))
    )


def agx_xavier(busy=False, n=1):
    return (
        model("Jetson-AGX")
        | ina3221(
            f"{I2C}/ina3221/1-0040/hwmon/hwmon{n}",
            *(("GPU", 19000, 600 if busy else 100), ("CPU", 19000, 200), ("SOC", 19000, 300)),
        )
        | ina3221(
            f"{I2C}/ina3221/1-0041/hwmon/hwmon{n + 1}", ("CV", 19000, 10), ("VDDRQ", 19000, 20), ("SYS5V", 5000, 1000)
        )
    )


def xavier_nx(busy=False):
    return model("NVIDIA Jetson Xavier NX Developer Kit") | ina3221(
        f"{HWMON}/hwmon4",
        *(("VDD_IN", 5000, 2000 if busy else 1000), ("VDD_CPU_GPU_CV", 5000, 400), ("VDD_SOC", 5000, 200)),
    )


def orin_nano(busy=False, n=1):
    return model("NVIDIA Jetson Orin Nano Developer Kit") | ina3221(
        f"{I2C}/ina3221/1-0040/hwmon/hwmon{n}",
        *(("VDD_IN", 5016, 1976 if busy else 976), ("VDD_CPU_GPU_CV", 5016, 184), ("VDD_SOC", 5008, 296)),
    )


def agx_orin(busy=False, n=3):
    """An unused channel that is called NC, one without a label that answers ENODATA, and a rail behind another."""
    first = f"{I2C}/ina3221/1-0040/hwmon/hwmon{n}"
    second = f"{I2C}/ina3221/1-0041/hwmon/hwmon{n + 1}"
    channels = ("VDD_GPU_SOC", 19688, 660 if busy else 160), ("VDD_CPU_CV", 19688, 60), ("VIN_SYS_5V0", 4968, 1000)
    unused = ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4960, 220), (None, None, None)
    return (
        model("NVIDIA Jetson AGX Orin Developer Kit")
        | ina3221(first, *channels, shunt_uohm=2000)
        | ina3221(second, *unused, shunt_uohm=2000)
    )


def agx_thor(busy=False):
    """A rail that is switched off reads below zero; the whole input has a chip of its own."""
    channels = ("VDD_GPU", 19800, -20), ("VDD_CPU_SOC_MSS", 19800, 200), ("VIN_SYS_5V0", 5000, 1000)
    whole = {"in1_input": 19800, "curr1_input": 1165, "power1_input": 43067000 if busy else 23067000}
    return (
        model("NVIDIA Jetson AGX Thor Developer Kit")
        | ina3221(f"{I2C}/ina3221/2-0040/hwmon/hwmon1", *channels)
        | single("ina238", f"{I2C}/ina238/2-0044/hwmon/hwmon2", **whole)
    )


def pi4(busy=False):
    return model("Raspberry Pi 4 Model B Rev 1.4")


def pi5(busy=False):
    """Its RP1 has a converter that is no power meter; watts come from the firmware."""
    return model("Raspberry Pi 5 Model B Rev 1.0") | single("rp1_adc", f"{HWMON}/hwmon1", in1_input=1480)


def ina226_on_a_pi(busy=False):
    power_uw = 8150000 if busy else 4150000
    return pi4() | single(
        "ina226", shunt_resistor=10000, in0_input=8, in1_input=5104, curr1_input=812, power1_input=power_uw
    )


def rapl(energy_uj=1000000, core_uj=500):
    zones = {"intel-rapl:0": ("package-0", energy_uj), "intel-rapl:0:0": ("core", core_uj), "intel-rapl:1": ("psys", 9)}
    return {
        f"sys/class/powercap/{zone}/{file}": content
        for zone, (name, uj) in zones.items()
        for file, content in (("name", name), ("energy_uj", uj), ("max_energy_range_uj", 262143328850))
    }


def laptop(busy=False, status="Discharging"):
    battery = {"type": "Battery", "status": status, "voltage_now": 12000000}
    battery["current_now"] = -2500000 if busy else -1500000
    contract = {"type": "USB", "status": "Discharging", "voltage_now": 20000000, "current_now": 3000000}
    mouse = {"type": "Battery", "scope": "Device", "status": "Discharging", "power_now": 1}
    folders = {"BAT0": battery, "ucsi-source-psy-x": contract, "hid-mouse": mouse}
    return {
        f"sys/class/power_supply/{folder}/{file}": content
        for folder, files in folders.items()
        for file, content in files.items()
    }


BOARDS = {  # name: files, watts idle and busy, source, rails, tier
    "nano": (nano, 2.875, 7.875, "iio:ina3221x", ("POM_5V_IN",), "measured"),
    "tx2": (tx2, 2.930, 7.930, "iio:ina3221x", ("VDD_IN",), "measured"),
    "agx-xavier": (
        *(agx_xavier, 16.97, 26.47, "hwmon:ina3221"),
        *(("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "measured"),
    ),
    "xavier-nx": (xavier_nx, 5.0, 10.0, "hwmon:ina3221", ("VDD_IN",), "measured"),
    "orin-nano": (orin_nano, 4.895616, 9.911616, "hwmon:ina3221", ("VDD_IN",), "measured"),
    "agx-orin": (
        *(agx_orin, 9.29936, 19.14336, "hwmon:ina3221"),
        *(("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "measured"),
    ),
    "agx-thor": (agx_thor, 23.067, 43.067, "hwmon:ina238", ("power1",), "measured"),
    "pi5": (pi5, 3.0, 8.0, "pmic", ("3V3_SYS", "VDD_CORE", "3V7_WL_SW"), "partial"),
    "ina226": (ina226_on_a_pi, 4.15, 8.15, "hwmon:ina226", ("power1",), "measured"),
    "laptop": (laptop, 18.0, 30.0, "battery", ("BAT0",), "measured"),
}


class Firmware:
    """What `vcgencmd` answers on a Raspberry Pi 5; amperes first, and the numbers of a rail's two lines differ."""

    def __init__(self, core_amps=2.0, throttled="throttled=0x0"):
        self.core_amps, self.throttled = core_amps, throttled

    def __call__(self, command):
        if command == "get_throttled":
            return self.throttled
        assert command == "pmic_read_adc"
        return (
            f"   3V3_SYS_A current(1)=0.50000000A\n  VDD_CORE_A current(7)={self.core_amps:.8f}A\n"
            " 3V7_WL_SW_A current(0)=0.00000000A\n    ORPHAN_A current(9)=3.00000000A\n"
            " 3V7_WL_SW_V volt(8)=3.80000000V\n   3V3_SYS_V volt(9)=4.00000000V\n  VDD_CORE_V volt(15)=0.50000000V\n"
            "     EXT5V_V volt(24)=5.06788000V\n      BATT_V volt(25)=0.00000000V\n"
        )


def write_tree(root, files):
    """Write {path: content} under a root and return the root; None as content makes a file that cannot be read."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)  # reading a folder fails for root too
        else:
            path.write_text(f"{content}\n")
    return root


class FakeNvml:
    """Shaped like pynvml; a Jetson answers `NotSupported` to everything but the name."""

    class NVMLError(Exception):
        pass

    def __init__(self, names=("Fake Card",), energy_mj=5000, error=""):
        self.names, self.energy_mj, self.error = names, energy_mj, error

    def nvmlInit(self):  # noqa: N802
        if self.error == "Library Not Found":
            raise self.NVMLError(self.error)

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self.names[handle]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        if self.error:
            raise self.NVMLError(self.error)
        return self.energy_mj


class Feed:
    """Lines as a serial port gives them: whoever asks for the next waits until it is there."""

    def __init__(self):
        self._lines = queue.Queue()

    def put(self, line):
        self._lines.put(f"{line}\n")

    def end(self):
        self._lines.put(None)

    def __iter__(self):
        return iter(self._lines.get, None)
