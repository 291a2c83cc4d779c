"""`tensorrt` as three generations have it, with a device of the processor's memory: `make("8.5" | "10" | "11")`.

Each module has what that generation has and nothing more, so that a call of another generation's fails as it would on
a board: by AttributeError. An engine runs the ONNX graph that it was built from in onnxruntime, on what lies at the
addresses that it was given. What TensorRT answers with a crash (an object used after the one it depends on is gone)
raises `Crash`. FAKE_TENSORRT makes a build go wrong: none, crash, hang, eat, wrong, warn;
or wait, for the file FAKE_TENSORRT_GO.
"""

import ctypes
import enum
import importlib.machinery
import json
import os
import signal
import threading
import time
import types
import weakref

import numpy as np

VERSIONS = {"8.5": "8.5.2.2", "10": "10.3.0", "11": "11.4.0.106"}
MAGIC = b"fake engine "


class Crash(BaseException):
    """A segmentation fault, had it been real."""


class _Enum(enum.Enum):
    """Like pybind's: not an integer, but turned into one by int()."""

    def __int__(self):
        return self.value


def _enum(name, words):
    return _Enum(name, [(word, i) for i, word in enumerate(words.split())])


class _Strict:
    """Like pybind's classes: attributes that the class does not have cannot be set.

    `make` gives each module a subclass of its own, whose `trt` is the module, and `trt.generation` what it is of. What
    only some generations have is in a class with a number: Config10 is that of 10 and 11.
    """

    trt = None

    def __setattr__(self, name, value):
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


class _Needs:
    """A weak hold on what must outlive its user."""

    def __init__(self, *things):
        self._held = [weakref.ref(thing) for thing in things]

    def __call__(self):
        things = [held() for held in self._held]
        if None in things:
            raise Crash("an object was used after the one that it depends on was gone")
        return things


class ILogger:
    Severity = _enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING

    def __init__(self):
        self.ready = True


class IProgressMonitor:
    pass


class Tensor:
    def __init__(self, name, shape, dtype):
        self.name, self.shape, self.dtype = name, tuple(shape), dtype


class Layer:
    def __init__(self, kind, outputs):
        self.type, self.num_outputs, self._outputs = kind, len(outputs), outputs

    def get_output(self, i):
        return self._outputs[i]


class Network(_Strict):
    num_layers = num_inputs = 0

    def __init__(self, kinds):
        self._kinds, self._model, self._layers, self._inputs = kinds, b"", [], []

    def _parsed(self, model, layers, inputs):
        self._model, self._layers, self._inputs = model, layers, inputs
        self.num_layers, self.num_inputs = len(layers), len(inputs)

    def get_layer(self, i):
        return self._layers[i]

    def get_input(self, i):
        return self._inputs[i]


class Profile(_Strict):
    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, least, usual, most):
        assert len(least) == len(usual) == len(most)
        self._shapes[name] = [list(least), list(usual), list(most)]


class TimingCache(bytes):
    def serialize(self):
        return memoryview(bytes(self))


class Config(_Strict):
    profiling_verbosity = None

    def __init__(self):
        self._flags, self._pools, self._profiles, self._timing = {"TF32"}, {}, [], None
        self.profiling_verbosity = self.trt.ProfilingVerbosity.LAYER_NAMES_ONLY

    def set_flag(self, flag):
        self._flags.add(self.trt.BuilderFlag(flag).name)

    def clear_flag(self, flag):
        self._flags.discard(self.trt.BuilderFlag(flag).name)

    def set_memory_pool_limit(self, pool, n_bytes):
        self._pools[self.trt.MemoryPoolType(pool).name] = n_bytes

    def add_optimization_profile(self, profile):
        self._profiles.append(weakref.ref(profile))
        return len(self._profiles) - 1

    def create_timing_cache(self, data):
        return TimingCache(data) if data in (b"",) or data.startswith(b"times") else None

    def set_timing_cache(self, cache, ignore_mismatch):
        assert isinstance(cache, TimingCache)
        self._timing = cache
        return True

    def get_timing_cache(self):
        return TimingCache(b"times+" + bytes(self._timing))


class Config10(Config):
    progress_monitor = None
    builder_optimization_level = 3


