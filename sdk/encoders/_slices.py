"""Cutting a tensor into parts without `split` or `chunk`.

Torch's exporter turns those into a list of tensors, which onnxruntime runs one by one and TensorRT refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor


def slices(tensor: Tensor, sizes: Sequence[int], dim: int) -> list[Tensor]:
    """Consecutive parts of these sizes along an axis."""
    ends = accumulate(sizes)
    return [tensor.narrow(dim, end - size, size) for size, end in zip(sizes, ends, strict=True)]


def halves(tensor: Tensor, dim: int) -> list[Tensor]:
    """The two halves along an axis of even size."""
    return slices(tensor, [tensor.shape[dim] // 2] * 2, dim)
