"""The parts of small bundles: manifests, windows, encoders with random weights."""

import re
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest

from runtime.bundle import Manifest
from runtime.specs import Modality, Normalise, Signal, SpectrogramSpec, WindowSpec

FCNS = ("fcn", "fcn-stride4")  # the larger encoders are exported in encoders/test_supervised.py
LENGTH, CHANNELS, LABELS = 32, 3, ("sitting", "walking", "running")


# Never imported by a test itself: its telemetry would write to the home folder. See runtime/engine/openvino.py.
needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason='needs openvino: pip install "sensedge[openvino]"'
)


class Exported(NamedTuple):
    """A bundle and the torch module that it was made of."""

    path: Any  # pathlib.Path
    module: Any  # windows to (features, logits), in inference mode
    windows: Any  # shape (n, LENGTH, CHANNELS)


def small_manifest(**changes):
    facts = {
        "name": "small",
        "signal": Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 32.0),)),
        "window": WindowSpec(LENGTH, 12),
        "labels": LABELS,
        "normalise": Normalise((0.5, -1.0, 9.0), (2.0, 3.0, 4.0)),
        "provenance": {"method": "random weights"},
    }
    return Manifest(**{**facts, **changes})


def small_windows(n, seed=0):
    return np.random.default_rng(seed).normal((0.5, -1, 9), (2, 3, 4), (n, LENGTH, CHANNELS)).astype(np.float32)


def small_parts(name, seed=1):
    """An encoder with a head, whose batch normalisations have seen something."""
    import torch

    from sdk.encoders import create_encoder

    torch.manual_seed(seed)
    encoder = create_encoder(name, LENGTH, CHANNELS)
    head = torch.nn.Linear(encoder.n_features, len(LABELS))
    for layer in encoder.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.uniform_(layer.bias, -0.2, 0.5)
    encoder.eval()
    with torch.no_grad():
        head.bias -= head(encoder(torch.randn(64, LENGTH, CHANNELS))).mean(0)  # so that every label occurs
    return encoder, head.eval()


def export_small(name, path):
    """A bundle of one encoder."""
    from exporters import export_bundle

    return export_bundle(path, *small_parts(name), small_manifest(), small_windows(4))


def small_module(name):
    """What the bundle of one encoder was made of: windows to (features, logits)."""
    import torch

    encoder, head = small_parts(name)
    normalise = small_manifest().normalise
    mean, std = torch.tensor(normalise.mean), torch.tensor(normalise.std)

    @torch.inference_mode()
    def module(samples):
        features = encoder((torch.from_numpy(samples) - mean) / std)
        return features.numpy(), head(features).numpy()

    module.encoder, module.head = encoder, head
    return module


def without_note(err):
    """What a command said on stderr, but for the line on a bundle that nobody has signed."""
    return re.sub(r"\Anote: .*: not signed; whoever made it is trusted\n", "", err)


def image_manifest(*, in_graph=False, **changes):
    """Small windows as images of 24 x 20 pixels; 3 of 5 columns are new per hop."""
    spec = SpectrogramSpec(16, 4, ("acc_z", "acc_x", "acc_y"), width_px=24, height_px=20, in_graph=in_graph)
    return small_manifest(**{"spectrogram": spec, **changes})


def image_parts(seed=1):
    """A tiny CNN on images, with a head."""
    import torch

    torch.manual_seed(seed)
    encoder = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
    ).eval()
    return encoder, torch.nn.Linear(8 * 4 * 5, len(LABELS)).eval()
