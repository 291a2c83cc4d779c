"""Exports: what onnx finds in the file, and what happens when something fails."""

import os

import numpy as np
import onnx
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from exporters import ParityError, check_parity, export_bundle, initializer_offsets
from runtime.bundle import Bundle
from runtime.errors import BundleError, InputError
from tests.bundles_small import CHANNELS, FCNS, LENGTH, small_manifest, small_parts, small_windows


@pytest.mark.parametrize("name", FCNS)
def test_the_graph_holds_every_parameter_by_name_where_the_manifest_says(exported, name):
    path, module, _ = exported(name)
    bundle, data = Bundle.open(path), (path / "model.onnx").read_bytes()
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    parameters = {f"encoder.{n}": p for n, p in module.encoder.named_parameters()}
    parameters |= {f"head.{n}": p for n, p in module.head.named_parameters()}
    assert len(bundle.manifest.tensors) == len(parameters) == 18
    for spec in bundle.manifest.tensors:
        truth = parameters[spec.name].detach().numpy()
        tensor = initializers[spec.name]
        assert np.array_equal(numpy_helper.to_array(tensor), truth)
        assert spec.shape == truth.shape
        assert data[spec.offset : spec.offset + truth.nbytes] == truth.tobytes() == tensor.raw_data
        if data.count(truth.tobytes()) == 1:
            assert data.find(truth.tobytes()) == spec.offset
    assert sum(data.count(p.detach().numpy().tobytes()) == 1 for p in parameters.values()) == 18


def test_the_offsets_are_those_of_every_initializer(exported):
    data = (exported("fcn").path / "model.onnx").read_bytes()
    offsets = initializer_offsets(data)
    tensors = {t.name: t for t in onnx.load_model_from_string(data).graph.initializer}
    assert set(offsets) == {name for name, tensor in tensors.items() if tensor.HasField("raw_data")}
    for name, (offset, length) in offsets.items():
        assert data[offset : offset + length] == tensors[name].raw_data


def test_the_batch_is_free_and_the_rest_is_fixed(exported):
    graph = onnx.load(exported("fcn-stride4").path / "model.onnx").graph

    def shape(value):
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    assert [(value.name, shape(value)[1:]) for value in graph.input] == [("windows", [LENGTH, CHANNELS])]
    assert [(value.name, shape(value)[1:]) for value in graph.output] == [("features", [384]), ("logits", [3])]
    batches = {shape(value)[0] for value in (*graph.input, *graph.output)}
    assert len(batches) == 1
    assert isinstance(batches.pop(), str)


@pytest.mark.parametrize("name", FCNS)
def test_layers_count_from_the_input_to_the_head(exported, name):
    specs = Bundle.open(exported(name).path).manifest.tensors
    layers = {spec.name: spec.layer for spec in specs}
    assert [spec.layer for spec in specs] == sorted(layers.values())
    assert set(layers.values()) == set(range(5))
    for block in range(4):
        assert {layer for n, layer in layers.items() if n.startswith(f"encoder.blocks.{block}.")} == {block}
    assert layers["head.weight"] == layers["head.bias"] == 4


def test_the_provenance_tells_of_the_export(exported):
    provenance = Bundle.open(exported("fcn").path).manifest.provenance
    nodes = onnx.load(exported("fcn").path / "model.onnx").graph.node
    counts = {op: sum(node.op_type == op for node in nodes) for op in {node.op_type for node in nodes}}
    assert provenance["exporter"] == {"torch": torch.__version__, "opset": 17, "operators": counts}
    assert set(provenance["parity"]) == {"features", "logits"}
    assert all(0 <= error < 1e-5 for error in provenance["parity"].values())


class Flat(nn.Module):
    """The smallest encoder: one layer, and switches to spoil it."""

    n_features = 5

    def __init__(self, *, when_exported=1.0, unused=False, twins=False, broken=False):
        super().__init__()
        self.layer = nn.Linear(LENGTH * CHANNELS, 5)
        self.when_exported, self.broken = when_exported, broken
        if unused:
            self.unused = nn.Parameter(torch.ones(4))
        self.twins = nn.ParameterList([torch.zeros(5), torch.zeros(5)]) if twins else ()

    def forward(self, windows):
        if self.broken and torch.compiler.is_exporting():
            raise RuntimeError("an operator that cannot be exported")
        features = self.layer(windows.flatten(1))
        for twin in self.twins:
            features = torch.relu(features + twin)
        return features * (self.when_exported if torch.compiler.is_exporting() else 1.0)


