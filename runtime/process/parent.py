"""The other end of `runtime.process.child`, in the child process: it tells its parent what it found, and ends with it.

    parent.tell(message)      a line of JSON
    parent.ask(message)       likewise, and wait to be told to go on

The parent holds the pipe of our stdin open for as long as it lives, and never writes to it. When it is closed the
kernel sends SIGIO, which ends this process whatever it is doing, a library in the middle of a call included: that needs
no thread and no clock. Not PR_SET_PDEATHSIG: it tells of the end of the thread that started us, and costs the import of
ctypes. That we may go on comes by a pipe of its own: for what is written the kernel sends SIGIO too, and it may do so
only after we have read it. Nearly nothing is imported here, since the profile measures what a child costs.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import stat

GO = "SENSEDGE_GO"  # the variable that names the descriptor on which we are told to go on
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_IS_GONE = 1  # exit code


def hold() -> None:
    """End this process as soon as stdin is closed, if that is a pipe; by hand, from a terminal, nothing changes."""
    if not stat.S_ISFIFO(os.fstat(_STDIN).st_mode):
        return
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(_STDIN, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(_STDIN, fcntl.F_SETFL, fcntl.fcntl(_STDIN, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(_STDIN, 0)  # a hang-up is told unasked
    if poll.poll(0):  # it was closed before the signals were asked for
        os._exit(_IS_GONE)


class Parent:
    """Who started this process. What a library prints from now on goes to stderr: only our lines are on stdout."""

    def __init__(self) -> None:
        self._lines = os.fdopen(os.dup(_STDOUT), "w")
        os.dup2(_STDERR, _STDOUT)
        self._go = int(os.environ.pop(GO, _STDIN))  # stdin: by hand
        hold()

    def tell(self, message: object) -> None:
        """Send a message of JSON's types."""
        print(json.dumps(message), file=self._lines, flush=True)

    def ask(self, message: object) -> None:
        """Send a message, and wait until the parent lets us go on."""
        self.tell(message)
        if not os.read(self._go, 1):
            os._exit(_IS_GONE)
