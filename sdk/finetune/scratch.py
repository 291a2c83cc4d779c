"""Random weights in the manner of torch's defaults: where a training from scratch starts.

What a tensor is follows from its shape and from the weight beside it:

    NAME.weight, two axes or more       uniform in +-1 / sqrt(fan-in): Linear, Conv
    NAME.bias beside such a weight      the same bounds
    NAME.weight, one axis               one: a normalisation; its NAME.bias is zero
    weight_ih_l0, bias_hh_l1, ...       uniform in +-1 / sqrt(hidden): LSTM (by four gates) and GRU (by three)
    in_proj_weight, in_proj_bias        Xavier's uniform bounds, and zero: MultiheadAttention
    out_proj.bias                       zero, of the same
    anything else                       normal with deviation 0.02

MESEN's Labeltrain is `full` training from such weights. Statistics of batch normalisations are no trainable tensors:
they stay those of the graph.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Manifest

_RECURRENT = re.compile(r"(?:weight|bias)_[ih]h_l\d+(?:_reverse)?$")


def scratch_tensors(manifest: Manifest, seed: int) -> dict[str, NDArray[np.float32]]:
    """Random values for every trainable tensor of a bundle, by name, in its shape.

    Args:
        manifest: with the tensors.
        seed: the same one gives the same bits.
    """
    shapes = {spec.name: spec.shape for spec in manifest.tensors}
    rng = np.random.default_rng(seed)
    return {name: _draw(name, shapes, rng) for name in shapes}


def _draw(name: str, shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> NDArray[np.float32]:
    shape = shapes[name]
    prefix, _, last = name.rpartition(".")
    weight = shapes.get(f"{prefix}.weight", ())
    if _RECURRENT.match(last):
        hidden = shapes[f"{prefix}.{re.sub('^.*(_l)', r'weight_hh_l', last)}"][1]
        return _uniform(shape, 1 / math.sqrt(hidden), rng)
    if last == "in_proj_weight":
        return _uniform(shape, math.sqrt(6 / sum(shape)), rng)
    if last == "in_proj_bias" or (prefix.endswith("out_proj") and last == "bias"):
        return np.zeros(shape, np.float32)
    if last in ("weight", "bias") and len(weight) > 1:
        return _uniform(shape, 1 / math.sqrt(math.prod(weight[1:])), rng)
    if last in ("weight", "bias") and len(weight) == 1:
        return np.full(shape, float(last == "weight"), np.float32)
    return (0.02 * rng.standard_normal(shape)).astype(np.float32)


def _uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.uniform(-bound, bound, shape).astype(np.float32)
