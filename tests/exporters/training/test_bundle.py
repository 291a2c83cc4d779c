"""Training graphs inside bundles: how they get there, and what happens when something is wrong."""

import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from exporters import export_bundle, parts
from exporters.training import add_training, training_graph
from exporters.training.graph import Graph, Tensor
from exporters.training.memory import peak
from runtime.bundle import Bundle, Manifest
from runtime.bundle.contents import TrainingSpec
from runtime.bundle.graph_bytes import with_output
from runtime.engine import open_prefix
from runtime.errors import BundleError, InputError
from tests.bundles_small import LABELS, small_manifest, small_parts, small_windows
from tests.exporters.training.reference import graph_gradients, labelled


@pytest.fixture
def trainable(small_bundle):
    return add_training(small_bundle)


def test_every_layer_gets_a_graph_and_the_rest_stays(small_bundle):
    before = {p.name: p.read_bytes() for p in small_bundle.iterdir() if p.name != "manifest.json"}
    bundle = add_training(small_bundle)
    assert [(spec.layer, spec.file) for spec in bundle.manifest.training] == [(i, f"train/0{i}.onnx") for i in range(5)]
    assert sorted(p.name for p in (small_bundle / "train").iterdir()) == [f"0{i}.onnx" for i in range(5)]
    assert [bundle.manifest.training[i].cut for i in (0, 4)] == ["windows", "features"]
    assert {name: (small_bundle / name).read_bytes() for name in before} == before
    for spec in bundle.manifest.training:
        built = training_graph(bundle.model(), bundle.manifest, spec.layer)
        assert (built.model, built.spec) == (bundle.training_model(spec), spec)
        model = onnx.load_model_from_string(built.model)
        onnx.checker.check_model(model, full_check=True)
        names = [node.name for node in model.graph.node]  # onnxruntime 1.19 fuses nodes and confuses those without
        assert len(set(names)) == len(names)
        assert len(built.model) < 40_000


def test_the_export_can_add_them(tmp_path):
    bundle = export_bundle(tmp_path / "b", *small_parts("fcn"), small_manifest(), small_windows(2), training=True)
    assert [spec.layer for spec in bundle.manifest.training] == [0, 1, 2, 3, 4]
    data = small_windows(2), *labelled(2, len(LABELS))
    spec = bundle.manifest.training[0]
    assert np.isfinite(graph_gradients(bundle.training_model(spec), spec, bundle, *data)[0])


def test_the_graphs_asked_for_replace_the_others(trainable):
    personal = trainable.commit({"head.bias": np.ones(3, np.float32)}, {})
    bundle = add_training(trainable.path, [4, 3, 4])
    assert [spec.layer for spec in bundle.manifest.training] == [3, 4]
    assert sorted(p.name for p in (bundle.path / "train").iterdir()) == ["03.onnx", "04.onnx"]
    assert bundle.version == personal.version == "0001"  # personal versions are kept
    assert np.array_equal(bundle.tensor("head.bias"), np.ones(3))
    again = add_training(trainable.path)
    assert again.manifest == trainable.manifest


