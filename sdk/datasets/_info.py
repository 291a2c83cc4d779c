"""What is known about a data set before any of its bytes are read, and the form of its recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import InputError
from runtime.recording import Recording, check_finite
from runtime.specs import Modality, Signal

NAMES = (
    "basicmotions",
    "capture24",
    "cosmo_mhad",
    "daphnet",
    "goat",
    "hapt",
    "hhar",
    "hugadb",
    "mobiact",
    "motionsense",
    "mri",
    "mri_radar",
    "pamap2",
    "pamap2_heart_rate",
    "pvs",
    "realworld",
    "seglearn_watch",
    "shoaib",
    "sp_sw_har",
    "uci_har",
    "usc_had",
    "utd_mhad",
    "utd_mhad_depth",
    "utd_mhad_skeleton",
    "wisdm",
    "wisdm_2019",
)

OF_OWN = "own"  # recordings of one's own are called own/<data set>/<file>

STANDARD_GRAVITY = 9.80665  # m/s^2 in one g, by definition
RADIAN = np.pi / 180  # rad in one degree

# what a reader was run on
ARCHIVE = "archive"  # the official one, or a copy whose members were not changed
FORMAT = "files in its format"  # small ones that the tests write as the authors describe theirs
ASSUMED = "files in an assumed format"  # the published layout could not be established, in part or in full


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
    worn: tuple[str, ...] = ()  # what is worn at each of `positions`, in words, where their names do not tell
    positions: tuple[str, ...] = ()  # what `at_position` takes, where there is more than one place on the body
    rates_hz: tuple[float, ...] = ()  # of the recordings, where they are not all at the signal's rate
    may_be_absent: tuple[str, ...] = ()  # labels of which a published version of the archive has no sample
    has_gravity: bool = True  # False: the acceleration is without gravity, or there is none
    acc_sign: int = 1  # 1: face up, it reads +g, as under Android; -1: -g, as under iOS
    names_subjects: bool = True  # False: upstream does not say who is in which recording
    access: str = ""  # where to ask and what to do, where no archive can simply be downloaded
    tested_on: str = FORMAT  # ARCHIVE, FORMAT or ASSUMED

    def recording(
        self,
        trial: str,
        samples: ArrayLike,
        labels: ArrayLike,
        subject: str,
        *,
        t: NDArray[np.float64] | None = None,
        rate_hz: float | None = None,
        missing: Sequence[int] = (),
    ) -> Recording:
        """A recording called `<data set>/<trial>`.

        Args:
            trial: what tells it from the others.
            samples: shape (n_samples, n_channels), in the units of the signal.
            labels: an index into `labels` or UNLABELLED, one for all samples or one for each.
            subject: who was recorded, "" where that is not known.
            t: seconds, one per sample; None: a perfect clock.
            rate_hz: samples per second; None: the signal's.
            missing: columns of a sensor that is known to have failed; they are NaN, which is no number for a window.

        Raises:
            InputError: a value is NaN or infinite, or the shapes do not fit.
        """
        name = f"{self.name}/{trial}"
        values = np.ascontiguousarray(samples, np.float32)
        if values.ndim != 2 or values.shape[1] != len(self.signal.channel_names) or not len(values):
            raise InputError(
                name,
                expected=f"samples in {len(self.signal.channel_names)} columns",
                got=f"shape {values.shape}",
                fix="Get the archive again; if it stays so, it is not the published one.",
            )
        check_finite(values, self.signal.channel_names, name)
        if missing:
            values = values.copy()
            values[:, list(missing)] = np.nan
        return Recording(
            samples=values,
            channels=self.signal.channel_names,
            rate_hz=rate_hz or self.signal.rate_hz,
            t=t,
            labels=np.broadcast_to(np.asarray(labels, np.int16), len(values)).copy(),
            label_names=self.labels,
            subject=subject,
            name=name,
        )


def is_path(name: str) -> bool:
    """Whether what stands where a data set's name does is the path of one of one's own."""
    return name not in NAMES and (Path(name).exists() or "/" in name or Path(name).suffix == ".zip")


def modality(name: str, unit: str, channels: str = "x y z", *, rate_hz: float = 50.0) -> Modality:
    """A modality with its channels in one string."""
    return Modality(name, unit, tuple(channels.split()), rate_hz)
