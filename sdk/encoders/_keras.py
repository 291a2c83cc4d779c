"""What Keras does unless it is told otherwise, for the nets that were published in it.

Torch differs in four places: the batch normalisation's constants, the "same" padding of strided convolutions, the first
weights, and the LSTM's second vector of biases (see `deepconvlstm`).
"""

from __future__ import annotations

from torch import nn

_BATCH_NORM_EPS = 1e-3
_BATCH_NORM_MOMENTUM = 0.99  # the share of the old value; torch names the share of the new one


def batch_norm(width: int) -> nn.BatchNorm1d:
    """Batch normalisation of maps (n, width, steps)."""
    return nn.BatchNorm1d(width, eps=_BATCH_NORM_EPS, momentum=1 - _BATCH_NORM_MOMENTUM)


def same_padding(length: int, kernel: int, stride: int = 1) -> tuple[int, int]:
    """Zeros before and after `length` steps for ceil(length / stride) outputs; an odd one goes to the end."""
    missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return missing // 2, missing - missing // 2


def initialise(module: nn.Module) -> None:
    """First weights: Glorot's uniform ones, biases 0; in an LSTM orthogonal recurrent weights and a forget bias of 1.

    Keras reads the kernels of its attention, shape (width, n_heads, key_width), as those of a convolution, and draws
    them from a range that is smaller than Glorot's. That is not repeated here.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LSTM):
            for name, parameter in layer.named_parameters():
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(parameter)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.zeros_(parameter)
                if name.startswith("bias_ih"):  # torch's order of gates: input, forget, cell, output
                    nn.init.ones_(parameter.data[layer.hidden_size : 2 * layer.hidden_size])
