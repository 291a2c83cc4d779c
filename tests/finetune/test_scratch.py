"""Random weights against the distributions that torch's own modules start with."""

import numpy as np
import pytest
import torch

from runtime.bundle.contents import TensorSpec
from sdk.finetune.scratch import scratch_tensors
from tests.bundles_small import small_manifest

MODULES = {
    "linear": torch.nn.Linear(40, 300),
    "conv": torch.nn.Conv2d(7, 200, (5, 1)),
    "depthwise": torch.nn.Conv1d(600, 600, 3, groups=600),
    "norm": torch.nn.BatchNorm2d(64),
    "layer_norm": torch.nn.LayerNorm(64),
    "lstm": torch.nn.LSTM(20, 64, num_layers=2, bidirectional=True),
    "gru": torch.nn.GRU(20, 64),
    "attention": torch.nn.MultiheadAttention(96, 4),
}


def manifest_of(module):
    specs = tuple(TensorSpec(f"m.{name}", tuple(p.shape), 0, 0) for name, p in module.named_parameters())
    return small_manifest(tensors=specs)


@pytest.mark.parametrize("name", MODULES)
def test_same_bounds_and_spread_as_torch(name):
    found = scratch_tensors(manifest_of(MODULES[name]), seed=3)
    for key, parameter in MODULES[name].named_parameters():
        ours, expected = found[f"m.{key}"], parameter.detach().numpy()
        assert ours.shape == expected.shape
        assert ours.dtype == np.float32
        if expected.std() == 0:
            np.testing.assert_array_equal(ours, expected)
        else:
            assert ours.std() == pytest.approx(expected.std(), rel=0.15)
            assert np.abs(ours).max() == pytest.approx(np.abs(expected).max(), rel=0.12)


def test_a_seed_is_a_draw():
    manifest = manifest_of(MODULES["linear"])
    one, again, other = (scratch_tensors(manifest, seed)["m.weight"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.9
