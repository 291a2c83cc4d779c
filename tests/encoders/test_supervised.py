"""The four nets of the paper on combining public data sets: their printed sizes, their shapes, and their bundles."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from runtime.engine import open_engine
from runtime.errors import InputError
from sdk.encoders import Classifier, create_encoder, list_encoders
from sdk.encoders._keras import same_padding
from sdk.encoders.hart import Attention, LightConvolution, SensorWiseBlock
from tests.encoders.flops import profiler_flops

FEATURES = {
    "ispl-inception": 256,
    "deepconvlstm": 128,
    "hart": 1024,
    "mobilehart-xs": 1024,
    "mobilehart-xxs": 1024,
}
ANY_CHANNELS = ("ispl-inception", "deepconvlstm")
TWO_SENSORS = ("hart", "mobilehart-xs", "mobilehart-xxs")
NO_EFFECT = "key.bias"  # adds the same to all that the attention's softmax compares

NETS = ("ispl-inception", "deepconvlstm", "hart", "mobilehart-xs")  # XXS differs from XS in its widths only

TOLERANCE = 1e-4

counts = pytest.mark.parametrize(
    ("name", "n_channels", "n_classes", "total", "trainable"),
    [
        ("ispl-inception", 6, 10, 1_327_714, 1_324_630),
        ("ispl-inception", 9, 6, 1_327_754, 1_324_664),
        ("deepconvlstm", 6, 10, 458_570, 458_570),
        ("hart", 6, 6, 1_445_918, 1_445_918),
        ("hart", 6, 10, 1_450_018, 1_450_018),
        ("mobilehart-xs", 6, 6, 2_542_942, 2_535_582),
        ("mobilehart-xs", 6, 10, 2_547_042, 2_539_682),
        ("mobilehart-xxs", 6, 6, 1_275_702, 1_273_158),
        ("mobilehart-xxs", 6, 10, 1_279_802, 1_277_258),
    ],
)
every = pytest.mark.parametrize("name", NETS)


def classifier(name, length=64, n_channels=6, n_classes=3, seed=0):
    """In inference mode, with biases that are not 0 and batch normalisations that have seen a batch."""
    torch.manual_seed(seed)
    module = Classifier(create_encoder(name, length, n_channels), n_classes)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d)]
    with torch.no_grad():
        for parameter_name, parameter in module.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)
        for layer in norms:
            layer.weight.uniform_(0.5, 1.5)
            layer.momentum = None  # the average of all batches, which are one
        if norms:
            module.train()(torch.randn(16, length, n_channels))
    return module.eval()


def share(found, expected):
    """The largest difference as a share of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_all_are_registered():
    assert set(FEATURES) <= set(list_encoders())


# --- sizes


@counts
def test_parameters_are_as_printed(name, n_channels, n_classes, total, trainable):
    module = Classifier(create_encoder(name, 128, n_channels), n_classes)
    assert sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad) == trainable
    statistics = sum(b.numel() for n, b in module.named_buffers() if n.endswith(("running_mean", "running_var")))
    assert trainable + statistics == total


def test_deepconvlstm_has_the_printed_size_with_one_bias_per_gate():
    module = classifier("deepconvlstm", 128, 6, 10)
    second = [p for n, p in module.named_parameters() if "bias_hh" in n]
    assert sum(p.numel() for p in module.parameters()) - sum(p.numel() for p in second) == 457_546

    windows = torch.randn(2, 128, 6)
    with torch.no_grad():
        for parameter in second:
            parameter.uniform_(-0.5, 0.5)
        expected = module(windows)
        for lstm in module.encoder.lstms:  # only the sum of the two biases matters
            lstm.bias_ih_l0 += lstm.bias_hh_l0
            lstm.bias_hh_l0.zero_()
        found = module(windows)
    assert share(found.numpy(), expected.numpy()) < 1e-5


@pytest.mark.parametrize(
    ("name", "n_classes", "flops"),
    [
        ("ispl-inception", 10, 338_528_096),
        ("deepconvlstm", 10, 86_184_508),
        ("hart", 6, 15_212_636),
        ("mobilehart-xs", 6, 19_809_292),
    ],
)
def test_flops_are_as_printed(name, n_classes, flops):
    found, uncounted = profiler_flops(classifier(name, 128, 6, n_classes), 128, 6)
    assert found == flops
    moves = {"cat", "clone", "constant_pad_nd", "empty", "expand", "permute", "relu", "select", "slice"} | {
        "squeeze", "t", "transpose", "unsqueeze", "view", "_unsafe_view", "zeros",
    }  # fmt: skip
    assert {operator.removeprefix("aten.") for operator in uncounted} <= moves


# --- shapes and behaviour


