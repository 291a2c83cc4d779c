"""A training step: our gradient graph with AdamW in NumPy against torch and onnxruntime-training.

MaskCAE's FCN of table I on 128 x 6 with 6 classes, batches of 16; its last block and head on activations that are kept;
a transformer block of 64 values, 64 steps, batches of 8. AdamW is included everywhere, batch normalisation is frozen.
Start and memory are those of whole processes: from their start to the first finished step, and the peak after eleven.

onnxruntime-training is no longer made; its last version runs in an environment of its own under RUNS/ort-training,
which `--peers` creates (it borrows torch from this one). Without it that ratio is not measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._bench import ROOT, Options, Result, interleave, ratio
from benchmarks._trainstep_ours import Ours
from benchmarks._trainstep_torch import Torch
from exporters import export_bundle
from runtime.bundle import Bundle, Manifest
from runtime.engine import open_prefix
from runtime.specs import Modality, Normalise, Signal, WindowSpec
from sdk.encoders import Classifier, create_encoder

BATCH, SHAPE, N_CLASSES = 16, (128, 6), 6
BLOCK_BATCH, STEPS, WIDTH, HEADS = 8, 64, 64, 4
LAST_BLOCK = 3
CURVE_STEPS = 30
PEERS = ("onnxruntime-training-cpu==1.19.2", "onnx==1.17.0", "cerberus", "h5py", "flatbuffers", "protobuf")


def run(options: Options) -> Result:
    """Measure all three, and the processes."""
    torch.set_num_threads(1)
    result = Result("trainstep")
    with tempfile.TemporaryDirectory() as folder:
        _fcn(Path(folder), options, result)
        _transformer(Path(folder), options, result)
    return result


def _fcn(folder: Path, options: Options, result: Result) -> None:
    torch.manual_seed(0)
    module = Classifier(create_encoder("fcn", *SHAPE), N_CLASSES).eval()
    windows, labels = _batch(BATCH, SHAPE)
    bundle = _export(folder / "fcn.bundle", module, SHAPE, windows)
    np.savez(folder / "data.npz", windows=windows, labels=labels)
    x, y = torch.from_numpy(windows), torch.from_numpy(labels)
    result.figures["parameters"] = sum(bundle.manifest.training[0].sizes)
    _check_gradients(bundle, module, windows, labels, result)
    _check_curve(bundle, module, windows, labels, result)
    kept = open_prefix(bundle, bundle.manifest.training[LAST_BLOCK].cut)(windows)
    last = nn.Sequential(_copy(module).encoder.blocks[LAST_BLOCK], nn.Flatten(), _copy(module).head)
    candidates = {
        "ours": Ours(bundle, 0, windows, labels).step,
        "torch": Torch(_copy(module), x, y).step,
        "torch_channels_last": Torch(_copy(module), x, y, channels_last=True).step,
        "last_block_ours": Ours(bundle, LAST_BLOCK, kept, labels).step,
        "last_block_torch": Torch(last, torch.from_numpy(kept), y).step,
    }
    with _ort_training(bundle, folder, options) as peer:
        if peer is not None:
            candidates["ort_training"] = peer
        seconds = interleave(candidates, rounds=6 if options.quick else 80, calls=2)
    _report(
        result,
        seconds,
        {
            "ours_vs_torch": ("ours", "torch"),
            "ours_vs_torch_channels_last": ("ours", "torch_channels_last"),
            "ours_vs_ort_training": ("ours", "ort_training"),
            "last_block_ours_vs_torch": ("last_block_ours", "last_block_torch"),
        },
    )
    _processes(bundle, folder / "data.npz", options, result)


def _report(result: Result, seconds: dict[str, list[float]], pairs: dict[str, tuple[str, str]]) -> None:
    """Medians in ms, and ratios; what was not measured is None."""
    result.figures |= {f"{name}_ms": float(np.median(values)) * 1e3 for name, values in seconds.items()}
    for name, (ours, peer) in pairs.items():
        found = ratio(seconds[ours], seconds[peer]) if peer in seconds else (None, None)
        result.ratios[name], result.ratios[f"{name}_spread"] = found


def _batch(n: int, shape: tuple[int, int], n_classes: int = N_CLASSES) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, *shape)).astype(np.float32), rng.integers(0, n_classes, n)


def _copy(module: Classifier) -> Classifier:
    """The same weights in a module of its own."""
    twin = Classifier(create_encoder("fcn", *SHAPE), N_CLASSES)
    twin.load_state_dict(module.state_dict())
    return twin.eval()


def _export(path: Path, module: nn.Module, shape: tuple[int, int], windows: np.ndarray) -> Bundle:
    """A bundle with training graphs, for signals that need no normalisation."""
    length, channels = shape
    names = tuple(f"c{i}" for i in range(channels))
    manifest = Manifest(
        "trainstep",
        Signal((Modality("acc", "m/s^2", names, 50.0),)),
        WindowSpec(length, length),
        tuple("abcdef"),
        Normalise((0.0,) * channels, (1.0,) * channels),
    )
    return export_bundle(path, module.encoder, module.head, manifest, windows[:4], training=True)


def _check_gradients(
    bundle: Bundle, module: Classifier, windows: np.ndarray, labels: np.ndarray, result: Result
) -> None:
    """Against torch in double and in single precision, as a share of the largest gradient."""
    ours = Ours(bundle, 0, windows, labels)
    _, flat = ours.gradient()
    for name, dtype, allowed in (("float64", torch.float64, 1e-6), ("float32", torch.float32, 5e-6)):
        twin = _copy(module).to(dtype)
        Torch(twin, torch.from_numpy(windows).to(dtype), torch.from_numpy(labels)).gradient()
        gradients = dict(twin.named_parameters())
        truth = np.concatenate([gradients[n].grad.double().numpy().ravel() for n in ours.spec.tensors])
        error = float(np.abs(flat - truth).max() / np.abs(truth).max())
        result.figures[f"gradient_error_{name}"] = error
        result.checks[f"gradient_{name}"] = error <= allowed


def _check_curve(bundle: Bundle, module: Classifier, windows: np.ndarray, labels: np.ndarray, result: Result) -> None:
    """The losses of a training, step by step, must be torch's in double precision.

    Where two steps of a pool nearly tie, single precision may choose either, and a training then goes another way, as
    torch itself does on some processors. So much is allowed to ours, too.
    """
    ours = Ours(bundle, 0, windows, labels)
    single, double = (
        Torch(_copy(module).to(dtype), torch.from_numpy(windows).to(dtype), torch.from_numpy(labels))
        for dtype in (torch.float32, torch.float64)
    )
    curves = np.array([[ours.step(), single.step(), double.step()] for _ in range(CURVE_STEPS)])
    result.figures["first_loss"], result.figures["last_loss"] = curves[0, 0], curves[-1, 0]
    errors = np.abs(curves[:, :2] - curves[:, 2:]).max(0)
    result.figures["curve_error"], result.figures["curve_error_torch"] = map(float, errors)
    result.checks["curve"] = bool(errors[0] <= max(5e-3 * curves[:, 2].max(), 3 * errors[1]))


def _processes(bundle: Bundle, data: Path, options: Options, result: Result) -> None:
    """Whole processes in turn."""
    commands = {
        "ours": ("benchmarks._trainstep_ours", str(bundle.path), str(data)),
        "torch": ("benchmarks._trainstep_torch", str(data)),
    }
    starts: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 if options.quick else 9):
        for name, command in commands.items():
            began = perf_counter()
            with subprocess.Popen(
                [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, cwd=ROOT
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "stepped\n"
                starts[name].append(perf_counter() - began)
                peaks[name].append(json.loads(process.stdout.read()))
    for what, unit, found in (("start", "s", starts), ("memory", "mb", peaks)):
        result.figures |= {f"{what}_{name}_{unit}": float(np.median(values)) for name, values in found.items()}
        name = f"{what}_ours_vs_torch"
        result.ratios[name], result.ratios[f"{name}_spread"] = ratio(found["ours"], found["torch"])


class _Transformer(nn.Module):
    """One block: attention and two linear layers, each after a layer normalisation and beside a residual."""

    n_features = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.inner, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inner(self.norm(x)).chunk(3, dim=2)
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        weights = torch.softmax(q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5, dim=3)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        after: Tensor = x + self.mlp(self.mlp_norm(x))
        return after.mean(1)


def _transformer(folder: Path, options: Options, result: Result) -> None:
    torch.manual_seed(0)
    module = Classifier(_Transformer(), N_CLASSES).eval()
    windows, labels = _batch(BLOCK_BATCH, (STEPS, WIDTH))
    bundle = _export(folder / "block.bundle", module, (STEPS, WIDTH), windows)
    candidates = {
        "transformer_ours": Ours(bundle, 0, windows, labels).step,
        "transformer_torch": Torch(module, torch.from_numpy(windows), torch.from_numpy(labels)).step,
    }
    seconds = interleave(candidates, rounds=6 if options.quick else 80, calls=5)
    _report(result, seconds, {"transformer_ours_vs_torch": ("transformer_ours", "transformer_torch")})


@contextmanager
def _ort_training(bundle: Bundle, folder: Path, options: Options) -> Iterator[object]:
    """A function that makes onnxruntime-training do one step, or None."""
    python = options.runs.absolute() / "ort-training" / "bin" / "python"
    if options.peers and not python.exists():
        _install(python.parent.parent)
    if not python.exists():
        print("ort_training is not measured: `--peers` installs it under --runs", file=sys.stderr)
        yield None
        return
    (folder / "artifacts").mkdir()
    command = [python, ROOT / "benchmarks" / "_trainstep_ort.py", bundle.path / "model.onnx", folder / "data.npz"]
    names = bundle.manifest.training[0].tensors
    log = folder / "ort.log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*command, folder / "artifacts", *names],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        ) as process,
    ):
        yield from _asked(process)


def _asked(process: subprocess.Popen[str]) -> Iterator[object]:
    assert process.stdin is not None
    assert process.stderr is not None
    line = process.stderr.readline()
    while line and line != "ready\n":
        last, line = line, process.stderr.readline()
    if not line:
        print(f"ort_training is not measured: {last.strip()}", file=sys.stderr)
        yield None
        return

    def step() -> float:
        print(file=process.stdin, flush=True)
        return float(process.stderr.readline())  # type: ignore[union-attr]

    yield step
    process.stdin.close()


def _install(folder: Path) -> None:
    """An environment that has the peer, and borrows torch from this one."""
    venv.create(folder, with_pip=True)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    (site / "zz_borrowed.pth").write_text(str(Path(torch.__file__).parent.parent))
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", *PEERS], check=False)
