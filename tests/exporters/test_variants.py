"""FP16 and INT8 variants: against onnxruntime, torch, hand-worked numbers; and what a device does with them."""

import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from exporters import parts
from exporters.__main__ import main
from exporters.draft import Draft
from exporters.fp16 import SENSITIVE, to_fp16
from exporters.int8 import Int8Options, to_int8
from exporters.int8.calibrate import BINS, entropy_range, percentile_range, value_ranges
from exporters.int8.processor import needs_reduced_range
from exporters.int8.qdq import Layer, never_of
from exporters.int8.sensitivity import choose_layers, logits_error
from exporters.own import bundle_of_onnx
from exporters.prepare import Prepared, prepare
from exporters.training import add_training
from exporters.variants import add_variant
from runtime.bundle import Bundle, Manifest
from runtime.bundle.contents import VariantTensor
from runtime.bundle.variants import folded, quantise
from runtime.engine import open_engine
from runtime.engine.inputs import Inputs
from runtime.errors import BundleError, InputError
from runtime.specs import Modality, Signal, WindowSpec
from tests.bundles_small import small_manifest, small_windows

ENCODERS = os.environ.get("SENSEDGE_VARIANTS", "fcn,cnn-transformer").split(",")  # of encoders_small.py
WEIGHTS = Int8Options(weights_only=True)


def outputs(model, bundle, windows):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(["features", "logits"], {bundle.manifest.input_name: Inputs(bundle.manifest)(windows)})


def off(found, expected):
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))


@pytest.fixture(scope="module")
def made(bundle_of):
    """made(name): a bundle and its three variants by precision."""
    done = {}

    def make(name):
        if name not in done:
            bundle = bundle_of(name)[0]
            model, windows = bundle.model(), bundle.golden().windows
            variants = [to_fp16(model, bundle.manifest)]
            variants += [
                to_int8(model, bundle.manifest, windows, options) for options in (Int8Options(agreement=0), WEIGHTS)
            ]
            done[name] = bundle, {variant.spec.precision: variant for variant in variants}
        return done[name]

    return make


@pytest.fixture(scope="module")
def all_variants(exported, tmp_path_factory):
    """A folder with all three, not to be written to."""
    path = shutil.copytree(exported("fcn").path, tmp_path_factory.mktemp("variants") / "small.bundle")
    bundle = Bundle.open(path)
    for variant in (
        to_fp16(bundle.model(), bundle.manifest),
        to_int8(bundle.model(), bundle.manifest, small_windows(64), Int8Options(tolerance=1, agreement=0)),
        to_int8(bundle.model(), bundle.manifest, small_windows(64), WEIGHTS),
    ):
        add_variant(path, variant)
    return path


@pytest.fixture
def with_variants(all_variants, tmp_path):
    """A small bundle on disk with all three."""
    return Bundle.open(shutil.copytree(all_variants, tmp_path / "variants.bundle"))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_variant_gives_what_the_module_gives(made, name):
    bundle, variants = made(name)
    golden = bundle.golden()
    for precision, tolerance in (("fp16", 2e-2), ("int8", 0.25), ("int8-weights", 0.25)):
        found = outputs(variants[precision].model, bundle, golden.windows)
        assert all(output.dtype == np.float32 for output in found)
        assert off(found, (golden.features, golden.logits)) <= tolerance, precision
        assert off(found, (golden.features, golden.logits)) > 1e-7, f"{precision} is the same as float32"


@pytest.mark.parametrize("name", ENCODERS)
def test_every_trainable_tensor_reaches_every_variant(made, name):
    """Changed one at a time, the variant's answer moves as the float32 graph's does, and differs from before."""
    bundle, variants = made(name)
    windows = bundle.golden().windows
    bundle = replace(
        bundle, manifest=replace(bundle.manifest, variants=tuple(variant.spec for variant in variants.values()))
    )
    files = {variant.spec.file: variant.model for variant in variants.values()}
    rng = np.random.default_rng(0)
    before = outputs(bundle.model(), bundle, windows)

    class Overlaid(Bundle):
        def shipped_file(self, name):
            return files.get(name) or super().shipped_file(name)

    for spec in bundle.manifest.tensors:
        old = bundle.base_tensors[spec.name]
        scale = max(0.2 * float(old.std()), 0.02)
        personal = {spec.name: (old + rng.normal(0, scale, old.shape)).astype(np.float32)}
        changed = Overlaid(bundle.path, bundle.manifest, "0001", bundle.base_tensors, personal, bundle.manifest_sha256)
        truth = outputs(changed.model(), bundle, windows)
        moved = off(truth, before)
        for precision, variant in variants.items():
            if moved > 1e-4:
                assert changed.model(precision) != variant.model, (precision, spec.name)
            if (name, precision) == ("fcn", "fp16"):
                assert changed.model(precision) == to_fp16(changed.model(), bundle.manifest).model, spec.name
            found = outputs(changed.model(precision), bundle, windows)
            # The ranges of int8's activations stay the calibration's: the further a version moves, the more saturate.
            allowed = {"fp16": 2e-2, "int8-weights": 0.25 + 0.1 * moved, "int8": 0.25 + 0.5 * moved}[precision]
            assert off(found, truth) <= allowed, (precision, spec.name)