@pytest.mark.parametrize(
    ("name", "length", "n_channels"),
    [(name, length, 6) for name in FEATURES for length in (17, 50, 128)]
    + [(name, 40, n_channels) for name in ANY_CHANNELS for n_channels in (1, 3, 9)],
)
def test_shapes(name, length, n_channels):
    module = classifier(name, length, n_channels)
    windows = torch.randn(3, length, n_channels)
    with torch.inference_mode():
        features = module.encoder(windows)
        assert features.shape == (3, FEATURES[name]) == (3, module.encoder.n_features)
        assert module(windows).shape == (3, 3)
    assert bool(torch.isfinite(features).all())


@pytest.mark.parametrize("name", TWO_SENSORS)
@pytest.mark.parametrize("n_channels", [3, 9, 12])
def test_other_channels_than_two_sensors_are_refused(name, n_channels):
    with pytest.raises(InputError, match=rf"6 channels: the accelerometer's x, y, z, then .* got {n_channels}\. "):
        create_encoder(name, 128, n_channels)


@pytest.mark.parametrize(
    ("name", "length", "text"),
    [("hart", 15, "at least 16 samples, got 15"), ("deepconvlstm", 16, "more than 16 samples, got 16")],
)
def test_windows_that_are_too_short_are_refused(name, length, text):
    with pytest.raises(InputError, match=text):
        create_encoder(name, length, 6)


@every
def test_every_parameter_gets_a_gradient(name):
    module = classifier(name)
    module(torch.randn(4, 64, 6)).square().sum().backward()
    largest = {n: float(p.grad.abs().max()) for n, p in module.named_parameters()}
    assert all(math.isfinite(value) for value in largest.values())
    assert not [n for n, value in largest.items() if not n.endswith(NO_EFFECT) and value < 1e-6]


@every
def test_a_window_does_not_depend_on_its_batch(name):
    module = classifier(name)
    windows = torch.randn(4, 64, 6, requires_grad=True)
    logits = module(windows)
    alone = torch.cat([module(window[None]) for window in windows])
    assert share(alone.detach().numpy(), logits.detach().numpy()) < 1e-5
    logits[1].sum().backward()
    reached = windows.grad.abs().amax((1, 2)) > 0
    assert reached.tolist() == [False, True, False, False]


@pytest.mark.parametrize("name", ["hart", "deepconvlstm"])
def test_without_batch_normalisation_that_holds_in_training_too(name):
    module = classifier(name).train()
    windows = torch.randn(4, 64, 6, requires_grad=True)
    module(windows)[1].sum().backward()
    reached = windows.grad.abs().amax((1, 2)) > 0
    assert reached.tolist() == [False, True, False, False]


