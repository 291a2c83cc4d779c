"""On the path of a process: makes `Stream.push` slower, as the environment says.

It gets there by an absolute entry of PYTHONPATH, which was meant; a user's folder has no such way into our processes.

SLOWED_SHARE    so much more time for every push (0.05: 5 %), spent spinning
STALLED_EVERY   so many pushes from one stall of 50 ms to the next
SLOWED_ONLY     a text: a process that does not have it in its arguments is wrapped likewise, and takes no more time
"""

import importlib.machinery
import os
import sys
import time

ASKED = os.environ.get("SLOWED_ONLY", "") in " ".join(sys.orig_argv)
SHARE = float(os.environ.get("SLOWED_SHARE", 0)) if ASKED else 0
EVERY, STALL_S = int(os.environ.get("STALLED_EVERY", 0)), 0.05


def slowed(push):
    count = 0

    def slower(self, *arguments, **named):
        nonlocal count
        count += 1
        began = time.perf_counter()
        predictions = push(self, *arguments, **named)
        until = began + (time.perf_counter() - began) * (1 + SHARE)
        while time.perf_counter() < until:
            pass
        if EVERY and count % EVERY == 0:
            time.sleep(STALL_S)
        return predictions

    return slower


class Slower:
    """Finds runtime.stream as it is, and changes it when it has been read."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "runtime.stream":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        read = spec.loader.exec_module

        def exec_module(module):
            read(module)
            module.Stream.push = slowed(module.Stream.push)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Slower)
