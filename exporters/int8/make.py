"""From a bundle's graph and some windows to its INT8 variant."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.int8.calibrate import RANGE_METHODS, RangeMethod, value_ranges
from exporters.int8.processor import needs_reduced_range
from exporters.int8.qdq import Layer, insert_pairs, layers_of, never_of, tensors_of
from exporters.int8.sensitivity import LayerChoice, choose_layers
from exporters.prepare import Prepared, finish, prepare
from exporters.variants import Variant
from runtime.bundle import Manifest
from runtime.bundle.contents import VariantSpec
from runtime.bundle.variants import INT8_LIMIT
from runtime.engine.inputs import Inputs
from runtime.engine.ort import open_session
from runtime.errors import InputError, require
from runtime.progress import ShowProgress, silent

INT8, INT8_WEIGHTS = "int8", "int8-weights"
_REDUCED_LIMIT = 63  # of 7 bits


@dataclass(frozen=True)
class Int8Options:
    """How a model is quantised, and how good the result must be.

    Raises:
        InputError: names the first field that is outside its range.
    """

    method: RangeMethod = "percentile"
    percentile: float = 99.99  # for the method of this name
    weights_only: bool = False  # activations stay in float: a small file, no calibration, float arithmetic
    reduce_range: bool | None = None  # weights of 7 bits; None: where this machine's processor needs it
    tolerance: float = 0.1  # of the logits, see exporters.int8.sensitivity.logits_error
    agreement: float = 0.99  # least share of calibration windows with the float32 model's label
    float_layers: tuple[str, ...] = ()  # weights that stay in float whatever is measured

    def __post_init__(self) -> None:
        require(
            InputError,
            ("method", self.method, " or ".join(RANGE_METHODS), self.method in RANGE_METHODS),
            ("percentile", self.percentile, "a number above 50, at most 100", 50 < self.percentile <= 100),
            ("tolerance", self.tolerance, "a number above 0", self.tolerance > 0),
            ("agreement", self.agreement, "a share from 0 to 1", 0 <= self.agreement <= 1),
            fix="Correct it.",
        )


def to_int8(
    model: bytes,
    manifest: Manifest,
    windows: NDArray[np.float32],
    options: Int8Options | None = None,
    *,
    data: str = "golden windows",
    progress: ShowProgress = silent,
) -> Variant:
    """Quantise model.onnx.

    Args:
        model: the shipped bytes of model.onnx.
        manifest: of its bundle.
        windows: to calibrate with, shape (n, *manifest.window_shape), in the units of the signal; real ones, of all
            classes. The range of every activation and the choice of layers come from them.
        options: None: the defaults.
        data: what the windows are, for the record; their hash is added.
        progress: told steps done, steps in all at most, and what is tried.

    Raises:
        InputError: windows of another shape or with answers that are not finite, a layer that the model has not, or
            nothing that may be int8.
    """
    options = Int8Options() if options is None else options
    if windows.shape[1:] != manifest.window_shape or not len(windows) or not np.isfinite(windows).all():
        raise InputError(
            "calibration windows",
            expected=f"finite numbers of shape (n, {', '.join(map(str, manifest.window_shape))}), n at least 1",
            got=windows.shape,
            fix="Cut them with the manifest.",
        )
    windows = np.ascontiguousarray(windows, np.float32)
    inputs = Inputs(manifest)(windows)
    reduced = needs_reduced_range() if options.reduce_range is None else options.reduce_range
    limit = _REDUCED_LIMIT if reduced and not options.weights_only else INT8_LIMIT
    ready = prepare(model, manifest)
    layers = tensors_of(ready) if options.weights_only else layers_of(ready)
    never = {} if options.weights_only else never_of(ready)
    _check_names(options.float_layers, [*(layer.name for layer in layers), *never])
    expected = _expected(model, inputs)
    ranges = None if options.weights_only else _ranges(ready, layers, inputs, options)

    def quantised(chosen: Sequence[Layer]) -> Variant:
        mine = copy.deepcopy(ready)
        insert_pairs(mine, chosen, ranges, limit)
        return finish(mine, VariantSpec(name, f"variants/{name}.onnx", (), limit))

    name = INT8_WEIGHTS if options.weights_only else INT8
    choice = choose_layers(
        [layer for layer in layers if layer.name not in options.float_layers],
        lambda chosen, every: _logits(quantised(chosen).model, inputs[::every]),
        expected,
        options.tolerance,
        options.agreement,
        progress,
    )
    variant = quantised(choice.layers)
    record = _record(options, choice, never, windows, data)
    return Variant(VariantSpec(name, variant.spec.file, variant.spec.tensors, limit, record), variant.model)


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise InputError(
            "float layers", expected=f"some of {', '.join(known)}", got=", ".join(unknown), fix="Name weights."
        )


def _ranges(
    ready: Prepared, layers: Sequence[Layer], inputs: NDArray[np.float32], options: Int8Options
) -> dict[str, float]:
    names = sorted({name for layer in layers for name in (layer.input, layer.output)})
    return value_ranges(ready.proto.SerializeToString(), inputs, names, options.method, options.percentile)


def _expected(model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    logits = _logits(model, inputs)
    finite = np.isfinite(logits).all(1)
    if not finite.all():
        raise InputError(
            "calibration windows",
            expected="windows for which the model's logits are finite numbers",
            got=f"{int((~finite).sum())} of {len(logits)} for which they are not",
            fix="Leave these out.",
        )
    return logits


def _logits(model: bytes, inputs: NDArray[np.float32], batch: int = 16) -> NDArray[np.float32]:
    session = open_session(model)
    name = session.get_inputs()[0].name
    return np.concatenate(
        [session.run(["logits"], {name: inputs[at : at + batch]})[0] for at in range(0, len(inputs), batch)]
    )


def _record(
    options: Int8Options, choice: LayerChoice, never: dict[str, str], windows: NDArray[np.float32], data: str
) -> dict[str, object]:
    """What the manifest keeps of how the variant was made."""
    left = [*options.float_layers, *choice.float_layers]
    return {
        "calibration": {"data": data, "windows": len(windows), "sha256": hashlib.sha256(windows.tobytes()).hexdigest()},
        "method": "none" if options.weights_only else options.method,
        "percentile": options.percentile if options.method == "percentile" and not options.weights_only else None,
        "int8_layers": [layer.name for layer in choice.layers],
        "float_layers": [*left, *(name for name in never if name not in left)],
        "never_int8": never,
        "error_alone": choice.alone,
        "logits_error": choice.error,
        "agreement": choice.agreement,
    }
