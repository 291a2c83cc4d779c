"""The TensorRT engine: answers by onnxruntime at once, and by TensorRT as soon as an engine is there.

    open --> onnxruntime answers ------------------------------------------+--> TensorRT answers
      |                                                                    |    (back to onnxruntime if it ever fails)
      +--> in the background: probe in a child process                     |
             |                  missing or broken? stay, with the reason   |
             +--> cache: an engine that this device sealed? -------------->+  its answers to the golden windows agree?
             +--> build in a child process, with limits; seal; keep ------>+

A build takes seconds to minutes, once for each model, version of TensorRT, GPU and set of options. An app that must
not stream before TensorRT does calls `wait`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine.base import Output
from runtime.engine.inputs import Inputs
from runtime.engine.ort import OrtEngine
from runtime.engine.tensorrt.cache import EngineCache, digest_of
from runtime.engine.tensorrt.child import Builder, Limits, ask
from runtime.engine.tensorrt.cuda import Cuda
from runtime.engine.tensorrt.plan import Plan
from runtime.errors import SensedgeError
from runtime.specs import BASE, FLOAT32

LIBRARY = "tensorrt"
TOLERANCES = {FLOAT32: 1e-3, "fp16": 2e-2}  # share of the largest golden logit
_TOLERANCE = 0.1  # of quantised graphs, whose steps each engine rounds in its own way
_FORMAT = 1  # of what is built; a change here makes every cached engine another's


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built for. A change of any of them, but of the limits, is another engine."""

    opt_batch: int = 1  # the batch that the kernels are chosen for
    max_batch: int = 64  # more windows at once are run in pieces
    workspace_bytes: int = 256 << 20  # that a kernel may use for intermediate results
    tf32: bool = False  # let float32 matrices be multiplied with 10 bits of mantissa
    refit: bool = False  # put personal weights into the base's engine instead of building again; costs speed
    limits: Limits = field(default_factory=Limits)

    def request(self, task: str, **more: object) -> dict[str, Any]:
        """A request as runtime.engine.tensorrt.build reads it."""
        batch = [1, min(self.opt_batch, self.max_batch), self.max_batch]
        facts = {"batch": batch, "workspace_bytes": self.workspace_bytes, "tf32": self.tf32, "refit": self.refit}
        return {"task": task, "library": LIBRARY, **facts, **more}


