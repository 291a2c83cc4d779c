"""The TensorRT engine over fake modules of three generations, and over the real one where there is a GPU.

A fake engine runs its graph in onnxruntime on what lies in the fake device's memory, so answers are compared with
those of the processor's engine.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.engine.tensorrt import build as tensorrt_build
from runtime.engine.tensorrt import engine as engine_module
from runtime.engine.tensorrt.cache import EngineCache
from runtime.engine.tensorrt.child import Builder, Limits, ask
from runtime.engine.tensorrt.cuda import Cuda, CudaError
from runtime.engine.tensorrt.engine import BuildOptions, TensorrtEngine
from runtime.errors import EngineError, InputError
from runtime.files.sealed import CacheError
from tests.runtime.engine.tensorrt import fake as fake_tensorrt
from tests.runtime.engine.tensorrt.fake import FakeCuda
from tests.waiting import PATIENCE_S, until

onnx = pytest.importorskip("onnx")

GENERATIONS = tuple(fake_tensorrt.VERSIONS)
FAKE_CHILD = fake_tensorrt.__file__.replace(".py", "_child.py")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache's folder; no memory of a device outlives a test."""
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "cache"))
    before = FakeCuda.live
    yield tmp_path / "cache" / "tensorrt"
    assert FakeCuda.live == before


WALK = Path(__file__).parents[4] / "sdk" / "demo" / "data" / "walk.bundle"
SHAPE = (128, 6)


def some_windows(n, seed=0):
    return np.random.default_rng(seed).normal(0, 3, (n, *SHAPE)).astype(np.float32)


@pytest.fixture
def bundle(tmp_path):
    return Bundle.open(shutil.copytree(WALK, tmp_path / "walk.bundle", ignore=shutil.ignore_patterns("personal")))


class Fake:
    """One generation in this process; no child is started."""

    open_cuda = FakeCuda

    def __init__(self, generation, monkeypatch):
        self.generation, self.module, self.asked = generation, fake_tensorrt.make(generation), []
        self._monkeypatch = monkeypatch
        monkeypatch.setitem(sys.modules, "tensorrt", self.module)
        monkeypatch.setattr(engine_module, "ask", self.ask)

    def ask(self, folder, request, **_):
        self.asked.append(request["task"])
        (folder / "request.json").write_text(json.dumps(request))
        return tensorrt_build.run(folder, self.open_cuda)

    def update(self, generation):
        """The device gets another TensorRT."""
        self.__init__(generation, self._monkeypatch)


class Real:
    """What this machine has."""

    generation, open_cuda = "real", Cuda


@pytest.fixture(params=GENERATIONS)
def fake(request, monkeypatch):
    return Fake(request.param, monkeypatch)


@pytest.fixture(params=[*GENERATIONS, pytest.param("real", marks=pytest.mark.gpu)])
def library(request, monkeypatch):
    """A fake of each generation, or this machine's own."""
    if request.param != "real":
        return Fake(request.param, monkeypatch)
    pytest.importorskip("tensorrt", reason="needs TensorRT: it comes with JetPack, or pip install tensorrt")
    try:
        Cuda()
    except CudaError as error:
        pytest.skip(f"needs an NVIDIA GPU: {error}")
    return Real()


def opened(library, bundle, **changes):
    """An engine, when all its preparation is done."""
    options = BuildOptions(max_batch=4, **changes.pop("options", {}))
    return TensorrtEngine(bundle, options=options, open_cuda=library.open_cuda, background=False, **changes)


def personal(bundle, seed=5):
    """A version with another head."""
    rng = np.random.default_rng(seed)
    names = (bundle.manifest.head.weight, bundle.manifest.head.bias)
    tensors = {name: rng.normal(size=bundle.tensor(name).shape).astype(np.float32) for name in names}
    return bundle.commit(tensors, {"made": "by a test"})


def ort(bundle, windows, output="logits"):
    return open_engine(bundle).run(windows, output)


