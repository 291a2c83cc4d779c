"""`dataset.toml`: what recordings of one's own are. It is read strictly: a key that there is not is refused.

    name = "ward"                       people are called ward:anna
    rate_hz = 104                       of the windows, and of files without times

    [signal.acc]                        a sensor, by the name that the model has for it
    unit = "g"                          of the files; the model's is m/s^2
    columns = ["ax", "ay", "az"]        where the names do not tell
    axes = "y,-x,z"                     the model's x, y, z, made of the sensor's

    [files]
    include = ["*.csv"]
    time = "timestamp:ms"

    [people]
    pattern = "{subject}_{session}"     of a file's path; {label} and {sensor} may stand in it as well

    [labels]
    spans = "labels.csv"                or column = "activity"
    leave_out = ["null"]

docs/own_data.md has every key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from runtime.errors import InputError
from runtime.recording import Reading
from runtime.recording.units import units_like
from runtime.specs import Modality, Signal
from sdk.datasets._info import NAMES
from sdk.datasets._toml import read_toml

FILE = "dataset.toml"
ANDROID, IOS = "android", "ios"
TIME_UNITS = ("s", "ms", "us", "ns", "iso", "clock", "samples")
ORIGINS = ("recording", "start")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {  # by table; what each may be
    "": {
        **dict.fromkeys(("name", "title", "licence", "citation", "home_page", "placement"), str),
        "commercial_use": bool,
        "rate_hz": (int, float),
        **dict.fromkeys(("signal", "files", "people", "labels"), dict),
    },
    "signal.NAME": {
        **dict.fromkeys(("unit", "axes", "signs", "file"), str),
        "columns": list,
        "channels": list,
        "gravity": bool,
    },
    "files": {"include": list, "exclude": list, "time": str, "stamps": str, "bits": int},
    "people": {"pattern": str, "column": str},
    "labels": {
        **dict.fromkeys(("column", "spans", "unit", "from", "tier", "zone"), str),
        **dict.fromkeys(("names", "leave_out", "resting"), list),
        "rename": dict,
    },
}


@dataclass(frozen=True)
class SensorTable:
    """A sensor, as a table [signal.NAME] has it."""

    name: str
    unit: str = ""  # of the files; empty: as their headers say, or the model's
    channels: tuple[str, ...] = ("x", "y", "z")
    columns: tuple[str, ...] = ()  # one per channel; empty: found by their names
    axes: str = ""
    signs: str = ANDROID  # face up, an accelerometer reads +g there and -g under iOS
    gravity: bool = True  # False: acceleration that was freed of it
    file: str = ""  # where each sensor has a file of its own and its name does not tell

    @property
    def si_unit(self) -> str:
        """The unit that recordings have."""
        return units_like(self.unit)[0] if self.unit else {"acc": "m/s^2", "gyro": "rad/s", "mag": "uT"}[self.name]


@dataclass(frozen=True)
class Labels:
    """The table [labels]; files may have a column of them, or a file of spans, or tell them by their names."""

    names: tuple[str, ...] = ()  # in the order of the classes; empty: all that are found, sorted
    column: str = ""
    spans: str = ""  # a file, or a pattern with {stem}
    unit: str = ""  # of the times in spans, one of TIME_UNITS; empty: the largest in which they fit the recording
    origin: str = ""  # what the times count from, one of ORIGINS; empty: as they fit
    tier: str = ""  # of a file that has several
    zone: str = ""  # of times of a clock, such as +02:00; empty: UTC
    leave_out: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    resting: tuple[str, ...] = ()  # under which the sensor hardly moves


@dataclass(frozen=True)
class Description:
    """All of a dataset.toml."""

    name: str
    rate_hz: float
    sensors: tuple[SensorTable, ...]
    labels: Labels = field(default_factory=Labels)
    title: str = ""
    licence: str = "not stated"
    citation: str = ""
    home_page: str = ""
    placement: str = ""
    commercial_use: bool = False
    include: tuple[str, ...] = ()  # patterns of paths; empty: all files of a known kind
    exclude: tuple[str, ...] = ()
    time: str = ""
    stamps: str = ""
    bits: int | None = None
    pattern: str = ""
    subject_column: str = ""

    @property
    def signal(self) -> Signal:
        """What every recording has."""
        return Signal(tuple(Modality(s.name, s.si_unit, s.channels, self.rate_hz) for s in self.sensors))

    def reading(self, label: str = "", files: Mapping[str, str] | None = None) -> Reading:
        """What is said to the reader of files.

        Args:
            label: the column that holds labels; empty: as its name tells.
            files: of a sensor, the file that holds it.
        """
        columns = {
            f"{s.name}_{channel}": column
            for s in self.sensors
            for channel, column in zip(s.channels, s.columns, strict=False)
        }
        pairs = columns | {s.name: s.file for s in self.sensors if s.file} | dict(files or {})
        words = {
            "t": self.time,
            "bits": "" if self.bits is None else str(self.bits),
            "stamps": self.stamps,
            "units": ",".join(f"{s.name}:{s.unit}" for s in self.sensors if s.unit),
            "map": ",".join(f"{name}:{column}" for name, column in pairs.items()),
            "axes": ";".join(f"{s.name}:{s.axes}" for s in self.sensors if s.axes),
            "label": label,
        }
        text = "&".join(f"{name}={quote(word, safe='/,:;^-')}" for name, word in words.items() if word)
        return Reading.of(text, FILE)


def parse(text: str, where: str = FILE) -> Description:
    """A dataset.toml, from its text.

    Raises:
        InputError: no TOML, a key that there is not, a value of another kind, a part that is missing.
        ImportError: under Python 3.10 without `tomli`.
    """
    raw = read_toml(text, where)
    _check_keys(raw, "", where)
    for name, table in raw.get("signal", {}).items():
        if not isinstance(table, dict):
            raise _wrong(where, f"signal.{name}", "a table", table)
        _check_keys(table, "signal.NAME", where, f"signal.{name}")
    for table in ("files", "people", "labels"):
        _check_keys(raw.get(table, {}), table, where, table)
    _check_values(raw, where)
    files, people = raw.get("files", {}), raw.get("people", {})
    return Description(
        **{name: raw[name] for name in raw if not isinstance(raw[name], dict)} | {"rate_hz": float(raw["rate_hz"])},
        sensors=tuple(_sensor(name, table, where) for name, table in raw["signal"].items()),
        labels=_labels(raw.get("labels", {})),
        include=tuple(files.get("include", ())),
        exclude=tuple(files.get("exclude", ())),
        **{name: files[name] for name in ("time", "stamps", "bits") if name in files},
        pattern=people.get("pattern", ""),
        subject_column=people.get("column", ""),
    )


def _check_keys(table: Mapping[str, Any], kind: str, where: str, name: str = "") -> None:
    known = _KEYS[kind]
    for key, value in table.items():
        path = f"{name}.{key}" if name else key
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            raise InputError(
                f"{where}: {path}",
                expected=f"one of the keys {', '.join(known)}",
                got=key,
                fix=f"Did you mean {near[0]}?" if near else "Leave it out.",
            )
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            kinds = {str: "a text", bool: "true or false", dict: "a table", list: "a list", int: "a whole number"}
            expected = kinds.get(known[key], "a number")  # type: ignore[arg-type]
            raise _wrong(where, path, expected, value)
        texts: Any = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        if (key == "rename" or isinstance(value, list)) and not all(isinstance(one, str) for one in texts):
            raise _wrong(where, path, "texts in quotes", value)


def _check_values(raw: Mapping[str, Any], where: str) -> None:
    """See that what must be there is, and that words are among those that are known."""
    for key in ("name", "rate_hz", "signal"):
        if not raw.get(key):
            raise InputError(f"{where}: {key}", expected="to be there", got="nothing", fix="Say it; docs/own_data.md.")
    name, labels = raw["name"], raw.get("labels", {})
    if not _NAME.fullmatch(name) or name in NAMES:
        got = f"{name}, a public data set" if name in NAMES else repr(name)
        raise _wrong(where, "name", "a word of its own of letters, digits, - and _", got)
    if not 0 < raw["rate_hz"] < 1e5:
        raise _wrong(where, "rate_hz", "samples per second", raw["rate_hz"])
    for key, known in (("unit", TIME_UNITS), ("from", ORIGINS)):
        if key in labels and labels[key] not in known:
            raise _wrong(where, f"labels.{key}", f"one of {', '.join(known)}", labels[key])
    if "column" in labels and "spans" in labels:
        raise _wrong(where, "labels", "a column or spans", "both")
    if "zone" in labels and not re.fullmatch(r"[+-]\d\d:\d\d", labels["zone"]):
        raise _wrong(where, "labels.zone", "hours and minutes such as +02:00", labels["zone"])
    words = set(re.findall(r"{(\w*)}", raw.get("people", {}).get("pattern", "")))
    if strange := words - {"subject", "session", "label", "sensor"}:
        raise _wrong(
            where, "people.pattern", "{subject}, {session}, {label}, {sensor} or *", ", ".join(sorted(strange))
        )


def _sensor(name: str, table: Mapping[str, Any], where: str) -> SensorTable:
    sensor = SensorTable(name, **_plain(table))
    if not sensor.unit and name not in ("acc", "gyro", "mag"):
        raise _wrong(where, f"signal.{name}.unit", "its unit", "none")
    if sensor.columns and len(sensor.columns) != len(sensor.channels):
        got = f"{len(sensor.columns)} for {len(sensor.channels)} channels"
        raise _wrong(where, f"signal.{name}.columns", "one for each channel", got)
    if sensor.signs not in (ANDROID, IOS):
        raise _wrong(where, f"signal.{name}.signs", f"{ANDROID} or {IOS}", sensor.signs)
    return sensor


def _labels(table: Mapping[str, Any]) -> Labels:
    return Labels(**_plain({"origin" if key == "from" else key: value for key, value in table.items()}))


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _wrong(where: str, key: str, expected: str, got: object) -> InputError:
    return InputError(f"{where}: {key}", expected=expected, got=got, fix="Correct it; docs/own_data.md has every key.")
