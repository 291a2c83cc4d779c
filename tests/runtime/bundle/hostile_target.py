"""Open and use the bundles and zips named on stdin, in little memory; a line of JSON tells how each ended.

Run in a process of its own, so that a crash is seen as one and not by whoever counts.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np

from runtime.bundle import Bundle, unpack
from runtime.engine import open_engine
from runtime.errors import BundleError
from runtime.stream import Stream

MORE_BYTES = 192 << 20


def use(path):
    """The largest difference from the golden answers, relative to the largest of them."""
    bundle = unpack(path, path.parent / "unpacked.bundle") if path.suffix == ".zip" else Bundle.open(path)
    Bundle.open(bundle.path, "base").golden()
    for spec in bundle.manifest.training:
        bundle.training_model(spec)
    repr(bundle.manifest)
    engine = open_engine(Bundle.open(bundle.path, "base"))
    try:
        Stream(bundle).push(np.zeros((100, len(bundle.manifest.signal.channel_names)), np.float32))
        golden = bundle.golden()
        logits = engine.run(golden.windows)
    except BundleError:
        raise
    except Exception as error:  # the graph's own fault: the engine says so when it runs
        if type(error).__module__.startswith("onnxruntime"):
            return None
        raise
    return float(np.abs(logits - golden.logits).max() / np.abs(golden.logits).max())


def limit_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main():
    good, *paths = [Path(line.rstrip("\n")) for line in sys.stdin]
    use(good)  # what is loaded once is loaded now
    limit_memory()
    for path in paths:
        print(json.dumps({"path": str(path)}), flush=True)
        try:
            told = {"difference": use(path)}
        except BundleError as error:
            told = {"refused": str(error), "where": error.where}
        except BaseException as error:  # the test shows it
            told = {"crash": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