def close_to(found, truth, share=1e-5):
    return found.shape == truth.shape and np.abs(found - truth).max(initial=0) <= share * np.abs(truth).max(initial=1)


# ---- answers


def test_any_batch_gives_what_onnxruntime_gives(library, bundle):
    engine = opened(library, bundle)
    assert engine.serving == "tensorrt", engine.reason
    for n in (1, 0, 3, 4, 5, 11, 1):  # the largest batch of the engine is 4
        windows = some_windows(n, seed=n)
        for output in ("features", "logits"):
            assert close_to(engine.run(windows, output), ort(bundle, windows, output), 1e-3)
    for window in some_windows(3):
        assert close_to(np.array(engine.logits(window)), ort(bundle, window[None])[0], 1e-3)
    engine.warm_up()
    assert engine.layers()
    assert engine.memory_bytes() >= 0
    engine.close()


def test_an_answer_stays_when_the_next_one_comes(library, bundle):
    engine = opened(library, bundle)
    first, second = some_windows(2)[:, None]
    kept = engine.run(first)
    copy = kept.copy()
    assert not np.array_equal(engine.run(second), copy)
    assert np.array_equal(kept, copy)
    engine.close()


def test_a_second_start_takes_the_engine_from_the_cache(library, bundle):
    first = opened(library, bundle)
    assert "built now in" in first.reason
    first.close()
    second = opened(library, bundle)
    assert second.reason.endswith("engine from the cache")
    assert second.serving == "tensorrt"
    second.close()


def test_from_another_thread(fake, bundle):
    engine, windows = opened(fake, bundle), some_windows(3)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(engine.run(windows)))
    thread.start()
    thread.join()
    assert close_to(answers[0], ort(bundle, windows))
    engine.close()


def test_wrong_windows_are_refused(fake, bundle):
    engine = opened(fake, bundle)
    for windows in (np.zeros((1, 127, 6), np.float32), np.zeros((1, 128, 6), np.float64)):
        with pytest.raises(InputError, match=r"windows: expected float32 of shape \(n, 128, 6\)"):
            engine.run(windows)
    engine.close()


# ---- what is built


def half(model):
    """The graph with a cast to float16 and back in front, so that one of its values is float16."""
    proto = onnx.load_from_string(model)
    name = proto.graph.input[0].name
    for node in proto.graph.node:
        node.input[:] = ["wide" if value == name else value for value in node.input]
    to16 = onnx.helper.make_node("Cast", [name], ["narrow"], to=onnx.TensorProto.FLOAT16)
    to32 = onnx.helper.make_node("Cast", ["narrow"], ["wide"], to=onnx.TensorProto.FLOAT)
    nodes = [to16, to32, *proto.graph.node]
    del proto.graph.node[:], proto.graph.value_info[:]
    proto.graph.node.extend(nodes)
    return proto.SerializeToString()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_one_way_for_three_generations(fake, bundle, monkeypatch, precision):
    if precision == "float16":
        graph = Bundle.model
        monkeypatch.setattr(Bundle, "model", lambda *a: half(graph(*a)))
        monkeypatch.setattr(engine_module, "TOLERANCES", {"float32": 2e-2})
    engine = opened(fake, bundle)
    assert engine.serving == "tensorrt", engine.reason
    engine.close()
    (built,) = fake.module.built
    kinds = {"8.5": ["EXPLICIT_BATCH"], "10": ["EXPLICIT_BATCH", "STRONGLY_TYPED"], "11": ["STRONGLY_TYPED"]}
    assert built["kinds"] == kinds[fake.generation]
    # only 8.5 takes the precision from a flag, and only if the graph has such values
    assert built["flags"] == (["FP16"] if (precision, fake.generation) == ("float16", "8.5") else [])
    assert built["profile"] == {"windows": [[1, 128, 6], [1, 128, 6], [4, 128, 6]]}
    assert built["pools"] == {"WORKSPACE": 256 << 20}
    assert (built["verbosity"], built["timing"]) == ("DETAILED", "")