class Builder(_Strict):
    def __init__(self, logger):
        assert isinstance(logger, ILogger)
        assert logger.ready
        self._needs = _Needs(logger)

    def create_network(self, kinds=0):
        self._needs()
        most = sum(1 << int(kind) for kind in self.trt.NetworkDefinitionCreationFlag)
        assert kinds & ~most == 0, "a flag that this generation does not have"
        return Network({kind.name for kind in self.trt.NetworkDefinitionCreationFlag if kinds >> int(kind) & 1})

    def create_builder_config(self):
        return self.trt.inner.Config()

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        (logger,) = self._needs()
        profile = config._profiles[0]() if config._profiles else None
        if profile is None or any(value.name not in profile._shapes for value in network._inputs):
            logger.log(ILogger.ERROR, "Network has dynamic or shape inputs, but no optimization profile")
            return None
        if self.trt.mode == "none":
            logger.log(ILogger.ERROR, "Could not find any implementation for node fake")
            return None
        _go_wrong(self.trt.mode)
        if self.trt.mode == "warn":
            logger.log(ILogger.WARNING, "a warning that nobody needs")
        if getattr(config, "progress_monitor", None) is not None:
            _tell(config.progress_monitor)
        facts = {
            "version": self.trt.__version__,
            "kinds": sorted(network._kinds),
            "flags": sorted(config._flags),
            "pools": config._pools,
            "profile": profile._shapes,
            "timing": bytes(config._timing).decode(),
            "verbosity": config.profiling_verbosity.name,
            "wrong": self.trt.mode == "wrong",
        }
        self.trt.built.append(facts)
        return memoryview(MAGIC + json.dumps(facts).encode() + b"\n" + network._model)


def _tell(monitor):
    monitor.phase_start("Building", None, 4)
    monitor.phase_start("Tactics", "Building", 2)
    assert all(monitor.step_complete("Building", step) for step in range(4))
    monitor.phase_finish("Building")


class ParserError:
    def __init__(self, node, operator, name, why):
        self._facts = node, operator, name, why

    def node(self):
        return self._facts[0]

    def code(self):
        return 8

    def desc(self):
        return self._facts[3]


class LaterParserError(ParserError):
    def node_operator(self):
        return self._facts[1]

    def node_name(self):
        return self._facts[2]


class _Parser(_Strict):
    num_errors = 0

    def __init__(self, network, logger):
        self._needs, self._errors = _Needs(network, logger), []

    def _look(self, model):
        import onnx

        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
        self._errors = [
            self.trt.inner.ParserError(i, node.op_type, node.name, "no importer registered for it")
            for i, node in enumerate(graph.node)
            if node.op_type in ("ConvInteger", "QLinearConv", "DynamicQuantizeLinear")
        ]
        self.num_errors = len(self._errors)
        return graph

    def parse(self, model):
        network, _ = self._needs()
        graph = self._look(model)
        network._parsed(bytes(model), *_layers(self.trt, graph))
        return not self._errors

    def get_error(self, i):
        return self._errors[i]


class OnnxParser8(_Parser):
    def __init__(self, network, logger):
        assert "EXPLICIT_BATCH" in network._kinds, "TensorRT 8 parses ONNX with an explicit batch only"
        super().__init__(network, logger)

    def supports_model(self, model):
        self._needs()
        self._look(model)
        return not self._errors, [([0], not self._errors)]


class OnnxParser10(_Parser):
    def supports_model_v2(self, model):
        self._needs()
        self._look(model)
        return not self._errors


class Inspector(_Strict):
    execution_context = None

    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, form):
        assert form is self.trt.LayerInformationFormat.JSON
        assert self.execution_context is not None
        detailed = self._engine._facts["verbosity"] == "DETAILED"
        layers = [{"Name": "conv", "Precision": "FP32"} if detailed else "conv"]
        return json.dumps({"Layers": layers, ("I/O Tensors" if self.trt.generation == "11" else "Bindings"): []})


class Context(_Strict):
    def __init__(self, engine):
        self._needs, self._addresses, self._shape, self._current = _Needs(engine), {}, None, True

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return address % 4 == 0

    def set_input_shape(self, name, shape):
        (engine,) = self._needs()
        least, _, most = engine._facts["profile"][name]
        self._shape = shape
        return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))

    def infer_shapes(self):
        return [] if self._shape else [self._needs()[0].get_tensor_name(0)]

    def execute_async_v3(self, stream):
        (engine,) = self._needs()
        assert stream == FakeCuda.STREAM
        values = {name: _memory(address, self._sized(engine, name)) for name, address in self._addresses.items()}
        inputs = engine._input
        answers = engine._session.run(["features", "logits"], {inputs: values[inputs]})
        for name, answer in zip(("features", "logits"), answers, strict=True):
            values[name][:] = answer + (100 if engine._facts["wrong"] else 0)
        return not os.environ.get("FAKE_TENSORRT_FAILS")

    def _sized(self, engine, name):
        return self._shape[0], *engine.get_tensor_shape(name)[1:]


