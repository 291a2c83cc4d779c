"""Does TensorRT accept what we export? Asked of TensorRT for RTX, which needs no GPU to parse and to build.

By default the small encoders; SENSEDGE_GATE=full takes every encoder in its published size.
"""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporters import export_bundle
from exporters.__main__ import main
from exporters.fp16 import to_fp16
from exporters.int8 import Int8Options, to_int8
from exporters.tensorrt import check_model, find_python
from exporters.tensorrt.gate import INSTALL, PYTHON
from runtime.bundle import Bundle
from runtime.engine.tensorrt.child import Limits
from runtime.errors import MissingError
from sdk.encoders import Classifier, create_encoder, encoder_info, list_encoders
from sdk.encoders.untrained import blank_manifest
from tests.encoders_small import SMALL

FULL = os.environ.get("SENSEDGE_GATE") == "full"
RECURRENT = {"deepconvlstm", "cnn-gru", *(name for name in SMALL if name.startswith("cosmo"))}
LARGE = {"hart", "mobilehart-xs", "mobilehart-xxs", "ispl-inception"}  # fp16 and int8 are parsed only, unless in full
PRECISIONS = {
    "float32": lambda bundle: bundle.model(),
    "fp16": lambda bundle: to_fp16(bundle.model(), bundle.manifest).model,
    # every layer that can be, whatever it costs in accuracy: the question is what TensorRT takes
    "int8": lambda bundle: (
        to_int8(
            bundle.model(), bundle.manifest, bundle.golden().windows, Int8Options("minmax", tolerance=1e9, agreement=0)
        ).model
    ),
}


@pytest.fixture(scope="module")
def python():
    try:
        return find_python()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def exported_of(bundle_of, tmp_path_factory):
    """The bundle of an encoder, small or in full."""
    if not FULL:
        return lambda name: bundle_of(name)[0]
    done = {}

    def export(name):
        if name not in done:
            encoder = create_encoder(name)
            manifest = blank_manifest(name, encoder, encoder_info(name).shape)
            module = Classifier(encoder, len(manifest.labels)).eval()
            windows = np.random.default_rng(0).normal(size=(4, *manifest.window_shape)).astype(np.float32)
            path = tmp_path_factory.mktemp(name) / "full.bundle"
            done[name] = export_bundle(path, module.encoder, module.head, manifest, windows, tolerance=1e-3)
        return done[name]

    return export


def test_every_encoder_is_here():
    assert set(SMALL) == set(list_encoders())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensorrt_accepts(python, exported_of, name, precision):
    build = FULL or precision == "float32" or name not in LARGE
    report = check_model(PRECISIONS[precision](exported_of(name)), python=python, build=build)
    print(f"gate {name} {precision}: {json.dumps(report.to_dict())}")
    assert report.ok, report.reason
    assert not report.refused
    assert report.recurrent == (name in RECURRENT)
    assert (report.plan_bytes is not None) == (build and not report.recurrent)
    assert 20 << 20 < report.peak_bytes < 4 << 30


def model_of(op, inputs, *, opset=17, initializers=(), **attributes):
    """A graph of one node."""
    node = helper.make_node(
        op, [*inputs, *(tensor.name for tensor in initializers)], ["y"], name="the_node", **attributes
    )
    values = [helper.make_tensor_value_info(name, kind, ["n", *shape]) for name, (kind, shape) in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)
    graph = helper.make_graph([node], "g", values, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


def test_a_refused_operator_is_named(python):
    x = (TensorProto.INT8, [4])
    weights = onnx.numpy_helper.from_array(np.ones((4, 2), np.int8), "w")
    report = check_model(model_of("MatMulInteger", {"x": x}, initializers=[weights]), python=python)
    assert not report.ok
    assert [(node["operator"], node["node"]) for node in report.refused] == [("MatMulInteger", "the_node")]
    assert "MatMulInteger (the_node): " in report.reason


def test_what_is_no_onnx_is_refused(python):
    report = check_model(b"\0" * 100, python=python)
    assert not report.ok
    assert report.reason


def test_the_interpreter_may_be_named_from_here(python, monkeypatch):
    monkeypatch.chdir(os.path.dirname(os.path.dirname(python)))
    relu = model_of("Relu", {"x": (TensorProto.FLOAT, [4])})
    assert check_model(relu, python=os.path.join("bin", os.path.basename(python)), build=False).version


def test_a_build_ends_at_its_limit(python):
    relu = model_of("Relu", {"x": (TensorProto.FLOAT, [4])})
    report = check_model(relu, python=python, limits=Limits(rss_bytes=1 << 20))
    assert (report.ok, report.reason) == (False, "more than 1 MB of memory")


def test_the_command_prints_a_table(python, small_bundle, capsys):
    assert main(["tensorrt", str(small_bundle), "--check", "--python", python]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["precision", "accepted", "layers", "build", "s", "peak", "MB", "engine", "MB"]
    assert row.split()[:2] == ["float32", "yes"]
    assert main(["tensorrt", str(small_bundle), "--check", "--python", python, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["precisions"]["float32"]
    assert told["ok"]
    assert told["build_s"] < told["seconds"]


def test_without_it_the_line_that_installs_it(small_bundle, monkeypatch, capsys):
    monkeypatch.setenv(PYTHON, "/no/such/python")
    assert main(["tensorrt", str(small_bundle), "--check"]) == 2
    assert INSTALL in capsys.readouterr().err


def test_a_device_without_tensorrt_is_told_so(small_bundle, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path))
    assert main(["tensorrt", str(small_bundle)]) == 1
    assert "float32: onnxruntime answers: TensorRT cannot be used here: " in capsys.readouterr().out
    assert Bundle.open(small_bundle).version == "base"
