"""Runs tests for `tests.mutants`, each time in a fork of one process that has imported what is slow to import.

    {"tests": [...], "watch": true}      a line on stdin: run them on the code as it is
        {"code": 0, "tests": {name: {"s": 0.3, "reached": [["runtime/stream.py", 40]]}}}
    {"tests": [...], "limits_s": {name: 31.5, ...}}      with a fault: these, in this order, to the first that fails
        {"code": 1, "failed": name}      or {"code": -14}: one took longer than it may

Packages from outside of the checkout are imported once they have been seen in a watched run; code of the checkout
never is. A test has reached a function, named by its first line, that was called while it ran, in this process.
Started by its text, in a copy of the checkout, so that no folder of tests/ can be taken for a package.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings

FOLDER = os.getcwd()
BUNDLES = "SENSEDGE_KEPT_BUNDLES"  # of tests/conftest.py


class Watch:
    """A plugin of pytest that sees how long each test takes, and what of the checkout it reaches."""

    def __init__(self):
        self.tests, self.began, self.reached = {}, time.monotonic(), set()
        sys.settrace(self.trace)
        threading.settrace(self.trace)

    def trace(self, frame, event, argument):
        code = frame.f_code
        if code.co_filename.startswith(FOLDER):
            self.reached.add((code.co_filename, code.co_firstlineno))

    def pytest_collection_finish(self):
        self.began, self.reached = time.monotonic(), set()

    def pytest_runtest_logfinish(self, nodeid):
        sys.settrace(self.trace)  # a test may have taken it away
        found = [(os.path.relpath(name, FOLDER), line) for name, line in sorted(self.reached)]
        found = [pair for pair in found if not pair[0].startswith("tests/")]
        self.tests[nodeid] = {"s": time.monotonic() - self.began, "reached": found}
        self.pytest_collection_finish()

    def packages(self):
        """What was imported from outside, in the order in which it was."""
        files = [(name, getattr(module, "__file__", None) or "") for name, module in list(sys.modules.items())]
        wanted = [name for name, file in files if file and not file.startswith(FOLDER) and "pytest" not in name]
        return [name for name in wanted if not name.startswith(("__", "matplotlib", "conftest", "test"))]


class Ordered:
    """A plugin of pytest that runs tests in an order, each within a limit."""

    def __init__(self, limits_s):
        self.place = {name: i for i, name in enumerate(limits_s)}
        self.limits_s, self.failed = limits_s, ""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(max(limits_s.values())) + 1)

    def pytest_collection_modifyitems(self, config, items):
        items.sort(key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logstart(self, nodeid):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(self.limits_s[nodeid]) + 1)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed = report.nodeid


def run(request, base):
    """In the fork: pytest, and what was seen of it."""
    import pytest

    words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={base}/tests"]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning", *request["tests"]]
    with contextlib.suppress(ImportError):
        from hypothesis import Phase, settings

        # what fails is not made smaller, and not kept for the next
        settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), database=None)
        settings.load_profile("mutants")
    if request.get("watch"):
        watch = Watch()
        code = pytest.main(words, [watch])
        sys.settrace(None)
        return {"code": int(code), "tests": watch.tests, "packages": watch.packages()}
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    ordered = Ordered(request["limits_s"])
    return {"code": int(pytest.main(words, [ordered])), "failed": ordered.failed}


def forked(request, base):
    """The answer to a request; whatever the tests started is ended."""
    answer = os.path.join(base, "answer.json")
    with contextlib.suppress(FileNotFoundError):
        os.remove(answer)
    child = os.fork()
    if not child:
        os.setsid()
        log = os.open(os.path.join(base, "log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number, to in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(to, number)
        if request.get("bundles"):
            os.environ[BUNDLES] = request["bundles"]
        try:
            found = run(request, base)
            with open(answer, "w") as file:
                json.dump(found, file)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not os.path.exists(answer):
        return {"code": os.waitstatus_to_exitcode(status)}
    with open(answer) as file:
        return json.load(file)


def main(base):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        answer = forked(json.loads(line), base)
        for name in answer.pop("packages", ()):
            with warnings.catch_warnings(), contextlib.suppress(Exception):
                warnings.simplefilter("ignore")
                importlib.import_module(name)
        for name, module in list(sys.modules.items()):  # of the checkout, which one of them took for its own
            if (getattr(module, "__file__", None) or "").startswith(FOLDER):
                del sys.modules[name]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