class _Engine(_Strict):
    num_io_tensors = 3

    def __init__(self, runtime, facts, model):
        self._needs, self._facts = _Needs(runtime), facts
        self._load(model)

    def _load(self, model):
        import onnxruntime

        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def _values(self):
        return [*self._session.get_inputs(), *self._session.get_outputs()]

    def get_tensor_name(self, i):
        return self._values()[i].name

    def get_tensor_mode(self, name):
        return self.trt.TensorIOMode.INPUT if name == self._input else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self.trt.DataType.FLOAT

    def get_tensor_shape(self, name):
        shape = next(value.shape for value in self._values() if value.name == name)
        return -1, *shape[1:]

    def get_tensor_profile_shape(self, name, profile):
        assert profile == 0
        return [tuple(shape) for shape in self._facts["profile"][name]]

    def create_execution_context(self):
        self._needs()
        return Context(self)

    def create_engine_inspector(self):
        return self.trt.inner.Inspector(self)


class Engine8(_Engine):
    device_memory_size = 1234


class Engine10(Engine8):
    device_memory_size_v2 = 1234


class Engine11(_Engine):
    device_memory_size_v2 = 1234


class Runtime(_Strict):
    def __init__(self, logger):
        self._needs = _Needs(logger)

    def deserialize_cuda_engine(self, data):
        (logger,) = self._needs()
        self.trt.deserialised.append(bytes(data))
        head, _, model = bytes(data)[len(MAGIC) :].partition(b"\n")
        if not data.startswith(MAGIC) or json.loads(head)["version"] != self.trt.__version__:
            logger.log(ILogger.ERROR, "The engine plan file is not compatible with this version of TensorRT")
            return None
        return self.trt.inner.Engine(self, json.loads(head), model)


class Refitter(_Strict):
    def __init__(self, engine, logger):
        assert "REFIT" in engine._facts["flags"], "the engine was not built to be refitted"
        self._needs, self._model = _Needs(engine, logger), None

    def refit_cuda_engine(self):
        self._needs()[0]._load(self._model)
        return True


class OnnxParserRefitter(_Strict):
    def __init__(self, refitter, logger):
        self._needs = _Needs(refitter, logger)

    def refit_from_bytes(self, model):
        self._needs()[0]._model = model
        return True


# By generation: the words that its enumerations have, what is in its module by name, and what is got from these.
_TYPES = {"8.5": "FLOAT HALF INT8 INT32 BOOL", "10": "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64 INT4"}
_KINDS = {"8.5": "EXPLICIT_BATCH EXPLICIT_PRECISION", "10": "EXPLICIT_BATCH STRONGLY_TYPED", "11": "STRONGLY_TYPED"}
_FLAGS = "DEBUG GPU_FALLBACK REFIT DISABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS SAFETY_SCOPE DIRECT_IO "
_MORE_FLAGS = {
    "8.5": "FP16 INT8 STRICT_TYPES OBEY_PRECISION_CONSTRAINTS",
    "10": "FP16 INT8 BF16 FP8 VERSION_COMPATIBLE STRIP_PLAN WEIGHT_STREAMING",
    "11": "VERSION_COMPATIBLE STRIP_PLAN WEIGHT_STREAMING",
}
_NAMED = {"Builder": Builder, "Runtime": Runtime, "Refitter": Refitter}
_NAMED8 = {**_NAMED, "OnnxParser": OnnxParser8}
_NAMED10 = {**_NAMED, "OnnxParser": OnnxParser10, "OnnxParserRefitter": OnnxParserRefitter}
_INNER10 = {"Config": Config10, "ParserError": LaterParserError, "Inspector": Inspector}
CLASSES = {
    "8.5": (_NAMED8, {"Config": Config, "ParserError": ParserError, "Inspector": Inspector, "Engine": Engine8}),
    "10": (_NAMED10, {**_INNER10, "Engine": Engine10}),
    "11": (_NAMED10, {**_INNER10, "Engine": Engine11}),
}