@every
def test_a_seed_decides_everything(name):
    windows = torch.randn(2, 64, 6, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        first, again, other = (classifier(name, seed=seed)(windows) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@every
def test_dropout_is_for_training_only(name):
    module, windows = classifier(name), torch.randn(2, 64, 6)
    with torch.inference_mode():
        assert torch.equal(module(windows), module(windows))
        module.train()
        assert torch.equal(module(windows), module(windows)) == (name == "ispl-inception")  # it has no dropout


@pytest.mark.parametrize("name", TWO_SENSORS)
def test_the_first_three_channels_are_the_accelerometer(name):
    """A branch's first layer sees its own sensor only."""
    module = classifier(name)
    first = module.encoder.layers[0]
    windows = torch.randn(1, 64, 6, requires_grad=True)
    maps = first(windows) if name == "hart" else first(windows.transpose(1, 2)).transpose(1, 2)
    maps[..., : maps.shape[2] // 2].sum().backward()
    reached = windows.grad.abs().amax((0, 1)) > 0
    assert reached.tolist() == [True, True, True, False, False, False]


# --- parts


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "padding"),
    [
        (128, 68, 1, (33, 34)),
        (128, 34, 1, (16, 17)),
        (128, 17, 1, (8, 8)),
        (16, 4, 1, (1, 2)),
        (128, 3, 2, (0, 1)),
        (127, 3, 2, (1, 1)),
        (4, 1, 2, (0, 0)),
    ],
)
def test_same_padding_is_that_of_keras(length, kernel, stride, padding):
    assert same_padding(length, kernel, stride) == padding


@pytest.mark.parametrize(("n_kernels", "taps", "steps"), [(4, 3, 8), (4, 31, 8), (2, 4, 16)])
def test_light_convolution_runs_over_patches(n_kernels, taps, steps):
    torch.manual_seed(0)
    module, channels = LightConvolution(n_kernels, taps), 12
    patches = torch.randn(2, steps, channels)
    kernels = torch.softmax(module.kernels[:, 0], 1)
    expected = torch.zeros_like(patches)
    for c in range(channels):
        for step in range(steps):
            for tap in range(taps):
                at = step + tap - (taps - 1) // 2
                if 0 <= at < steps:
                    expected[:, step, c] += kernels[c % n_kernels, tap] * patches[:, at, c]
    torch.testing.assert_close(module(patches), expected)


def test_attention_is_scaled_dot_product_attention():
    torch.manual_seed(0)
    module, patches = Attention(8, 3, 5).eval(), torch.randn(2, 4, 8)
    query, key, value = (
        layer(patches).reshape(2, 4, 3, 5).transpose(1, 2) for layer in (module.query, module.key, module.value)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(module(patches), module.out(mixed.transpose(1, 2).reshape(2, 4, 15)))


def test_drop_path_leaves_out_a_branch_for_whole_windows():
    torch.manual_seed(0)
    drop = SensorWiseBlock(16, 2, 2, 3, drop_path=0.25).train().drop_path
    kept = drop(torch.ones(4000, 3, 2)).reshape(4000, -1)
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float(kept.mean()) == pytest.approx(1, abs=0.03)


def test_first_weights_are_those_of_keras():
    encoder = create_encoder("deepconvlstm", 32, 6)
    for lstm in encoder.lstms:
        forget = lstm.bias_ih_l0.reshape(4, -1)
        assert forget.sum(1).tolist() == [0, 128, 0, 0]
        assert not lstm.bias_hh_l0.any()
        torch.testing.assert_close(lstm.weight_hh_l0.T @ lstm.weight_hh_l0, torch.eye(128), atol=1e-5, rtol=0)
    for name in ("ispl-inception", "mobilehart-xs"):
        norms = [layer for layer in create_encoder(name, 32, 6).modules() if isinstance(layer, nn.BatchNorm1d)]
        assert norms
        assert {(layer.eps, round(layer.momentum, 6)) for layer in norms} == {(1e-3, 0.01)}


# --- bundles


def logits_of(bundle, windows):
    engine = open_engine(bundle)
    try:
        return engine.run(windows)
    finally:
        engine.close()


@torch.inference_mode()
def changed_enough(module, parameter, windows, before):
    """Change a parameter until torch's logits are clearly others; the new values and logits. Puts the old ones back."""
    kept = parameter.clone()
    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    for scale in (0.3, 1, 3, 10):
        parameter.copy_(kept + scale * noise)
        after, values = module(torch.from_numpy(windows)).numpy(), parameter.numpy().copy()
        if share(after, before) > 100 * TOLERANCE:
            break
    parameter.copy_(kept)
    return values, after


@every
def test_the_bundle_lists_every_parameter_and_takes_any_batch(name, bundle_of):
    bundle, module, windows = bundle_of(name)
    assert {spec.name: spec.shape for spec in bundle.manifest.tensors} == {
        n: tuple(p.shape) for n, p in module.named_parameters()
    }
    with torch.inference_mode():
        expected = module(torch.from_numpy(windows)).numpy()
    engine = open_engine(bundle)
    for n in (1, 2, 3):
        assert share(engine.run(windows[:n]), expected[:n]) < TOLERANCE
    engine.close()


@every
def test_the_layers_of_a_bundle_are_in_the_order_of_the_net(name, bundle_of):
    bundle, _, _ = bundle_of(name)
    layers = [spec.layer for spec in bundle.manifest.tensors]
    assert layers == sorted(layers)
    assert layers[-1] >= 6
    assert [spec.name for spec in bundle.manifest.tensors if spec.layer == layers[-1]] == ["head.weight", "head.bias"]


@every
def test_a_committed_version_is_what_torch_makes_of_the_same_tensors(name, bundle_of):
    bundle, module, windows = bundle_of(name)
    kept = {n: p.detach().clone() for n, p in module.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    with torch.inference_mode():
        before = module(torch.from_numpy(windows)).numpy()
        for parameter in module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
        after = module(torch.from_numpy(windows)).numpy()
        tensors = {n: p.numpy().copy() for n, p in module.named_parameters()}
        for n, parameter in module.named_parameters():
            parameter.copy_(kept[n])
    personal = bundle.commit(tensors, {"method": "test"})
    found = logits_of(personal, windows)
    assert share(after, before) > 100 * TOLERANCE
    assert share(found, after) < TOLERANCE
    assert share(logits_of(bundle, windows), before) < TOLERANCE


@every
def test_a_tensor_alone_changes_the_engine_as_it_changes_torch(name, bundle_of):
    """The first tensor of each kind, in turn. All of them at once are changed above."""
    bundle, module, windows = bundle_of(name)
    with torch.inference_mode():
        before = module(torch.from_numpy(windows)).numpy()
    kinds = {}
    for n, parameter in module.named_parameters():
        if name == "mobilehart-xs" and ".blocks." in n:
            continue  # made of the same parts as HART's
        owner, _, _ = n.rpartition(".")
        kinds.setdefault((type(module.get_submodule(owner)), *n.split(".")[-2:]), (n, parameter))
    without_effect = []
    for n, parameter in kinds.values():
        values, after = changed_enough(module, parameter, windows, before)
        # what Bundle.commit leads to, without a version on disk for each
        found = logits_of(dataclasses.replace(bundle, personal_tensors={n: values}), windows)
        assert share(found, after) < TOLERANCE, n
        if share(found, before) <= 10 * TOLERANCE:
            without_effect.append(n)
    assert without_effect == [n for n, _ in kinds.values() if n.endswith(NO_EFFECT)]