def test_builds_share_what_they_measured(fake, bundle):
    opened(fake, bundle).close()
    opened(fake, personal(bundle)).close()
    assert [built["timing"] for built in fake.module.built] == ["", "times+"]


def test_a_refused_operator_is_named_and_not_tried_again(fake, bundle, monkeypatch):
    proto = onnx.load_from_string(bundle.model())
    for name in ("a", "b"):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 1, 1, 1), np.uint8), name))
    proto.graph.node.append(onnx.helper.make_node("ConvInteger", ["a", "b"], ["c"], name="quantised"))
    monkeypatch.setattr(Bundle, "model", lambda *_: proto.SerializeToString())
    for words in ("no engine", "TensorRT refused this model before"):
        engine = opened(fake, bundle)
        assert engine.serving == "onnxruntime"
        assert words in engine.reason
        assert "no importer registered" in engine.reason
        assert ("ConvInteger (quantised)" in engine.reason) == (fake.generation != "8.5")  # it knows a number only
        assert close_to(engine.run(some_windows(2)), ort(bundle, some_windows(2)))
        engine.close()
    assert fake.asked == ["probe", "build", "probe"]


def test_a_build_that_gives_nothing_tells_the_loggers_reason(monkeypatch, bundle):
    monkeypatch.setenv("FAKE_TENSORRT", "none")
    fake = Fake("10", monkeypatch)
    engine = opened(fake, bundle)
    assert engine.reason == ("onnxruntime answers: no engine: Could not find any implementation for node fake")
    engine.close()
    opened(fake, bundle).close()
    assert fake.asked.count("build") == 2  # that may have been for want of memory


