"""What a pretraining run is asked to do: the method with its numbers, and what is to be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from runtime.errors import InputError
from runtime.specs import ClockSpec, FrameSpec, Signal, WindowSpec

OPTIMISERS = ("adamw", "lamb")
NAMINGS = ("hand", "encoder", "both")


@dataclass(frozen=True)
class PretrainPlan:
    """What is trained and how.

    Raises:
        InputError: statistics of each data set together with what needs those of all; an optimiser that there is not;
            patience, and nobody is watched; a naming that there is not, or by all labels.
    """

    encoder: str = "fcn-stride4"
    epochs: int = 8
    batch: int = 64
    learning_rate: float = 2e-3  # the peak
    weight_decay: float = 0.01  # decoupled
    seed: int = 0  # of weights, order of batches, and whatever the method draws
    method: str = "supervised"  # one of `list_methods()`
    frame: str = ""  # gravity: windows are turned so that up is +z, here and in the exported graph; empty: as they come
    augment: tuple[str, ...] = ()  # names of `sdk.augment`; each batch is changed anew
    arcsinh: bool = False  # gyroscopes in a scale in which rest can be told from rest: `sdk.pretrain.front`
    balance: float = 0.0  # a window of a data set and class of n windows is drawn with weight n^-balance; 0: each once
    by_set: bool = False  # z-scores of each data set by its own statistics, as the paper on combined public data sets
    settings: Mapping[str, float] = field(default_factory=dict)  # the method's own numbers, by the names it gives them
    optimiser: str = "adamw"  # or lamb
    warm_up: float = 0.1  # share of all steps in which the rate rises
    clip: float = 0.0  # gradients longer than this are shortened to it, all parameters together; 0: as they are
    last_decay: float | None = None  # what the weight decay rises to, by half a cosine; None: it stays
    validate: int = 0  # training people who do not train, and by whose loss a run is watched
    few: int = 0  # labels of each class that are known, drawn by the seed; 0: all
    naming: str = ""  # hand, encoder, both: others are named by those few, `sdk.pretrain.few`; empty: they are not
    patience: int = 0  # a run ends after so many epochs without a lower loss of theirs; 0: it goes on to its end

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            fix = "Choose one of them."
            raise InputError("optimiser", expected=" or ".join(OPTIMISERS), got=self.optimiser, fix=fix)
        if self.naming not in ("", *NAMINGS) or (self.naming and not self.few):
            expected, fix = f"{', '.join(NAMINGS)}, and few labels", "Say how many of each class are known: few, --few."
            raise InputError("naming", expected=expected, got=f"{self.naming}, few={self.few}", fix=fix)
        if self.patience and not self.validate:
            got, fix = "nobody to watch", "Keep some people out of the training: validate, --validate."
            raise InputError("patience", expected="people who do not train", got=got, fix=fix)
        if self.by_set and (self.augment or self.arcsinh):
            raise InputError(
                "by_set",
                expected="neither augment nor arcsinh, which need one normalisation",
                got=", ".join([*self.augment, *["arcsinh"] * self.arcsinh]),
                fix="Leave these out, or let all data sets share their statistics.",
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no tuples."""
        return asdict(self) | {"augment": list(self.augment)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> PretrainPlan:
        """A plan from JSON; one of an older release lacks what was added since."""
        return cls(**{**raw, "augment": tuple(raw.get("augment", ()))})

    def with_settings(self, given: Mapping[str, float]) -> PretrainPlan:
        """The plan with some of the method's own numbers changed.

        Raises:
            InputError: the method has no such number.
        """
        if unknown := sorted(given.keys() - self.settings.keys()):
            raise InputError(
                f"method {self.method}",
                expected=", ".join(self.settings) or "no settings",
                got=", ".join(unknown),
                fix="Name a setting that --list shows.",
            )
        return replace(self, settings={**self.settings, **given})


@dataclass(frozen=True)
class StudyTask:
    """What is to be told apart: the signal, how it is cut, and the classes.

    Raises:
        InputError: a modality to keep that the signal does not have.
    """

    signal: Signal
    window: WindowSpec
    labels: tuple[str, ...]
    clock: ClockSpec | None = None  # what is done about gaps and uneven time stamps; None: the default
    keep: tuple[str, ...] = ()  # the modalities that the model is left with after pretraining; empty: all
    either: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of a name in the data, the labels it may mean

    def __post_init__(self) -> None:
        names = [modality.name for modality in self.signal.modalities]
        if unknown := [name for name in self.keep if name not in names]:
            raise InputError("keep", expected=", ".join(names), got=", ".join(unknown), fix="Choose among these.")

    @property
    def kept(self) -> tuple[int, ...]:
        """Places of the modalities that the model is left with, in the order of the signal."""
        every = range(len(self.signal.modalities))
        return tuple(i for i in every if not self.keep or self.signal.modalities[i].name in self.keep)

    @property
    def kept_columns(self) -> list[int]:
        """Places of their columns in a row of the signal."""
        names = self.signal.channel_names
        return [names.index(name) for name in self.kept_task.signal.channel_names]

    @property
    def kept_task(self) -> StudyTask:
        """The task of the model that is left."""
        return replace(self, signal=Signal(tuple(self.signal.modalities[i] for i in self.kept)), keep=())

    @property
    def frame(self) -> FrameSpec:
        """The frame of gravity: all sensors of three axes, turned by the one in m/s^2.

        Raises:
            InputError: no such sensor, or several, as of devices at several places.
        """
        threes = [m for m in self.signal.modalities if len(m.channels) == 3]
        up = [m.name for m in threes if m.unit == "m/s^2"]
        if len(up) != 1:
            raise InputError(
                "frame gravity",
                expected="one sensor of three channels in m/s^2",
                got=", ".join(up) or "none",
                fix="Name the modalities of one device, its accelerometer among them.",
            )
        return FrameSpec(up[0], tuple(m.name for m in threes))

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(length_samples, n_channels) of each modality's windows, in the order of the signal."""
        rate_hz = self.signal.rate_hz
        return tuple((self.window.at(m.rate_hz, rate_hz)[0], len(m.channels)) for m in self.signal.modalities)
