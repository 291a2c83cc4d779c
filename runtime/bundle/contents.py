"""What a manifest lists of a bundle's files: tensors, training graphs, variants, and where their numbers lie.

model.onnx           Head, TensorSpec             the trainable tensors, by name, place and depth
train/NN.onnx        TrainingSpec                 a graph of loss and gradients from layer NN on
variants/NAME.onnx   VariantSpec, VariantTensor   the model in another precision; FoldedNorm: folded into it
every file           FileSpec                     size and hash
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runtime.errors import BundleError


@dataclass(frozen=True)
class Head:
    """The linear head by the names of its tensors: logits = features @ weight.T + bias."""

    weight: str
    bias: str


HEAD = Head("head.weight", "head.bias")  # as the exporter names them


@dataclass(frozen=True)
class TensorSpec:
    """A trainable tensor (float32, little endian) and where its bytes lie in model.onnx."""

    name: str
    shape: tuple[int, ...]
    layer: int  # depth, 0 nearest to the input; the head is the last
    offset: int  # bytes from the start of model.onnx


@dataclass(frozen=True)
class TrainingSpec:
    """A graph that gives loss and gradient for the tensors of one layer and of all later ones.

    Raises:
        BundleError: a layer or a file name that no training graph has.
    """

    layer: int  # the first that is trained
    file: str  # train/NN.onnx, NN being the layer
    cut: str  # the value of model.onnx that goes in; its own input, "windows", where all is trained
    cut_shape: tuple[int, ...]  # of that value, per window
    tensors: tuple[str, ...]  # the trained tensors, in the order in which they lie in the flat vectors
    sizes: tuple[int, ...]  # how many numbers each has
    fixed_bytes: int  # of memory that the graph fills at its worst instant: this much,
    bytes_per_window: int  # and this much more per window of a batch

    def __post_init__(self) -> None:
        if self.layer < 0 or self.file != f"train/{self.layer:02d}.onnx":
            raise BundleError(
                f"training from layer {self.layer}",
                expected="the file train/NN.onnx, NN being the layer",
                got=self.file,
                fix="Export the bundle again.",
            )


@dataclass(frozen=True)
class FoldedNorm:
    """A batch normalisation that a variant has folded into the convolution in front of it.

    With k = weight / sqrt(variance + epsilon): the convolution's weight is multiplied by k, output channel by output
    channel, and its bias b (0 where it had none) becomes (b - mean) k + bias.
    """

    weight: str  # its trainable tensors
    bias: str
    mean_offset: int  # bytes from the start of model.onnx, float32
    variance_offset: int
    epsilon: float


@dataclass(frozen=True)
class VariantTensor:
    """Where a variant keeps a trainable tensor, and as what.

    An int8 tensor is round(tensor / scale), scale = the largest absolute value / `VariantSpec.int8_limit`, the zero
    point being 0; so a device can put a tensor of its own there.
    """

    name: str  # "": the bias that a convolution without one got from `norm`
    dtype: Literal["float32", "float16", "int8"]
    offset: int  # bytes from the start of the variant's file
    scale_offset: int | None = None  # of the float32 scales, for int8
    axis: int | None = None  # each index along it has its own scale; None: one scale for all
    norm: FoldedNorm | None = None  # what is to be folded in first
    transposed: bool = False  # it lies there with its two axes swapped; `axis` counts as it lies there


@dataclass(frozen=True)
class VariantSpec:
    """The model in another precision: the same input and outputs, float32, under the same names.

    Raises:
        BundleError: a name of a precision or of a file that no variant has, or integers beyond 8 bits.
    """

    precision: str  # "fp16", "int8", ...
    file: str  # variants/PRECISION.onnx
    tensors: tuple[VariantTensor, ...]
    int8_limit: int = 127  # integers go from minus this to this
    record: Mapping[str, Any] = field(default_factory=dict)  # how it was made: calibration, what is left in float

    def __post_init__(self) -> None:
        good_name = self.precision.replace("-", "").isalnum() and self.precision.isascii() and self.precision.islower()
        if not good_name or self.file != f"variants/{self.precision}.onnx" or not 1 <= self.int8_limit <= 127:
            raise BundleError(
                f"variant {self.precision[:40]!r}",
                expected="a name such as int8, its file variants/int8.onnx and integers up to 127",
                got=f"{self.file[:80]!r} and {self.int8_limit}",
                fix="Add the variant again.",
            )


@dataclass(frozen=True)
class FileSpec:
    """Size and hash of one file of the bundle."""

    bytes: int
    sha256: str
