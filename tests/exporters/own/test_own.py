"""What a file may be and what it may not: one line with the node; and the command."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.__main__ import main
from exporters.draft import Draft
from exporters.own import bundle_of_onnx, look
from exporters.own.constants import fold
from exporters.own.opset import to_known_opset
from runtime import open_engine
from runtime.bundle import Bundle
from runtime.errors import InputError
from tests.bundles_small import CHANNELS, LENGTH, small_manifest, small_windows

RNG = np.random.default_rng(4)
WEIGHTS = {
    "c.w": RNG.normal(0, 0.3, (5, CHANNELS, 3)),
    "c.b": RNG.normal(0, 0.3, 5),
    "d.w": RNG.normal(0, 0.5, (3, 5)),
    "d.b": RNG.normal(0, 0.5, 3),
}


def node(op, inputs, outputs, **said):
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"the_{outputs.split()[0]}", **said)


BODY = [
    node("Conv", "x c.w c.b", "a"),
    node("Relu", "a", "b"),
    node("GlobalAveragePool", "b", "c"),
    node("Flatten", "c", "e"),
]
HEAD = [node("Gemm", "e d.w d.b", "z", transB=1)]
FLAT = [node("Flatten", "x", "e"), node("Gemm", "e w b", "z")]
FLAT_WEIGHTS = {"w": RNG.normal(size=(LENGTH * CHANNELS, 3)), "b": RNG.normal(size=3)}


def model_of(
    nodes, weights=None, *, dims=("n", CHANNELS, LENGTH), outputs=("z",), opset=13, kind=TensorProto.FLOAT, domains=()
):
    tensors = [
        numpy_helper.from_array(
            np.asarray(v, np.float32) if np.asarray(v).dtype.kind == "f" and kind == 1 else np.asarray(v), k
        )
        for k, v in (WEIGHTS | (weights or {})).items()
        if any(k in n.input for n in nodes)
    ]
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("x", kind, dims)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        tensors,
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.fixture
def bundle_of(tmp_path):
    def of(model, manifest=None, n=4, **options):
        onnx.save(model, tmp_path / "own.onnx")
        return bundle_of_onnx(
            tmp_path / "own.bundle",
            tmp_path / "own.onnx",
            Draft(manifest or small_manifest()),
            small_windows(n),
            **options,
        )

    return of


def answers(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs.astype(np.float32)})[0]


def normalised(windows):
    return (windows - np.float32([0.5, -1, 9])) / np.float32([2, 3, 4])


# ---- orders of axes


def test_channels_first_last_and_flat(bundle_of, tmp_path):
    windows = small_windows(3, seed=9)
    values = normalised(windows)
    for nodes, weights, dims, inputs in (
        (BODY + HEAD, {}, ("n", CHANNELS, LENGTH), values.transpose(0, 2, 1)),
        (BODY + HEAD, {}, ("n", CHANNELS, None), values.transpose(0, 2, 1)),
        (BODY + HEAD, {}, (None, None, None), values.transpose(0, 2, 1)),  # what runs is right
        (FLAT, FLAT_WEIGHTS, ("n", LENGTH, CHANNELS), values),
        (FLAT, FLAT_WEIGHTS, ("n", LENGTH, 1, CHANNELS), values[:, :, None]),
        (FLAT, FLAT_WEIGHTS, ("n", CHANNELS, LENGTH, 1), values.transpose(0, 2, 1)[..., None]),
        (FLAT, FLAT_WEIGHTS, ("n", LENGTH * CHANNELS), values.reshape(3, -1)),
    ):
        bundle = bundle_of(model_of(nodes, weights, dims=dims))
        found = open_engine(bundle).run(windows, "logits")
        assert np.abs(found - answers(tmp_path / "own.onnx", inputs)).max() < 1e-5, dims


def test_an_order_that_its_sizes_do_not_tell_is_asked_for(bundle_of, tmp_path):
    free = model_of(FLAT, FLAT_WEIGHTS, dims=("n", None, None))
    with pytest.raises(InputError, match=r"input x: expected an order .* got \(\?, \?, \?\)\. Say --channels first or"):
        bundle_of(free)
    windows = small_windows(3, seed=9)
    for order, turned in (("first", (0, 2, 1)), ("last", (0, 1, 2))):
        found = open_engine(bundle_of(free, channels=order)).run(windows, "logits")
        truth = answers(tmp_path / "own.onnx", normalised(windows).transpose(turned))
        assert np.abs(found - truth).max() < 1e-5


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_batch_that_is_fixed_becomes_free(bundle_of, batch):
    sizes = {"sizes": np.array([batch, 5], np.int64), "whole": np.array([batch, CHANNELS, LENGTH], np.int64)}
    first = [node("Expand", "x whole", "y"), node("Conv", "y c.w c.b", "a")]
    nodes = [*first, *BODY[1:3], node("Reshape", "c sizes", "e"), *HEAD]
    bundle = bundle_of(model_of(nodes, sizes, dims=(batch, CHANNELS, LENGTH)), n=5)
    assert len(open_engine(bundle).run(small_windows(4), "logits")) == 4


def test_a_batch_that_cannot_become_free_names_the_node(bundle_of):
    begins = {"begins": np.zeros((2, CHANNELS, 1))}
    nodes = [node("Concat", "begins x", "y", axis=2), node("Conv", "y c.w c.b", "a"), *BODY[1:], *HEAD]
    with pytest.raises(InputError, match=r"expected a model of any number of windows, got .*Concat.*the_y"):
        bundle_of(model_of(nodes, begins, dims=(2, CHANNELS, LENGTH)))


# ---- the head


def test_what_stands_behind_the_head_may_only_say_the_same(bundle_of):
    for behind, said in (
        ([node("Softmax", "z", "p", axis=-1)], "softmax"),
        ([node("LogSoftmax", "z", "p", axis=1)], "log-softmax"),
        ([node("Identity", "z", "p")], "logits"),
    ):
        bundle = bundle_of(model_of(BODY + HEAD + behind, outputs=("p",)))
        assert bundle.manifest.provenance["model"]["answers"] == said
    for behind, message in (
        ([node("Relu", "z", "p")], r"got Relu the_p\. Name its node with --head"),
        ([node("Sigmoid", "z", "p")], r"expected answers that are what Gemm the_z gives, or its softmax, got others"),
        ([node("Softmax", "z", "p", axis=0)], r"expected answers that are what Gemm the_z gives"),
        ([node("Mul", "z half", "y"), node("Softmax", "y", "p")], r"got Mul the_y"),
    ):
        with pytest.raises(InputError, match=message):
            bundle_of(model_of(BODY + HEAD + behind, {"half": np.array(0.5)}, outputs=("p",)))


def test_one_of_several_heads_is_named(bundle_of, tmp_path):
    other = {"o.w": RNG.normal(size=(3, 5)), "o.b": RNG.normal(size=3)}
    nodes = [*BODY, *HEAD, node("Gemm", "e o.w o.b", "who", transB=1)]
    model = model_of(nodes, other, outputs=("z", "who"))
    with pytest.raises(InputError, match=r"got Gemm the_z, Gemm the_who\. Say which: --head the_z or --head the_who"):
        bundle_of(model)
    for name in ("the_who", "who"):
        bundle = bundle_of(model, head=name)
        assert np.array_equal(bundle.tensor("head.weight"), np.float32(other["o.w"]))
        values = normalised(small_windows(3)).transpose(0, 2, 1)
        session = onnxruntime.InferenceSession(str(tmp_path / "own.onnx"), providers=["CPUExecutionProvider"])
        truth = session.run(["who"], {"x": values})[0]
        assert np.abs(open_engine(bundle).run(small_windows(3), "logits") - truth).max() < 1e-5
    with pytest.raises(
        InputError, match=r"--head: expected the name of a linear layer, such as .*Gemm the_who, got Relu"
    ):
        bundle_of(model, head="the_b")


def test_a_head_of_any_spelling(bundle_of, tmp_path):
    w, b = WEIGHTS["d.w"], WEIGHTS["d.b"]
    for nodes, weights in (
        ([node("MatMul", "e w", "y"), node("Add", "k y", "z")], {"w": w.T, "k": b[None]}),
        ([node("MatMul", "e w", "z")], {"w": w.T}),
        ([node("Transpose", "w", "t"), node("MatMul", "e t", "y"), node("Add", "y k", "z")], {"w": w, "k": b}),
        ([node("Gemm", "e w k", "z", alpha=0.5, beta=2.0, transB=1)], {"w": w, "k": b}),
        ([node("Gemm", "e w k", "z", transB=1)], {"w": w, "k": np.array([0.25])}),
    ):
        bundle = bundle_of(model_of(BODY + nodes, weights))
        found = open_engine(bundle).run(small_windows(3), "logits")
        truth = answers(tmp_path / "own.onnx", normalised(small_windows(3)).transpose(0, 2, 1))
        assert np.abs(found - truth).max() < 1e-5


def test_answers_for_each_step_are_no_head(bundle_of):
    nodes = [node("MatMul", "x w", "y"), node("Add", "y b", "z")]
    weights = {"w": RNG.normal(size=(CHANNELS, 3)), "b": np.zeros(3)}
    with pytest.raises(
        InputError, match=r"expected a row of features for each window, got shape \(n, 32, 3\) before MatMul"
    ):
        bundle_of(model_of(nodes, weights, dims=("n", LENGTH, CHANNELS)))


# ---- what cannot be taken


def halves():
    weights = {name: value.astype(np.float16) for name, value in WEIGHTS.items()}
    return model_of(BODY + HEAD, weights, kind=TensorProto.FLOAT16)


def two_inputs():
    model = model_of([*BODY, node("Add", "e more", "f"), node("Gemm", "f d.w d.b", "z", transB=1)])
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ("n", 5)))
    return model


def eight_bits():
    weights = {"s": np.array(0.1), "zero": np.array(0, np.int8)}
    nodes = [node("QuantizeLinear", "x s zero", "q"), node("DequantizeLinear", "q s zero", "y")]
    return model_of([*nodes, node("Conv", "y c.w c.b", "a"), *BODY[1:], *HEAD], weights)


def of_an_engine():
    fused = node("FusedConv", "x c.w c.b", "a", domain="com.microsoft", activation="Relu")
    return model_of([fused, node("Identity", "a", "b"), *BODY[2:], *HEAD], domains=["com.microsoft"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (halves, r"expected one input of float32, got x \(float16\)"),
        (two_inputs, r"expected one input of float32, got x \(float\), more \(float\)"),
        (eight_bits, r"expected a float32 model, got QuantizeLinear the_q\."),
        (of_an_engine, r"expected operators of ONNX, got com\.microsoft\.FusedConv the_a\."),
    ],
)
def test_what_cannot_be_taken_is_named(bundle_of, model, message, tmp_path):
    with pytest.raises(InputError, match=message):
        bundle_of(model())
    assert not (tmp_path / "own.bundle").exists()


def test_another_number_of_classes_or_of_channels(bundle_of):
    with pytest.raises(
        InputError, match=r"manifest: labels: expected 3 names, one for each class of the model, got 2: a, b"
    ):
        bundle_of(model_of(BODY + HEAD), small_manifest(labels=("a", "b")))
    six = {"c.w": RNG.normal(size=(5, 6, 3))}
    with pytest.raises(
        InputError, match=r"input x: expected an input of \(n, 32, 3\) or \(n, 3, 32\), .* got \(\?, 6, 32\)"
    ):
        bundle_of(model_of(BODY + HEAD, six, dims=("n", 6, LENGTH)))


def test_a_file_that_is_none(tmp_path):
    draft, windows = Draft(small_manifest()), small_windows(2)
    for data, message in ((None, "got no such file"), (b"\x08\x01garbage", "expected a sound ONNX model")):
        path = tmp_path / "x.onnx"
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(InputError, match=message):
            bundle_of_onnx(tmp_path / "b", path, draft, windows)


def test_external_data_are_taken_in_or_asked_for(tmp_path):
    onnx.save(
        model_of(FLAT, FLAT_WEIGHTS, dims=("n", LENGTH, CHANNELS)),
        tmp_path / "own.onnx",
        save_as_external_data=True,
        location="own.data",
        size_threshold=0,
    )
    draft, windows = Draft(small_manifest()), small_windows(2)
    bundle = bundle_of_onnx(tmp_path / "b", tmp_path / "own.onnx", draft, windows)
    (tmp_path / "own.data").unlink()
    assert Bundle.open(bundle.path).model() == bundle.model()
    with pytest.raises(InputError, match=r"own\.onnx: expected .*(external data|sound ONNX model)"):
        bundle_of_onnx(tmp_path / "c", tmp_path / "own.onnx", draft, windows)


# ---- opsets


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_an_operator_of_opset_20_is_written_out(bundle_of, tmp_path, approximate):
    nodes = [BODY[0], node("Gelu", "a", "b", approximate=approximate), *BODY[2:], *HEAD]
    bundle = bundle_of(model_of(nodes, opset=20), training=True)
    assert len(bundle.manifest.training) == 2
    truth = answers(tmp_path / "own.onnx", normalised(small_windows(3)).transpose(0, 2, 1))
    assert np.abs(open_engine(bundle).run(small_windows(3), "logits") - truth).max() < 1e-5


def test_what_opset_18_does_not_have_is_named():
    nodes = [node("RMSNormalization", "x g", "y"), node("Conv", "y c.w c.b", "a"), *BODY[1:], *HEAD]
    model = model_of(nodes, {"g": np.ones(LENGTH)}, opset=23)
    with pytest.raises(InputError, match=r"own\.onnx: expected operators of opset 18, got RMSNormalization the_y"):
        to_known_opset(model, 17, "own.onnx")


def test_what_is_drawn_is_not_folded():
    model = model_of([node("RandomNormal", "", "r", shape=[2]), node("Add", "x r", "z")])
    fold(model)
    assert [n.op_type for n in model.graph.node] == ["RandomNormal", "Add"]


@pytest.mark.parametrize(
    "made",
    [
        node("ConstantOfShape", "sizes", "k"),
        node("Expand", "one sizes", "k"),
        node("Tile", "one repeats", "k"),
    ],
)
def test_what_would_fill_the_memory_is_not_folded(made):
    sizes = {"sizes": np.array([1 << 20, 1 << 20]), "repeats": np.array([1 << 40]), "one": np.zeros(1)}
    model = model_of([made, node("Add", "x k", "z")], sizes)
    fold(model)
    assert [n.op_type for n in model.graph.node] == [made.op_type, "Add"]


def test_a_graph_that_is_not_sound_is_one_line(bundle_of):
    with pytest.raises(InputError, match=r"own\.onnx: expected a model that onnxruntime runs, got "):
        bundle_of(model_of([*BODY, helper.make_node("MatMul", ["e"], ["z"])]))


# ---- the command


def test_draft_fill_in_and_bundle(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(model_of(BODY + HEAD + [node("Softmax", "z", "p")], outputs=("p",)), "own.onnx")
    np.savez("windows.npz", windows=small_windows(4))
    assert main(["onnx", "--draft", "own.json", "--from", "own.onnx"]) == 0
    said = capsys.readouterr().out
    fields = ("name", "signal.modalities[0].unit", "signal.modalities[0].rate_hz", "window.hop_samples", "labels[2]")
    assert said.startswith("own.json: fill in\n")
    assert all(f"  {field}\n" in said for field in (*fields, "normalise.mean", "normalise.std", "provenance.licence"))
    command = ["onnx", "own.bundle", "--from", "own.onnx", "--manifest", "own.json", "--windows", "windows.npz"]
    assert main(command) == 2
    assert "own.json: expected no FILL IN, got name, signal.modalities[0].unit" in capsys.readouterr().err
    assert main(["onnx", "--draft", "own.json"]) == 2  # what somebody may have filled in stays
    draft, small = json.loads((tmp_path / "own.json").read_text()), json.loads(small_manifest().to_json())
    assert draft["window"]["length_samples"] == LENGTH
    draft |= {name: small[name] for name in ("name", "labels", "normalise", "provenance", "window")}
    draft["signal"]["modalities"][0] |= {"unit": "m/s^2", "rate_hz": 32}
    (tmp_path / "own.json").write_text(json.dumps(draft))
    capsys.readouterr()
    assert main([*command, "--training"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("own.bundle: opset 17, ")
    assert "off from own.onnx by at most" in said
    assert "2 training graphs" in said
    assert main(["parity", "own.bundle", "--engine", "onnxruntime"]) == 0
    draft["labels"] = ["one", "two"]
    (tmp_path / "own.json").write_text(json.dumps(draft))
    assert main(command) == 2
    assert (
        "own.json: labels: expected 3 names, one for each class of the model, got 2: one, two"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "OUT: expected a path, got none"),
        (["b"], "--manifest: expected a path, got none. python -m exporters onnx --draft FILE writes a manifest."),
        (["b", "--manifest", "m.json", "--windows", "w.npz"], "--module, --from: expected one of the two, got none"),
        (
            ["b", "--module", "own.onnx", "--manifest", "m.json", "--windows", "w.npz"],
            "--module: expected MODULE:FUNCTION, got own.onnx, an ONNX model. Say --from own.onnx instead.",
        ),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.json").write_text(small_manifest().to_json())
    np.savez("w.npz", windows=small_windows(2))
    assert main(["onnx", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_failed_export_leaves_the_old_bundle(bundle_of, tmp_path):
    old = bundle_of(model_of(BODY + HEAD)).model()
    shutil.copytree(tmp_path / "own.bundle", tmp_path / "kept")
    with pytest.raises(InputError):
        bundle_of(of_an_engine())
    assert Bundle.open(tmp_path / "own.bundle").model() == old


def test_a_look_says_what_a_file_tells(tmp_path):
    onnx.save(model_of(BODY + HEAD), tmp_path / "own.onnx")
    found = look(tmp_path / "own.onnx")
    assert (found.length_samples, found.n_channels, found.n_classes, found.head) == (LENGTH, CHANNELS, 3, "Gemm the_z")
