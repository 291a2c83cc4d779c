"""Every rule by itself: small nets with one kind of layer each, against torch in double precision."""

import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from exporters.training import training_graph
from runtime.errors import InputError
from tests.exporters.training.reference import exported_model, labelled, manifest_of, session, torch_gradients, worst

N = 5


class Net(nn.Module):
    """Windows (n, length, channels) through `layers`, as maps (n, channels, length) or as they are, to logits."""

    def __init__(self, shape, layers, before=lambda x: x.transpose(1, 2), after=lambda x: x.flatten(1)):
        super().__init__()
        self.layers, self.before, self.after = layers, before, after
        with torch.no_grad():
            self.head = nn.Linear(self.features(torch.zeros(2, *shape)).shape[1], 3)

    def features(self, x):
        return self.after(self.layers(self.before(x)))

    def forward(self, x):
        return self.head(self.features(x))


def shaken(module):
    """Parameters and statistics that are nothing special."""
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.uniform_(0.5, 1.5)
            elif tensor.ndim == 1:
                tensor.uniform_(-0.3, 0.3)
    return module.eval()


def compare(module, shape, windows=None, change=lambda model: model):
    """The error of the gradients, and of torch's own in single precision; `change` is done to what was exported."""
    manifest = manifest_of(module, shape)
    graph = training_graph(change(exported_model(module, shape)), manifest, 0)
    rng = np.random.default_rng(1)
    windows = rng.normal(size=(N, *shape)).astype(np.float32) if windows is None else windows
    labels, weights = labelled(len(windows), 3)
    parameters = dict(module.named_parameters())
    theta = np.concatenate([parameters[name].detach().numpy().ravel() for name in graph.spec.tensors])
    feeds = {"activations": windows, "labels": labels, "weights": weights, "theta": theta}
    loss, gradient = session(graph.model).run(["loss", "gradient"], feeds)
    truth = torch_gradients(module, manifest, windows, labels, weights)
    single = torch_gradients(module, manifest, windows, labels, weights, torch.float32)
    assert loss == pytest.approx(truth[0], rel=1e-5)
    parts = np.split(gradient, np.cumsum(graph.spec.sizes)[:-1])
    found = {n: p.reshape(parameters[n].shape) for n, p in zip(graph.spec.tensors, parts, strict=True)}
    return worst(found, truth[2]), worst(single[2], truth[2])


def as_image(x):
    return x.unflatten(2, (-1, 4)).permute(0, 3, 1, 2)  # (n, 4, length, channels / 4)


def as_volume(x):
    return x.unflatten(2, (-1, 2, 2)).permute(0, 4, 1, 2, 3)  # (n, 2, length, channels / 4, 2)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Recurrent(nn.Module):
    """All steps, or the last."""

    def __init__(self, layer, last=False):
        super().__init__()
        self.layer, self.last = layer, last

    def forward(self, x):
        steps = self.layer(x)[0]
        return steps[:, -1] if self.last else steps


class Function(nn.Module):
    """A function after a linear layer, so that it has a gradient."""

    def __init__(self, width, function):
        super().__init__()
        self.linear, self.function = nn.Linear(width, width), function

    def forward(self, x):
        return self.function(self.linear(x))


class Biased(nn.Module):
    """A convolution whose bias is a constant of the graph: no parameter, and not zero."""

    def __init__(self, bias):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(5, 4, 3))
        self.bias = bias  # no buffer, so that `shaken` leaves it alone

    def forward(self, x):
        return functional.conv1d(x, self.kernels, torch.tensor(self.bias, dtype=x.dtype))


class Light(nn.Module):
    """Weights of a convolution that are no parameters themselves, and windows that share them."""

    def __init__(self):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(2, 1, 3))

    def forward(self, x):
        rows = x.reshape(-1, 2, x.shape[2])
        rows = functional.conv1d(rows, torch.softmax(self.kernels, dim=2), padding=1, groups=2)
        return rows.reshape(x.shape)


def maps(*layers):
    return (12, 4), nn.Sequential(*layers), {}


def image(*layers):
    return (9, 28), nn.Sequential(nn.Conv2d(4, 6, 1), *layers), {"before": as_image}


def volume(*layers):
    return (7, 20), nn.Sequential(*layers), {"before": as_volume}


