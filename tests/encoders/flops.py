"""FLOPs as TensorFlow's profiler counts them for one window, which is how the papers' numbers came about.

2 per product of a convolution or a matrix multiplication
1 per element that is added or multiplied: biases, residuals, the product in swish, the scaling of queries
3 per output of a max-pool of 3, 5 per element of a softmax, 1 per element that goes into a mean
2 per element and 6 per channel of a batch normalisation, 9 per element and 3 per token of a layer normalisation
0 for ReLU and sigmoid, for all products in an attention (its biases count), and for LSTMs
"""

import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sdk.encoders.hart import Attention, LightConvolution

_ATEN = torch.ops.aten


class _Counter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.flops, self.inside, self.unknown = 0, [], set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        if nn.LSTM not in self.inside:
            self.flops += self._cost(operator.overloadpacket, args, result)
        return result

    def _cost(self, operator, args, result):
        size = result.numel() if isinstance(result, torch.Tensor) else result[0].numel()
        if operator is _ATEN.convolution:
            weight, bias = args[1:3]
            return size * (2 * weight[0].numel() + (bias is not None))
        if operator in (_ATEN.mm, _ATEN.bmm, _ATEN.addmm):
            products = 0 if Attention in self.inside else 2 * size * args[-2].shape[-1]
            return products + (size if operator is _ATEN.addmm else 0)
        if operator in (_ATEN.add, _ATEN.add_, _ATEN.mul, _ATEN.silu):
            return size
        if operator is _ATEN.mean:
            return args[0].numel()
        if operator is _ATEN._softmax:  # that of the light convolution's kernels can be done once and for all
            return 0 if LightConvolution in self.inside else 5 * size
        if operator is _ATEN.max_pool2d_with_indices:
            return 3 * size
        if operator is _ATEN.native_layer_norm:
            return 9 * size + 3 * size // math.prod(args[1])
        if operator is _ATEN._native_batch_norm_legit_no_training or operator is _ATEN.native_batch_norm:
            return 2 * size + 6 * args[0].shape[1]
        self.unknown.add(str(operator))
        return 0


@contextmanager
def _watch(module, inside):
    kinds = (Attention, LightConvolution, nn.LSTM)
    handles = []
    for layer in module.modules():
        if isinstance(layer, kinds):
            handles.append(layer.register_forward_pre_hook(lambda layer, _: inside.append(type(layer))))
            handles.append(layer.register_forward_hook(lambda *_: inside.pop() and None))
    yield
    for handle in handles:
        handle.remove()


def profiler_flops(classifier, length_samples, n_channels):
    """FLOPs of one window through a classifier and its softmax, and the operators that counted as nothing."""
    counter = _Counter()
    with torch.no_grad(), _watch(classifier, counter.inside), counter:
        torch.softmax(classifier(torch.zeros(1, length_samples, n_channels)), dim=1)
    return counter.flops, counter.unknown
