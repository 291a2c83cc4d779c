"""Does TensorRT accept a graph? Asked on a workstation, without a GPU: TensorRT for RTX parses and builds on the CPU.

gate    one graph through the parser and the builder, in a process of its own   check_model, GateReport

Engines for a device are built on that device: runtime.engine.tensorrt.
"""

from exporters.tensorrt.gate import GateReport, check_model, find_python

__all__ = ["GateReport", "check_model", "find_python"]
