"""The encoders of MESEN, Cosmo and IMG2IMU: sizes and shapes that are printed or follow, behaviour, and bundles."""

import dataclasses
import math

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from runtime.engine import open_engine
from runtime.errors import InputError
from sdk.encoders import (
    AttentionFusion,
    Classifier,
    ConvSequence,
    Projection,
    Recurrent,
    SequenceEncoder,
    Split,
    create_encoder,
    encoder_info,
    list_encoders,
    with_body,
)
from sdk.encoders.cnn_transformer import Transformer, sinusoids
from sdk.encoders.cosmo import Depth, cosmo_depth, imu_maps, skeleton_maps
from sdk.encoders.fusion import UTD_SHAPES
from sdk.encoders.untrained import count_macs
from tests.bundles_small import FCNS
from tests.encoders_small import SMALL, TOLERANCE, classifier, make

SUPERVISED = ("deepconvlstm", "hart", "ispl-inception", "mobilehart-xs", "mobilehart-xxs")
NAMES = sorted(set(SMALL) - {*FCNS, *SUPERVISED})  # those have files of their own
NO_EFFECT = "key.bias"  # adds the same to all that the attention's softmax compares

every = pytest.mark.parametrize("name", NAMES)


def share(found, expected):
    """The largest difference as a share of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# --- the registry


def test_every_encoder_knows_its_paper_and_makes_itself():
    papers = {encoder_info(name).paper for name in list_encoders()}
    assert papers == {"MESEN", "Cosmo", "Combining public data sets", "MaskCAE", "IMG2IMU", "Wang et al. 2017", "none"}
    for name in list_encoders():
        assert encoder_info(name).name == name
        with torch.device("meta"):
            assert create_encoder(name).n_features == create_encoder(name, *encoder_info(name).shape).n_features


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("fcn", (3, 96, 128), r"^encoder fcn: expected windows of shape \(length_samples, n_channels\), such as \(30,"),
        ("resnet18", (128, 6), r"windows of shape \(3, height, width\), such as \(3, 96, 128\), got \(128, 6\)\. "),
        ("cosmo-utd", (128, 6), r"windows of shape \(n_values,\), such as \(3120,\), got \(128, 6\)\. "),
        ("cosmo-utd", (3000,), r"3120 values, those of \(120, 6\) and \(40, 60\), got 3000\. Build `AttentionFusion`"),
        ("cosmo-usc", (200, 7), "columns of two sensors, as many of each, got 7"),
        ("resnet18", (1, 96, 128), "3 colours, one per axis, got 1"),
        ("cnn-transformer", (6, 3), "more than 6 samples, got 6"),
        ("co-occurrence", (50, 61), "three columns per joint: x, y, z, got 61"),
        ("co-occurrence", (47, 60), "at least 48 frames, got 47"),
        ("cosmo-imu", (2, 6), r"at least \(3, 3\), got \(2, 6\)"),
        ("cosmo-skeleton", (40, 39), r"at least \(17, 14, 3\), got \(40, 13, 3\)"),
        ("cosmo-depth", (16, 250), "225 columns, those of a frame of 15 x 15, got 250"),
        ("cosmo-depth", (15, 256), "at least 16 frames of at least 16 x 16, got 15 of 16 x 16"),
        ("cosmo-radar", (20, 100), "16384 columns, those of a frame of 2 x 16 x 32 x 16, got 100"),
    ],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_refused(name, shape, text):
    with pytest.raises(InputError, match=text):
        create_encoder(name, *shape)


# --- sizes


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cnn-transformer", 52_352 + 1_186_048),
        ("co-occurrence", 432_000),
        ("cosmo-depth", 2_221_056),
        ("cosmo-radar", 626_240),
        ("resnet18", 11_176_512),
        # by hand: GRU of Cosmo's baseline of one modality, three gates of 120 units, two biases each
        ("cosmo-imu", 19_728 + 3 * 120 * (472 + 120 + 2) + 3 * 120 * (120 + 120 + 2)),
        ("cosmo-skeleton", 264_848 + 3 * 120 * (168 + 120 + 2) + 3 * 120 * (120 + 120 + 2)),
        ("cnn-gru", 52_352 + 3 * 128 * (128 + 128 + 2)),
        # by hand: 3 blocks of 8, 5 and 3 steps; biases and two numbers per map of each batch normalisation
        (
            "resnet1d",
            (6 * 8 + 64 * 5 + 64 * 3 + 6) * 64 + (64 * 8 + 128 * 5 + 128 * 3 + 64) * 128
            + (128 * 8 + 128 * 5 + 128 * 3) * 128 + 4 * 3 * 64 + 4 * 3 * 128 + (3 * 3 + 2) * 128,
        ),
        # by hand: 1 and the primes to 30 sum up to 130; 1024 // (3 * 130) = 2 maps each, then 229376 // (22 * 130) = 80
        (
            "1d-cnn",
            (3 * 130 + 11 * 3) * 2 + (22 * 130 + 11 * 3) * 80 + (880 * 3 + 2 * 3) * 7 * 11,
        ),
    ],
)  # fmt: skip
def test_parameters(name, parameters):
    assert count(create_encoder(name)) == parameters


def test_the_stages_of_cosmo_have_their_sizes():
    imu, skeleton = imu_maps(*UTD_SHAPES[0]), skeleton_maps(*UTD_SHAPES[1])
    projections = Projection(imu.n_features), Projection(skeleton.n_features)
    assert [count(part) for part in (imu, skeleton, *projections)] == [19_728, 264_848, 9_834_368, 3_608_448]
    assert sum(map(count, (imu, skeleton, *projections))) == 13_727_392

    net = Classifier(create_encoder("cosmo-utd"), 27)
    assert count(net) == 19_830_049
    fusion, (recurrent, mlp) = net.encoder.encoder, net.encoder.bodies
    assert count(fusion.reduce) + count(fusion.score) == 16_554_886
    assert count(recurrent) == 361_440
    assert count(mlp) + count(net.head) == 2_629_147
    assert count(create_encoder("cosmo-usc").encoder.encoders) == 39_456


def test_the_maps_have_their_shapes():
    with torch.device("meta"):
        assert imu_maps(120, 6).maps(torch.zeros(1, 120, 6)).shape == (1, 16, 118, 4)
        assert imu_maps(200, 3).maps(torch.zeros(1, 200, 3)).shape == (1, 16, 198, 1)
        assert imu_maps(200, 9).maps(torch.zeros(1, 200, 9)).shape == (1, 16, 198, 7)
        assert skeleton_maps(40, 60).maps(torch.zeros(1, 40, 60)).shape == (1, 16, 24, 7, 1)
        assert create_encoder("resnet18").maps(torch.zeros(1, 3, 96, 128)).shape == (1, 512, 3, 4)
        assert create_encoder("cosmo-utd").eval().encoder.sequence(torch.zeros(1, 3120)).shape == (1, 16, 640)
        assert create_encoder("cosmo-usc").eval().encoder.sequence(torch.zeros(1, 200, 6)).shape == (1, 16, 198)
        assert create_encoder("cnn-transformer").sequence(torch.zeros(1, 120, 3)).shape == (1, 114, 128)
        assert create_encoder("cosmo-depth").encoder.sequence_shape == (16, 64)
        assert create_encoder("cosmo-radar").encoder.sequence_shape == (20, 1024)
    assert (imu_maps(120, 6).n_features, skeleton_maps(40, 60).n_features) == (7552, 2688)
    assert [create_encoder(name).n_features for name in ("cosmo-depth", "cosmo-radar", "co-occurrence")] == [
        256,
        320,
        256,
    ]


def test_products_are_counted():
    """Against numbers by hand, the LSTMs of DeepConvLSTM among them."""
    convolutions = sum(steps * 6 * 64 * 5 * inputs for steps, inputs in ((124, 1), (120, 64), (116, 64), (112, 64)))
    lstms = 112 * 4 * 128 * (64 * 6 + 128 + 128 + 128)
    assert count_macs("deepconvlstm") == convolutions + lstms
    gru = 114 * 3 * 128 * (128 + 128)
    before = 5 * (118 * 3 * 32 + 116 * 32 * 64 + 114 * 64 * 128)
    assert count_macs("cnn-gru") == before + gru
    attention = 114 * 4 * 128 * 128 + 2 * 114 * 114 * 128
    assert count_macs("cnn-transformer") == before + 2 * (attention + 114 * 2 * 128 * 2048)


# --- behaviour


@every
def test_features(name):
    module, shape = classifier(name)
    with torch.inference_mode():
        for n in (1, 5):
            features = module.encoder(torch.randn(n, *shape))
            assert features.shape == (n, module.encoder.n_features)
            assert features.dtype == torch.float32
            assert bool(torch.isfinite(features).all())


@every
def test_every_parameter_gets_a_gradient(name):
    module, shape = classifier(name)
    module(torch.randn(8, *shape)).square().sum().backward()
    largest = {n: float(p.grad.abs().max()) for n, p in module.named_parameters()}
    assert all(math.isfinite(value) for value in largest.values())
    assert not [n for n, value in largest.items() if not n.endswith(NO_EFFECT) and value < 1e-9]


@every
def test_a_window_does_not_depend_on_its_batch(name):
    module, shape = classifier(name)
    windows = torch.randn(3, *shape, requires_grad=True)
    logits = module(windows)
    alone = torch.cat([module(window[None]) for window in windows])
    assert share(alone.detach().numpy(), logits.detach().numpy()) < 1e-5
    logits[1].sum().backward()
    assert (windows.grad.flatten(1).abs().amax(1) > 0).tolist() == [False, True, False]


@every
def test_a_seed_decides_everything_and_dropout_is_for_training_only(name):
    (first, shape), (again, _), (other, _) = (classifier(name, seed=seed) for seed in (1, 1, 2))
    windows = torch.randn(2, *shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        assert torch.equal(first(windows), again(windows))
        assert torch.equal(first(windows), first(windows))
        assert not torch.allclose(first(windows), other(windows))


@every
def test_two_encoders_share_nothing(name):
    torch.manual_seed(0)
    (one, shape), (two, _) = make(name), make(name)
    before = {n: tensor.clone() for n, tensor in two.state_dict().items()}
    with torch.no_grad():
        one(torch.randn(8, *shape))
        for parameter in one.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[n]) for n, tensor in two.state_dict().items())


# --- parts


def test_the_transformer_is_torchs():
    torch.manual_seed(0)
    ours = Transformer(9, 8, n_heads=2, hidden=20, n_layers=2).eval()
    layer = nn.TransformerEncoderLayer(8, 2, 20, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        parts = (a.attention.query, a.attention.key, a.attention.value)
        b.self_attn.in_proj_weight.data = torch.cat([part.weight for part in parts])
        b.self_attn.in_proj_bias.data = torch.cat([part.bias for part in parts])
        for mine, other in ((a.attention.out, b.self_attn.out_proj), (a.inner, b.linear1), (a.outer, b.linear2)):
            other.load_state_dict(mine.state_dict())
    steps = torch.randn(3, 9, 8)
    torch.testing.assert_close(ours(steps), theirs(steps + sinusoids(9, 8)))


def test_positions_are_sines_and_cosines():
    found = sinusoids(50, 8)
    assert found.shape == (50, 8)
    for step, i in ((0, 0), (7, 0), (49, 3)):
        angle = step / 10_000 ** (2 * i / 8)
        assert found[step, 2 * i : 2 * i + 2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)


def test_resnet18_has_torchvisions_names():
    names = set(create_encoder("resnet18").state_dict())
    assert len(names) == 120  # 122 less the head's two
    assert {"conv1.weight", "bn1.running_var", "layer1.1.bn2.bias", "layer4.0.downsample.0.weight"} <= names
    assert not [n for n in names if n.startswith("layer1") and "downsample" in n]


def test_split_gives_each_modality_its_rows():
    first, second = np.arange(6.0).reshape(3, 2), np.arange(100.0, 104.0).reshape(1, 4)
    flat = torch.from_numpy(np.concatenate([first.ravel(), second.ravel()])).expand(2, -1)
    parts = Split(((3, 2), (1, 4)))(flat)
    assert [part.shape for part in parts] == [(2, 3, 2), (2, 1, 4)]
    assert torch.equal(parts[0][1], torch.from_numpy(first))
    assert torch.equal(parts[1][1], torch.from_numpy(second))


def test_split_of_one_rate_gives_each_modality_its_columns():
    windows = torch.arange(2 * 3 * 5.0).reshape(2, 3, 5)
    split = Split(((3, 2), (3, 3)))
    first, second = split(windows)
    assert split.shape == (3, 5)
    assert torch.equal(first, windows[..., :2])
    assert torch.equal(second, windows[..., 2:])


def test_a_joint_has_its_three_coordinates():
    """Convolutions of one joint see only its own columns."""
    maps, windows = create_encoder("co-occurrence", 48, 15).eval(), torch.randn(1, 48, 15, requires_grad=True)
    joints = windows.unflatten(2, (5, 3)).permute(0, 3, 1, 2)
    maps.streams[0].per_joint(joints)[..., 2].sum().backward()
    assert (windows.grad.abs().amax((0, 1)) > 0).nonzero().flatten().tolist() == [6, 7, 8]


def test_cooccurrence_of_a_skeleton_that_stands_still_has_no_motion():
    encoder, seen = create_encoder("co-occurrence", 48, 15).eval(), []
    encoder.streams[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    frame = torch.randn(1, 1, 15)
    encoder(frame.expand(1, 48, 15))
    encoder(torch.arange(48.0)[None, :, None] * frame)
    assert not seen[0].any()
    steps = frame.reshape(5, 3).T[None, :, None].expand(1, 3, 47, 5)
    assert not seen[1][:, :, 0].any()
    torch.testing.assert_close(seen[1][:, :, 1:], steps, atol=1e-4, rtol=1e-4)


def test_depth_takes_frames_that_are_not_square():
    encoder = cosmo_depth(32, 16 * 48, frame=(16, 48))
    assert encoder(torch.zeros(2, 32, 16 * 48)).shape == (2, encoder.n_features)
    assert Depth(16, (112, 112)).sequence_shape == (16, 64)


@pytest.mark.parametrize(("share_", "quality"), [(0.8, (0.3, 0.7)), (0.0, (0.3, 0.7)), (1.0, (6.0, 14.0)), (0.8, None)])
def test_fusion_weighs_by_attention_and_quality(share_, quality):
    torch.manual_seed(0)
    shapes = ((6, 4), (8, 3))
    fusion = AttentionFusion(
        [imu_maps(*shape) for shape in shapes], shapes, quality=quality, quality_share=share_, reduced=9, hidden=(7, 5)
    )
    for norm in (layer[1] for layer in fusion.score):
        nn.init.uniform_(norm.running_var, 0.01, 0.1)  # so that the scores differ
    fusion.eval().requires_grad_(False)
    windows = torch.randn(4, *fusion.split.shape)
    sequences = [fusion.encoders[i].sequence(part) for i, part in enumerate(fusion.split(windows))]
    reduced = [layer(sequence.flatten(1)) for layer, sequence in zip(fusion.reduce, sequences, strict=True)]
    hidden = torch.cat(reduced, 1)
    for linear, norm, _ in fusion.score:
        hidden = torch.tanh(norm(linear(hidden)))
    attention = torch.softmax(hidden, 1)
    if quality is None:
        expected = attention
    else:  # the code's way: combine, then divide by the sum
        guided = (1 - share_) * attention + share_ * torch.tensor(quality) / sum(quality)
        expected = functional.normalize(guided, p=1, dim=1)
    found = fusion.weights(windows)
    torch.testing.assert_close(found, expected)
    assert float(attention.min()) >= 0.1192 - 1e-4  # softmax of -1 and 1
    joined = fusion.sequence(windows)
    for i in range(4):
        expected_row = torch.cat([found[i, m] * sequences[m][i] for m in range(2)], dim=1)
        torch.testing.assert_close(joined[i], expected_row)


def test_with_the_released_quality_the_imu_has_between_a_quarter_and_two_fifths():
    fusion = create_encoder("cosmo-utd").encoder.eval()
    for scores, weight in (((-50.0, 50.0), 0.264), ((50.0, -50.0), 0.416)):
        with torch.no_grad():
            fusion.score[2][0].bias.copy_(torch.tensor(scores))
            found = fusion.weights(torch.zeros(1, 3120))
        assert found[0].tolist() == pytest.approx([weight, 1 - weight], abs=1e-3)


def test_a_sum_adds_the_weighed_sequences():
    torch.manual_seed(0)
    shapes = ((6, 4), (6, 4))
    fusion = AttentionFusion(
        [imu_maps(*shape) for shape in shapes], shapes, join="sum", quality=(1, 3), quality_share=1.0
    ).eval()
    windows = torch.randn(2, 6, 8)
    one, other = (fusion.encoders[i].sequence(part) for i, part in enumerate(fusion.split(windows)))
    torch.testing.assert_close(fusion.sequence(windows), 0.25 * one + 0.75 * other)
    torch.testing.assert_close(other, fusion.encoders[1].sequence(windows[:, :, 4:]))


@pytest.mark.parametrize(
    ("shapes", "options", "text"),
    [
        (((6, 4), (7, 4)), {"join": "sum"}, r"sum of \(16, 8\), \(16, 10\) for 2 modalities"),
        (((6, 4),), {}, r"two modalities or more.*got concatenation of \(16, 8\) for 1"),
        (((6, 4), (6, 4)), {"join": "product"}, "got product of"),
        (((6, 4), (6, 4)), {"quality": (1.0,)}, r"quality: expected 2 weights of at least 0, got \(1.0,\)"),
        (((6, 4), (6, 4)), {"quality": (1.0, -1.0)}, "weights of at least 0"),
        (((6, 4), (6, 4)), {"quality": (0.0, 0.0)}, "weights of at least 0"),
    ],
)
def test_what_cannot_be_fused_is_refused(shapes, options, text):
    with pytest.raises(InputError, match=text):
        AttentionFusion([imu_maps(*shape) for shape in shapes], shapes, **options)


def test_a_projection_lies_on_the_unit_sphere():
    points = Projection(20, 10, 6)(torch.randn(5, 20))
    assert points.shape == (5, 6)
    torch.testing.assert_close(points.square().sum(1), torch.ones(5))


# --- heads


@pytest.mark.parametrize(
    ("kind", "n_features", "added"),
    [
        ("linear", 10 * 128, 0),
        ("mlp", 128, 1280 * (1280 + 3) + 128 * (1280 + 3)),
        ("gru", 10 * 120, 3 * 120 * (128 + 120 + 2 + 120 + 120 + 2)),
        ("lstm", 10 * 120, 4 * 120 * (128 + 120 + 2 + 120 + 120 + 2)),
    ],
)
def test_a_body_makes_an_encoder_of_an_encoder(kind, n_features, added):
    encoder = create_encoder("cnn-transformer", 16, 3)
    bodied = with_body(encoder, kind).eval()
    assert bodied.n_features == n_features
    assert count(bodied) - count(encoder) == added
    assert bodied(torch.randn(4, 16, 3)).shape == (4, n_features)


def test_recurrent_is_torchs_net_of_several_layers():
    torch.manual_seed(0)
    for cell, kind in (("gru", nn.GRU), ("lstm", nn.LSTM)):
        ours, theirs = Recurrent((7, 5), cell, units=6, n_layers=2), kind(5, 6, 2, batch_first=True)
        for i, layer in enumerate(ours.layers):
            for name, parameter in layer.named_parameters():
                getattr(theirs, name.replace("l0", f"l{i}")).data = parameter.data
        steps = torch.randn(3, 7, 5)
        torch.testing.assert_close(ours(steps), theirs(steps)[0].flatten(1))


def test_a_body_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"head gru: expected an encoder whose features are a sequence, .* got FCN"):
        with_body(create_encoder("fcn", 32, 3), "gru")
    with pytest.raises(InputError, match="head: expected linear, mlp, gru or lstm, got 'svm'"):
        with_body(create_encoder("fcn", 32, 3), "svm")


def test_a_sequence_is_the_features_step_by_step():
    for encoder in (ConvSequence(12, 3, Transformer), imu_maps(6, 4)):
        assert isinstance(encoder, SequenceEncoder)
        encoder.eval()
        windows = torch.randn(2, *((12, 3) if isinstance(encoder, ConvSequence) else (6, 4)))
        assert torch.equal(encoder(windows).unflatten(1, encoder.sequence_shape), encoder.sequence(windows))


# --- bundles

# What onnxruntime and TensorRT both have; nothing with sequences of tensors, loops or branches.
OPERATORS = {
    "Abs", "Add", "BatchNormalization", "Cast", "CastLike", "Concat", "Constant", "Conv", "Div", "Expand", "GRU",
    "Gather", "Gemm", "Identity", "LSTM", "LayerNormalization", "Log", "MatMul", "MaxPool", "Mul", "Pad",
    "ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Sign", "Slice", "Softmax", "Sqrt", "Squeeze",
    "Sub", "Tanh", "TopK", "Transpose", "Unsqueeze",
}  # fmt: skip


def logits_of(bundle, windows):
    engine = open_engine(bundle)
    try:
        return engine.run(windows)
    finally:
        engine.close()


@torch.inference_mode()
def torch_logits(module, windows):
    return module(torch.from_numpy(windows)).numpy()


@every
def test_the_bundle_lists_every_parameter_and_takes_any_batch(name, bundle_of):
    bundle, module, windows = bundle_of(name)
    assert {spec.name: spec.shape for spec in bundle.manifest.tensors} == {
        n: tuple(p.shape) for n, p in module.named_parameters()
    }
    layers = [spec.layer for spec in bundle.manifest.tensors]
    assert layers == sorted(layers)
    assert layers[-1] >= (0 if name == "hand" else 3)
    assert [spec.name for spec in bundle.manifest.tensors if spec.layer == layers[-1]] == ["head.weight", "head.bias"]
    expected = torch_logits(module, windows)
    engine = open_engine(bundle)
    for n in (1, 7):
        assert share(engine.run(windows[:n]), expected[:n]) < TOLERANCE
    engine.close()


@every
def test_the_graph_has_no_operator_that_an_engine_refuses(name, bundle_of):
    graph = onnx.load(bundle_of(name)[0].path / "model.onnx").graph
    assert {node.op_type for node in graph.node} <= OPERATORS
    assert {node.domain for node in graph.node} <= {"", "ai.onnx"}


@every
def test_a_committed_version_is_what_torch_makes_of_the_same_tensors(name, bundle_of):
    bundle, module, windows = bundle_of(name)
    kept = {n: p.detach().clone() for n, p in module.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    before = torch_logits(module, windows)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
        after = torch_logits(module, windows)
        tensors = {n: p.numpy().copy() for n, p in module.named_parameters()}
        for n, parameter in module.named_parameters():
            parameter.copy_(kept[n])
    found = logits_of(bundle.commit(tensors, {"method": "test"}), windows)
    assert share(after, before) > 10 * TOLERANCE
    assert share(found, after) < TOLERANCE
    assert share(logits_of(bundle, windows), before) < TOLERANCE


@every
def test_a_tensor_alone_changes_the_engine_as_it_changes_torch(name, bundle_of):
    """The first tensor of each kind, in turn. All of them at once are changed above."""
    bundle, module, windows = bundle_of(name)
    windows = windows[:2]
    before = torch_logits(module, windows)
    kinds = {}
    for n, parameter in module.named_parameters():
        owner, _, last = n.rpartition(".")
        kinds.setdefault((type(module.get_submodule(owner)), last, "query" in n, "key" in n), (n, parameter))
    without_effect = []
    for n, parameter in kinds.values():
        kept = parameter.detach().clone()
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            for scale in (0.3, 3, 30):
                parameter.copy_(kept + scale * noise)
                after, values = torch_logits(module, windows), parameter.numpy().copy()
                if share(after, before) > 100 * TOLERANCE:
                    break
            parameter.copy_(kept)
        found = logits_of(dataclasses.replace(bundle, personal_tensors={n: values}), windows)
        assert share(found, after) < TOLERANCE, n
        if share(found, before) <= 10 * TOLERANCE:
            without_effect.append(n)
    assert without_effect == [n for n, _ in kinds.values() if n.endswith(NO_EFFECT)]