def test_a_check_names_the_layers_that_make_a_graph_recurrent(fake, tmp_path):
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2)
    inputs = [value(name, 1, shape) for name, shape in (("x", ["n", 4, 3]), ("w", [1, 8, 3]), ("r", [1, 8, 2]))]
    graph = onnx.helper.make_graph([node], "g", inputs, [value("y", 1, None)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    told = fake.ask(tmp_path, BuildOptions().request("build", check=True))
    assert (told["ok"], told["supported"], told["recurrent"], told["layers"]) == (True, True, True, 1)
    assert not fake.module.built


# ---- the cache


@pytest.mark.parametrize("what", ["version", "gpu", "options", "weights"])
def test_another_engine_is_built_when(what, bundle, monkeypatch):
    fake = Fake("10", monkeypatch)
    opened(fake, bundle).close()
    options = {}
    if what == "version":
        fake.update("11")
    elif what == "gpu":
        monkeypatch.setenv("FAKE_GPU", "Thor")
    elif what == "options":
        options = {"tf32": True}
    else:
        bundle = personal(bundle)
    before = len(fake.module.built)
    engine = opened(fake, bundle, options=options)
    assert "built now" in engine.reason
    assert len(fake.module.built) == before + 1
    assert close_to(engine.run(some_windows(3)), ort(bundle, some_windows(3)))
    engine.close()


def test_limits_are_no_part_of_an_engine(bundle, monkeypatch):
    fake = Fake("10", monkeypatch)
    opened(fake, bundle).close()
    engine = opened(fake, bundle, options={"limits": Limits(seconds=5)})
    assert "from the cache" in engine.reason
    engine.close()


def test_personal_weights_by_refitting(fake, bundle):
    options = {"refit": True}
    opened(fake, bundle, options=options).close()
    adapted = personal(bundle)
    engine = opened(fake, adapted, options=options)
    windows = some_windows(3)
    assert close_to(engine.run(windows), ort(adapted, windows))
    assert not close_to(engine.run(windows), ort(Bundle.open(bundle.path, "base"), windows))
    assert len(fake.module.built) == (2 if fake.generation == "8.5" else 1)  # 8.5 has no refitter of ONNX
    engine.close()


def engine_files(cache):
    return sorted(cache.glob("*.engine"))


@pytest.mark.parametrize("place", ["magic", "seal", "length", "facts", "engine", "end", "empty"])
def test_an_altered_engine_is_never_opened(bundle, cache, monkeypatch, place):
    fake = Fake("10", monkeypatch)
    opened(fake, bundle).close()
    (file,) = engine_files(cache)
    data = bytearray(file.read_bytes())
    at = {"magic": 3, "seal": 20, "length": 55, "facts": 80, "engine": len(data) - 40_000, "end": -1}.get(place)
    if at is None:
        data = b""
    else:
        data[at] ^= 1
    file.write_bytes(data)
    fake.module.deserialised.clear()
    engine = opened(fake, bundle)
    assert engine.serving == "tensorrt"
    assert "built again, as the cache was altered" in engine.reason
    assert len(fake.module.built) == 2
    assert len(fake.module.deserialised) == 1  # the new one
    engine.close()


def test_an_engine_under_anothers_name_is_never_opened(bundle, cache, monkeypatch):
    fake = Fake("10", monkeypatch)
    opened(fake, bundle).close()
    opened(fake, personal(bundle)).close()
    one, other = engine_files(cache)
    content = one.read_bytes()
    shutil.copy(other, one)
    with pytest.raises(CacheError, match=f"{one.name}: expected the content of this name, got that of {other.name}"):
        EngineCache(cache).load(one.name)
    one.write_bytes(content)
    assert EngineCache(cache).load(one.name).data.startswith(fake_tensorrt.MAGIC)


def test_a_seal_of_another_device_is_not_ours(bundle, cache, monkeypatch):
    fake = Fake("10", monkeypatch)
    opened(fake, bundle).close()
    (file,) = engine_files(cache)
    (cache / "key").write_bytes(bytes(32))
    with pytest.raises(CacheError, match="a file that this device sealed"):
        EngineCache(cache).load(file.name)


def test_links_and_open_files_are_refused(cache, tmp_path):
    cache.parent.mkdir(mode=0o700)
    sealed = EngineCache(cache)
    sealed.store("a.engine", {"x": 1}, b"data")
    assert sealed.load("a.engine") == ({"x": 1}, b"data")
    assert sealed.load("none.engine") is None
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in (cache, *cache.iterdir())}
    assert modes == {"tensorrt": 0o700, "key": 0o600, "a.engine": 0o600}
    shutil.move(cache / "a.engine", tmp_path / "elsewhere")
    (cache / "a.engine").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="a plain file, no link"):
        sealed.load("a.engine")
    shutil.copy(tmp_path / "elsewhere", cache / "b.engine")
    (cache / "b.engine").chmod(0o640)
    with pytest.raises(CacheError, match=r"closed to all others, got owner \d+, mode 640"):
        sealed.load("b.engine")
    os.mkfifo(cache / "c.engine", 0o600)
    with pytest.raises(CacheError, match="a plain file of at most"):
        sealed.load("c.engine")
    (cache / "key").chmod(0o644)
    with pytest.raises(CacheError, match="key: expected owned by this user, closed to all others"):
        EngineCache(cache)


def test_a_folder_that_others_reach_is_refused(cache, tmp_path):
    cache.parent.mkdir(mode=0o700)
    cache.mkdir(mode=0o755)
    with pytest.raises(CacheError, match=r"closed to all others, got owner \d+, mode 755"):
        EngineCache(cache)
    cache.rmdir()
    (tmp_path / "real").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "real")
    with pytest.raises(CacheError, match="a folder, no link"):
        EngineCache(cache)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to someone else")
def test_a_file_of_someone_else_is_refused(cache):
    cache.parent.mkdir(mode=0o700)
    sealed = EngineCache(cache)
    sealed.store("a.engine", {}, b"data")
    try:
        os.chown(cache / "a.engine", 12345, -1)
    except OSError as error:  # root of a user namespace that has one user only
        pytest.skip(f"cannot give a file to someone else: {error.strerror}")
    with pytest.raises(CacheError, match="got owner 12345"):
        sealed.load("a.engine")
    os.chown(cache, 12345, -1)
    with pytest.raises(CacheError, match="got owner 12345"):
        EngineCache(cache)


