"""Gradient graphs: ordinary ONNX graphs that an inference engine runs to train a model on the device. No torch needed.

build           a model's graph -> a graph of loss and gradient    training_graph, TrainingGraph
bundle          such graphs beside the model in a bundle           add_training, with_training

forward         the model as a list of steps
cut             where the frozen part ends
patterns        chains of steps that have a rule as one
differentiate   the walk forward and the walk back
graph           tensors, shapes, nodes
memory          what a graph keeps at once

elementwise, moves, linear, attention, recurrent, convolution (with geometry, pooling): a rule per operator
borrowed        the rules of all others
"""

try:
    import onnx  # noqa: F401
except ImportError as error:
    raise ImportError('training graphs need onnx: pip install "sensedge[graphs]"') from error

from exporters.training.build import TrainingGraph, training_graph
from exporters.training.bundle import add_training, with_training

__all__ = ["TrainingGraph", "add_training", "training_graph", "with_training"]
