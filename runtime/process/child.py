"""A process of our own: how it is started, what it answers, how it ended.

    with Child(["-m", "runtime.engine.auto.trial"]) as child:      the child's end: `runtime.process.parent`
        child.start(request)
        message = child.receive(limit_s)      a line of JSON; None: it has ended
        child.go_on()                         where it asked
    it has ended, by itself or by us

Nothing of the folder that the user is in reaches a child, be it called sdk.py, numpy.py, json.py or sitecustomize.py.
It works in an empty folder of its own; an empty or relative entry of PYTHONPATH is left out, and Python adds no folder
by itself (PYTHONSAFEPATH, from 3.11 on; before that, the folder it adds is the empty one). So a path that is handed to
a child must be absolute. An absolute entry of PYTHONPATH was meant, and stays.

A child ends with its parent, even one that is killed: see `runtime.process.parent`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from runtime.process.parent import GO

_ROOT = str(Path(__file__).absolute().parents[2])  # where our packages are
HELD = "from runtime.process.parent import hold; hold(); "  # for code after -c that tells its parent nothing
_FOLDERS = ("SENSEDGE_CACHE",)  # variables that name one
_BLOCK = 1 << 16


class Child:
    """A process, for a `with` statement.

    Args:
        arguments: of the interpreter, such as `-m`, a module, and its own arguments.
        python: the interpreter; None: this one.
        environment: over this process's own.
        path: folders to import from behind ours and those of PYTHONPATH; the current one is left out.
        answers: it writes lines for us to stdout; otherwise nobody reads what it writes there.
        alone: in a session of its own: what it starts is ended with it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        python: str | None = None,
        environment: Mapping[str, str] | None = None,
        path: Sequence[str] = (),
        answers: bool = True,
        alone: bool = False,
    ) -> None:
        self._command = [python or sys.executable, *arguments]
        self._environment = _environment({**os.environ, **(environment or {})}, path, own=python is None)
        self._answers, self._alone = answers, alone
        self._process: subprocess.Popen[bytes] | None = None
        self._go: int | None = None  # where we write that it may go on; its stdin is never written to
        self._rest = b""

    def __enter__(self) -> Child:
        with ExitStack() as stack:
            self._stderr = stack.enter_context(tempfile.TemporaryFile())
            self._folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sensedge-"))
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._closing:
            if self._process is not None:
                self._end(self._process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                (os.killpg if self._alone else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if self._go is not None:
            os.close(self._go)

    def start(self, *arguments: str) -> None:
        """Start it.

        Args:
            arguments: more of them, such as one that says when it was started.

        Raises:
            OSError: no process can be started.
        """
        theirs, self._go = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self._answers else subprocess.DEVNULL,
                stderr=self._stderr,
                cwd=self._folder,
                env={**self._environment, GO: str(theirs)},
                pass_fds=(theirs,),
                start_new_session=self._alone,
            )
        except BaseException:
            os.close(self._go)
            self._go = None
            raise
        finally:
            os.close(theirs)

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the child was not started")
        return self._process

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._started.pid

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._started.poll() is not None

    def go_on(self) -> None:
        """Let it go on, where it asked; one that is gone is told by the next message, which is missing."""
        assert self._go is not None
        with suppress(BrokenPipeError):
            os.write(self._go, b"\n")

    def receive(self, limit_s: float | None = None) -> Any:
        """Its next message; None: there is none, since it closed its end.

        Raises:
            TimeoutError: none came in so many seconds.
        """
        until_s = None if limit_s is None else monotonic() + limit_s
        while b"\n" not in self._rest:
            block = self._read(until_s)
            if not block:
                return None
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def text(self, limit_s: float | None = None) -> str:
        """All that it writes until it closes its end, where that is not lines for us.

        Raises:
            TimeoutError: it took more than so many seconds.
        """
        until_s = None if limit_s is None else monotonic() + limit_s
        while block := self._read(until_s):
            self._rest += block
        return self._rest.decode()

    def _read(self, until_s: float | None) -> bytes:
        """What is there of its stdout, waited for; nothing: the end."""
        assert self._started.stdout is not None
        handle = self._started.stdout.fileno()
        if until_s is not None and not select.select([handle], [], [], max(until_s - monotonic(), 0))[0]:
            raise TimeoutError("a process gave no answer in time")
        return os.read(handle, _BLOCK)

    def wait(self, limit_s: float | None = None) -> int:
        """Its exit code, once it has ended; below 0: the signal that ended it.

        Raises:
            TimeoutError: it goes on after so many seconds.
        """
        try:
            return self._started.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError("a process did not end in time") from None

    def ending(self) -> str:
        """How it ended, in words: "signal SIGILL", "exit code 1"; it is waited for."""
        code = self.wait()
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"

    def last_line(self) -> str:
        """The last line that the process wrote to stderr; "" if none."""
        file = self._stderr.fileno()
        text = os.pread(file, _BLOCK, max(0, os.fstat(file).st_size - _BLOCK))
        return text.decode(errors="replace").strip().rpartition("\n")[2]


def _environment(environment: dict[str, str], path: Sequence[str], *, own: bool) -> dict[str, str]:
    """What a child finds in its environment; `own`: its interpreter is this one, and has what is installed here."""
    meant = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    more = [entry for entry in path if os.path.isabs(entry) and os.path.realpath(entry) != os.path.realpath(".")]
    installed = own and _ROOT in (*site.getsitepackages(), site.getusersitepackages())
    paths = [*([] if installed else [_ROOT]), *meant, *more]
    folders = {name: os.path.abspath(environment[name]) for name in _FOLDERS if environment.get(name)}
    return {**environment, **folders, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
