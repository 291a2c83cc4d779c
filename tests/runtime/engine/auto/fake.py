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


class Remembers(OrtEngine):
    """Right and much faster: it only looks its answers up."""

    name = "remembers"

    def __init__(self, bundle, **options):
        super().__init__(bundle, **options)
        known = {row.tobytes(): super(Remembers, self).logits(row) for row in bundle.golden().windows}
        self.logits = lambda window: known[window.tobytes()]


class Builds(OrtEngine):
    """Lets another answer until it is built, like an engine for a GPU."""

    name, reason, waits = "builds", "onnxruntime answers: no GPU", ()

    def wait(self, timeout_s=None):
        return self.waits.pop(0)


class Slower(OrtEngine):
    name = "slower"

    def logits(self, window):
        time.sleep(0.02)
        return super().logits(window)


def table(*classes, default=True):
    """The default engine, and these."""
    kinds = {kind.name: EngineKind(__name__, kind.__name__, "numpy", "pip install it") for kind in classes}
    return {**({"onnxruntime": ENGINES["onnxruntime"]} if default else {}), **kinds}
