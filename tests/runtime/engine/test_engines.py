"""Engines by name: the table, what is missing, OpenVINO against onnxruntime and torch, onnxruntime's providers."""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from runtime.bundle import Bundle
from runtime.command import guarded
from runtime.engine import ENGINES, EngineKind, engines_here, open_engine, open_of
from runtime.engine.openvino import OpenvinoEngine
from runtime.engine.providers import nodes_by_provider, provider_options
from runtime.errors import BundleError, EngineError, InputError, MissingError
from runtime.stream import Stream
from tests.bundles_small import FCNS, needs_openvino, small_windows

pytestmark = needs_openvino  # the second engine of a machine, which a board may not have
ROOT = Path(__file__).parents[3]
HERE = ("onnxruntime", "openvino")


@pytest.fixture(scope="module")
def bundle(exported):
    return Bundle.open(exported("fcn").path)


def test_the_default_is_onnxruntime_with_one_thread(bundle):
    engine = open_engine(bundle)
    assert (engine.name, engine.precision, engine.threads, engine.reason) == ("onnxruntime", "float32", 1, "")


def test_every_engine_of_the_table_has_its_place():
    """Modules are there, but for that of TensorRT where it was left out; names and providers are told once."""
    assert [name for name in ENGINES if not name.startswith("onnxruntime-")] == ["onnxruntime", "openvino", "tensorrt"]
    for name, kind in ENGINES.items():
        assert (ROOT / kind.module.replace(".", "/")).with_suffix(".py").is_file() or name == "tensorrt"
        assert kind.install
        assert bool(kind.provider) == name.startswith("onnxruntime-")


def test_what_is_here_and_what_is_missing(bundle):
    statuses = {status.name: status for status in engines_here()}
    assert list(statuses) == list(ENGINES)
    for name in HERE:
        assert statuses[name] == (name, True, "")
    assert not statuses["onnxruntime-xnnpack"].available
    assert statuses["onnxruntime-xnnpack"].reason.startswith(
        "this onnxruntime was built without XnnpackExecutionProvider. Install it: build onnxruntime with"
    )


def test_providers_are_found_by_what_onnxruntime_lists(monkeypatch):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    found = {status.name for status in engines_here() if status.available}
    assert found >= {"onnxruntime", "onnxruntime-cuda", "openvino"}
    assert not found & {"onnxruntime-tensorrt", "onnxruntime-xnnpack", "onnxruntime-openvino"}


def test_a_listed_provider_that_is_not_compiled_in_is_refused(bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["XnnpackExecutionProvider"])
    with pytest.raises(MissingError, match=r"engine onnxruntime-xnnpack: expected .*XnnpackExecutionProvider"):
        open_engine(bundle, "onnxruntime-xnnpack")


PROVIDERS = {
    name: EngineKind("runtime.engine.providers", "ProviderEngine", "onnxruntime", "x", name)
    for name in ("CPUExecutionProvider", "AzureExecutionProvider")
}


def test_a_provider_that_runs_nodes_is_taken(bundle, exported):
    engine = open_of(PROVIDERS, bundle, "CPUExecutionProvider")
    assert engine.name == "CPUExecutionProvider"
    windows = small_windows(3)
    assert np.array_equal(engine.run(windows), open_engine(bundle).run(windows))
    assert engine.logits(windows[0]) == open_engine(bundle).logits(windows[0])


@pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(), reason="a build without this provider"
)
def test_a_provider_that_is_compiled_in_but_runs_nothing_is_refused(bundle):
    with pytest.raises(MissingError, match=r"nodes of the graph that AzureExecutionProvider runs, got none: [0-9]+ on"):
        open_of(PROVIDERS, bundle, "AzureExecutionProvider")


def test_nodes_are_counted_by_provider(tmp_path):
    events = [
        {"name": "session_initialization", "args": {}},
        {"name": "a", "args": {"provider": "CUDAExecutionProvider"}},
        {"name": "b", "args": {"provider": "CPUExecutionProvider"}},
        {"name": "c", "args": {"provider": "CUDAExecutionProvider"}},
        {"name": "SequentialExecutor::Execute"},
    ]
    (tmp_path / "run.json").write_text(json.dumps(events))
    assert nodes_by_provider(tmp_path / "run.json") == Counter(CUDAExecutionProvider=2, CPUExecutionProvider=1)


