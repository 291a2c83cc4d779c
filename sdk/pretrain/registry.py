"""The registry: a method is a name, a paper, the kind of data that it needs, and a function, in one file.

A method is a module: `method(*method.view(*batch))` is the loss. The batch has, in this order:

    windows (n, length_samples, n_channels)    all columns; for a method of several modalities, a tensor for each;
                                               for a method of photographs, these instead
    labels (n,)                                for a method that needs them

Windows are normalised. Views, masks and the like are drawn in `view`, by torch's generator of the CPU, whose state a
checkpoint keeps: a run that was cut off draws on where it stopped. Of what `view` gives, each process takes its share
(`sdk.pretrain.processes`), and `forward` compares `whole` batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from sdk.encoders import Classifier
from sdk.encoders.registry import unknown_name
from sdk.pretrain.plan import PretrainPlan, StudyTask


@dataclass(frozen=True)
class Needs:
    """The kind of data that a method needs."""

    labels: bool = False  # class indices come last in the batch
    modalities: int = 1  # 1: all columns in one tensor; more: at least so many, with a tensor and an encoder for each
    views: int = 1  # how many views of the same window its loss compares
    pictures: bool = False  # the batch is photographs, shape (n, 3, height, width) of bytes, and no windows

    def __str__(self) -> str:
        parts = ["labels" if self.labels else "no labels"]
        if self.modalities > 1:
            parts.append(f"{self.modalities} modalities or more")
        if self.views > 1:
            parts.append(f"{self.views} views")
        if self.pictures:
            parts.append("photographs")
        return ", ".join(parts)


class Method(nn.Module):
    """What a factory makes: `forward` is the loss of what `view` gives, and two attributes say what is kept."""

    encoders: tuple[nn.Module, ...]  # windows to features, one per tensor of windows in the batch
    classifier: Classifier | None  # the encoder with the head that the loss trained; None: a probe is fitted

    def view(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """What `forward` takes of a batch, with all that is drawn for each row; here the batch as it is."""
        return batch


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method before it is made."""

    name: str
    paper: str
    needs: Needs
    plan: PretrainPlan  # its defaults
    factory: Callable[[PretrainPlan, StudyTask], Method]


MethodFactory = TypeVar("MethodFactory", bound=Callable[[PretrainPlan, StudyTask], Method])
_ENTRIES: dict[str, MethodInfo] = {}


def register_method(
    name: str, paper: str, needs: Needs, plan: PretrainPlan | None = None
) -> Callable[[MethodFactory], MethodFactory]:
    """Register `factory(plan, task)` under a name that is not taken.

    Args:
        name: a new one.
        paper: where it is described.
        needs: the kind of data.
        plan: its defaults; None: the common ones.

    Raises:
        InputError: the name is taken.
    """

    def register(factory: MethodFactory) -> MethodFactory:
        if name in _ENTRIES:
            raise InputError(f"method {name!r}", expected="a new name", got="one that is taken", fix="Choose another.")
        _ENTRIES[name] = MethodInfo(name, paper, needs, replace(plan or PretrainPlan(), method=name), factory)
        return factory

    return register


def list_methods() -> list[str]:
    """The registered names, sorted."""
    return sorted(_ENTRIES)


def method_info(name: str) -> MethodInfo:
    """What is known of a registered method.

    Raises:
        InputError: an unknown name; the message has the near ones.
    """
    if name not in _ENTRIES:
        raise unknown_name("method", name, _ENTRIES)
    return _ENTRIES[name]


def create_method(plan: PretrainPlan, task: StudyTask) -> Method:
    """Make the plan's method with fresh weights, drawn from the plan's seed.

    Raises:
        InputError: an unknown method, one that needs another signal, another encoder, or other names.
    """
    info = method_info(plan.method)
    if (found := len(task.signal.modalities)) < info.needs.modalities:
        raise InputError(
            f"method {info.name}",
            expected=f"a signal of {info.needs.modalities} modalities or more",
            got=found,
            fix="Name more modalities, or choose another method.",
        )
    if info.needs.labels and plan.naming in ("encoder", "both"):
        expected, fix = "naming by hand: its encoder learns from the names", "Choose hand, or a method without labels."
        raise InputError(f"method {info.name}", expected=expected, got=f"naming by {plan.naming}", fix=fix)
    torch.manual_seed(plan.seed)
    method = info.factory(plan, task if info.needs.modalities > 1 else task.kept_task)
    lay_out(method)
    return method


def lay_out(method: nn.Module) -> None:
    """Kernels in the layout in which the CPU's narrow convolutions are twice as fast; results differ by rounding only.

    Nothing is changed where a convolution of one tap strides: torch 2.13's backward pass of a narrow one, 4 channels to
    8, writes beyond its memory in that layout.
    """
    layers = [layer for layer in method.modules() if isinstance(layer, nn.Conv2d)]
    if any(layer.kernel_size == (1, 1) and max(layer.stride) > 1 for layer in layers):
        return
    for layer in layers:
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
