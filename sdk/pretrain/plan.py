"""What a pretraining run is asked to do: the method with its numbers, and what is to be told apart."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.specs import ClockSpec, Signal, WindowSpec


@dataclass(frozen=True)
class PretrainPlan:
    """What is trained and how."""

    encoder: str = "fcn-stride4"
    epochs: int = 8
    batch: int = 64
    learning_rate: float = 2e-3  # the peak
    weight_decay: float = 0.01  # AdamW's, decoupled
    seed: int = 0  # of weights, order of batches, and whatever the method draws
    method: str = "supervised"  # one of `list_methods()`


@dataclass(frozen=True)
class StudyTask:
    """What is to be told apart: the signal, how it is cut, and the classes."""

    signal: Signal
    window: WindowSpec
    labels: tuple[str, ...]
    clock: ClockSpec | None = None  # what is done about gaps and uneven time stamps; None: the default

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(length_samples, n_channels) of each modality's windows, in the order of the signal."""
        rate_hz = self.signal.rate_hz
        return tuple((self.window.at(m.rate_hz, rate_hz)[0], len(m.channels)) for m in self.signal.modalities)
