"""Gradients from torch, the graphs' own, and how far they are apart."""

import copy
import io
import warnings

import numpy as np
import onnxruntime
import torch
from torch.nn import functional

from runtime.bundle.contents import TensorSpec
from runtime.engine.ort import training_options
from runtime.specs import Modality, Normalise, Signal, WindowSpec
from tests.bundles_small import small_manifest


def torch_gradients(module, manifest, windows, labels, weights, dtype=torch.float64):
    """Loss, logits and the gradient of every parameter, by the module's own names, as float64."""
    module = copy.deepcopy(module).to(dtype).eval()
    normalise = manifest.normalise
    inputs = torch.from_numpy(windows).to(dtype)
    if any(normalise.mean) or {*normalise.std} != {1}:
        inputs = (inputs - torch.tensor(normalise.mean, dtype=dtype)) / torch.tensor(normalise.std, dtype=dtype)
    logits = module(inputs)
    shares = torch.from_numpy(weights).to(dtype) / float(np.sum(weights, dtype=np.float64))
    loss = (functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none") * shares).sum()
    loss.backward()
    gradients = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).double().numpy()
        for name, p in module.named_parameters()
    }
    return loss.item(), logits.detach().double().numpy(), gradients


def session(model):
    return onnxruntime.InferenceSession(model, training_options(), providers=["CPUExecutionProvider"])


def flat(bundle, spec):
    return np.concatenate([bundle.tensor(name).ravel() for name in spec.tensors])


def graph_gradients(model, spec, bundle, activations, labels, weights):
    """The same three of a training graph."""
    feeds = {"activations": activations, "labels": labels, "weights": weights, "theta": flat(bundle, spec)}
    loss, logits, gradient = session(model).run(["loss", "logits", "gradient"], feeds)
    shapes = {tensor.name: tensor.shape for tensor in bundle.manifest.tensors}
    parts = np.split(gradient, np.cumsum(spec.sizes)[:-1])
    return float(loss), logits, {n: part.reshape(shapes[n]) for n, part in zip(spec.tensors, parts, strict=True)}


def worst(found, truth):
    """The largest difference of any tensor that was found, as a share of the largest gradient of the whole model."""
    largest = max(float(np.abs(gradient).max()) for gradient in truth.values())
    return max(float(np.abs(gradient - truth[name]).max()) for name, gradient in found.items()) / largest


def labelled(n, n_classes, seed=0):
    """Labels and weights that are not all the same."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_classes, n), rng.uniform(0.25, 2, n).astype(np.float32)


def exported_model(module, shape):
    """By the older exporter, which takes milliseconds and writes other graphs than the one that bundles come from."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, *shape),),
            buffer,
            input_names=["windows"],
            output_names=["logits"],
            dynamic_axes={"windows": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=18,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamo=False,
        )
    return buffer.getvalue()


def manifest_of(module, shape, layer=lambda name: 0):
    """A manifest that has what a training graph needs; `layer` tells the layer of a parameter by its name."""
    names = tuple(f"c{i}" for i in range(shape[1]))
    return small_manifest(
        signal=Signal((Modality("acc", "m/s^2", names, 32.0),)),
        window=WindowSpec(shape[0], shape[0]),
        normalise=Normalise((0.0,) * shape[1], (1.0,) * shape[1]),
        tensors=tuple(TensorSpec(name, tuple(p.shape), layer(name), 0) for name, p in module.named_parameters()),
    )
