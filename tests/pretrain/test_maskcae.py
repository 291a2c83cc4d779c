"""MaskCAE: its published size, that nothing which is hidden can be seen, and its loss against the equation in loops."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from runtime.errors import InputError
from sdk.encoders import create_encoder
from sdk.pretrain import create_method
from sdk.pretrain.maskcae import MaskCAE, MaskedAutoencoder, hidden_error, random_patches, visible_norm
from tests.pretrain.small import PLAN, TASK


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def net_and_windows(length=30, n_channels=6, n=3):
    torch.manual_seed(0)
    net = MaskedAutoencoder(length, n_channels)
    visible = torch.rand(n, *net.patches).argsort(1).argsort(1) > 0  # one patch of two of each channel
    return net, torch.randn(n, length, n_channels), visible


@pytest.mark.parametrize(("length", "n_channels", "grid"), [(30, 6, (2, 6)), (30, 12, (2, 12)), (128, 9, (8, 9))])
def test_it_has_the_released_size_whatever_the_windows(length, n_channels, grid):
    net, windows, visible = net_and_windows(length, n_channels)
    assert count(net) == 3_756_385
    assert count(net.encoder) == 54_560
    assert [count(filler.project) for filler in net.fillers] == [33_024, 41_088, 10_304, 2_592]
    assert sum(count(filler.norm) for filler in net.fillers) == 480
    assert sum(filler.token.numel() for filler in net.fillers) == 240
    assert count(net.stages) + count(net.last) == 3_614_097
    assert net.patches == grid
    assert net(windows, visible).shape == (3, 16 * grid[0], n_channels)


@pytest.mark.parametrize("training", [True, False])
def test_what_is_hidden_cannot_be_seen(training):
    net, windows, visible = net_and_windows(32)
    net.train(training)
    windows.requires_grad_()
    net(windows, visible).square().sum().backward()
    reached = windows.grad.abs().reshape(3, 2, 16, 6).amax(2) > 0
    assert torch.equal(reached, visible)


def test_with_everything_visible_it_is_the_dense_encoder():
    net, windows, _ = net_and_windows(32)
    levels = []
    for block in net.encoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: levels.append(output))
    everything = torch.ones(3, 2, 6, dtype=torch.bool)
    for training in (True, False):
        levels.clear()
        net.train(training).encoder(windows)
        sparse = [maps for maps, _ in net._levels(windows, everything.unsqueeze(1))]
        for found, expected in zip(sparse, levels, strict=True):
            torch.testing.assert_close(found, expected)


def test_the_norm_counts_visible_places_only():
    torch.manual_seed(0)
    maps, seen = torch.randn(4, 3, 8, 5), torch.rand(4, 1, 8, 5) > 0.4
    norm, rows = nn.BatchNorm2d(3), nn.BatchNorm1d(3)
    found = visible_norm(norm, maps, seen)
    expected = rows(maps.permute(0, 2, 3, 1)[seen[:, 0]])
    torch.testing.assert_close(found.permute(0, 2, 3, 1)[seen[:, 0]], expected)
    torch.testing.assert_close(norm.running_var, rows.running_var)
    assert not found[~seen.expand_as(found)].any()


def test_the_encoder_goes_into_the_registered_one():
    net, windows, _ = net_and_windows()
    fcn = create_encoder("fcn", 30, 6)
    fcn.load_state_dict(net.encoder.state_dict())
    assert torch.equal(fcn.eval()(windows), net.eval().encoder(windows))


def test_every_parameter_learns():
    net, windows, visible = net_and_windows()
    net.eval()(windows, visible).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize(("patches", "hidden"), [((2, 6), 4), ((2, 12), 7), ((2, 9), 5)])
def test_as_many_patches_are_hidden_as_in_the_released_code(patches, hidden):
    visible = random_patches(400, patches, generator=torch.Generator().manual_seed(0))
    assert visible.shape == (400, *patches)
    assert {int(n) for n in (~visible).sum(dim=(1, 2))} == {hidden}
    share = (~visible).float().mean(0)
    assert (share - hidden / (patches[0] * patches[1])).abs().max() < 0.12  # every patch as often as any other


# --- the loss


def by_loops(found, windows, visible):
    """The docstring's L in plain numbers: found and windows (n, steps, channels), visible (n, patches, channels)."""
    errors = []
    for out, window, seen in zip(found.tolist(), windows.tolist(), visible.tolist(), strict=True):
        for patch, channels in enumerate(seen):
            for channel, is_seen in enumerate(channels):
                if is_seen:
                    continue
                steps = range(16 * patch, 16 * patch + 16)
                x = [window[t][channel] for t in steps]
                mean = sum(x) / 16
                variance = sum((value - mean) ** 2 for value in x) / 15
                z = [(value - mean) / math.sqrt(variance + 1e-6) for value in x]
                errors.append(sum((z[i] - out[t][channel]) ** 2 for i, t in enumerate(steps)) / 16)
    return sum(errors) / len(errors)


@pytest.mark.parametrize(("length", "n_channels"), [(32, 1), (30, 6), (48, 3)])
def test_the_loss_is_the_equation(length, n_channels):
    torch.manual_seed(1)
    method = MaskCAE(length, n_channels).double()
    windows = 3 * torch.randn(5, length, n_channels, dtype=torch.float64) + 2
    windows[0, :, 0] = 7.0  # a still sensor: its target is 0, not 0 / 0
    state = torch.get_rng_state()
    loss = method(*method.view(windows)).item()
    torch.set_rng_state(state)
    visible = random_patches(5, method.net.patches)
    padding = torch.nn.functional.pad(windows.transpose(1, 2), method.net.encoder._padding, mode="replicate")
    expected = by_loops(method.net(windows, visible), padding.transpose(1, 2), visible)
    assert abs(loss - expected) < 1e-10
    assert method.net.patches[0] * 16 == padding.shape[2]


def test_only_hidden_patches_count():
    torch.manual_seed(2)
    found, windows = torch.randn(2, 4, 32, 3, dtype=torch.float64)
    visible = random_patches(4, (2, 3))
    loss = hidden_error(found, windows, visible)
    assert abs(loss.item() - by_loops(found, windows, visible)) < 1e-10
    shown = visible.repeat_interleave(16, 1)
    assert hidden_error(torch.where(shown, 100.0, found), windows, visible) == loss
    assert hidden_error(torch.where(shown, found, 100.0), windows, visible) > 10 * loss


def test_a_perfect_reconstruction_costs_nothing_and_units_do_not_matter():
    torch.manual_seed(3)
    windows, visible = torch.randn(4, 32, 3, dtype=torch.float64), random_patches(4, (2, 3))
    patches = windows.reshape(4, 2, 16, 3)
    z = ((patches - patches.mean(2, keepdim=True)) / patches.std(2, keepdim=True)).reshape(4, 32, 3)
    assert hidden_error(z, windows, visible) < 1e-10
    assert hidden_error(z, 40 * windows - 9, visible) < 1e-10


def test_other_patches_are_hidden_at_every_call():
    torch.manual_seed(4)
    method, windows = MaskCAE(32, 3).eval(), torch.randn(6, 32, 3)
    assert method(*method.view(windows)) != method(*method.view(windows))


def test_another_encoder_is_refused():
    with pytest.raises(InputError, match=r"method maskcae: expected encoder fcn, got hart. Leave the encoder out."):
        create_method(dataclasses.replace(PLAN, method="maskcae", encoder="hart"), TASK)
