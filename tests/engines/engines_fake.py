"""Engines that go wrong, to be named in a table; the child that measures imports this module by its name."""

import os
import signal
import sys
import time

from runtime.engine import ENGINES, EngineKind
from runtime.engine.ort import OrtEngine


class Killed(OrtEngine):
    """Dies as a library does that was built for another processor."""

    name = "killed"

    def __init__(self, bundle, **options):
        os.kill(os.getpid(), signal.SIGILL)


class KilledLater(OrtEngine):
    """Dies in the race, long after its answers were found right."""

    name = "killed-later"

    def logits(self, window):
        if sys._getframe(2).f_code.co_name == "_race":
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().logits(window)


class Leaves(OrtEngine):
    name = "leaves"

    def __init__(self, bundle, **options):
        os._exit(7)


class Hangs(OrtEngine):
    name = "hangs"

    def __init__(self, bundle, **options):
        time.sleep(3600)


class Noisy(OrtEngine):
    """Prints to the standard output, as C libraries do."""

    name = "noisy"

    def __init__(self, bundle, **options):
        os.write(1, b'{"measured": []}\nhello\n')
        super().__init__(bundle, **options)


class Wrong(OrtEngine):
    """Other answers, and fast."""

    name = "wrong"

    def logits(self, window):
        return super().logits(window)[::-1]


class WrongInBatches(OrtEngine):
    name = "wrong-in-batches"

    def run(self, windows, output="logits"):
        return super().run(windows, output) * 1.01


class NotANumber(OrtEngine):
    name = "not-a-number"

    def logits(self, window):
        return [float("nan")] * 3


class Raises(OrtEngine):
    name = "raises"

    def __init__(self, bundle, **options):
        raise RuntimeError("no kernel for\n  this device")


class Slow(OrtEngine):
    """Right, and half as fast as the default."""

    name = "slow"

    def logits(self, window):
        super().logits(window)
        return super().logits(window)


class Slower(OrtEngine):
    name = "slower"

    def logits(self, window):
        time.sleep(0.02)
        return super().logits(window)


def table(*classes, default=True):
    """The default engine, and these."""
    kinds = {kind.name: EngineKind("engines_fake", kind.__name__, "numpy", "pip install it") for kind in classes}
    return {**({"onnxruntime": ENGINES["onnxruntime"]} if default else {}), **kinds}
