"""Engines that go wrong, to be named in a table; the child that measures imports this module by its name."""

import os
import signal
import sys
import time

from runtime.engine import ENGINES, EngineKind
from runtime.engine.ort import OrtEngine
from tests.waiting import Clock

CLOCK = Clock()  # moved by the engines that say what they cost


class Plain(OrtEngine):
    """What the default is, at 0.4 ms a window of `CLOCK`, however fast this machine is."""

    name, cost_s = "onnxruntime", 0.0004

    def logits(self, window):
        CLOCK.now += self.cost_s
        return super().logits(window)

    def run(self, windows, output="logits"):
        CLOCK.now += self.cost_s * len(windows)
        return super().run(windows, output)


class Killed(OrtEngine):
    """Dies as a library does that was built for another processor."""

    name = "killed"

    def __init__(self, bundle, **options):
        os.kill(os.getpid(), signal.SIGILL)


class KilledLater(OrtEngine):
    """Dies in the race, long after its answers were found right."""

    name = "killed-later"

    def logits(self, window):
        if "race" in (sys._getframe(i).f_code.co_name for i in (2, 3)):
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


class Wrong(Plain):
    """Other answers, and fast."""

    name = "wrong"

    def logits(self, window):
        return super().logits(window)[::-1]


class WrongInBatches(Plain):
    name = "wrong-in-batches"

    def run(self, windows, output="logits"):
        return super().run(windows, output) * 1.01


class NotANumber(Plain):
    name = "not-a-number"

    def logits(self, window):
        super().logits(window)
        return [float("nan")] * 3


class Raises(OrtEngine):
    name = "raises"

    def __init__(self, bundle, **options):
        raise RuntimeError("no kernel for\n  this device")


class Slow(Plain):
    """Right, and half as fast as the default."""

    name, cost_s = "slow", 2 * Plain.cost_s


class Quick(Plain):
    """Right, and twice as fast as the default."""

    name, cost_s = "quick", Plain.cost_s / 2


class Builds(Plain):
    """Lets another answer until it is built, like an engine for a GPU."""

    name, reason, waits = "builds", "onnxruntime answers: no GPU", ()

    def wait(self, timeout_s=None):
        return self.waits.pop(0)


class Slower(Plain):
    name, cost_s = "slower", 50 * Plain.cost_s


def table(*classes, default=True):
    """The default engine, unless one of these stands in for it, and these."""
    kinds = {kind.name: EngineKind(__name__, kind.__name__, "numpy", "pip install it") for kind in classes}
    return {**({"onnxruntime": ENGINES["onnxruntime"]} if default else {}), **kinds}