class TensorrtEngine:
    """A bundle's graph on an NVIDIA GPU, with onnxruntime until it is there and whenever it is not.

    Args:
        bundle: in the version to run.
        threads: of onnxruntime.
        precision: of the bundle's graph; TensorRT is held to it.
        options: what is built.
        builder: how the process is started in which TensorRT is probed and built with.
        open_cuda: makes the device.
        background: False: do all of it before returning.
    """

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        precision: str = FLOAT32,
        options: BuildOptions | None = None,
        builder: Builder | None = None,
        open_cuda: Callable[[], Cuda] = Cuda,
        background: bool = True,
    ) -> None:
        self.threads, self.precision = threads, precision
        self.reason = "onnxruntime answers while TensorRT is looked for"
        self.report: dict[str, Any] = {}  # of the last build or probe
        self.progress: tuple[str, int, int] | None = None  # of the build: phase, steps done, steps in all
        self._bundle, self._options = bundle, options or BuildOptions()
        self._builder, self._open_cuda = builder or Builder(), open_cuda
        self._inputs, self._plan = Inputs(bundle.manifest), None
        self._ort = OrtEngine(bundle, threads=threads, precision=precision)
        self._golden = self._inputs(bundle.golden().windows)
        self._truth = self._ort.run(self._golden)  # now: later the session belongs to whoever runs windows
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._prepare, name="tensorrt", daemon=True)
        self._thread.start()
        if not background:
            self._thread.join()

    _plan: Plan | None

    @property
    def serving(self) -> str:
        """What answers now: "tensorrt" or "onnxruntime"."""
        return "onnxruntime" if self._plan is None else self.name

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until the preparation has ended, or at most so long. Whether TensorRT answers from now on."""
        self._thread.join(timeout_s)
        return self._plan is not None

    def run(self, windows: NDArray[np.float32], output: Output = "logits") -> NDArray[np.float32]:
        """Outputs of windows of shape (n, *window_shape), shape (n, ...); see `runtime.engine.Engine.run`."""
        inputs = self._inputs(windows)
        plan = self._plan  # taken once: a change comes between two runs
        if plan is not None:
            try:
                return plan.run(inputs, output)
            except SensedgeError as error:
                self._fall_back(plan, error)
        return self._ort.run(inputs, output)

    def logits(self, window: NDArray[np.float32]) -> list[float]:
        """The short way for one input of the graph, of the right shape and dtype: nothing is checked."""
        plan = self._plan
        if plan is not None:
            try:
                return plan.one(window)
            except SensedgeError as error:
                self._fall_back(plan, error)
        return self._ort.logits(window)

    def warm_up(self) -> None:
        """Run once on zeros, by what answers now. It does not wait for a build: `wait` does."""
        self.run(self._inputs.zeros())

    def layers(self) -> list[dict[str, Any]]:
        """The inspector's report of each layer; empty while onnxruntime answers."""
        return [] if self._plan is None else self._plan.layers()

    def memory_bytes(self) -> int | None:
        """What TensorRT takes on the device to run, its weights not counted; None while onnxruntime answers."""
        return None if self._plan is None else self._plan.memory_bytes()

    def close(self) -> None:
        """End a build that is under way, and give back all memory."""
        self._cancel.set()
        self._thread.join()
        plan, self._plan = self._plan, None
        if plan is not None:
            plan.close()
        self._ort.close()

    def _fall_back(self, plan: Plan, error: SensedgeError) -> None:
        self._plan, self.reason = None, f"onnxruntime answers: TensorRT failed while running: {error}"
        with suppress(SensedgeError):  # after some errors the driver refuses every call
            plan.close()

    # ---- in the background

    def _prepare(self) -> None:
        try:
            reason = self._try_all()
        except (SensedgeError, OSError, ImportError) as error:
            reason = " ".join(str(error).split())
        except Exception as error:  # a library's own; the app streams on with onnxruntime and tells why
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        self.reason = f"onnxruntime answers: {reason}" if self._plan is None else reason

    def _try_all(self) -> str:
        """Open an engine by one way or another; what happened, as a sentence."""
        device = self._probe()
        if not device["ok"]:
            return f"TensorRT cannot be used here: {device['reason']}"
        where = f"TensorRT {device['version']} on {device['device']}"
        cache = EngineCache()
        try:
            refit = self._options.refit and _can_refit()
            if refit and self._bundle.version != BASE:
                try:
                    return self._open(cache, device, _base(self._bundle), where, refit_to=self._bundle)
                except SensedgeError as error:
                    where += f" (built anew, as refitting failed: {error})"
            return self._open(cache, device, self._bundle, where)
        finally:
            cache.close()

    def _probe(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="sensedge-") as folder:
            request = self._options.request("probe")
            self.report = ask(Path(folder), request, limits=Limits(60.0), builder=self._builder, cancel=self._cancel)
        return self.report

    def _open(
        self, cache: EngineCache, device: dict[str, Any], built: Bundle, where: str, refit_to: Bundle | None = None
    ) -> str:
        """Open the engine of `built` from the cache, or build it."""
        model = built.model(self.precision)
        key = self._key(device, model)
        weights = None if refit_to is None else refit_to.model(self.precision)
        reason, data = self._cached(cache, key)
        if data is None:
            refused = cache.load(f"{digest_of(key)}.refused")
            if refused is not None:
                return f"TensorRT refused this model before: {refused.facts['reason']}"
            self.reason = f"onnxruntime answers while {where} builds"
            data, reason = self._build(cache, key, model, reason)
            if data is None:
                return reason
        problem = self._switch(data, weights)
        return problem or f"{where}, {reason}"

    def _cached(self, cache: EngineCache, key: dict[str, Any]) -> tuple[str, bytes | None]:
        """An engine from the cache. One that was altered is removed unopened, and built again."""
        name = f"{digest_of(key)}.engine"
        try:
            found = cache.load(name)
        except SensedgeError as error:
            cache.remove(name)
            return f"built again, as the cache was altered ({error.where})", None
        return "engine from the cache" if found else "built now", found.data if found else None

    def _build(self, cache: EngineCache, key: dict[str, Any], model: bytes, reason: str) -> tuple[bytes | None, str]:
        digest = digest_of(key)
        with cache.building(self._cancel) as folder:
            if folder is None:
                return None, "stopped"
            again, data = self._cached(cache, key)
            if data is not None:  # another process built it while this one waited
                return data, again
            timing = f"{digest_of({name: key[name] for name in ('version', 'device', 'sm')})}.timing"
            (folder / "model.onnx").write_bytes(model)
            _give(folder / "timing", cache, timing)
            report = self.report = ask(
                folder,
                self._options.request("build"),
                limits=self._options.limits,
                builder=self._builder,
                cancel=self._cancel,
                progress=self._show,
            )
            if not report["ok"]:
                if report.get("final"):
                    cache.store(f"{digest}.refused", {**key, "reason": report["reason"]})
                return None, f"no engine: {report['reason']}"
            data = (folder / "plan").read_bytes()
            try:
                cache.store(f"{digest}.engine", {**key, "report": report}, data)
                cache.store(timing, {}, (folder / "timing").read_bytes())
            except OSError as error:
                reason += f", and not kept: {error.strerror}"
        return data, f"{reason} in {report['seconds']:.0f} s"

    def _show(self, done: int, total: int, phase: str) -> None:
        self.progress = phase, done, total

    def _key(self, device: dict[str, Any], model: bytes) -> dict[str, Any]:
        """All that an engine depends on."""
        options = {name: value for name, value in self._options.request("build").items() if name != "task"}
        return {
            "format": _FORMAT,
            "model_sha256": hashlib.sha256(model).hexdigest(),
            "version": device["version"],
            "device": device["device"],
            "sm": device["sm"],
            "options": options,
        }

    def _switch(self, data: bytes, weights: bytes | None) -> str:
        """Take the engine in if it says what onnxruntime says of the golden windows; else why not."""
        plan = Plan(import_module(LIBRARY), self._open_cuda(), data, self._bundle, weights)
        try:
            apart = _apart(plan.run(self._golden, "logits"), self._truth)
            most = TOLERANCES.get(self.precision, _TOLERANCE)
            if not apart <= most:
                plan.close()
                return f"TensorRT's answers to the golden windows are {apart:.2g} of the largest apart, beyond {most:g}"
            self._plan = plan
        except BaseException:
            plan.close()
            raise
        return ""


def _give(path: Path, cache: EngineCache, name: str) -> None:
    """Put a cached file's data where the child reads it. Without it, or with an altered one, a build is slower."""
    try:
        found = cache.load(name)
    except SensedgeError:
        cache.remove(name)
        return
    if found is not None:
        path.write_bytes(found.data)


def _apart(found: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def _base(bundle: Bundle) -> Bundle:
    return dataclasses.replace(bundle, version=BASE, personal_tensors={})


def _can_refit() -> bool:
    return hasattr(import_module(LIBRARY), "OnnxParserRefitter")  # since 10
