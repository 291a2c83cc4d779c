"""An ONNX model of one's own, from whatever library, as a bundle. Neither torch nor that library is needed.

make       all of it                                           bundle_of_onnx, look
read       the file as one plain graph with its values inside
constants  what a graph computes of constants alone
head       the last linear layer, and what the model's answers make of it
layout     the order of axes it wants, and a batch that is free
opset      one version of the operators
tensors    what can be trained, by name
original   the file as it is, to compare with
"""

from exporters.own.make import bundle_of_onnx, look

__all__ = ["bundle_of_onnx", "look"]
