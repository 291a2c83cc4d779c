"""An encoder of the user's own: `--encoder mynets.py:make`, for any torch module.

    def make(length_samples, n_channels):     or make(), or a class: gives a module, or (module, head) with any head
        return Net(n_channels)

    windows (n, length_samples, n_channels)  ->  turned, if it wants channels first  ->  module  ->  features (n, k)

From Python a module with `n_features` is registered by `register_encoder`, or wrapped by `Own`. docs/own_models.md
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from runtime.errors import InputError
from sdk.encoders.registry import list_encoders, register_encoder

_ANY = (128, 6)  # a shape of windows of one rate
_makers: dict[str, Callable[..., Any]] = {}


class Own(nn.Module):
    """Any module as an encoder, with the order of axes and the number of features that a dry run found.

    Args:
        module: windows (n, length_samples, n_channels), or (n, n_channels, length_samples), to features (n, k).
        shape: (length_samples, n_channels) of one window.
        where: what to call it in a message.

    Raises:
        InputError: it takes no such windows, or gives something else than a row of features for each.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, int], where: str = "encoder") -> None:
        from exporters.modules import fit_of

        super().__init__()
        self.module = module
        self.channels_first, self.n_features = fit_of(module, shape, where)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        features: Tensor = self.module(windows.transpose(1, 2) if self.channels_first else windows)
        return features


def register_own(text: str) -> str:
    """Register the encoder that a function of the user's makes, under the words that name it.

    Args:
        text: FILE.py:FUNCTION, or MODULE:FUNCTION; the file, or the module, is imported.

    Returns:
        The name, for `create_encoder` and plans.

    Raises:
        InputError: no such file, module or function.
    """
    from exporters.modules import own_function

    with own_function(text, "--encoder") as make:
        _makers[text] = make
    if text not in list_encoders():
        register_encoder(text, "none: its user's own", _ANY)(partial(_made, text))
    return text


def _made(text: str, length_samples: int, n_channels: int) -> Own:
    from exporters.modules import told

    shape = (length_samples, n_channels)
    try:
        found = _makers[text](*_arguments(text, shape))
    except InputError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise InputError(text, expected="a module", got=told(error), fix="Correct the function.") from error
    module = found[0] if isinstance(found, tuple) and found else found
    if not isinstance(module, nn.Module):
        raise InputError(text, expected="a torch.nn.Module", got=type(module).__name__, fix="Return the encoder.")
    return Own(copy.deepcopy(module), shape, text)  # one that it keeps would be trained again by the next run


def _arguments(text: str, shape: tuple[int, int]) -> tuple[int, ...]:
    """The shape for a function that needs two numbers, nothing for one that needs none.

    Raises:
        InputError: it needs something else.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(_makers[text]).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind in kinds]
    if len(needed) not in (0, 2):
        expected = "a function of (length_samples, n_channels), or of nothing"
        raise InputError(text, expected=expected, got=f"({', '.join(needed)})", fix="Give the others a default.")
    return shape if needed else ()
