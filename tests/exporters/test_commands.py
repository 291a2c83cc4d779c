"""python -m exporters: the table, and the commands onnx, train, inspect and parity."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from exporters import parity_of_engines
from exporters.__main__ import main
from exporters.blame import first_difference, runner
from exporters.commands import COMMANDS
from exporters.costs import node_macs
from exporters.inspect import describe, text
from exporters.parity import ParityReport, ParityRow
from exporters.simplify import lower, operators, serialised
from runtime.bundle import Bundle
from runtime.engine import engines_here
from runtime.errors import InputError, MissingError
from tests.bundles_small import CHANNELS, LENGTH, needs_openvino, small_manifest, small_windows
from tests.encoders_small import classifier

NETS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv1d(3, 4, 5), torch.nn.BatchNorm1d(4)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x.transpose(1, 2)))).mean(2)

def make():
    return Net(), torch.nn.Linear(4, 3)

def wrong():
    return Net()
"""


def test_the_listing_imports_nothing_heavy():
    code = (
        "import sys; from exporters.__main__ import main; main(['--help']); "
        "print(len(sys.modules), file=sys.stderr); "
        "sys.exit(bool({'torch', 'onnx', 'onnxruntime', 'numpy'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert int(done.stderr) < 200  # 0.07 s where nothing else runs


def test_wrong_use(capsys):
    assert main([]) == 2
    assert main(["onx"]) == 2
    assert "no command 'onx'; there are onnx, train, inspect, parity" in capsys.readouterr().err


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """Files of a user: a module, a manifest, windows and weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_nets.py").write_text(NETS)
    (tmp_path / "m.json").write_text(small_manifest().to_json())
    np.savez(tmp_path / "w.npz", windows=small_windows(4))
    import own_nets

    torch.manual_seed(3)
    encoder, head = own_nets.make()
    with torch.no_grad():
        encoder.norm.running_mean.uniform_(-1, 1)
    save_file(nn.ModuleDict({"encoder": encoder, "head": head}).state_dict(), tmp_path / "w.safetensors")
    yield encoder.eval(), head.eval()
    sys.modules.pop("own_nets", None)


FILES = ["--manifest", "m.json", "--windows", "w.npz"]


def test_a_module_becomes_a_bundle_that_answers_as_it_does(nets, capsys):
    encoder, head = nets
    command = ["onnx", "o.bundle", "--module", "own_nets:make", "--weights", "w.safetensors", *FILES]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("o.bundle: opset 17, ")
    golden = Bundle.open("o.bundle").golden()
    mean, std = (torch.tensor(numbers) for numbers in ((0.5, -1.0, 9.0), (2.0, 3.0, 4.0)))
    with torch.inference_mode():
        truth = head(encoder((torch.from_numpy(small_windows(4)) - mean) / std)).numpy()
    assert np.abs(golden.logits - truth).max() < 1e-6
    # its own manifest and golden windows do for the next one; graphs to train with come by a command
    again = ["--manifest", "o.bundle/manifest.json", "--windows", "o.bundle/golden.npz", "--as-traced", "--opset", "18"]
    assert main(["onnx", "p.bundle", "--module", "own_nets:make", *again]) == 0
    assert onnx.load("p.bundle/model.onnx").opset_import[0].version == 18
    assert main(["train", "o.bundle", "--layers", "1"]) == 0
    assert [spec.layer for spec in Bundle.open("o.bundle").manifest.training] == [1]
    assert main(["train", "o.bundle"]) == 0
    assert [spec.layer for spec in Bundle.open("o.bundle").manifest.training] == [0, 1]
    assert main(["train", "o.bundle", "--layers", "9"]) == 2
    assert "layer: expected one of [0, 1], got 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--module", "own_nets:mak"], "--module: expected MODULE:FUNCTION, got own_nets:mak"),
        (["--module", "own_nets:wrong"], "own_nets:wrong: expected (encoder, head), the head a torch.nn.Linear"),
        (["--module", "own_nets:make", "--opset", "16"], "opset: expected 17 or newer, got 16"),
        (["--module", "own_nets:make", "--weights", "part.safetensors"], "missing or unknown: encoder.conv.bias"),
    ],
)
@pytest.mark.usefixtures("nets")
def test_what_a_user_gets_wrong_is_one_line(capsys, tmp_path, arguments, message):
    save_file({"head.weight": torch.zeros(3, 4)}, "part.safetensors")
    assert main(["onnx", "o.bundle", *arguments, *FILES]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o.bundle").exists()


@pytest.mark.parametrize("name", ["fcn", "co-occurrence"])
def test_products_are_those_that_torch_counts(bundle_of, name):
    bundle, _, _ = bundle_of(name)
    module, shape = classifier(name)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *shape))
    graph = describe(bundle.path)["graph"]
    assert graph["macs"] == counter.get_total_flops() // 2 == sum(layer["macs"] for layer in graph["layers"])
    assert graph["parameters"] == sum(p.numel() for p in module.parameters())
    assert sum(layer["parameters"] for layer in graph["layers"]) == graph["parameters"]


def test_products_of_a_recurrent_net():
    lstm = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=7)
    shapes = {"x": (10, 1, 5), "w": (2, 28, 5), "r": (2, 28, 7), "y": (10, 2, 1, 7)}
    assert node_macs(lstm, shapes) == 10 * 2 * 4 * 7 * (5 + 7)


def test_memory_of_the_fcn_by_hand(exported):
    """The first convolution's output, 64 maps of half the length, and what it is made of or goes into."""
    graph = describe(exported("fcn").path)["graph"]
    nodes = onnx.load(exported("fcn").path / "model.onnx").graph.node
    assert graph["operators"] == {op: sum(n.op_type == op for n in nodes) for op in {n.op_type for n in nodes}}
    assert graph["layers"][0]["activation_bytes"] == 2 * 4 * LENGTH * CHANNELS  # (x - mean), / std
    assert graph["peak_activation_bytes"] <= sum(layer["activation_bytes"] for layer in graph["layers"])


def test_the_page_and_the_picture(exported, tmp_path, capsys):
    path = str(exported("fcn").path)
    assert main(["inspect", path, "--svg", str(tmp_path / "x.svg")]) == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 100
    for words in (
        "x y z  m/s^2  32 Hz",
        "32 samples = 1 s, a new one every 12 = 0.375 s",
        "opset 17",
        "head",
    ):
        assert words in page
    texts = [element.text for element in ET.parse(tmp_path / "x.svg").iter() if element.tag.endswith("text")]
    assert {"small", "encoder.blocks.0", "head"} <= {*texts}
    assert main(["inspect", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert text(facts) == page.rstrip("\n")
    assert sum(facts["files"].values()) == sum(
        p.stat().st_size for p in exported("fcn").path.rglob("*") if p.is_file() and p.name != "manifest.json"
    )


def test_the_page_of_a_version_has_its_own_figures(exported, tmp_path):
    """The scores in the provenance are the base's, and are called so."""
    path = shutil.copytree(exported("fcn").path, tmp_path / "own.bundle")
    stored = json.loads((path / "manifest.json").read_text())
    stored["provenance"]["unseen_people"] = {"macro_f1": 0.5}
    (path / "manifest.json").write_text(json.dumps(stored))
    base = Bundle.open(path)
    assert "unseen_people: macro_f1 0.5" in text(describe(path))
    assert describe(path)["versions"]["record"] is None
    before, after = {"macro_f1": 0.25}, {"macro_f1": 0.75, "macro_f1_classes": 2}
    bias = base.manifest.head.bias
    record = {"parent": "base", "before": before, "after": after, "windows_per_label": {"a": 3, "b": 0}}
    base.commit({bias: base.tensor(bias) + 1}, record)
    page = " ".join(text(describe(path)).split())
    for words in (
        "in use version 0001, trained on this device from base",
        f"held-out labels: macro-F1 0.25 -> 0.75 over 2 of {len(base.manifest.labels)} classes",
        "labelled windows: a 3",
        "unseen_people (of the base, not of the version in use): macro_f1 0.5",
    ):
        assert words in page
    assert "in use     version" not in text(describe(path, "base"))
    Bundle.open(path, "0001").commit({bias: base.tensor(bias)}, {})  # a record of somebody who kept no scores
    assert "version 0002, trained on this device from an unknown version" in text(describe(path))


def test_without_onnx_the_install_line(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingError, match=r'pip install "sensedge\[graphs\]"'):
        describe(exported("fcn").path)


def test_parity_of_a_good_bundle(exported, capsys):
    assert main(["parity", str(exported("fcn").path), "--engine", "onnxruntime", "--bisect", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert report["first_difference"] == {"onnxruntime": None}
    assert max(report["worst"].values()) < 1e-5
    rows = {(row["windows"], row["batch"], row["output"]) for row in report["rows"]}
    assert rows == {(w, b, o) for w in ("golden", "random") for b in (1, 2, 7) for o in ("features", "logits")}
    assert all(row["labels_agree"] == (1.0 if row["output"] == "logits" else None) for row in report["rows"])


def test_only_the_row_that_is_off_is_marked():
    row = ParityRow("onnxruntime", "golden", 1, "logits", 1e-7, 1e-6, 1.0)
    for bad in (2e-4, math.nan, math.inf):
        report = ParityReport(
            "float32", 1e-4, (row, replace(row, batch=2, relative=bad), replace(row, relative=1e-4)), {}
        )
        marked = [line for line in report.text().splitlines() if line.rstrip().endswith(" off")]
        assert len(marked) == 1
        assert marked[0].split()[2] == "2"
        assert not report.to_dict()["passed"]
        json.dumps(report.to_dict(), allow_nan=False)
    good = ParityReport("float32", 1e-4, (row, row), {"openvino": "not here"})
    assert "off" not in good.text()
    assert good.text().endswith("openvino: not here")


def test_engines_that_are_not_here_are_missed_only_if_none_was_named(exported):
    bundle = Bundle.open(exported("fcn").path)
    assert parity_of_engines(bundle, ["onnxruntime"]).missing == {}
    gone = {status.name for status in engines_here() if not status.available}
    assert gone
    assert gone <= set(parity_of_engines(bundle).missing)


def test_a_graph_that_is_not_the_modules_is_seen(small_bundle, capsys):
    """A personal head gives other logits than the golden ones: those of base must not be taken for it."""
    bundle = Bundle.open(small_bundle)
    bundle.commit({"head.bias": bundle.tensor("head.bias") + 5}, {})
    assert main(["parity", str(small_bundle), "--engine", "onnxruntime"]) == 0
    golden = small_bundle / "golden.npz"
    arrays = dict(np.load(golden))
    np.savez(golden, **arrays | {"logits": arrays["logits"] * np.float32(1.01)})
    raw = json.loads((small_bundle / "manifest.json").read_text())
    raw["files"]["golden.npz"] = {
        "bytes": golden.stat().st_size,
        "sha256": hashlib.sha256(golden.read_bytes()).hexdigest(),
    }
    (small_bundle / "manifest.json").write_text(json.dumps(raw))
    assert main(["parity", str(small_bundle), "--version", "base", "--engine", "onnxruntime"]) == 1
    out = capsys.readouterr().out
    assert "the graph does not give the module's golden answers" in out
    assert "off" in out


@pytest.mark.parametrize(("op", "nth"), [("Relu", 2), ("Conv", 0), ("Gemm", 0)])
def test_the_first_node_that_an_engine_gets_wrong_is_found(exported, op, nth):
    bundle = Bundle.open(exported("fcn").path)
    honest, calls = runner("onnxruntime"), []

    def broken(model, feeds, outputs):
        node = onnx.load_model_from_string(model).graph.node[0]
        found = honest(model, feeds, outputs)
        calls.append(node.op_type)
        return [value * 1.001 for value in found] if node.op_type == op and calls.count(op) > nth else found

    nodes = onnx.load(bundle.path / "model.onnx").graph.node
    wanted = [i for i, node in enumerate(nodes) if node.op_type == op][nth]
    found = first_difference(bundle, tolerance=1e-4, run=broken)
    assert (found.place, found.op, found.output) == (wanted, op, nodes[wanted].output[0])
    assert found.relative == pytest.approx(1e-3, rel=0.01)
    assert first_difference(bundle, tolerance=1e-4) is None


@needs_openvino
def test_openvino_runs_single_nodes_in_float32(exported):
    """On a processor with bfloat16 it would take that, unless told; shapes and axes must be constants for it."""
    assert first_difference(Bundle.open(exported("fcn").path), "openvino", tolerance=1e-4) is None


def test_a_node_that_an_engine_cannot_run_is_named(exported):
    def broken(model, feeds, outputs):
        raise RuntimeError("no kernel")

    with pytest.raises(InputError, match=r"Sub -> .*: expected a node that this engine runs by itself, got no kernel"):
        first_difference(Bundle.open(exported("fcn").path), tolerance=1e-4, run=broken)


def test_tensorrt_runs_no_single_nodes(exported):
    with pytest.raises(InputError, match=r"got tensorrt\. For TensorRT look with onnxruntime-tensorrt"):
        first_difference(Bundle.open(exported("fcn").path), "tensorrt", tolerance=1e-4)


def test_an_engine_that_was_named_must_be_here(exported):
    with pytest.raises(MissingError, match="onnxruntime-xnnpack"):
        parity_of_engines(Bundle.open(exported("fcn").path), ["onnxruntime-xnnpack"])


def graph_18(nodes, constants, shape=(2, 6, 5)):
    tensors = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["a", "b", "c"]) for name in nodes[-1].output],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


NODES = [
    ([helper.make_node("ReduceMean", ["x", "axes"], ["y"])], {"axes": [1, -1]}),
    ([helper.make_node("ReduceMax", ["x"], ["y"])], {}),
    ([helper.make_node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2)], {}),
    ([helper.make_node("Split", ["x"], ["y", "z"], axis=2, num_outputs=2)], {}),  # 3 and 2
    ([helper.make_node("Pad", ["x", "pads"], ["y"])], {"pads": [0, 1, 0, 0, 0, 2]}),
]


@pytest.mark.parametrize(("nodes", "constants"), NODES)
def test_opset_17_gives_what_18_gives(nodes, constants):
    from onnxruntime import InferenceSession

    model, x = graph_18(nodes, constants), np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    truth = InferenceSession(model.SerializeToString()).run(None, {"x": x})
    lower(model)
    data = serialised(model)
    assert model.opset_import[0].version == 17
    for found, expected in zip(InferenceSession(data).run(None, {"x": x}), truth, strict=True):
        assert np.array_equal(found, expected)


def test_an_operator_that_17_has_not_is_named():
    model = graph_18([helper.make_node("Mish", ["x"], ["y"], name="act")], {})
    with pytest.raises(
        InputError, match=r"node act: expected an operator that opset 17 has .*, got Mish\. Export with"
    ):
        lower(model)


def test_a_shipped_file_names_no_file_of_the_exporting_machine(exported):
    for file in exported("fcn").path.rglob("*.onnx"):
        assert b".py" not in file.read_bytes()


def test_operators_are_counted():
    assert operators(graph_18(NODES[0][0], NODES[0][1])) == {"ReduceMean": 1}
