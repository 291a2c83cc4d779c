"""The registry: an encoder is a name, the shape of its windows, and a function, in one file.

The length of a shape says what kind of input it is:

    (length_samples, n_channels)   a window of one rate; video and radar have their frames flattened into the columns
    (n_values,)                    modalities of different rates, one after the other, each row by row (see `fusion`)
    (3, height, width)             an image
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn

from runtime.errors import InputError

_KINDS = {1: "(n_values,)", 2: "(length_samples, n_channels)", 3: "(3, height, width)"}


class Encoder(Protocol):
    """What an entry point returns: a module that knows how many features it gives."""

    n_features: int

    def __call__(self, windows: Tensor) -> Tensor:
        """Windows (n, *shape) to features (n, n_features)."""


@dataclass(frozen=True)
class EncoderInfo:
    """What is known of an encoder before it is made."""

    name: str
    paper: str  # whose experiments have it, in a word
    shape: tuple[int, ...]  # of one window in that paper
    factory: Callable[..., nn.Module]  # of the numbers of a shape


EncoderFactory = TypeVar("EncoderFactory", bound=Callable[..., nn.Module])
_ENTRIES: dict[str, EncoderInfo] = {}


def register_encoder(name: str, paper: str, shape: tuple[int, ...]) -> Callable[[EncoderFactory], EncoderFactory]:
    """Register `factory(*shape)` under a name that is not taken.

    Args:
        name: a new one.
        paper: whose experiments have it, in a word.
        shape: of one window in that paper; its length is the kind of input.

    Raises:
        InputError: the name is taken.
    """

    def register(factory: EncoderFactory) -> EncoderFactory:
        if name in _ENTRIES:
            raise InputError(f"encoder {name!r}", expected="a new name", got="one that is taken", fix="Choose another.")
        _ENTRIES[name] = EncoderInfo(name, paper, shape, factory)
        return factory

    return register


def list_encoders() -> list[str]:
    """The registered names, sorted."""
    return sorted(_ENTRIES)


def encoder_info(name: str) -> EncoderInfo:
    """What is known of a registered encoder.

    Raises:
        InputError: an unknown name; the message has the near ones.
    """
    if name not in _ENTRIES:
        raise unknown_name("encoder", name, _ENTRIES)
    return _ENTRIES[name]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not registered, with the near ones; all, if none is near.

    Args:
        kind: what it should name: "encoder".
        name: as it was given.
        known: the registered ones.
    """
    near = difflib.get_close_matches(name, known := sorted(known)) or known
    fix = f"Did you mean {' or '.join(near)}?"
    return InputError(kind, expected="a registered name", got=repr(name), fix=fix)


def create_encoder(name: str, *shape: int) -> nn.Module:
    """Make an encoder with fresh weights.

    Args:
        name: one of `list_encoders()`.
        shape: of one window, such as length_samples, n_channels. Without it, the paper's.

    Raises:
        InputError: an unknown name, or a shape that the encoder cannot take.
    """
    info = encoder_info(name)
    if shape and len(shape) != len(info.shape):
        raise InputError(
            f"encoder {name}",
            expected=f"windows of shape {_KINDS[len(info.shape)]}, such as {info.shape}",
            got=shape,
            fix="Choose an encoder for this kind of input.",
        )
    return info.factory(*(shape or info.shape))


class Classifier(nn.Module):
    """An encoder with a linear head: windows (n, *shape) to logits (n, n_classes)."""

    def __init__(self, encoder: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.n_features, n_classes)  # type: ignore[arg-type]

    def forward(self, windows: Tensor) -> Tensor:
        """Logits of normalised windows."""
        logits: Tensor = self.head(self.encoder(windows))
        return logits