def export_flat(path, seed=0, windows=None, **switches):
    torch.manual_seed(seed)
    windows = small_windows(3) if windows is None else windows
    return export_bundle(path, Flat(**switches), nn.Linear(5, 3), small_manifest(), windows)


def everything_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


FAILURES = [
    (
        {"when_exported": 1.01},
        ParityError,
        "features at batch 1: the engine is off by 1.0.e-02 of the largest value, all",
    ),
    ({"windows": small_windows(3) * np.float32(np.nan)}, ParityError, "features at batch 1: the engine is off by nan"),
    (
        {"unused": True},
        InputError,
        "encoder.unused: expected an initializer of this name with the module's values, got no",
    ),
    ({"broken": True}, Exception, "an operator that cannot be exported"),
    (
        {"windows": small_windows(3)[:, :-1]},
        InputError,
        r"windows: expected shape \(n, 32, 3\), n at least 1, got \(3, 31, 3\)\. Cut them with the manifest\.",
    ),
    ({"windows": small_windows(3)[:0]}, InputError, r"got \(0, 32, 3\)"),
    ({"windows": small_windows(3)[0]}, InputError, r"got \(32, 3\)"),
]


@pytest.mark.parametrize(("switches", "error", "message"), FAILURES)
def test_a_failed_export_leaves_everything_as_it_was(tmp_path, monkeypatch, switches, error, message):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "out").mkdir()
    with pytest.raises(error, match=message):
        export_flat(tmp_path / "out" / "flat.bundle", **switches)
    assert everything_in(tmp_path) == {}
    assert list((tmp_path / "out").iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_failed_export_leaves_an_older_bundle_with_its_versions(tmp_path):
    path = tmp_path / "flat.bundle"
    export_flat(path).commit({"head.bias": np.ones(3, np.float32)}, {})
    before = everything_in(tmp_path)
    for switches, error, message in FAILURES[:3]:
        with pytest.raises(error, match=message):
            export_flat(path, **switches)
        assert everything_in(tmp_path) == before
    assert Bundle.open(path).version == "0001"
    # and one that succeeds replaces it whole
    assert export_flat(path, seed=1).versions() == []
    assert everything_in(tmp_path)["flat.bundle/model.onnx"] != before["flat.bundle/model.onnx"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["flat.bundle"]


STEPS = [
    *("export._traced", "export.simplify", "export.lower", "export.serialised", "assemble._specs"),
    *("assemble.check_answers", "assemble.with_training", "assemble.write_bundle"),
]


@pytest.fixture(scope="module")
def old_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    export_flat(folder / "flat.bundle").commit({"head.bias": np.ones(3, np.float32)}, {})
    return folder


@pytest.mark.parametrize("step", [*STEPS, "the last rename"])
def test_a_failure_at_any_step_leaves_the_old_bundle(old_bundle, monkeypatch, step):
    before, calls = everything_in(old_bundle), []

    def fail(*arguments, **options):
        raise OSError("no space left")

    def fail_at_the_end(*arguments):
        calls.append(arguments)
        if str(arguments[1]).endswith("flat.bundle") and len(calls) == 3:  # rehearsal, old one away, new one in
            raise OSError("no space left")
        return replace(*arguments)

    if step == "the last rename":
        replace = os.replace
        monkeypatch.setattr("runtime.files.atomic.os.replace", fail_at_the_end)
    else:
        monkeypatch.setattr(f"exporters.{step}", fail)
    torch.manual_seed(1)
    with pytest.raises(OSError, match="no space left"):
        export_bundle(
            old_bundle / "flat.bundle", Flat(), nn.Linear(5, 3), small_manifest(), small_windows(3), training=True
        )
    assert everything_in(old_bundle) == before
    assert [entry.name for entry in old_bundle.iterdir()] == ["flat.bundle"]


def test_progress_counts_every_step(tmp_path):
    seen = []
    torch.manual_seed(1)
    parts = (Flat(), nn.Linear(5, 3), small_manifest(), small_windows(3))
    export_bundle(tmp_path / "b", *parts, training=True, progress=lambda *now: seen.append(now))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert {total for _, total, _ in seen} == {7}  # five steps, graphs from two layers
    assert seen[-1] == (7, 7, "done")


def test_an_export_does_not_replace_what_is_no_bundle(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "seed0.safetensors").write_bytes(b"days of training")
    with pytest.raises(BundleError, match="runs: expected no folder yet, or a bundle, got something else"):
        export_flat(tmp_path / "runs")
    assert everything_in(tmp_path) == {"runs/seed0.safetensors": b"days of training"}


def test_equal_parameters_stay_apart(tmp_path):
    bundle = export_flat(tmp_path / "b", twins=True)
    offsets = {spec.name: spec.offset for spec in bundle.manifest.tensors}
    assert offsets["encoder.twins.0"] != offsets["encoder.twins.1"]


def test_the_exported_module_stays_as_it_was(tmp_path):
    encoder, head = small_parts("fcn")
    encoder.train().to(memory_format=torch.channels_last)
    strides = [p.stride() for p in encoder.parameters()]
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    export_bundle(tmp_path / "b", encoder, head, small_manifest(), small_windows(2))
    assert encoder.training
    assert [p.stride() for p in encoder.parameters()] == strides
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())


def test_parity_names_the_output_that_is_off(exported):
    path, module, windows = exported("fcn")
    bundle = Bundle.open(path)

    def honest(samples):
        return tuple(torch.from_numpy(output) for output in module(samples.numpy()))

    def other_logits(samples):
        features, logits = honest(samples)
        return features, logits + 0.01 * logits.abs().max()

    errors = check_parity(bundle, honest, windows)
    assert max(errors.values()) < 1e-5
    with pytest.raises(ParityError, match=r"logits at batch 1: .* allowed are 1e-04\. Look for an operator"):
        check_parity(bundle, other_logits, windows)
    assert check_parity(bundle, other_logits, windows, 0.1)["logits"] == pytest.approx(0.01, rel=0.1)


def tiny_model():
    tensors = [
        numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "größe"),
        helper.make_tensor("typed", TensorProto.FLOAT, [2], [1.0, 2.0]),  # not raw: it has no offset
        numpy_helper.from_array(np.zeros(0, np.float32), "empty"),
    ]
    node = helper.make_node("Identity", ["größe"], ["y"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    return helper.make_model(helper.make_graph([node], "g", [], [output], tensors)).SerializeToString()


def test_offsets_of_a_tiny_model():
    data = tiny_model()
    raw = np.arange(6, dtype=np.float32).tobytes()
    offsets = initializer_offsets(data)
    assert offsets.pop("größe") == (data.find(raw), 24)
    assert {name: length for name, (_, length) in offsets.items()} == {"empty": 0}


BROKEN = r"ONNX model: expected a protobuf message, got broken bytes at \d+\. Export it again\."


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\x3a\x05",  # a field that is longer than the file
        b"\x3a\x02\x2a\x09",  # one that is longer than the field around it
        b"\x3a\x02\x2a\x09" + b"\0" * 20,
        b"\x3b\x00",  # a wire type that protobuf has given up
        b"\x09\x00",  # eight bytes, of which one is there
        b"\x08" + b"\x80" * 12 + b"\x00",  # a number that does not end
    ],
)
def test_bytes_that_are_no_protobuf(data):
    with pytest.raises(InputError, match=BROKEN):
        initializer_offsets(data)