def test_the_graph_is_as_tensorrt_takes_it(made):
    """int8 weights and values, symmetric: every zero point 0, one scale per output channel or one; float biases."""
    model = onnx.load_from_string(made("fcn")[1]["int8"].model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 10
    for node in pairs:
        scale, zero = values[node.input[1]], values[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert scale.dtype == np.float32
        assert (scale > 0).all()
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 5
    for node in layers:
        weight = producers[node.input[1]]
        assert weight.op_type == producers[node.input[0]].op_type == "DequantizeLinear"
        assert values[weight.input[0]].dtype == np.int8
        assert values[weight.input[0]].min() >= -127
        assert weight.attribute[0].i == 0
        assert values[weight.input[1]].shape == values[weight.input[0]].shape[:1]
        assert values[node.input[2]].dtype == np.float32  # the bias, an initializer of its own
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    front = [node for node in model.graph.node if node.op_type in ("Sub", "Div")]
    assert len(front) == 2
    assert not any("int8" in name or "float" in name for node in front for name in node.input)


@pytest.mark.parametrize("name", ENCODERS)
def test_float16_never_meets_float32_in_one_node(made, name):
    """As TensorRT's strict typing wants it; Cast is the only bridge, and sums and softmax are in float32."""
    model = onnx.load_from_string(made(name)[1]["fp16"].model)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    kinds |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    halves = 0
    for node in model.graph.node:
        if node.op_type not in ("Cast", "CastLike"):
            seen = {kinds[n] for n in (*node.input, *node.output) if n} & {TensorProto.FLOAT, TensorProto.FLOAT16}
            assert len(seen) <= 1, (node.op_type, node.output[0])
            halves += seen == {TensorProto.FLOAT16}
            assert not (seen == {TensorProto.FLOAT16} and node.op_type in SENSITIVE)
    assert halves > 3
    assert {output.type.tensor_type.elem_type for output in model.graph.output} == {TensorProto.FLOAT}


def test_a_layer_quantised_by_hand():
    """max |w| of the rows: 1.27 and 0.254; of the whole: 1.27."""
    weight = np.array([[1.27, -0.634], [0.1, -0.254]], np.float32)
    integers, scales = quantise(weight, 0, 127)
    assert integers.tolist() == [[127, -63], [50, -127]]
    assert scales == pytest.approx([0.01, 0.002])
    integers, scale = quantise(weight, None, 127)
    assert integers.tolist() == [[127, -63], [10, -25]]
    assert scale == pytest.approx(0.01)
    integers, scales = quantise(weight, 0, 63)
    assert np.abs(integers).max() == 63
    assert quantise(np.zeros((2, 3), np.float32), 0, 127)[1].tolist() == [1, 1]


@given(st.integers(0, 99), st.sampled_from([None, 0, 1]))
def test_quantising_is_off_by_half_a_step_at_most(seed, axis):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(5, 7)) * 10.0 ** rng.integers(-30, 30)).astype(np.float32)
    integers, scales = quantise(values, axis, 127)
    spread = scales if axis is None else np.expand_dims(scales, 1 - axis)
    assert (np.abs(integers * spread.astype(np.float64) - values) <= 0.5001 * spread).all()


def test_a_folded_normalisation_is_torch_s():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    conv, norm = torch.nn.Conv1d(2, 3, 4), torch.nn.BatchNorm1d(3).eval()
    for parameter in (*norm.parameters(), norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(parameter, 0.5, 2)
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm)
    tensors = {"w": conv.weight, "b": conv.bias, "g": norm.weight, "o": norm.bias}
    tensors = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    model = norm.running_mean.numpy().tobytes() + norm.running_var.numpy().tobytes()
    from runtime.bundle.contents import FoldedNorm

    place = VariantTensor("w", "float32", 0, norm=FoldedNorm("g", "o", 0, 12, norm.eps))
    assert folded(place, tensors, model) == pytest.approx(fused.weight.detach().numpy(), rel=1e-6)
    bias = folded(replace(place, name="b"), tensors, model)
    assert bias == pytest.approx(fused.bias.detach().numpy(), rel=1e-5)


