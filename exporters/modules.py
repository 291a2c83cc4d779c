"""A torch module of the user's own: the function that makes it, found by name, and how it wants its windows.

    mynets.py:make      this file and no other: the user named it on the command line
    mynets.walk:make    a module that is installed, or else in this folder, which is looked into for this import only

    (n, length, channels) or, channels first, (n, channels, length)  ->  module  ->  features (n, k)

Which of the two orders a module takes is found by a dry run on zeros, and so is k.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import InputError

if TYPE_CHECKING:
    from torch import nn

_ROOT = Path(__file__).parents[1]
_LONGEST = 160  # characters of what torch says


class Fit(NamedTuple):
    """How a module takes windows, and what it gives."""

    channels_first: bool
    n_features: int


@contextmanager
def own_function(text: str, option: str) -> Iterator[Callable[..., Any]]:
    """A function of the user's own code, as a command line names it.

    Args:
        text: FILE.py:FUNCTION or MODULE:FUNCTION.
        option: in which it stood, for messages.

    Raises:
        InputError: no such file, module or function; or its code fails.
    """
    place, _, name = text.partition(":")
    if place.endswith(".onnx"):
        raise InputError(
            option, expected="MODULE:FUNCTION", got=f"{text}, an ONNX model", fix=f"Say --from {text} instead."
        )
    if not (place and name):
        fix = "Name the function that makes the module, as in mynets.py:make."
        raise InputError(option, expected="MODULE:FUNCTION", got=text, fix=fix)
    here, is_file = str(Path.cwd()), place.endswith(".py")
    if not is_file:
        sys.path.append(here)  # behind all others: what is installed is never hidden
    try:
        module = _of_file(place, option) if is_file else import_module(place)
        yield getattr(module, name)
    except InputError:
        raise
    except Exception as error:  # whatever the user's own code raises
        got = f"{text} ({told(error)})"
        raise InputError(option, expected="MODULE:FUNCTION", got=got, fix=_cure(error, place)) from error
    finally:
        if not is_file:
            sys.path.remove(here)


def _of_file(place: str, option: str) -> ModuleType:
    path = Path(place)
    spec = spec_from_file_location(f"own_{path.stem}", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise InputError(option, expected="MODULE:FUNCTION", got=f"{place}, which is no file", fix="Correct its path.")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _cure(error: Exception, place: str) -> str:
    if isinstance(error, ImportError) and place.endswith(".py"):
        return f"Install what is missing; of this folder {place} alone is read."
    return "Correct it, or see --help."


def told(error: Exception) -> str:
    """An error of other people's code in a line: what, and the place in a file of the user's."""
    text = " ".join(str(error).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    frames = traceback.extract_tb(error.__traceback__)
    strange = ("site-packages", "importlib", "<", *(f"{_ROOT}{os.sep}{name}{os.sep}" for name in ("exporters", "sdk")))
    own = [frame for frame in frames if not any(part in frame.filename for part in strange)]
    at = f", at {Path(own[-1].filename).name} line {own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {text}{at}"


def fit_of(module: nn.Module, shape: tuple[int, ...], where: str) -> Fit:
    """Try a module on two windows of zeros.

    Args:
        module: windows, or images, to features; left in the mode that it is in.
        shape: of one window, such as (length_samples, n_channels); of three numbers, an image.
        where: what to call it in a message.

    Raises:
        InputError: it takes no such windows, or gives no row of features for each; the message has the shapes.
    """
    orders = (False, True) if len(shape) == 2 else (False,)
    answers = {first: _tried(module, shape, channels_first=first) for first in orders}
    fits = [first for first, answer in answers.items() if isinstance(answer, tuple) and _is_rows(answer)]
    if not fits:
        raise _refused(where, shape, answers)
    n_features = answers[fits[0]][1]
    said = getattr(module, "n_features", n_features)
    if said != n_features:
        raise InputError(
            f"{where}: n_features", expected=f"{n_features}, as it gives", got=said, fix="Correct it, or leave it out."
        )
    return Fit(fits[0], int(n_features))


def _tried(module: nn.Module, shape: tuple[int, ...], *, channels_first: bool) -> tuple[int, ...] | str:
    """The shape of what comes out for two windows, or what went wrong."""
    import torch

    windows, training = torch.zeros(2, *shape), module.training
    module.eval()
    try:
        with torch.no_grad():
            found = module(windows.transpose(1, 2) if channels_first else windows)
    except Exception as error:  # whatever the user's own code raises
        return told(error)
    finally:
        module.train(training)
    return tuple(found.shape) if isinstance(found, torch.Tensor) else f"a {type(found).__name__}, not a tensor"


def _is_rows(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[0] == 2 and shape[1] > 0


def _refused(where: str, shape: tuple[int, ...], answers: dict[bool, tuple[int, ...] | str]) -> InputError:
    shapes = {False: shape, True: (shape[-1], *shape[:-1])}
    gave = {first: answer for first, answer in answers.items() if isinstance(answer, tuple)}
    takes = " or ".join(f"(n, {', '.join(map(str, shapes[first]))})" for first in answers)
    fix = "Windows come as rows of samples, a column per channel; channels first will do too."
    if gave:
        fix = "Let it give a row of features for each window: flatten(1), or a mean over time."
    got = "; ".join(
        f"for (2, {', '.join(map(str, shapes[first]))}) {answer}" for first, answer in (gave or answers).items()
    )
    return InputError(where, expected=f"a module from windows {takes} to features (n, k)", got=got, fix=fix)
