"""Whether an engine gives what the module gives, or what the graph says.

    export     torch's answers            against onnxruntime    golden and random windows, several batch sizes
    command    the golden answers, and    against every engine   the same, without torch
               onnx's reference evaluator in float64

Where an engine is off, `first_difference` looks for the first node to blame: each node by itself is given the
reference's inputs, in the order in which they run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle, Manifest
from runtime.command import table
from runtime.engine import Engine, Output, engines_here, open_engine
from runtime.errors import SensedgeError
from runtime.progress import ShowProgress, silent
from runtime.specs import BASE, FLOAT32
from runtime.spectrogram import Spectrogram

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-4  # of the largest value of an output
TOLERANCES: Mapping[str, float | None] = {FLOAT32: TOLERANCE, "fp16": 2e-2}  # others are judged by their labels only
_BATCHES = (1, 2, 7)
_RANDOM_WINDOWS = 7
_OUTPUTS: tuple[Output, ...] = ("features", "logits")
_ADVICE = "Look for an operator that the exporter translates differently."
_TINY = 1e-12

Answers = Mapping[Output, NDArray[Any]]
Original = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]  # -> features, logits


class ParityError(RuntimeError):
    """The exported graph does not give what the module gives."""


@dataclass(frozen=True)
class ParityRow:
    """One output of one engine on one kind of windows."""

    engine: str
    windows: str  # "golden" or "random"
    batch: int
    output: Output
    max_abs: float  # the largest error
    relative: float  # the same as a share of the reference's largest value
    labels_agree: float | None  # share of windows whose most probable label is the same; None for features


@dataclass(frozen=True)
class ParityReport:
    """What was compared, and how far it was off."""

    precision: str
    tolerance: float | None  # of `relative`; None: there is none for this precision
    rows: tuple[ParityRow, ...]
    missing: Mapping[str, str]  # engines that are not here, or that failed, and why

    @property
    def worst(self) -> dict[Output, float]:
        """The largest relative error per output."""
        return {name: _worst(row.relative for row in self.rows if row.output == name) for name in _OUTPUTS}

    @property
    def off(self) -> tuple[ParityRow, ...]:
        """Rows that are beyond the tolerance."""
        return tuple(row for row in self.rows if self.tolerance is not None and not row.relative <= self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        """JSON; a number that is not finite is None."""
        rows = [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in row.items()
            }
            for row in map(asdict, self.rows)
        ]
        worst = {name: error if math.isfinite(error) else None for name, error in self.worst.items()}
        return {
            "precision": self.precision,
            "tolerance": self.tolerance,
            "passed": not self.off,
            "worst": worst,
            "rows": rows,
            "missing": dict(self.missing),
        }

    def text(self) -> str:
        """A table, and what is missing."""
        off = set(self.off)
        rows = [
            [
                row.engine,
                row.windows,
                row.batch,
                row.output,
                f"{row.max_abs:.1e}",
                f"{row.relative:.1e}",
                "" if row.labels_agree is None else f"{row.labels_agree:.0%}",
                "off" if row in off else "",
            ]
            for row in self.rows
        ]
        header = ("engine", "windows", "batch", "output", "max error", "relative", "same label", "")
        return "\n".join([table(rows, header), "", *(f"{name}: {why}" for name, why in self.missing.items())]).rstrip()


def check_parity(
    bundle: Bundle,
    module: Callable[[Tensor], tuple[Tensor, Tensor]],
    windows: NDArray[np.float32],
    tolerance: float = TOLERANCE,
) -> dict[Output, float]:
    """Compare a module with the engine that runs its bundle.

    Args:
        bundle: the exported bundle.
        module: what the graph takes, windows or images, to (features, logits).
        windows: shape (n, length_samples, n_channels), real ones; random ones are added.
        tolerance: how far an output may be off, as a share of its largest value.

    Returns:
        The worst share per output.

    Raises:
        ParityError: an output is further off; the message says which, by how much and at which batch size.
    """
    return check_answers(bundle, answers_of(module), windows, tolerance)


def answers_of(module: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Original:
    """A torch module as a function of arrays."""
    import torch

    def answers(inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            features, logits = (output.cpu().numpy() for output in module(torch.from_numpy(inputs)))
        return features, logits

    return answers


def check_answers(
    bundle: Bundle, original: Original, windows: NDArray[np.float32], tolerance: float = TOLERANCE
) -> dict[Output, float]:
    """Compare what a bundle was made of with the engine that runs it, on given windows and on random ones.

    Args:
        bundle: the exported bundle.
        original: what the graph takes, windows or images, to features and logits, each of shape (n, ...).
        windows: shape (n, *window_shape), real ones.
        tolerance: how far an output may be off, as a share of its largest value.

    Returns:
        The worst share per output.

    Raises:
        ParityError: an output is further off; the message says which, by how much and at which batch size.
    """
    inputs = graph_inputs(bundle.manifest, np.concatenate([windows, random_windows(bundle.manifest)]))
    features, logits = original(inputs)
    rows = compare(open_engine(bundle), "golden", inputs, {"features": features, "logits": logits})
    report = ParityReport(FLOAT32, tolerance, tuple(rows), {})
    for row in report.off:
        raise ParityError(
            f"{row.output} at batch {row.batch}: the engine is off by {row.relative:.2e} of the largest value, allowed "
            f"are {tolerance:.0e}. {_ADVICE}"
        )
    return report.worst


def parity_of_engines(
    bundle: Bundle,
    engines: Sequence[str] | None = None,
    *,
    precision: str = FLOAT32,
    tolerance: float | None = None,
    progress: ShowProgress = silent,
) -> ParityReport:
    """Compare engines with the golden answers (of the module, by torch) and with the reference evaluator.

    Args:
        bundle: in the version that is to be compared. Of a personal version there are no golden answers: all answers
            are the evaluator's then.
        engines: names as in runtime.engine.ENGINES; None: all that are here.
        precision: "float32" or that of a variant; the reference stays the float32 graph.
        tolerance: share of an output's largest value; None: that of the precision, if it has one.
        progress: told (engines done, engines in all, what comes next).

    Raises:
        MissingError, InputError: an engine that was named is not here or not known.
    """
    named = engines is not None
    statuses = engines_here()
    missing = {} if named else {status.name: status.reason for status in statuses if not status.available}
    names = engines if engines is not None else [status.name for status in statuses if status.available]
    progress(0, len(names), "the reference")
    truths = _truths(bundle)
    rows: list[ParityRow] = []
    for done, name in enumerate(names):
        progress(done, len(names), name)
        try:
            engine = open_engine(bundle, name, precision=precision)
        except SensedgeError as error:
            if named:
                raise
            missing[name] = str(error)
            continue
        rows += [row for kind, (inputs, truth) in truths.items() for row in compare(engine, kind, inputs, truth)]
        engine.close()
    progress(len(names), len(names), "done")
    return ParityReport(precision, TOLERANCES.get(precision) if tolerance is None else tolerance, tuple(rows), missing)


def compare(engine: Engine, windows: str, inputs: NDArray[np.float32], truth: Answers) -> Iterator[ParityRow]:
    """One engine on one kind of windows, at several batch sizes.

    Args:
        engine: that answers.
        windows: their kind, for the report.
        inputs: shape (n, ...), as the engine takes them.
        truth: the answers to expect, by output, each of shape (n, ...).
    """
    for name, batch in ((name, batch) for name in _OUTPUTS for batch in _BATCHES):
        expected = truth[name]
        found = np.concatenate([engine.run(part, name) for part in _batches(inputs, batch)])
        error = float(np.abs(found - expected).max())
        agree = agreement_of(found, expected) if name == "logits" else None
        relative = error / max(float(np.abs(expected).max()), _TINY)
        yield ParityRow(engine.name, windows, batch, name, error, relative, agree)


def agreement_of(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Share of windows with the same label, from two logits of shape (n, n_classes); what is not finite has none."""
    finite = np.isfinite(found).all(1) & np.isfinite(expected).all(1)
    return float((finite & (found.argmax(1) == expected.argmax(1))).mean())