def test_a_layer_that_is_asked_for_in_vain_changes_nothing(trainable):
    before = (trainable.path / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="layer: expected one of"):
        add_training(trainable.path, [9])
    assert (trainable.path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("writes", range(5))
def test_a_kill_at_any_write_leaves_a_bundle_that_opens(trainable, monkeypatch, writes):
    real, left = parts.write_atomic, [writes]

    def dying(path, data):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(path, data)

    monkeypatch.setattr(parts, "write_atomic", dying)
    if writes < 4:  # the manifest without graphs, two graphs, the manifest with them
        with pytest.raises(KeyboardInterrupt):
            add_training(trainable.path, [3, 4])
    else:
        add_training(trainable.path, [3, 4])
    layers = [spec.layer for spec in Bundle.open(trainable.path).manifest.training]
    assert layers == ([0, 1, 2, 3, 4] if writes == 0 else [3, 4] if writes == 4 else [])


def spoil(bundle, change):
    """Rewrite the manifest as parsed JSON."""
    path = bundle.path / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def test_an_altered_graph_is_refused(trainable):
    path = trainable.path / "train" / "03.onnx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"03\.onnx: expected sha256"):
        Bundle.open(trainable.path)
    path.unlink()
    with pytest.raises(BundleError, match=r"03\.onnx: expected a file of a bundle"):
        Bundle.open(trainable.path)


@pytest.mark.parametrize(
    "name", ["train/../../evil.onnx", "/etc/passwd", "train/3.onnx", "train/04.onnx", "03.onnx", ""]
)
def test_only_the_file_of_its_layer(trainable, name):
    def rename(raw):
        raw["training"][3]["file"] = name
        raw["files"][name] = raw["files"].pop("train/03.onnx")

    spoil(trainable, rename)
    with pytest.raises(
        BundleError, match=r"training from layer 3: expected the file train/NN\.onnx, NN being the layer"
    ):
        Bundle.open(trainable.path)


def test_files_and_graphs_are_the_same(trainable):
    spoil(trainable, lambda raw: raw["training"].pop())
    with pytest.raises(BundleError, match=r"manifest\.json: expected the files golden\.npz, .*train/03\.onnx, got"):
        Bundle.open(trainable.path)


def test_the_tensors_of_a_graph_are_those_of_its_layers(trainable):
    spoil(trainable, lambda raw: raw["training"][4]["tensors"].reverse())
    with pytest.raises(
        BundleError, match=r"from layer 4: expected the tensors head\.weight, head\.bias, .* got head\.b"
    ):
        Bundle.open(trainable.path)


def test_a_manifest_with_graphs_survives_json(trainable):
    manifest = Manifest.from_json(trainable.manifest.to_json())
    assert manifest == trainable.manifest
    assert all(isinstance(spec, TrainingSpec) for spec in manifest.training)
    assert [sum(spec.sizes) for spec in manifest.training][-1] == 3 * 768 + 3


# --- the frozen part


def test_the_prefix_gives_what_the_graph_computes(trainable):
    windows = small_windows(5)
    features = open_prefix(trainable, "features")(windows)
    np.testing.assert_array_equal(open_prefix(trainable, "windows")(windows), windows)
    spec = trainable.manifest.training[3]
    assert open_prefix(trainable, spec.cut)(windows).shape == (5, *spec.cut_shape)
    golden = trainable.golden()
    np.testing.assert_allclose(open_prefix(trainable, "features")(golden.windows), golden.features, atol=1e-4)
    assert features.shape == (5, 768)


def test_a_value_that_is_not_there(trainable):
    with pytest.raises(
        BundleError, match=r"model\.onnx: expected a graph that onnxruntime can open, got .*no_such_value"
    ):
        open_prefix(trainable, "no_such_value")


@given(st.text(min_size=1, max_size=200).filter(lambda text: "\0" not in text))
def test_one_more_output_is_what_onnx_reads(name):
    node = helper.make_node("Identity", ["x"], ["y"])
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", infos[:1], infos[1:]))
    found = onnx.load_model_from_string(with_output(model.SerializeToString(), name))
    added = found.graph.output.pop()
    assert (added.name, added.type.tensor_type.elem_type) == (name, TensorProto.FLOAT)
    assert not added.type.tensor_type.HasField("shape")
    assert found == model


# --- what a graph keeps


def test_memory_by_hand():
    """x (B, 4) -> a = 2 x, b = a + x, both alive at once -> c = b a, when b and a and c are -> s = sum of c."""
    graph = Graph()
    x = Tensor("x", (-1, 4))
    a = graph.multiply(x, graph.constant(2.0))
    b = graph.reshape(graph.add(a, x), (-4,))
    c = graph.multiply(b, graph.reshape(a, (-4,)))
    s = graph.sum(c, [0])
    found = peak(graph.needed([s]), graph.shapes(), [s.name])
    assert found.per_window_bytes == 3 * 4 * 4
    assert found.fixed_bytes == 4


def test_a_comparison_is_a_byte():
    graph = Graph()
    x, y = Tensor("x", (-1, 4)), Tensor("y", (-1, 4))
    win = graph.emit("Greater", x, y, shape=x.shape)
    larger = graph.emit("Where", win, x, y, shape=x.shape)
    assert peak(graph.needed([larger]), graph.shapes(), [larger.name]).per_window_bytes == 4 + 16


def test_what_a_graph_keeps_grows_with_what_is_trained(trainable):
    specs = trainable.manifest.training
    assert [spec.bytes_per_window for spec in specs] == sorted((s.bytes_per_window for s in specs), reverse=True)
    assert specs[0].bytes_per_window > 4 * 16 * 32 * 3  # the first map alone


def test_constants_are_known_here_and_now():
    graph = Graph()
    a = graph.transpose(graph.reshape(graph.constant(np.arange(6.0)), (2, 3)), (1, 0))
    b = graph.add(graph.slice(a, 0, 1, 2), graph.constant(1.0))
    assert len(graph) == 0
    np.testing.assert_array_equal(b.value, [[2, 5], [3, 6]])


def test_what_was_asked_for_before_is_not_computed_again():
    graph = Graph()
    x = Tensor("x", (-1, 4))
    assert graph.unary("Exp", x) is graph.unary("Exp", x)
    assert graph.reshape(graph.reshape(graph.unary("Exp", x), (-4,)), (-1, 4)) is graph.unary("Exp", x)
    graph.unary("Log", x)  # nobody needs it
    data = graph.model({"x": (TensorProto.FLOAT, x.shape)}, {"y": graph.unary("Exp", x)})
    assert [node.op_type for node in onnx.load_model_from_string(data).graph.node] == ["Exp", "Identity"]