def test_calibration_by_hand():
    """Ten bins up to 5: 90 % of the counts lie in the first nine; the tenth starts at 4.5."""
    counts = np.array([10] * 9 + [10])
    assert percentile_range(counts, 5.0, 90) == pytest.approx(4.5)
    assert percentile_range(counts, 5.0, 100) == 5
    assert percentile_range(counts, 5.0, 90.01) == 5
    # Four steps. Eight even bins: steps of two bins lose nothing at full range, so nothing is cut off ...
    assert entropy_range(np.array([5, 5, 5, 5, 5, 5, 5, 5]), 8.0, steps=4) == 8
    # ... and one outlier in sixteen bins is not worth three quarters of the range.
    assert entropy_range(np.array([9, 4, 9, 4] + [0] * 11 + [1]), 16.0, steps=4) == 4


@pytest.mark.parametrize(("method", "expected"), [("minmax", 100.0), ("percentile", 1.0)])
def test_ranges_of_a_graph(method, expected):
    """y = -x: 999 numbers up to 1 and one of 100."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 10]) for name in "xz"]
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.linspace(0.001, 1, 1000, dtype=np.float32).reshape(100, 10)
    x[3, 3] = 100
    found = value_ranges(model.SerializeToString(), x, ["y"], method, 99.8)["y"]
    assert expected <= found <= expected + 100 / BINS


def test_the_most_sensitive_layer_goes_back_to_float():
    """Errors add up: a 0.3, b 0.05, c 0.04. Allowed 0.1: without a they fit."""
    layers = [Layer(name, "", "", 0) for name in "abc"]
    errors = dict(zip("abc", (0.3, 0.05, 0.04), strict=True))
    expected = np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)

    def trial(chosen, every):
        assert every == 1
        return expected * (1 + np.float32(sum(errors[layer.name] for layer in chosen)))

    choice = choose_layers(layers, trial, expected, 0.1, 1.0)
    assert [layer.name for layer in choice.layers] == ["b", "c"]
    assert choice.float_layers == ("a",)
    assert choice.alone == pytest.approx(errors, rel=1e-4)
    assert choice.error == pytest.approx(0.09, rel=1e-4)
    assert logits_error(expected + 5, expected) == 0  # softmax does not see it
    with pytest.raises(InputError, match=r"int8: expected a layer whose logits stay within 0\.01"):
        choose_layers(layers, trial, expected, 0.01, 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx2 fma\n", True),
        ("flags\t\t: fpu avx2 avx_vnni\n", False),
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("Features\t: fp asimd evtstrm crc32 cpuid\n", True),  # Raspberry Pi 4
        ("Features\t: fp asimd evtstrm asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n", False),  # Raspberry Pi 5
        (None, True),
    ],
)
def test_processors_that_need_a_reduced_range(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "cpuinfo").write_text(text)
    assert needs_reduced_range(tmp_path) is expected


@pytest.mark.parametrize("windows", [(), (0,), (1, 2)], ids=["shape", "none", "one that is no number"])
def test_calibration_windows_are_all_checked(small_bundle, windows):
    bundle, given = Bundle.open(small_bundle), small_windows(4)
    given = {0: given[:, 1:], 1: given[:0], 2: given}[len(windows)]
    if len(windows) == 2:
        given[windows][0] = np.nan
    with pytest.raises(InputError, match=r"calibration windows: expected finite numbers of shape \(n, 32, 3\)"):
        to_int8(bundle.model(), bundle.manifest, given)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("percentile", (50.5, 100.0), (50.0, 100.01)),
        ("tolerance", (1e-9,), (0.0, -1.0)),
        ("agreement", (0.0, 1.0), (-0.01, 1.01)),
        ("method", ("percentile", "entropy"), ("median",)),
    ],
)
def test_options_on_both_sides_of_their_bounds(field, good, bad):
    for value in good:
        assert getattr(Int8Options(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(InputError, match=f"{field}.*expected .*got {value}"):
            Int8Options(**{field: value})


def test_a_reduced_range_has_7_bits(small_bundle):
    bundle = Bundle.open(small_bundle)
    options = Int8Options(reduce_range=True)
    variant = to_int8(bundle.model(), bundle.manifest, small_windows(32), options)
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(variant.model).graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1
    ]
    assert max(np.abs(weight.astype(int)).max() for weight in weights) == variant.spec.int8_limit == 63


def test_what_is_kept_of_how_a_variant_was_made(small_bundle):
    bundle, windows = Bundle.open(small_bundle), small_windows(16)
    weights = Int8Options(weights_only=True, reduce_range=True, agreement=0, tolerance=9, float_layers=("head.weight",))
    variant = to_int8(bundle.model(), bundle.manifest, windows, weights, data="mine").spec
    assert (variant.precision, variant.file) == ("int8-weights", "variants/int8-weights.onnx")
    assert variant.int8_limit == 127  # float arithmetic cannot overflow
    assert (variant.record["method"], variant.record["percentile"]) == ("none", None)
    assert variant.record["float_layers"] == ["head.weight"]
    assert variant.record["int8_layers"]
    assert "head.weight" not in variant.record["int8_layers"]
    digest = hashlib.sha256(windows.tobytes()).hexdigest()
    assert variant.record["calibration"] == {"data": "mine", "windows": 16, "sha256": digest}
    with pytest.raises(InputError, match=r"float layers: expected some of .*head.weight.*, got a, b\. Name weights"):
        to_int8(bundle.model(), bundle.manifest, windows, Int8Options(float_layers=("b", "head.weight", "a")))


def test_a_bundle_with_variants(with_variants):
    assert with_variants.precisions == ("float32", "fp16", "int8", "int8-weights")
    assert Manifest.from_json(with_variants.manifest.to_json()) == with_variants.manifest
    golden = with_variants.golden()
    for precision in with_variants.precisions:
        engine = open_engine(with_variants, precision=precision)
        expected = outputs(with_variants.model(precision), with_variants, golden.windows)[1]
        assert engine.run(golden.windows) == pytest.approx(expected, abs=1e-5)
        engine.close()
    record = with_variants.manifest.variants[1].record
    assert record["calibration"]["windows"] == 64
    assert len(record["calibration"]["sha256"]) == 64
    sizes = {name: spec.bytes for name, spec in with_variants.manifest.files.items()}
    assert sizes["variants/fp16.onnx"] < 0.55 * sizes["model.onnx"]
    assert sizes["variants/int8.onnx"] < 0.4 * sizes["model.onnx"]


def test_a_personal_version_in_every_precision(with_variants):
    """A head that swaps two classes swaps them in each variant."""
    swap = [1, 0, 2]
    head = {name: with_variants.tensor(name)[swap] for name in ("head.weight", "head.bias")}
    personal = with_variants.commit(head, {"method": "swapped"})
    windows = small_windows(32, seed=5)
    for precision in with_variants.precisions:
        old, new = (outputs(bundle.model(precision), bundle, windows)[1] for bundle in (with_variants, personal))
        assert new == pytest.approx(old[:, swap], abs=1e-4)
    assert personal.rollback().model("int8") == with_variants.model("int8")


def test_what_float16_cannot_hold_is_refused(with_variants):
    personal = with_variants.commit({"head.bias": np.array([7e4, 0, 0], np.float32)}, {})
    with pytest.raises(BundleError, match=r'head\.bias: .* at most 65504.* Use precision "float32" for this version'):
        personal.model("fp16")
    assert personal.model("int8")  # keeps its biases in float32


def test_a_precision_that_is_not_there(small_bundle):
    with pytest.raises(BundleError, match=r"expected a variant int8, got float32\. .*python -m exporters fp16\|int8"):
        Bundle.open(small_bundle).model("int8")


def test_training_graphs_and_variants_leave_each_other_alone(with_variants):
    path = with_variants.path
    add_training(path, [4])
    bundle = add_variant(path, to_fp16(with_variants.model(), with_variants.manifest))
    assert bundle.precisions == ("float32", "int8", "int8-weights", "fp16")
    assert [spec.layer for spec in bundle.manifest.training] == [4]
    assert sorted(file.name for file in (path / "variants").iterdir()) == [
        "fp16.onnx",
        "int8-weights.onnx",
        "int8.onnx",
    ]


@pytest.mark.parametrize("writes", range(4))
def test_a_kill_at_any_write_leaves_a_bundle_that_opens(with_variants, monkeypatch, writes):
    real, left = parts.write_atomic, [writes]

    def dying(path, data):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(path, data)

    variant = to_fp16(with_variants.model(), with_variants.manifest)
    monkeypatch.setattr(parts, "write_atomic", dying)
    if writes < 3:  # the manifest without, the graph, the manifest with it
        with pytest.raises(KeyboardInterrupt):
            add_variant(with_variants.path, variant)
    else:
        add_variant(with_variants.path, variant)
    assert ("fp16" in Bundle.open(with_variants.path).precisions) == (writes in (0, 3))


def test_a_variant_of_another_bundle_is_refused(small_bundle, made):
    before = (small_bundle / "manifest.json").read_bytes()
    variant = made("fcn")[1]["fp16"]
    with pytest.raises((InputError, BundleError), match=r"variant|shape"):
        add_variant(small_bundle, variant)
    assert (small_bundle / "manifest.json").read_bytes() == before
    assert not (small_bundle / "variants").exists()


def spoil(tensor, **changes):
    return lambda raw: raw["variants"][1]["tensors"][tensor].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil(0, offset=-1), "bytes outside of the file"),
        (spoil(0, offset=1 << 40), "bytes outside of the file"),
        (spoil(0, offset=1 << 60), "offset: expected int"),
        (spoil(0, scale_offset=1 << 40), "bytes outside of the file"),
        (spoil(0, scale_offset=None), "scales belong to int8"),
        (spoil(0, axis=9), "no axis 9"),
        (spoil(0, name="nobody"), "no tensor of the name nobody"),
        (spoil(0, dtype="int4"), "float32 or float16 or int8"),
        (spoil(0, transposed=True), "no two axes to swap"),
        (lambda raw: raw["variants"][1]["tensors"][0]["norm"].update(mean_offset=-4), "a normalisation that does not"),
        (lambda raw: raw["variants"][1]["tensors"].clear(), "int8 without encoder.blocks.0.0.bias"),
        (lambda raw: raw["variants"][1].update(file="variants/../../evil.onnx"), "a name such as int8, its file"),
        (lambda raw: raw["variants"][1].update(precision="../x"), "a name such as int8, its file"),
        (lambda raw: raw["variants"][1].update(int8_limit=128), "integers up to 127"),
        (lambda raw: raw["variants"].append(raw["variants"][0]), "expected the files"),
        (lambda raw: raw["variants"].pop(), "expected the files"),
    ],
)
def test_a_manifest_that_lies_is_refused(with_variants, change, message):
    path = with_variants.path / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=message):
        Bundle.open(with_variants.path)


def test_an_altered_variant_is_refused(with_variants):
    path = with_variants.path / "variants" / "int8.onnx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"int8\.onnx: expected sha256"):
        Bundle.open(with_variants.path)


def test_a_manifest_without_variants_does_not_mention_them(small_bundle):
    assert "variants" not in json.loads(Bundle.open(small_bundle).manifest.to_json())


def test_the_commands(small_bundle, capsys):
    assert main(["fp16", str(small_bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "variants/fp16.onnx"
    bits = "--reduce-range" if needs_reduced_range() else "--no-reduce-range"  # else this processor saturates
    assert main(["int8", str(small_bundle), "--method", "entropy", bits]) == 0
    assert "calibrated by entropy on 4 windows of golden" in capsys.readouterr().out
    assert main(["int8", str(small_bundle), "--weights-only", "--float", "nobody"]) == 2
    assert "expected some of encoder.blocks.0.0.weight" in capsys.readouterr().err
    assert Bundle.open(small_bundle).precisions == ("float32", "fp16", "int8")


@pytest.mark.parametrize("command", ["fp16", "int8"])
@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_its_install_line(small_bundle, capsys, monkeypatch, command, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main([command, str(small_bundle)]) == 2
    error = capsys.readouterr().err
    assert f"expected the package {package}, got none" in error
    assert 'pip install "sensedge[graphs]"' in error
    assert Bundle.open(small_bundle).precisions == ("float32",)


def test_onnxruntime_computes_the_layers_in_integers(bundle_of, tmp_path):
    """Values with several readers too: branches, residuals, a value times its sigmoid."""
    bundle = bundle_of("resnet1d")[0]
    options = Int8Options(tolerance=9, agreement=0, reduce_range=False)
    variant = to_int8(bundle.model(), bundle.manifest, bundle.golden().windows, options)
    convolutions = [node for node in onnx.load_from_string(variant.model).graph.node if node.op_type == "Conv"]
    found = optimised(variant.model, tmp_path)
    assert len(convolutions) == found["QLinearConv"] == 11
    assert found["Conv"] == found["FusedConv"] == 0


def optimised(model, folder):
    """How often each operator occurs once onnxruntime has had its way."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_halving_finds_the_fewest_layers_for_float():
    """Sixteen layers, three of them bad: as many trials as layers and no more than five."""
    layers = [Layer(f"{i:02}", "", "", 0) for i in range(16)]
    bad, trials = {"03": 0.5, "04": 0.3, "11": 0.2}, []
    expected = np.tile(np.array([[1.0, -1.0]], np.float32), (64, 1))

    def trial(chosen, every):
        trials.append(len(chosen))
        return expected[::every] * (1 + np.float32(sum(bad.get(layer.name, 1e-3) for layer in chosen)))

    choice = choose_layers(layers, trial, expected, 0.1, 1.0)
    assert choice.float_layers == tuple(bad)
    assert [layer.name for layer in choice.layers] == [layer.name for layer in layers if layer.name not in bad]
    assert len(trials) <= 1 + 16 + 5