def rows(*layers):
    return (6, 8), nn.Sequential(nn.Linear(8, 8), *layers), {"before": lambda x: x}


CASES = {
    "conv1d": lambda: maps(nn.Conv1d(4, 5, 3, padding=1), nn.ReLU(), nn.Conv1d(5, 3, 4, 2, dilation=2, padding=3)),
    "frozen bias": lambda: maps(Biased([0.5, -1.0, 0.0, 2.0, 0.0]), nn.ReLU()),
    "frozen bias of zeros": lambda: maps(Biased([0.0] * 5), nn.ReLU()),
    "many columns": lambda: image(nn.Conv2d(6, 500, 1), nn.ReLU(), nn.Conv2d(500, 2, (3, 5))),
    "pointwise": lambda: maps(nn.Conv1d(4, 6, 1, bias=False), nn.ReLU(), nn.Conv1d(6, 2, 1, stride=3)),
    "many taps": lambda: maps(nn.Conv1d(4, 300, 5, padding=2), nn.ReLU(), nn.Conv1d(300, 4, 12)),
    "depthwise": lambda: maps(nn.Conv1d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv1d(4, 8, 3, groups=4, stride=2)),
    "groups": lambda: maps(nn.Conv1d(4, 6, 3, groups=2, padding=2), nn.ReLU(), nn.Conv1d(6, 4, 1, groups=2)),
    "conv2d": lambda: image(nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, (2, 3), stride=2)),
    "flat conv2d": lambda: image(nn.ReLU(), nn.Conv2d(6, 5, (1, 3), padding=(0, 1)), nn.Conv2d(5, 4, (3, 1))),
    "depthwise 2d": lambda: image(nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6, stride=2, padding=1)),
    "conv3d": lambda: volume(nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 4, (3, 2, 1), (2, 1, 1))),
    "block": lambda: maps(nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(5, 3, 2)),
    "block without relu": lambda: maps(nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5), nn.MaxPool1d(3, 2, padding=1)),
    "grouped block": lambda: maps(nn.Conv1d(4, 8, 3, groups=4, bias=False), nn.BatchNorm1d(8), nn.SiLU()),
    "norm alone": lambda: maps(nn.BatchNorm1d(4), nn.Conv1d(4, 5, 3), nn.ReLU(), nn.BatchNorm1d(5), nn.ReLU()),
    "norm of features": lambda: rows(nn.Flatten(), nn.Linear(48, 7), nn.BatchNorm1d(7), nn.Tanh()),
    "pools": lambda: maps(nn.Conv1d(4, 5, 3), nn.MaxPool1d(5, 2, 2), nn.Conv1d(5, 5, 1), nn.MaxPool1d(3, 1, 1)),
    "pool with gaps": lambda: maps(nn.Conv1d(4, 5, 2), nn.MaxPool1d(2, 3), nn.Sigmoid()),
    "pool over the end": lambda: maps(nn.Conv1d(4, 5, 3), nn.MaxPool1d(3, 2, ceil_mode=True)),
    "pool in 2d": lambda: image(nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 4, 2), nn.MaxPool2d((2, 3), (1, 2))),
    "pool in 3d": lambda: volume(nn.Conv3d(2, 3, 1), nn.MaxPool3d((2, 3, 1), (2, 1, 1))),
    "average pool": lambda: maps(nn.Conv1d(4, 5, 3), nn.AvgPool1d(3, 2, padding=1), nn.ReLU(), nn.AvgPool1d(2)),
    "average pool in 2d": lambda: image(nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Conv2d(6, 2, 2)),
    "global average": lambda: image(nn.ReLU(), nn.Conv2d(6, 5, 2), nn.AdaptiveAvgPool2d(1)),
    "constant padding": lambda: maps(nn.Conv1d(4, 5, 3), nn.ConstantPad1d((2, 1), 0.5), nn.Conv1d(5, 2, 3)),
    "edge padding": lambda: maps(nn.Conv1d(4, 5, 3), nn.ReplicationPad1d((1, 3)), nn.Conv1d(5, 2, 3)),
    "light convolution": lambda: maps(nn.Conv1d(4, 4, 3, padding=1), Light()),
    "linear": lambda: rows(nn.ReLU(), nn.Linear(8, 4, bias=False), nn.Flatten(), nn.Linear(24, 9)),
    "linear after maps": lambda: maps(nn.Conv1d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(50, 6), nn.ReLU()),
    "layer norm": lambda: rows(nn.LayerNorm(8), nn.Linear(8, 6), nn.LayerNorm(6)),
    "softmax": lambda: rows(nn.Softmax(dim=2), nn.Linear(8, 4), nn.Softmax(dim=1)),
    "gelu": lambda: rows(nn.GELU(), nn.Linear(8, 8), nn.GELU()),
    "silu": lambda: rows(nn.SiLU(), nn.Linear(8, 8), nn.SiLU()),
    "attention": lambda: rows(nn.LayerNorm(8), Attention(8)),
    "transformer": lambda: rows(nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)),
    "lstm": lambda: rows(Recurrent(nn.LSTM(8, 5, batch_first=True)), Recurrent(nn.LSTM(5, 4, batch_first=True), True)),
    "lstm both ways": lambda: rows(Recurrent(nn.LSTM(8, 5, num_layers=2, bidirectional=True, batch_first=True))),
    "gru": lambda: rows(Recurrent(nn.GRU(8, 5, batch_first=True)), Recurrent(nn.GRU(5, 4, batch_first=True), True)),
    "gru both ways": lambda: rows(Recurrent(nn.GRU(8, 5, bidirectional=True, batch_first=True))),
    "functions": lambda: rows(Function(8, lambda x: (x.tanh() + x.exp() * 0.1) / (2 + x.sigmoid()) - x.square())),
    "more functions": lambda: rows(Function(8, lambda x: functional.leaky_relu(x, 0.1) - functional.softplus(x))),
    "slices": lambda: rows(Function(8, lambda x: torch.cat([x[:, 1:5:2], x[:, -2:].flip(1)], 1))),
    "expansion": lambda: rows(Function(8, lambda x: x[..., 3:4].expand(-1, -1, 8) * x)),
    "chunks": lambda: rows(Function(8, lambda x: x.chunk(2, 2)[0] * x.chunk(2, 2)[1] + x.split([2, 4, 2], 2)[1])),
    "rules of onnx-ad": lambda: rows(Function(8, lambda x: functional.hardswish(x) + x.clamp(-0.5, 0.5) + x.abs())),
    "broadcasts": lambda: rows(Function(8, lambda x: x * x.mean(dim=1, keepdim=True) + x.sum(dim=2, keepdim=True))),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_against_torch(name):
    torch.manual_seed(3)
    shape, layers, more = CASES[name]()
    error, single = compare(shaken(Net(shape, layers, **more)), shape)
    assert error <= 1e-6 or error <= 2 * single


