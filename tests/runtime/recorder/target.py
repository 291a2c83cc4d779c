"""Run by test_recorder.py: records in children of one process, which are killed.

For each line of stdin, "SECONDS": a child goes on recording where the store ends, for so long; the highest number that
a `flush` had returned for is printed.
"""

import os
import signal
import sys
import time

from runtime import Recorder
from tests.recorder_tools import EPOCH_S, everything, pair, walk


def record(path, max_mb, told, bundle):
    labels = bundle.manifest.labels
    known = everything(path)
    k = known[-1] + 1 if known else 0
    with Recorder(path, bundle, max_mb=max_mb, epoch=EPOCH_S, commit_s=0.005) as recorder:
        while True:
            for _ in range(1 + k % 37):
                recorder.write(*pair(k, labels))
                k += 1
            if k % 3 and recorder.flush():
                os.write(told, f"{k - 1}\n".encode())


def loop(path, max_mb):
    bundle = walk()
    print("ready", flush=True)
    for line in sys.stdin:
        reading, told = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                record(path, max_mb, told, bundle)
            finally:
                os._exit(1)
        os.close(told)
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        with os.fdopen(reading) as pipe:
            said = pipe.read().split("\n")[:-1]
        print(int(said[-1]) if said else -1, int(os.WIFSIGNALED(status)), flush=True)


if __name__ == "__main__":
    loop(sys.argv[1], float(sys.argv[2]))
