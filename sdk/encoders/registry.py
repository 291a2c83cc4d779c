"""The registry: an encoder is a name, a configuration and a function, in one file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Protocol, TypeVar

from torch import Tensor, nn

from runtime.errors import InputError


class Encoder(Protocol):
    """What an entry point returns: a module that knows how many features it gives."""

    n_features: int

    def __call__(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""


Factory = TypeVar("Factory", bound=Callable[..., nn.Module])
_ENTRIES: dict[str, Callable[..., nn.Module]] = {}


def register_encoder(name: str) -> Callable[[Factory], Factory]:
    """Register `factory(length_samples, n_channels)` under a name that is not taken."""

    def register(factory: Factory) -> Factory:
        if name in _ENTRIES:
            raise InputError(f"encoder {name!r}", expected="a new name", got="one that is taken", fix="Choose another.")
        _ENTRIES[name] = factory
        return factory

    return register


def list_encoders() -> list[str]:
    """The registered names, sorted."""
    return sorted(_ENTRIES)


def create_encoder(name: str, length_samples: int, n_channels: int) -> nn.Module:
    """Make an encoder with fresh weights.

    Args:
        name: one of `list_encoders()`.
        length_samples: rows of a window.
        n_channels: columns of a window.

    Raises:
        InputError: an unknown name; the message has the near ones.
    """
    if name not in _ENTRIES:
        near = difflib.get_close_matches(name, _ENTRIES, n=3, cutoff=0.3) or list_encoders()
        raise InputError(
            "encoder", expected="a registered name", got=repr(name), fix=f"Did you mean {' or '.join(near)}?"
        )
    return _ENTRIES[name](length_samples, n_channels)


class Classifier(nn.Module):
    """An encoder with a linear head: windows (n, length_samples, n_channels) to logits (n, n_classes)."""

    def __init__(self, encoder: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.n_features, n_classes)  # type: ignore[arg-type]

    def forward(self, windows: Tensor) -> Tensor:
        """Logits of normalised windows."""
        logits: Tensor = self.head(self.encoder(windows))
        return logits