def test_an_untrusted_cache_leaves_onnxruntime(bundle, cache, monkeypatch):
    fake = Fake("10", monkeypatch)
    cache.parent.mkdir(mode=0o700)
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    engine = opened(fake, bundle)
    assert engine.serving == "onnxruntime"
    assert "mode 777" in engine.reason
    assert not fake.module.deserialised
    engine.close()


def test_the_oldest_engines_make_room(cache, monkeypatch):
    cache.parent.mkdir(mode=0o700)
    monkeypatch.setattr("runtime.engine.tensorrt.cache.KEPT_BYTES", 2500)
    sealed = EngineCache(cache)
    for i in range(4):
        sealed.store(f"{i}.engine", {}, bytes(1000))
        os.utime(cache / f"{i}.engine", (i, i))
    assert [path.name for path in engine_files(cache)] == ["1.engine", "2.engine", "3.engine"]


def test_one_build_at_a_time(cache):
    cache.parent.mkdir(mode=0o700)
    one, other, cancel = EngineCache(cache), EngineCache(cache), threading.Event()
    with one.building(cancel) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        threading.Timer(0.3, cancel.set).start()
        with other.building(cancel) as none:
            assert none is None
    assert not folder.exists()
    left = cache / ".tmp-build-killed"
    left.mkdir()
    with other.building(threading.Event()):
        assert not left.exists()


# ---- when it does not work


