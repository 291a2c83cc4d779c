"""Every registered encoder, small: the module and its bundle."""

from unittest import mock

import numpy as np
import torch
from torch import nn

from exporters import export_bundle
from exporters.parity import graph_inputs
from sdk.encoders import MLP, AttentionFusion, Bodied, Classifier, Recurrent, ResNet18, create_encoder
from sdk.encoders.cosmo import Depth, cosmo_radar, imu_maps, skeleton_maps
from sdk.encoders.untrained import blank_manifest

TOLERANCE = 1e-4

# The smallest windows that keep every part at work; where the published net is large, a narrow or shallow one of the
# same class, as most of an export's time goes by the nodes. The four of encoders/test_supervised.py are as published;
# MobileHART's last block needs two steps to tell apart. An export is traced step by step through a GRU, so only one of
# them has both of its layers.
SMALL = {
    "fcn": ((32, 3), lambda: create_encoder("fcn", 32, 3)),
    "fcn-stride4": ((32, 3), lambda: create_encoder("fcn-stride4", 32, 3)),
    "deepconvlstm": ((24, 6), lambda: create_encoder("deepconvlstm", 24, 6)),
    "hart": ((64, 6), lambda: create_encoder("hart", 64, 6)),
    "ispl-inception": ((64, 6), lambda: create_encoder("ispl-inception", 64, 6)),
    "mobilehart-xs": ((64, 6), lambda: create_encoder("mobilehart-xs", 64, 6)),
    "mobilehart-xxs": ((64, 6), lambda: shallow_mobilehart()),
    "1d-cnn": ((16, 3), lambda: create_encoder("1d-cnn", 16, 3)),
    "cnn-gru": ((10, 3), lambda: create_encoder("cnn-gru", 10, 3)),
    "cnn-transformer": ((16, 3), lambda: create_encoder("cnn-transformer", 16, 3)),
    "co-occurrence": ((48, 15), lambda: create_encoder("co-occurrence", 48, 15)),
    "cosmo-depth": ((16, 256), lambda: with_gru(Depth(16, (16, 16)))),
    "cosmo-imu": ((6, 4), lambda: create_encoder("cosmo-imu", 6, 4)),
    "cosmo-radar": ((3, 1024), lambda: cosmo_radar(3, 1024, frame=(2, 8, 8, 8))),
    "cosmo-skeleton": ((18, 45), lambda: with_gru(skeleton_maps(18, 45))),
    "cosmo-usc": ((6, 8), lambda: narrow_fusion(((6, 4), (6, 4)), "sum", None)),
    "cosmo-utd": ((834,), lambda: narrow_fusion(((6, 4), (18, 45)), "concatenation", (3.0, 7.0))),
    "hand": ((16, 4), lambda: create_encoder("hand", 16, 4)),
    "hand+fcn": ((16, 3), lambda: create_encoder("hand+fcn", 16, 3)),
    "resnet18": ((3, 32, 40), lambda: ResNet18((8, 12, 16, 20))),
    "resnet1d": ((16, 3), lambda: create_encoder("resnet1d", 16, 3)),
}


def shallow_mobilehart():
    """With fewer of its transformer's blocks in a row: XS has them all."""
    with mock.patch("sdk.encoders.mobilehart._VIT_LAYERS", (1, 1)):
        return create_encoder("mobilehart-xxs", 64, 6)


def narrow_fusion(shapes, join, quality):
    encoders = [(skeleton_maps if shape[1] >= 45 else imu_maps)(*shape) for shape in shapes]
    fusion = AttentionFusion(encoders, shapes, join=join, quality=quality, reduced=5, hidden=(6, 4))
    return with_gru(fusion, MLP(16 * 7, (12, 8)))


def with_gru(encoder, *bodies):
    return Bodied(encoder, Recurrent(encoder.sequence_shape, "gru", units=7, n_layers=1), *bodies)


def make(name):
    """The small encoder, and the shape of its windows."""
    shape, factory = SMALL[name]
    return factory(), shape


def classifier(name, n_classes=3, seed=0):
    """In inference mode, with biases that are not 0 and batch normalisations that have seen something."""
    torch.manual_seed(seed)
    encoder, shape = make(name)
    module = Classifier(encoder, n_classes)
    with torch.no_grad():
        for parameter_name, parameter in module.named_parameters():
            if "bias" in parameter_name.rpartition(".")[2]:
                parameter.uniform_(-0.1, 0.1)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                if layer.affine:
                    layer.weight.uniform_(0.5, 1.5)
                layer.momentum = None  # the average of all batches, which are one
        module.train()(torch.randn(16, *shape))
    return module.eval(), shape


def export_of(name, path):
    """A bundle; parity is checked by the export."""
    module, shape = classifier(name)
    manifest = blank_manifest(name, module.encoder, shape)
    assert manifest.input_shape == shape
    return export_bundle(path, module.encoder, module.head, manifest, raw_windows(manifest), tolerance=TOLERANCE)


def module_of(name):
    """What the bundle was made of: (torch module from windows or images to logits, these)."""
    module, shape = classifier(name)
    manifest = blank_manifest(name, module.encoder, shape)
    return module, graph_inputs(manifest, raw_windows(manifest))


def raw_windows(manifest):
    return np.random.default_rng(0).normal(size=(7, *manifest.window_shape)).astype(np.float32)