def test_an_average_pool_without_attributes_leaves_padding_out_of_the_mean():
    """ONNX: ceil_mode and count_include_pad are 0 where they are not given; torch always writes both."""
    torch.manual_seed(3)
    taken = []

    def stripped(model):
        proto = onnx.load_model_from_string(model)
        for node in proto.graph.node:
            if node.op_type == "AveragePool":
                kept = [a for a in node.attribute if a.name in ("kernel_shape", "strides", "pads")]
                taken.append(len(node.attribute) - len(kept))
                del node.attribute[:]
                node.attribute.extend(kept)
        return proto.SerializeToString()

    shape, layers, more = maps(nn.Conv1d(4, 5, 3), nn.AvgPool1d(3, 2, padding=1, count_include_pad=False), nn.ReLU())
    error, single = compare(shaken(Net(shape, layers, **more)), shape, change=stripped)
    assert len(taken) == 1
    assert taken[0] >= 1
    assert error <= 1e-6 or error <= 2 * single


def test_an_operator_without_a_rule_is_named(monkeypatch):
    shape, layers, more = rows(Function(8, torch.abs))
    module = shaken(Net(shape, layers, **more))
    monkeypatch.setitem(sys.modules, "onnx_ad", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"training graph: Abs that makes .*: expected an operator with a rule.*pip"):
        training_graph(exported_model(module, shape), manifest_of(module, shape), 0)


def test_an_operator_that_nobody_knows_is_named():
    shape, layers, more = maps(nn.ConvTranspose1d(4, 5, 3))
    module = shaken(Net(shape, layers, **more))
    with pytest.raises(InputError, match=r"training graph: ConvTranspose that makes .*: expected"):
        training_graph(exported_model(module, shape), manifest_of(module, shape), 0)
