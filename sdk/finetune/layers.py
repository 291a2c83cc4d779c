"""Fine-tuning of layers: the frozen ones once, the others by gradient steps, judged on blocks that are held back.

    prefix     every window once through the layers below the cut, in model.onnx
    judging    for each held-out block: train from the version in use on the rest, score the block
    training   the same training on everything, which gives the new version; its answers on the golden windows

All trainings of a run do the same number of epochs, the last of which counts: no epoch is chosen by a score. Where a
budget ends the first training early, the others end at the same place.

The head of a bundle is linear. A GRU or an LSTM below it is a layer like any other, and is trained where the exporter
made a graph from there; a head of another form cannot be put on a bundle here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine import open_prefix
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent
from runtime.window.frame import turned
from sdk.finetune.budget import Ledger
from sdk.finetune.graph import GradientSession, choose_spec, fitting_batch, predicted_bytes
from sdk.finetune.judge import Adapted, Evidence, HeldOut, TrainingReport, blocks, golden_agreement, judge, weigh
from sdk.finetune.kept import trusted_answers
from sdk.finetune.labels import LabelledSet, worth
from sdk.finetune.optimise import Flat
from sdk.finetune.plan import FinetunePlan
from sdk.finetune.sample import Indices, augmented, cached
from sdk.finetune.theta import Layout
from sdk.finetune.train import Examples, Trained, train

PREFIX_BATCH = 8  # windows at once through the frozen layers
REPLAYED = -1  # the fold of golden windows, which is never held back


class LayerRun:
    """A wearer's windows at the cut, and the graph above it.

    Args:
        bundle: in the version to start from.
        data: the wearer's windows.
        plan: a method that takes gradient steps.
        progress: called as the windows go through the frozen layers.

    Raises:
        InputError: no training graph for these layers, or a budget of megabytes that no batch fits.
    """

    def __init__(
        self,
        bundle: Bundle,
        data: LabelledSet,
        plan: FinetunePlan,
        progress: ShowProgress = silent,
    ) -> None:
        if plan.augment and not bundle.manifest.signal.is_even:
            raise InputError(
                "augment",
                expected="modalities of one rate",
                got="windows of several rates",
                fix="Leave the augmentation out.",
            )
        head = max(spec.layer for spec in bundle.manifest.tensors)
        gammas = plan.layer_gammas(head)
        spec = choose_spec(bundle, gammas)
        golden = bundle.golden()
        n_own, n_windows = len(data.labels), len(data.labels) + len(golden.windows)
        batch = fitting_batch(bundle, spec, n_windows, plan)
        self.predicted_bytes = predicted_bytes(bundle, spec, n_windows, batch)
        self.plan = dataclasses.replace(plan, batch=batch)
        self.layout = Layout.of(bundle.manifest, spec.tensors, gammas)
        self.start = self.layout.flatten({name: bundle.tensor(name) for name in spec.tensors})
        replayed = len(golden.windows) if plan.replay else 0
        self.labels = np.concatenate([data.labels, golden.logits.argmax(axis=1)[:replayed]])
        share = plan.replay * data.weights.sum() / max(replayed, 1)
        self.weights = np.concatenate([data.weights, np.full(replayed, share)])

        windows = np.concatenate([data.windows, golden.windows])
        prefix = open_prefix(bundle, spec.cut)
        parts = []
        for begin in range(0, n_windows, PREFIX_BATCH):
            parts.append(prefix(windows[begin : begin + PREFIX_BATCH]))
            progress(min(begin + PREFIX_BATCH, n_windows), n_windows, "frozen layers")
        activations = np.concatenate(parts)
        self._own, self._golden, self.shipped_logits = activations[:n_own], activations[n_own:], golden.logits
        self._source = cached(activations)
        if plan.augment:
            signal, frame = bundle.manifest.signal, bundle.manifest.frame
            upright = windows if frame is None else turned(windows, signal, frame)
            self._source = augmented(upright, plan.augment, signal, prefix)
        self._graph = GradientSession(bundle, spec)

    def train(self, rows: Indices, **options: Any) -> Trained:
        """Train from the version in use on some rows, shape (n,); `options` are those of `train`."""
        examples = Examples(self._source, rows, self.labels, self.weights)
        return train(self._graph, self.layout, self.start, examples, self.plan, **options)

    def logits(self, theta: Flat, rows: Indices) -> NDArray[np.float64]:
        """Logits of own windows, shape (len(rows), n_classes)."""
        return self._logits(theta, self._own[rows])

    def golden_logits(self, theta: Flat) -> NDArray[np.float64]:
        """Logits of the golden windows, shape (k, n_classes), by a theta of shape (layout.size,)."""
        return self._logits(theta, self._golden)

    def _logits(self, theta: Flat, activations: NDArray[np.float32]) -> NDArray[np.float64]:
        size = self.plan.batch
        parts = [self._graph.logits(theta, activations[i : i + size]) for i in range(0, len(activations), size)]
        return np.concatenate(parts).astype(np.float64)


def layers_candidate(
    bundle: Bundle,
    data: LabelledSet,
    plan: FinetunePlan,
    ledger: Ledger,
    progress: ShowProgress,
    ask: Callable[[NDArray[np.float64]], Adapted | None] = lambda logits: None,
) -> Adapted:
    """Train a new version and judge it.

    Args:
        bundle: in the version to start from.
        data: the wearer's windows.
        plan: a method that takes gradient steps.
        ledger: of the run.
        progress: told of every step.
        ask: may know from the logits of the version in use, shape (n, n_classes), that nothing is to be trained.
    """
    with ledger.phase("prefix"):
        run = LayerRun(bundle, data, plan, progress)
        asked = ask(run.logits(run.start, np.arange(len(data.labels))))
    if asked is not None:
        return asked
    with ledger.phase("judging"):
        judged = _judge(run, data, plan, ledger, progress)
    with ledger.phase("training"):
        told = _Told(progress, plan, judged.trainings, judged.trainings + 1, judged.after.macro_f1)
        rows = np.arange(len(run.labels))
        trained = run.train(rows, epochs=judged.epochs, over=ledger.share(1), report=told)
        golden = run.golden_logits(trained.theta)
        agreement = golden_agreement(run.shipped_logits, golden)
    training = TrainingReport(
        layers=run.layout.moving_layers,
        parameters=sum(part.stop - part.start for part in run.layout.moving()),
        batch=run.plan.batch,
        steps=trained.steps,
        epochs=trained.epochs,
        trainings=judged.trainings + 1,
        losses=trained.losses,
        predicted_bytes=run.predicted_bytes,
        golden_agreement=agreement,
        stopped_by=trained.stopped_by or judged.stopped_by,
    )
    answers = run.shipped_logits.argmax(axis=1)
    kept = trusted_answers(judged.evidence.before, judged.evidence.labels)[answers]
    evidence = dataclasses.replace(
        judged.evidence,
        kept=answers[kept],
        kept_before=run.golden_logits(run.start)[kept],
        kept_after=golden[kept],
    )
    verdict = weigh(evidence, bundle.manifest.labels)
    if not verdict.doubt and agreement < plan.keep:
        reason = (
            f"on the golden windows {agreement:.0%} would keep the class that the base gives them, "
            f"{plan.keep:.0%} must; label all classes, move fewer layers, or replay"
        )
        verdict = dataclasses.replace(verdict, doubt=reason)
    return Adapted(run.layout.moved(trained.theta), verdict, plan.pull, training)


@dataclass(frozen=True)
class _Judged:
    """What the trainings on held-out blocks came to."""

    evidence: Evidence  # without kept answers
    after: HeldOut
    trainings: int
    epochs: float | None  # after which the training on everything is to end too; None: all of the plan's
    stopped_by: str  # the limit that says so


def _judge(run: LayerRun, data: LabelledSet, plan: FinetunePlan, ledger: Ledger, progress: ShowProgress) -> _Judged:
    """Train without each block and score it."""
    folds = blocks(data.labels, plan.folds)
    fold_of = np.concatenate([folds, np.full(len(run.labels) - len(folds), REPLAYED)])
    held_back = [int(fold) for fold in np.unique(folds) if (folds != fold).any()]
    held_back = held_back[:1] if plan.judge == "one" else held_back
    logits = run.logits(run.start, np.arange(len(folds)))
    judged = np.flatnonzero(np.isin(folds, held_back))
    start = logits[judged]
    before = judge(start, data.labels[judged], data.weights[judged])
    epochs, stopped_by, macro_f1 = None, "", before.macro_f1
    for i, fold in enumerate(held_back):
        trained = run.train(
            np.flatnonzero(fold_of != fold),
            stream=i + 1,
            epochs=epochs,
            over=ledger.share(len(held_back) + 1 - i),
            report=_Told(progress, plan, i, len(held_back) + 1, macro_f1),
        )
        if trained.stopped_by:
            epochs, stopped_by = trained.epochs, trained.stopped_by
        rows = np.flatnonzero(folds == fold)
        logits[rows] = run.logits(trained.theta, rows)
        done = np.flatnonzero(np.isin(folds, held_back[: i + 1]))
        macro_f1 = judge(logits[done], data.labels[done], data.weights[done]).macro_f1
    after = judge(logits[judged], data.labels[judged], data.weights[judged])
    none, no_logits = np.zeros(0, np.int64), np.zeros((0, logits.shape[1]))
    own = data.labels[judged], data.weights[judged], start, logits[judged]
    return _Judged(
        Evidence(*own, none, no_logits, no_logits, worth=worth(data)[judged]), after, len(held_back), epochs, stopped_by
    )


class _Told:
    """Turns the steps of one training among several into the progress of the run."""

    def __init__(self, progress: ShowProgress, plan: FinetunePlan, done: int, trainings: int, macro_f1: float) -> None:
        self._progress, self._epochs = progress, plan.epochs
        self._done, self._trainings, self._macro_f1 = done, trainings, macro_f1

    def __call__(self, epochs: float, loss: float, theta: Flat) -> None:
        what = "training" if self._done == self._trainings - 1 else f"held-out block {self._done + 1}"
        self._progress(
            round(100 * (self._done * self._epochs + epochs)),
            100 * self._trainings * self._epochs,
            f"{what}, loss {loss:.3f}, held-out macro-F1 {self._macro_f1:.3f}",
        )
