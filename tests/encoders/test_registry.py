"""The battery that the FCNs face, with MaskCAE's numbers, and the registry, which must hold no name without one."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from runtime.errors import InputError
from sdk.encoders import FCN, Classifier, create_encoder, list_encoders, register_encoder

NAMES = ["fcn", "fcn-stride4"]
ELSEWHERE = [
    *("deepconvlstm", "hart", "ispl-inception", "mobilehart-xs", "mobilehart-xxs"),  # test_supervised.py
    *("1d-cnn", "cnn-gru", "cnn-transformer", "co-occurrence", "resnet1d", "resnet18"),  # test_more.py
    *("hand", "hand+fcn"),  # test_hand.py
    *("cosmo-depth", "cosmo-imu", "cosmo-radar", "cosmo-skeleton", "cosmo-usc", "cosmo-utd"),  # test_more.py
]
SHAPES = [(32, 3), (30, 6), (128, 9), (17, 1)]


def make(name, length=32, channels=3, seed=0):
    torch.manual_seed(seed)
    return create_encoder(name, length, channels)


def windows_of(n, length=32, channels=3):
    return torch.from_numpy(np.random.default_rng(n).normal(size=(n, length, channels)).astype(np.float32))


def test_the_battery_meets_every_encoder():
    assert list_encoders() == sorted([*NAMES, *ELSEWHERE])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("length", "channels"), SHAPES)
def test_shapes(name, length, channels):
    encoder = make(name, length, channels)
    for n in (2, 5):
        features = encoder(windows_of(n, length, channels))
        assert features.shape == (n, encoder.n_features)
        assert features.dtype == torch.float32
        assert torch.isfinite(features).all()
    logits = Classifier(encoder, 7)(windows_of(3, length, channels))
    assert logits.shape == (3, 7)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name):
    classifier = Classifier(make(name), 4)
    classifier.eval()  # in training mode a bias before a batch normalisation has none
    classifier(windows_of(16)).square().sum().backward()
    for parameter_name, parameter in classifier.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_the_features_depend_on_every_sample(name):
    encoder = make(name, 30, 6).eval()
    windows = windows_of(40, 30, 6).requires_grad_()
    encoder(windows).square().sum().backward()
    assert (windows.grad.abs().amax(0) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_window_has_its_features_whatever_is_beside_it(name):
    encoder, windows = make(name).eval(), windows_of(9)
    with torch.no_grad():
        together = encoder(windows)
        for i in range(9):
            torch.testing.assert_close(encoder(windows[i : i + 1])[0], together[i], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(encoder(windows.flip(0)).flip(0), together, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_input_stays_untouched(name):
    encoder, windows = make(name), windows_of(4)
    for mode in (True, False):
        encoder.train(mode)(windows)
        assert torch.equal(windows, windows_of(4))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_everything(name):
    first, again, other = make(name, seed=3), make(name, seed=3), make(name, seed=4)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    windows = windows_of(6)
    assert torch.equal(first(windows), again(windows))
    assert torch.equal(first.eval()(windows), first(windows))


@pytest.mark.parametrize("name", NAMES)
def test_two_encoders_share_nothing(name):
    one, two = make(name), make(name)
    one(windows_of(8))  # moves the statistics of its batch normalisation
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    for fresh, kept in zip(two.state_dict().values(), make(name).state_dict().values(), strict=True):
        assert torch.equal(fresh, kept)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_survives_its_dictionary(name):
    trained, empty = make(name, seed=1), make(name, seed=2)
    trained(windows_of(8))
    empty.load_state_dict(trained.state_dict())
    assert torch.equal(trained.eval()(windows_of(3)), empty.eval()(windows_of(3)))


def test_an_unknown_name_is_answered_with_the_near_ones():
    with pytest.raises(
        InputError,
        match=r"^encoder: expected a registered name, got 'fcn-stride-4'. Did you mean fcn-stride4\?$",
    ):
        create_encoder("fcn-stride-4", 32, 3)
    with pytest.raises(
        InputError, match=r"got '中'. Did you mean 1d-cnn or cnn-gru or cnn-transformer or co-occurrence or "
    ):
        create_encoder("中", 32, 3)


def test_a_name_is_given_once():
    with pytest.raises(
        InputError, match=r"^encoder 'fcn': expected a new name, got one that is taken. Choose another.$"
    ):
        register_encoder("fcn", "MaskCAE", (30, 6))(FCN)
    assert list_encoders() == sorted([*NAMES, *ELSEWHERE])


# Numbers of MaskCAE: table VI, and those that follow from table I


@pytest.mark.parametrize(
    ("name", "length", "channels", "classes", "parameters"),
    [
        ("fcn-stride4", 30, 6, 12, 63_788),
        ("fcn-stride4", 128, 12, 6, 91_430),
        ("fcn-stride4", 128, 9, 6, 82_214),
        ("fcn", 30, 6, 12, 73_004),
        ("fcn", 30, 12, 6, 72_998),
        ("fcn", 30, 9, 6, 68_390),
    ],
)
def test_fcn_has_the_papers_parameters(name, length, channels, classes, parameters):
    classifier = Classifier(make(name, length, channels), classes)
    assert sum(p.numel() for p in classifier.parameters()) == parameters
    # by hand: kernels of 5 with bias and the two numbers per channel of a batch normalisation
    widths = (1, 16, 32, 64, 128)
    encoder = sum(5 * a * b + 3 * b for a, b in pairwise(widths))
    assert parameters == encoder + (classifier.encoder.n_features + 1) * classes


@pytest.mark.parametrize(
    ("name", "length", "steps"),
    [("fcn", 30, (16, 8, 4, 2)), ("fcn-stride4", 30, (8, 4, 2, 1)), ("fcn-stride4", 128, (32, 16, 8, 4))],
)
def test_fcn_has_the_papers_maps(name, length, steps):
    encoder, maps = make(name, length, 6), []
    for block in encoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: maps.append(tuple(output.shape)))
    encoder(windows_of(2, length, 6))
    assert maps == [(2, width, n, 6) for width, n in zip((16, 32, 64, 128), steps, strict=True)]
    assert encoder.n_features == 128 * steps[-1] * 6


@pytest.mark.parametrize(
    ("length", "channels", "classes", "flops"),
    [(30, 6, 12, 1_830_912), (128, 12, 6, 14_573_568), (128, 9, 6, 10_930_176)],
)
def test_fcn_has_the_papers_flops(length, channels, classes, flops):
    """Twice what thop counts: products of convolutions and linear layers, 4 per element of a batch normalisation."""
    counts = []

    def count(module, inputs, output):
        if isinstance(module, nn.Conv2d):
            counts.append(output.numel() * module.in_channels * math.prod(module.kernel_size))
        elif isinstance(module, nn.BatchNorm2d):
            counts.append(4 * output.numel())
        else:
            counts.append(output.numel() * module.in_features)

    classifier = Classifier(make("fcn-stride4", length, channels), classes).eval()
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            module.register_forward_hook(count)
    classifier(windows_of(1, length, channels))
    assert len(counts) == 9
    assert 2 * sum(counts) == flops


def test_fcn_repeats_the_borders_of_a_short_window():
    encoder = make("fcn", 30, 2).eval()
    long = make("fcn", 32, 2).eval()
    windows = windows_of(3, 30, 2)
    padded = torch.cat([windows[:, :1], windows, windows[:, -1:]], dim=1)
    assert torch.equal(encoder(windows), long(padded))


def test_fcn_never_mixes_sensor_channels():
    encoder, windows = make("fcn", 32, 4).eval(), windows_of(2, 32, 4)
    changed = windows.clone()
    changed[:, :, 1] += 1
    before, after = (encoder(w).reshape(2, 128, 2, 4) for w in (windows, changed))
    assert torch.equal(before[..., [0, 2, 3]], after[..., [0, 2, 3]])
    assert not torch.equal(before[..., 1], after[..., 1])
