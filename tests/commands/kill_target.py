"""Run by test_kill.py: writes to bundles in children of one process that has imported everything.

loop KIND BUNDLE      for each line of stdin: a child fine-tunes for ever, and is killed after so many seconds
crash ACTION FOLDER   a child for each k works on FOLDER/k/walk.bundle, and dies before its k-th system call
"""

import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import runtime.engine.ort  # noqa: F401  # so that a child does not pay for the import
from runtime import Bundle, Recording, labelled_windows
from sdk.demo import __main__ as demo
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from sdk.meters import open_meter

LAYERS = FinetunePlan("layers", sure=True, l2=0.001, folds=2, judge="one", batch=64, learning_rate=3e-3, keep=0.0)
PLANS = {
    "head": (FinetunePlan(l2=0.0003, folds=2, sure=True), FinetunePlan(l2=0.003, folds=2, sure=True)),
    "layers": (replace(LAYERS, epochs=8), replace(LAYERS, epochs=12)),
}
HEAD = "head.bias"
DIED = 9
_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "fcntl.flock", "tempfile.mkstemp")


def wearer():
    """A few windows of person 6, every class by the name of the next: much to learn, so that all runs are accepted."""
    manifest = Bundle.open(demo.DATA / "walk.bundle").manifest
    recording = Recording.load(demo.DATA / "person_6.npz")
    found = labelled_windows([recording], manifest.signal, manifest.window, manifest.labels)
    samples, labels = found.samples[::12], (found.labels[::12] + 1) % len(manifest.labels)
    return LabelledSet(samples, labels, np.ones(len(labels)))


def work(kind, path, data):
    """One plan, the other, back to the base, for ever."""
    while True:
        for plan in PLANS[kind]:
            _, report = finetune(Bundle.open(path, "base"), data, plan)
            if not report.accepted:
                os._exit(1)
        Bundle.open(path, "base").rollback()


def loop(kind, path):
    data = wearer()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            work(kind, path, data)
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        print("killed" if os.WIFSIGNALED(status) else f"ended with {os.WEXITSTATUS(status)}", flush=True)


def commit(path):
    bundle = Bundle.open(path)
    bundle.commit({HEAD: bundle.base_tensors[HEAD] + np.float32(1)}, {"by": "a test"})


def commit_again(path):
    bundle = Bundle.open(path)
    bundle.commit({HEAD: bundle.base_tensors[HEAD] + np.float32(2)}, {"by": "a test"})


def rollback(path):
    Bundle.open(path).rollback()


def die_before(k):
    """Make this process end just before its k-th system call that could matter; count from 1."""
    left = [k]

    def count():
        left[0] -= 1
        if not left[0]:
            os._exit(DIED)

    sync = os.fsync

    def fsync(handle):
        count()
        sync(handle)

    os.fsync = fsync
    sys.addaudithook(lambda event, arguments: count() if event in _EVENTS else None)


def crash(action, folder):
    """Print how many children died before one came through."""
    act = {"commit": commit, "commit_again": commit_again, "rollback": rollback}[action]
    for k in range(1, 1000):
        path = Path(shutil.copytree(folder / "start.bundle", folder / str(k) / "walk.bundle"))
        child = os.fork()
        if not child:
            die_before(k)
            act(path)
            os._exit(0)
        code = os.WEXITSTATUS(os.waitpid(child, 0)[1])
        if code != DIED:
            print(k - 1, code)
            return


if __name__ == "__main__":
    open_meter()
    if sys.argv[1] == "loop":
        loop(sys.argv[2], Path(sys.argv[3]))
    else:
        crash(sys.argv[2], Path(sys.argv[3]))