def within(data):
    try:
        offsets = initializer_offsets(data)
    except InputError as error:
        assert "expected a protobuf message" in str(error)  # noqa: PT017
        return
    for name, (offset, length) in offsets.items():
        assert isinstance(name, str)
        assert 0 <= offset <= offset + length <= len(data)


@settings(max_examples=400, deadline=None)
@given(data=st.binary(max_size=80))
@example(b"\x3a\x04\x2a\x02\x4a\x00")  # a tensor without a name
@example(b"\x3a\x07\x2a\x05\x42\x01\xff\x4a\x00")  # a name that is not UTF-8
def test_any_bytes_are_an_input_error_or_offsets_inside_the_file(data):
    within(data)
    within(b"\x3a" + bytes([min(len(data), 127)]) + data)  # as a graph


@settings(max_examples=400, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_spoilt_model_is_an_input_error_or_offsets_inside_the_file(changes):
    data = bytearray(tiny_model())
    for place, byte in changes:
        data[place % len(data)] = byte
    within(bytes(data))


def test_every_truncation_of_a_model_ends_well():
    data = tiny_model()
    for size in range(len(data)):
        within(data[:size])


def test_of_a_megabyte_of_unfinished_number_the_first_bytes_are_read():
    read = []

    class Bytes(bytes):
        def __getitem__(self, at):
            read.append(at)
            return super().__getitem__(at)

    with pytest.raises(InputError, match=BROKEN):
        initializer_offsets(Bytes(b"\x08" + b"\xff" * (1 << 20)))
    assert 1 < len(read) < 20