def _truths(bundle: Bundle) -> dict[str, tuple[NDArray[np.float32], Answers]]:
    """What goes into the graph, and the answers to it."""
    golden = bundle.golden()
    real, noise = (graph_inputs(bundle.manifest, w) for w in (golden.windows, random_windows(bundle.manifest)))
    answers: Answers = {"features": golden.features, "logits": golden.logits}
    if bundle.version != BASE:
        answers = _reference(bundle, real)
    return {"golden": (real, answers), "random": (noise, _reference(bundle, noise))}


def _reference(bundle: Bundle, inputs: NDArray[np.float32]) -> Answers:
    import onnx

    from exporters.reference import every_value

    values = every_value(onnx.load_model_from_string(bundle.model()), inputs)
    return {name: values[name] for name in _OUTPUTS}


def random_windows(manifest: Manifest) -> NDArray[np.float32]:
    """Noise with the mean and the deviation of each channel, shape (n, *window_shape)."""
    mean, std = manifest.spread(manifest.normalise.mean), manifest.spread(manifest.normalise.std)
    noise = np.random.default_rng(0).normal(mean, std, (_RANDOM_WINDOWS, *manifest.window_shape))
    return noise.astype(np.float32)


def graph_inputs(manifest: Manifest, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the graph takes for these windows: themselves or the images that the runtime draws of them.

    Args:
        manifest: with the spectrogram, if there is one.
        windows: shape (n, length_samples, n_channels).
    """
    return Spectrogram(manifest).images(windows) if manifest.input_name == "images" else windows


def _batches(windows: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    return (windows[i : i + size] for i in range(0, len(windows), size))


def _worst(errors: Iterator[float]) -> float:
    """The largest; not a number if one of them is not."""
    return float(np.max([*errors] or [math.nan]))
