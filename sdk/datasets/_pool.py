"""Several data sets as one, `hapt+motionsense+DIR`: labels, units, signs and rates brought together.

    labels       the union, by pools.toml: renamed, left out, or one that means either of two
    signal       the sensors that all of them have, in SI units; the rate of the first, to which all windows are cut
    signs        face up, an accelerometer reads +g (Android); sets that read -g (iOS) are multiplied by -1
    people       called by their set, hapt:1

The strategy is that of "Combining Public Human Activity Recognition Datasets to Mitigate Labeled Data Scarcity".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Modality, Signal
from sdk.datasets._info import OF_OWN, DatasetInfo
from sdk.datasets._toml import read_toml

TABLE = Path(__file__).with_name("pools.toml")
_GRAVITY_UNIT = "m/s^2"


@dataclass(frozen=True)
class LabelTable:
    """What pools.toml says of labels."""

    rename: Mapping[str, str]
    rename_in: Mapping[str, Mapping[str, str]]  # by data set
    either: Mapping[str, tuple[str, ...]]  # of a name, the labels of which it is one
    leave_out: frozenset[str]

    def name(self, dataset: str, label: str) -> str:
        """What a label is called in a pool; empty: it is left out."""
        name = self.rename_in.get(dataset, {}).get(label) or self.rename.get(label, label)
        return "" if name in self.leave_out else name


@lru_cache(maxsize=1)
def label_table() -> LabelTable:
    """The table that is shipped."""
    raw = read_toml(TABLE.read_text("utf-8"), TABLE.name)
    either = {name: tuple(labels) for name, labels in raw["either"].items()}
    return LabelTable(raw["rename"], raw.get("rename_in", {}), either, frozenset(raw["leave_out"]["labels"]))


def parts_of(name: str) -> list[str]:
    """The data sets of a pool, by their names or paths; one, where it is none. A path with a + in it is a path."""
    return [name] if "+" not in name or Path(name).exists() else [part for part in name.split("+") if part]


def set_of(recording: Recording) -> str:
    """The data set that a recording says it is of; empty where it says none."""
    name, _, rest = recording.name.partition("/")
    return rest.partition("/")[0] if name == OF_OWN else name if rest else ""


def pool_info(infos: Sequence[DatasetInfo]) -> DatasetInfo:
    """What is known of a pool.

    Args:
        infos: of its data sets; the first one's rate is the pool's.

    Raises:
        InputError: a set twice, no sensor that all have.
    """
    names = [info.name for info in infos]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError("pool", expected="each data set once", got=", ".join(twice), fix="Drop one, or rename yours.")
    rate_hz = infos[0].signal.rate_hz
    sensors = [_sensors(info) for info in infos]
    common = [m for m in sensors[0].values() if all(_is_same(m, own.get(m.name)) for own in sensors)]
    if not common:
        got = "; ".join(f"{info.name}: {', '.join(own)}" for info, own in zip(infos, sensors, strict=True))
        raise InputError("pool", expected="a sensor that all have", got=got, fix="Pool others.")
    table = label_table()
    called = [[table.name(info.name, label) for label in info.labels] for info in infos]
    labels = tuple(dict.fromkeys(name for own in called for name in own if name and name not in table.either))
    rests = [{table.name(info.name, label) for label in info.resting} for info in infos]
    moves = {name for own, rest in zip(called, rests, strict=True) for name in own if name not in rest}
    return DatasetInfo(
        name="+".join(names),
        title="a pool of " + ", ".join(names),
        licence="; ".join(f"{info.name}: {info.licence}" for info in infos),
        commercial_use=all(info.commercial_use for info in infos),
        citation="; ".join(info.citation for info in infos),
        home_page=" ".join(info.home_page for info in infos),
        signal=Signal(tuple(replace(m, rate_hz=rate_hz) for m in common)),
        labels=labels,
        resting=tuple(name for name in labels if any(name in rest for rest in rests) and name not in moves),
        n_subjects=sum(info.n_subjects for info in infos),
        placement="; ".join(f"{info.name}: {info.placement}" for info in infos),
        positions=tuple(dict.fromkeys(place for info in infos for place in info.positions)),
        has_gravity=all(info.has_gravity for info in infos),
    )


def pooled(recording: Recording, info: DatasetInfo, labels: Sequence[str]) -> Recording:
    """A recording of one set as one of a pool.

    Args:
        recording: left untouched.
        info: of its own set.
        labels: of the pool.
    """
    table = label_table()
    names = (*labels, *table.either)
    samples = recording.samples
    if info.acc_sign < 0:
        units = dict(zip(info.signal.channel_names, info.signal.units, strict=True))
        turned = [units.get(channel) == _GRAVITY_UNIT for channel in recording.channels]
        samples = np.where(turned, -samples, samples)
    now = np.full(len(recording.label_names) + 1, UNLABELLED, np.int16)  # UNLABELLED is the last place
    for i, label in enumerate(recording.label_names):
        name = table.name(info.name, label)
        now[i] = names.index(name) if name in names else UNLABELLED
    codes = None if recording.labels is None else now[recording.labels]
    return replace(recording, samples=samples, labels=codes, label_names=names)


def _sensors(info: DatasetInfo) -> dict[str, Modality]:
    """Its modalities by the names that they have without a place."""
    found: dict[str, Modality] = {}
    for modality in info.signal.modalities:
        place = next((p for p in info.positions if modality.name.startswith(f"{p}_")), None)
        name = modality.name if place is None else modality.name.removeprefix(f"{place}_")
        found.setdefault(name, replace(modality, name=name))
    return found


def _is_same(one: Modality, other: Modality | None) -> bool:
    return other is not None and (one.unit, one.channels) == (other.unit, other.channels)