def test_answers_that_differ_are_not_served(bundle, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT", "wrong")
    engine = opened(Fake("10", monkeypatch), bundle)
    assert engine.serving == "onnxruntime"
    assert "TensorRT's answers to the golden windows are" in engine.reason
    assert close_to(engine.run(some_windows(3)), ort(bundle, some_windows(3)))
    engine.close()


def test_a_failure_while_it_runs_is_answered_by_onnxruntime(fake, bundle, monkeypatch):
    for call in (lambda engine: engine.run(some_windows(3)), lambda engine: engine.logits(some_windows(3)[0])):
        engine = opened(fake, bundle)
        assert engine.serving == "tensorrt"
        monkeypatch.setenv("FAKE_TENSORRT_FAILS", "1")
        found = call(engine)
        truth = ort(bundle, some_windows(3))
        assert close_to(np.array(found), truth if len(found) == 3 and np.ndim(found) == 2 else truth[0])
        assert engine.serving == "onnxruntime"
        assert engine.reason.startswith("onnxruntime answers: TensorRT failed while running: TensorRT: expected")
        monkeypatch.delenv("FAKE_TENSORRT_FAILS")
        engine.close()


def test_no_driver(bundle, monkeypatch):
    fake = Fake("10", monkeypatch)
    fake.open_cuda = lambda: Cuda("libcuda-that-is-not-there.so.1")
    engine = opened(fake, bundle)
    assert engine.serving == "onnxruntime"
    assert "TensorRT cannot be used here: CudaError: CUDA: expected NVIDIA's driver" in engine.reason
    assert close_to(engine.run(some_windows(2)), ort(bundle, some_windows(2)))
    engine.close()


def with_child(bundle, generation="10", mode="", seconds=PATIENCE_S, rss_bytes=4 << 30, go="", **changes):
    """An engine whose child is real and whose library is not."""
    environment = {"FAKE_TENSORRT_GENERATION": generation, "FAKE_TENSORRT": mode, "FAKE_TENSORRT_GO": str(go)}
    builder = Builder((FAKE_CHILD,), environment=environment)
    options = BuildOptions(max_batch=4, limits=Limits(seconds, rss_bytes))
    return TensorrtEngine(bundle, options=options, open_cuda=FakeCuda, builder=builder, **changes)


@pytest.mark.parametrize(
    ("mode", "limits", "reason"),
    [
        ("crash at import", {}, "TensorRT cannot be used here: its process ended with signal SIGABRT"),
        ("crash", {}, "no engine: its process ended with signal SIGSEGV"),
        ("eat", {"rss_bytes": 400 << 20}, "no engine: more than 400 MB of memory"),
    ],
    ids=["crash at import", "crash", "eat"],
)
def test_what_happens_to_the_child_does_not_happen_here(bundle, monkeypatch, cache, mode, limits, reason):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10"))
    engine = with_child(bundle, mode=mode, **limits)
    assert close_to(engine.run(some_windows(2)), ort(bundle, some_windows(2)))
    assert not engine.wait(PATIENCE_S)
    assert reason in engine.reason
    assert close_to(engine.run(some_windows(2)), ort(bundle, some_windows(2)))
    engine.close()
    assert not list(cache.glob(".tmp-*"))
    if "rss_bytes" in limits:
        assert limits["rss_bytes"] <= engine.report["peak_bytes"] < 2 * limits["rss_bytes"]


def test_a_build_that_takes_too_long_is_ended(bundle, monkeypatch):
    """Much longer than a build that is refused takes here and now."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10"))
    engine, began_s = with_child(bundle, mode="none"), time.monotonic()
    assert not engine.wait(PATIENCE_S)
    engine.close()
    limit_s = float(round(max(2.0, 5 * (time.monotonic() - began_s))))
    engine = with_child(bundle, mode="hang", seconds=limit_s)
    assert not engine.wait(10 * limit_s + PATIENCE_S)
    assert f"no engine: not done after {limit_s:.0f} s" in engine.reason
    assert close_to(engine.run(some_windows(2)), ort(bundle, some_windows(2)))
    engine.close()


def test_it_switches_over_between_two_runs(bundle, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10"))
    engine, windows = with_child(bundle, mode="wait", go=tmp_path / "go"), some_windows(3)
    until(lambda: "builds" in engine.reason)
    served = [engine.run(windows), engine.run(windows)]
    assert engine.serving == "onnxruntime"
    (tmp_path / "go").touch()
    until(lambda: served.append(engine.run(windows)) or engine.serving == "tensorrt")
    served.append(engine.run(windows))
    assert engine.wait()
    assert engine.serving == "tensorrt"
    for found in served:
        assert close_to(found, ort(bundle, windows))
    assert engine.progress == ("Building", 0, 4)
    assert engine.report["peak_bytes"] > 10 << 20
    engine.close()


def test_closing_ends_a_build(bundle, monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10"))
    engine = with_child(bundle, mode="hang")
    until(lambda: "builds" in engine.reason)
    engine.close()
    assert "stopped" in engine.reason
    assert not list(cache.glob(".tmp-*"))


def test_a_machine_short_of_memory_builds_nothing(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    told = ask(
        tmp_path,
        BuildOptions().request("probe"),
        limits=Limits(spare_bytes=1 << 60),
        builder=Builder(("-c", "import time; time.sleep(3600)")),
    )
    assert not told["ok"]
    assert re.fullmatch("the machine had only [0-9]+ MB of memory left", told["reason"])


# ---- the driver's library, as C has it

_DRIVER = """
#include <stdlib.h>
#include <string.h>
static int live = 0, current = 0;
int cuInit(unsigned f) { return 0; }
int cuDeviceGet(int *d, int n) { *d = 7; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, d == 7 ? "Stub" : "?", n); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : 7; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)0x123456789abc; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return live ? 999 : 0; }
int cuCtxSetCurrent(void *c) { current = c == (void *)0x123456789abc; return current ? 0 : 201; }
int cuMemAlloc_v2(void **p, size_t n) { if (n > (size_t)1 << 40) return 2; *p = malloc(n); live++; return 0; }
int cuMemFree_v2(void *p) { free(p); live--; return 0; }
int cuMemHostAlloc(void **p, size_t n, unsigned f) { *p = malloc(n); live++; return 0; }
int cuMemFreeHost(void *p) { free(p); live--; return 0; }
int cuMemcpyHtoDAsync_v2(void *t, void *f, size_t n, void *s) { memcpy(t, f, n); return s == (void *)0x77 ? 0 : 400; }
int cuMemcpyDtoHAsync_v2(void *t, void *f, size_t n, void *s) { memcpy(t, f, n); return s == (void *)0x77 ? 0 : 400; }
int cuStreamCreate(void **s, unsigned f) { *s = (void *)0x77; return f == 1 ? 0 : 1; }
int cuStreamSynchronize(void *s) { return s == (void *)0x77 ? 0 : 400; }
int cuStreamDestroy_v2(void *s) { return 0; }
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler, for a stand-in of the driver")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(_DRIVER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", folder / "driver.c"], check=True)
    return str(folder / "libcuda.so.1")