def make(generation):
    """A module of its own, with a list of all that was built: `built`, options as dictionaries."""
    trt = types.ModuleType("tensorrt")
    trt.__version__, trt.__spec__ = VERSIONS[generation], importlib.machinery.ModuleSpec("tensorrt", None)
    trt.generation, trt.mode = generation, os.environ.get("FAKE_TENSORRT", "")
    trt.built, trt.deserialised = [], []
    for name, words in {
        "DataType": _TYPES.get(generation, _TYPES["10"]),
        "TensorIOMode": "NONE INPUT OUTPUT",
        "LayerType": "OTHER QUANTIZE RECURRENCE",
        "MemoryPoolType": "WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM",
        "ProfilingVerbosity": "LAYER_NAMES_ONLY NONE DETAILED",
        "LayerInformationFormat": "ONELINE JSON",
        "NetworkDefinitionCreationFlag": _KINDS[generation],
        "BuilderFlag": _FLAGS + _MORE_FLAGS[generation],
    }.items():
        setattr(trt, name, _enum(name, words))
    named, inner = (
        {name: type(name, (kind,), {"trt": trt}) for name, kind in some.items()} for some in CLASSES[generation]
    )
    vars(trt).update(named, ILogger=ILogger, inner=types.SimpleNamespace(**inner))
    if generation != "8.5":
        trt.IProgressMonitor = IProgressMonitor
    return trt


def _go_wrong(mode):
    if mode == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "hang":
        time.sleep(3600)
    if mode == "wait":
        while not os.path.exists(os.environ["FAKE_TENSORRT_GO"]):
            time.sleep(0.005)
    if mode == "eat":
        held = [b"x" * (32 << 20) for _ in range(16)]  # beyond the limit of the tests, and below twice of it
        while held:
            time.sleep(1)


def _layers(trt, graph):
    """The network's layers and inputs."""
    types = {1: trt.DataType.FLOAT, 10: trt.DataType.HALF, 3: trt.DataType.INT8}
    known = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}

    def of(name):
        kind = known[name].type.tensor_type if name in known else None
        dtype = types.get(kind.elem_type, trt.DataType.INT32) if kind else trt.DataType.FLOAT
        sizes = [dim.dim_value or -1 for dim in kind.shape.dim] if kind else []
        return Tensor(name, sizes, dtype)

    special = {"LSTM": "RECURRENCE", "GRU": "RECURRENCE", "QuantizeLinear": "QUANTIZE"}
    layers = [
        Layer(trt.LayerType[special.get(node.op_type, "OTHER")], [of(name) for name in node.output])
        for node in graph.node
    ]
    return layers, [of(value.name) for value in graph.input]


def _memory(address, shape):
    n_bytes = 4 * int(np.prod(shape))
    return np.frombuffer((ctypes.c_char * n_bytes).from_address(address), np.float32).reshape(shape)


class FakeCuda:
    """`runtime.engine.tensorrt.cuda.Cuda` over this process's memory; it minds which thread has the context."""

    STREAM = 4242
    live = 0  # blocks of all devices that were not given back

    def __init__(self):
        self.name, self.sm, self.stream = os.environ.get("FAKE_GPU", "Orin"), "8.7", 0
        self._blocks, self._thread = [], threading.local()

    def start(self):
        self.stream = self.STREAM
        self.use()

    def use(self):
        self._thread.current = True

    def device_bytes(self, n_bytes):
        assert self._thread.current
        self._blocks.append(ctypes.create_string_buffer(n_bytes + 64))
        FakeCuda.live += 1
        return (ctypes.addressof(self._blocks[-1]) + 63) // 64 * 64

    def host_array(self, shape):
        return np.zeros(shape, np.float32)

    def copy_in(self, address, array):
        self._copy(address, array.ctypes.data, array)

    def copy_out(self, array, address):
        self._copy(array.ctypes.data, address, array)

    def _copy(self, to, start, array):
        assert self._thread.current, "the context belongs to another thread"
        assert array.flags.c_contiguous
        ctypes.memmove(to, start, array.nbytes)

    def synchronise(self):
        assert self._thread.current

    def close(self):
        FakeCuda.live -= len(self._blocks)
        self._blocks.clear()
