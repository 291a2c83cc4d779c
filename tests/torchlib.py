"""torch builds its registry of ONNX functions anew for every export: seconds that a process's exports can share."""

import functools


def keep() -> None:
    """Build it once in this process and in its forks; each export gets a copy that it may add to."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    build = functools.cache(ONNXRegistry.from_torchlib)

    def copy(cls, *options, **more):
        whole, own = build(*options, **more), cls()
        own.__dict__ |= whole.__dict__
        own.functions = {target: list(functions) for target, functions in whole.functions.items()}
        return own

    ONNXRegistry.from_torchlib = classmethod(copy)


def build() -> None:
    """Keep it, and build it now: for a process that forks."""
    keep()
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib()