def test_the_drivers_calls(driver):
    cuda = Cuda(driver)
    assert (cuda.name, cuda.sm) == ("Stub", "8.7")
    cuda.start()
    assert cuda.stream == 0x77
    sent, back = cuda.host_array((3, 5)), cuda.host_array((3, 5))
    sent[:] = np.arange(15).reshape(3, 5)
    address = cuda.device_bytes(sent.nbytes)
    cuda.copy_in(address, sent)
    cuda.copy_out(back[:2], address)
    cuda.synchronise()
    assert back.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0] * 5]
    with pytest.raises(CudaError, match="cuMemAlloc_v2: expected success, got error 2"):
        cuda.device_bytes(1 << 50)
    del sent, back
    cuda.close()  # refused by the stand-in unless every block was freed
    cuda.close()


def test_an_engine_over_the_drivers_calls(driver, bundle, monkeypatch):
    monkeypatch.setattr(FakeCuda, "STREAM", 0x77)
    engine = opened(Fake("10", monkeypatch), bundle)
    engine.close()
    engine = TensorrtEngine(bundle, options=BuildOptions(max_batch=4), open_cuda=lambda: Cuda(driver), background=False)
    assert engine.serving == "tensorrt", engine.reason
    assert close_to(engine.run(some_windows(9)), ort(bundle, some_windows(9)))
    engine.close()


def test_a_driver_that_fails_while_it_runs_is_an_error_of_the_engine(driver, bundle, monkeypatch):
    monkeypatch.setattr(FakeCuda, "STREAM", 0x77)
    opened(Fake("10", monkeypatch), bundle).close()
    engine = TensorrtEngine(bundle, options=BuildOptions(max_batch=4), open_cuda=lambda: Cuda(driver), background=False)

    def fails(self):
        raise CudaError("CUDA: cuStreamSynchronize", expected="success", got="error 700", fix="Look.")

    monkeypatch.setattr(Cuda, "synchronise", fails)
    plan = engine._plan
    for run in (lambda: plan.run(some_windows(3), "logits"), lambda: plan.one(some_windows(1)[0])):
        with pytest.raises(EngineError, match="TensorRT: expected an answer, got CUDA: cuStreamSynchronize") as caught:
            run()
        assert caught.value.exit_code == 1
    assert close_to(engine.run(some_windows(3)), ort(bundle, some_windows(3)))
    assert engine.reason.startswith("onnxruntime answers: TensorRT failed while running: TensorRT: expected an answer")
    engine.close()


def test_opened_by_its_name_it_streams(bundle, monkeypatch):
    """`open_engine(bundle, "tensorrt")` on a machine whose TensorRT does not work."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10"))
    monkeypatch.setattr(engine_module, "ask", lambda *a, **k: {"ok": False, "reason": "no device"})
    engine = open_engine(bundle, "tensorrt")
    assert not engine.wait()
    assert (engine.name, engine.serving) == ("tensorrt", "onnxruntime")
    assert engine.reason == "onnxruntime answers: TensorRT cannot be used here: no device"
    assert close_to(engine.run(some_windows(2)), ort(bundle, some_windows(2)))
    engine.close()
