"""What is known about a data set before any of its bytes are read."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.manifest import Modality, Signal

STANDARD_GRAVITY = 9.80665  # m/s^2 in one g, by definition


@dataclass(frozen=True)
class DatasetInfo:
    """Facts that a user decides by, and the signal that every recording of the data set has."""

    name: str  # as `load_dataset` takes it
    title: str
    licence: str  # in one sentence, as far as upstream states it
    commercial_use: bool  # False where upstream forbids it or where it is unclear
    citation: str
    home_page: str
    signal: Signal  # all columns of a recording; `Recording.fit` selects fewer
    labels: tuple[str, ...]  # label_names of every recording, in this order
    resting: tuple[str, ...]  # the labels under which the sensor hardly moves; mean |acc| is then about 9.8 m/s^2
    n_subjects: int
    placement: str  # which device, worn where
    test_subjects: tuple[str, ...] = ()  # people of the published test split, where there is one


def modality(name: str, unit: str, channels: str = "x y z", *, rate_hz: float = 50.0) -> Modality:
    """A modality with its channels in one string: all our data sets are sampled at 50 Hz."""
    return Modality(name, unit, tuple(channels.split()), rate_hz)
