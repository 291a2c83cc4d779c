"""Somebody's file as it is, in onnxruntime, to compare with: its answers, and two values inside it.

inputs -> layout -> the file, untouched, at the batch that it wants     -> its own outputs
                    the same graph, showing two values more             -> features, logits
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto, helper

from exporters.own.head import FoundHead
from exporters.own.layout import InputLayout
from exporters.own.read import input_of
from runtime.engine.ort import Session, open_session, session_options
from runtime.errors import EngineError, InputError

_TOLERANCE = 1e-4
_SHOWN = 3  # rows in a message


def outputs_of(model: ModelProto, names: Sequence[str], inputs: NDArray[np.float32], batch: int | None) -> list[Any]:
    """Values of a graph.

    Args:
        model: left as it is.
        names: of the values, each with rows of windows.
        inputs: shape (n, ...), as the model takes them.
        batch: that it takes; None: any.
    """
    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(ValueInfoProto(name=name) for name in names)
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(watched.SerializeToString(), "the model", options=options)
    return in_batches(session, names, inputs, batch)


def in_batches(session: Any, names: Sequence[str] | None, inputs: NDArray[np.float32], batch: int | None) -> list[Any]:
    """What a session gives for any number of inputs, though it may take so many at a time only.

    Args:
        session: of onnxruntime.
        names: of the outputs; None: all.
        inputs: shape (n, ...).
        batch: that it takes; None: any.
    """
    size, name, parts = batch or len(inputs), session.get_inputs()[0].name, []
    for at in range(0, len(inputs), size):
        part = inputs[at : at + size]
        full = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])
        parts.append([_rows(value)[: len(part)] for value in session.run(names, {name: full})])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _rows(value: Any) -> NDArray[Any]:
    """An output as an array; a list of dictionaries, as ZipMap gives, as a table."""
    return np.array([[*row.values()] for row in value]) if isinstance(value, list) else np.asarray(value)


def open_original(path: Path) -> Session:
    """The file in onnxruntime, with whatever data lie beside it.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        return Session(str(path), session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base class
        got = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(path, expected="a model that onnxruntime runs", got=got, fix="Export it again.") from error


class OriginalModel:
    """The file.

    Args:
        path: of it.
        model: the same as a plain graph.
        head: its last linear layer.
        layout: of its input.
        batch: that it takes; None: any.
    """

    def __init__(self, path: Path, model: ModelProto, head: FoundHead, layout: InputLayout, batch: int | None) -> None:
        self._path, self._model, self._head, self._layout, self._batch = path, model, head, layout, batch

    def __call__(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features and logits of inputs of our graph, shape (n, ...), each of shape (n, ...).

        Raises:
            InputError: the last linear layer works on something else than one row of features for each window.
        """
        placed, head = self._layout.apply(inputs), self._head
        is_input = head.features == input_of(self._model, self._path).name
        names = [*([] if is_input else [head.features]), *([head.logits] if head.logits else [])]
        found = outputs_of(self._model, names, placed, self._batch) if names else []
        features = placed if is_input else found[0]
        if features.ndim != 2:
            got = f"shape (n, {', '.join(map(str, features.shape[1:]))}) before {head.name}"
            fix = "Let it end with a mean over time, or flatten, and a linear layer; or name another with --head."
            raise InputError(self._path, expected="a row of features for each window", got=got, fix=fix)
        weight, bias = head.both()
        if head.logits is None:
            return features, (features.astype(np.float64) @ weight.T + bias).astype(np.float32)
        logits = found[-1]
        return features, logits if len(head.weight) > 1 else np.concatenate([-logits, logits], 1) / np.float32(2)

    def check_outputs(self, session: Session, inputs: NDArray[np.float32], labels: Sequence[str]) -> str:
        """Make sure that what the file itself answers is what its logits say.

        Args:
            session: of the file.
            inputs: of our graph, shape (n, ...).
            labels: as the manifest has them.

        Returns:
            What the answers are: "softmax", "logits" ...

        Raises:
            InputError: they are something else, or labels in another order.
        """
        logits = self(inputs)[1]
        outputs = in_batches(session, None, self._layout.apply(inputs), self._batch)
        shifted = logits - logits.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        forms = {"softmax": np.exp(logs), "logits": logits, "log-softmax": logs}
        if logits.shape[1] == 2:
            forms |= {"sigmoid": np.exp(logs[:, 1:]), "one logit": 2 * logits[:, 1:]}
        found = [name for value in outputs for name, form in forms.items() if _is_same(value, form)]
        chosen = [value for value in outputs if value.ndim == 1 and value.dtype.kind in "OSU"]
        for value in chosen:
            said = [labels[i] for i in logits.argmax(1)]
            if [str(word) for word in value] != said:
                got = f"{', '.join(map(str, value[:_SHOWN]))} where it has {', '.join(said[:_SHOWN])}"
                fix = "Give the labels in the order of the model's classes."
                raise InputError(self._path, expected="the labels of the manifest", got=got, fix=fix)
        if not found and not chosen:
            got = ", ".join(f"{value.dtype}{list(value.shape)}" for value in outputs)
            fix = "Name the layer whose answers count with --head."
            expected = f"answers that are what {self._head.name} gives, or its softmax"
            raise InputError(self._path, expected=expected, got=f"others: {got}", fix=fix)
        return found[0] if found else "labels"

    def runs(self, layout: InputLayout) -> bool:
        """Whether the model runs on windows in this order."""
        windows = np.zeros((self._batch or 2, *layout.shape), np.float32)
        try:
            outputs_of(self._model, [value.name for value in self._model.graph.output][:1], windows, self._batch)
        except (EngineError, ValueError):
            return False
        return True


def observed(model: ModelProto, layout: InputLayout, batch: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all values at a batch."""
    names = [name for node in model.graph.node for name in node.output if name]
    inputs = np.random.default_rng(0).normal(size=(batch, *layout.shape)).astype(np.float32)
    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(watched.SerializeToString(), "the model")
    found = session.run(names, {session.get_inputs()[0].name: inputs})
    return {name: np.shape(value) for name, value in zip(names, found, strict=True)}


def _is_same(value: NDArray[Any], form: NDArray[np.float32]) -> bool:
    if value.dtype.kind != "f" or value.size != form.size:
        return False
    scale = max(float(np.abs(form).max()), 1e-6)
    return bool(np.abs(value.reshape(form.shape) - form).max() <= _TOLERANCE * scale)