def test_no_engine_of_a_provider_is_kept_between_processes():
    assert provider_options("TensorrtExecutionProvider", 1)["trt_engine_cache_enable"] == "0"
    assert provider_options("CUDAExecutionProvider", 1) == {"use_tf32": "0"}
    assert provider_options("XnnpackExecutionProvider", 3) == {"intra_op_num_threads": "3"}
    assert provider_options("NewExecutionProvider", 3) == {}


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("onnx", {}, r"engine: expected one of onnxruntime, onnxruntime-cuda, .*, tensorrt, auto, got 'onnx'\. Choose"),
        ("onnxruntime", {"threads": 0}, r"threads: expected at least 1, got 0\."),
        ("onnxruntime", {"precision": "int8"}, r"small.bundle: expected a variant int8, got float32\. Add it on a"),
        ("openvino", {"precision": "fp16"}, r"small.bundle: expected a variant fp16, got float32\. Add it on a"),
    ],
)
def test_wrong_wishes(bundle, engine, options, message):
    with pytest.raises((InputError, BundleError), match=message):
        open_engine(bundle, engine, **options)


def test_a_missing_library_is_one_line_with_its_cure_and_exit_code_2(bundle, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    line = "no Python package 'openvino'. Install it: pip install \"sensedge[openvino]\""
    assert {status.name: status.reason for status in engines_here()}["openvino"] == line
    with pytest.raises(MissingError, match="engine openvino: expected its library, got no Python package 'openvino'"):
        open_engine(bundle, "openvino")
    assert guarded(lambda: open_engine(bundle, "openvino")) == 2
    assert capsys.readouterr().err == f"error: engine openvino: expected its library, got {line}\n"


# ---- OpenVINO against what others compute


@pytest.mark.parametrize("name", FCNS)
def test_openvino_agrees_with_torch_and_the_golden_windows(exported, name):
    path, module, _ = exported(name)
    bundle = Bundle.open(path)
    engine, golden = open_engine(bundle, "openvino"), bundle.golden()
    for output, truth in (("features", golden.features), ("logits", golden.logits)):
        assert np.abs(engine.run(golden.windows, output) - truth).max() <= 1e-5 * np.abs(truth).max()
    for n in (1, 2, 16):
        windows = small_windows(n, seed=n)
        for output, truth in zip(("features", "logits"), module(windows), strict=True):
            found = engine.run(windows, output)
            assert (found.shape, found.dtype) == (truth.shape, np.float32)
            assert np.abs(found - truth).max() <= 1e-5 * np.abs(truth).max()


@pytest.fixture(scope="module", params=HERE)
def engine(request, bundle):
    return open_engine(bundle, request.param)


def test_one_window_batches_and_none(engine, bundle):
    windows = small_windows(6)
    each = np.concatenate([engine.run(window[None]) for window in windows])
    np.testing.assert_allclose(engine.run(windows), each, rtol=1e-4, atol=1e-6)
    for window, row in zip(windows, each, strict=True):
        assert engine.logits(window) == row.tolist()
    assert engine.run(windows[:0]).shape == (0, 3)
    assert engine.run(windows[:0], "features").shape == (0, bundle.manifest.features)


def test_answers_stay_and_windows_too(engine):
    first, second = small_windows(3), small_windows(3, seed=9)
    for n in (1, 3):
        kept = engine.run(first[:n])
        copy = kept.copy()
        assert not np.array_equal(engine.run(second[:n]), copy)
        assert np.array_equal(kept, copy)
    assert np.array_equal(first, small_windows(3))


def test_any_layout_of_memory(engine):
    windows = small_windows(6)
    for view in (windows[::2], np.asfortranarray(windows), windows[::-1], windows[5:6, ::-1]):
        assert not view.flags.c_contiguous
        np.testing.assert_allclose(engine.run(view), engine.run(np.ascontiguousarray(view)), rtol=1e-6)


def test_windows_that_may_not_be_written_to(engine):
    windows = small_windows(6)
    answers = engine.run(windows)
    windows.flags.writeable = False
    assert np.array_equal(engine.run(windows), answers)


@pytest.mark.parametrize("windows", [np.zeros((1, 31, 3), np.float32), np.zeros((2, 32, 3)), np.zeros((32, 3), "f4")])
def test_wrong_windows_are_refused_alike(engine, windows):
    with pytest.raises(InputError, match=r"windows: expected float32 of shape \(n, 32, 3\), got .* of shape") as e:
        engine.run(windows)
    assert e.value.got == f"{windows.dtype} of shape {windows.shape}"


def test_a_stream_over_openvino_is_that_over_onnxruntime(bundle):
    samples = np.concatenate([*small_windows(8)])
    streams = [Stream(bundle, open_engine(bundle, name)).push(samples) for name in HERE]
    assert len(streams[0]) == len(streams[1]) > 10
    for ours, theirs in zip(*streams, strict=True):
        assert (ours.label, ours.start_s) == (theirs.label, theirs.start_s)
        assert ours.probabilities == pytest.approx(theirs.probabilities, rel=1e-4)


def test_warming_up_changes_no_answer(bundle):
    for name in HERE:
        engine, window = open_engine(bundle, name), small_windows(1)
        before = engine.run(window)
        engine.warm_up()
        assert np.array_equal(engine.run(window), before)


def test_a_personal_version_is_what_openvino_runs(small_bundle):
    base = Bundle.open(small_bundle)
    weight = base.tensor(base.manifest.head.weight)
    personal = base.commit({base.manifest.head.weight: weight * 2}, {})
    windows = small_windows(2)
    found, truth = (open_engine(personal, name).run(windows) for name in HERE[::-1])
    np.testing.assert_allclose(found, truth, rtol=1e-4)
    assert np.abs(found - open_engine(base, "openvino").run(windows)).max() > 0.01


def test_a_graph_that_is_none(bundle, monkeypatch):
    monkeypatch.setattr(Bundle, "model", lambda self, precision: bytes(400_000))
    with pytest.raises(BundleError, match=r"model.onnx: expected a graph that OpenVINO can open, got "):
        OpenvinoEngine(bundle)


def test_what_openvino_raises_is_ours_as_what_onnxruntime_raises(bundle, monkeypatch):
    engine = OpenvinoEngine(bundle)

    class Fails:
        def infer(self):
            raise RuntimeError("Exception from src/x.cpp:12:\nno memory left\n")

    engine._infer = Fails().infer
    monkeypatch.setattr(engine, "_compile", lambda *_: pytest.fail("no"))
    windows = small_windows(2)
    engine._batches = Fails()
    engine._batches.set_tensor = lambda *_: None
    for run in (
        lambda: engine.logits(windows[0]), lambda: engine.run(windows[:1]), lambda: engine.run(windows), engine.warm_up
    ):  # fmt: skip
        with pytest.raises(EngineError, match=r"^OpenVINO: expected a graph that runs, got no memory left\.") as caught:
            run()
        assert caught.value.exit_code == 1


def test_a_graph_of_other_windows(small_bundle):
    manifest = (small_bundle / "manifest.json").read_text()
    other = manifest.replace('"length_samples": 32', '"length_samples": 33')
    assert other != manifest
    (small_bundle / "manifest.json").write_text(other)
    for name in HERE:
        with pytest.raises(BundleError, match=r"expected per window .*\[33, 3\].*, got .*\[32, 3\]"):
            open_engine(Bundle.open(small_bundle), name)


# ---- what an import brings and what it leaves behind


def test_no_engine_is_imported_before_it_is_chosen():
    tree = ast.parse((ROOT / "runtime" / "engine" / "__init__.py").read_text())
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names if name.startswith("runtime.engine") or "onnxruntime" in name}


WATCH = """
import sys
def audit(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "os.fork", "subprocess.Popen"):
        print(event, flush=True)
sys.addaudithook(audit)
from runtime import Bundle, open_engine
bundle = Bundle.open(sys.argv[1])
print(open_engine(bundle, "openvino").run(bundle.golden().windows).shape)
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module])
"""


def test_openvino_writes_nothing_and_tells_nobody(bundle, tmp_path):
    """Imported as it is, it would write an id into the home folder and send an event."""
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "cwd")}
    for place in places.values():
        place.mkdir()
    env = {name: str(place) for name, place in places.items()}
    done = subprocess.run(
        [sys.executable, "-c", WATCH, bundle.path],
        capture_output=True,
        text=True,
        check=False,
        cwd=places["cwd"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},  # no CI=1, which would silence it
    )
    assert done.stdout == f"({len(bundle.golden().windows)}, 3)\n[]\n", done.stderr
    assert not [path for place in places.values() for path in place.rglob("*")]