def test_preparing_changes_no_answer(made):
    for name in ENCODERS:
        bundle = made(name)[0]
        golden = bundle.golden()
        model = prepare(bundle.model(), bundle.manifest).proto.SerializeToString()
        assert off(outputs(model, bundle, golden.windows), (golden.features, golden.logits)) < 1e-4


def test_what_can_never_be_int8_is_named(tmp_path):
    """A recurrent net's tensors, and those from which a weight is computed."""
    source = Path(__file__).parent / "own" / "models" / "torch_script_lstm.onnx"
    signal = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 20.0),))
    manifest = small_manifest(signal=signal, window=WindowSpec(24, 12), labels=("a", "b", "c", "d"))
    windows = np.random.default_rng(0).normal(size=(8, 24, 3)).astype(np.float32)
    bundle = bundle_of_onnx(tmp_path / "b", source, Draft(manifest), windows)
    record = to_int8(bundle.model(), bundle.manifest, windows).spec.record
    cells = {"encoder.0.weight_ih": "recurrent, LSTM", "encoder.0.weight_hh": "recurrent, LSTM"}
    assert record["never_int8"] == {**cells, "encoder.0.bias": "recurrent, LSTM"}
    assert set(cells) <= set(record["float_layers"])
    assert record["int8_layers"] == ["head.weight"]
    again = to_int8(bundle.model(), bundle.manifest, windows, Int8Options(float_layers=("encoder.0.weight_hh",)))
    assert again.spec.record["float_layers"].count("encoder.0.weight_hh") == 1

    nodes = [
        helper.make_node("ReduceL2", ["v"], ["n"], axes=[1, 2]),
        helper.make_node("Div", ["v", "n"], ["u"]),
        helper.make_node("Mul", ["u", "g"], ["w"]),
        helper.make_node("Conv", ["windows", "w"], ["features"]),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    values = {"v": np.ones((4, 3, 5), np.float32), "g": np.ones((4, 1, 1), np.float32)}
    places = {name: VariantTensor(name, "float32", 0) for name in values}
    normed = never_of(Prepared(model, places, {}, values, b"", values))
    assert normed == dict.fromkeys(values, "a weight that is computed, of a Conv")


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_windows_that_overflow_inside_the_model_calibrate_nothing(small_bundle, method):
    bundle, windows = Bundle.open(small_bundle), small_windows(4)
    windows[2] = 3e38 * np.sign(windows[1] - windows[0])
    with pytest.raises(InputError, match="calibration windows: expected windows for which the model computes"):
        to_int8(bundle.model(), bundle.manifest, windows, Int8Options(method=method))


def test_windows_without_an_answer_calibrate_nothing(small_bundle, monkeypatch):
    bundle, answers = Bundle.open(small_bundle), np.ones((4, 3), np.float32)
    answers[2, 1] = np.inf
    monkeypatch.setattr("exporters.int8.make._logits", lambda *_: answers)
    with pytest.raises(InputError, match="logits are finite numbers, got 1 of 4 for which they"):
        to_int8(bundle.model(), bundle.manifest, small_windows(4))


def test_one_window_calibrates(small_bundle):
    bundle, options = Bundle.open(small_bundle), Int8Options(agreement=0.0, tolerance=1.0)
    made = to_int8(bundle.model(), bundle.manifest, small_windows(1), options)
    assert made.spec.record["calibration"]["windows"] == 1
