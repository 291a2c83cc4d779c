"""INT, TERM and HUP end a command within a second, also out of a library that is in the middle of something.

    with caught(act):                     act(number) is called in the main thread; None raises `Stopped`
        engine: interrupts.append(stop)   called where the main thread does not come to it
        ...     last_words.append(close)  called where even that does not help, before the process ends

Python calls a handler between two of its own instructions: never, while a graph of strangers loops. But the kernel's
note of a signal also goes through a pipe to a thread of ours. If the main thread has not come to its handler after
0.25 s, what runs is interrupted; after 0.85 s the process ends as it is. An ignored HUP, as under nohup, stays ignored.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPT_S, END_S = 0.25, 0.85  # after the signal
_FAILED = 1  # exit code

interrupts: list[Callable[[], object]] = []  # they end what a library is doing; from another thread
last_words: list[Callable[[], object]] = []  # they keep what was told; from another thread


class Stopped(KeyboardInterrupt):
    """Somebody asked for the end. Of one that is no subclass, the interpreter makes its own exit code at times."""


@contextmanager
def caught(act: Callable[[int], object] | None = None) -> Iterator[None]:
    """Within, the three signals call `act`; in a thread that is not the main one nothing changes.

    Args:
        act: called with the number of the signal; None raises `Stopped`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if _Watch.one is not None:
            _Watch.one.handle()
        if act is None:
            raise Stopped
        act(number)

    watch = None if _Watch.one else _Watch()
    numbers = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if watch is not None:
            watch.close()


class _Watch:
    """The thread that hears of signals though the main thread is busy.

    The kernel's notes wait in a pipe until the handler takes them out. Those that lie there for long tell of a main
    thread that does not come to its handler.
    """

    one: _Watch | None = None  # of this process

    def __init__(self) -> None:
        _Watch.one = self
        self._handled = 0  # times that the handler was called
        self._closing = threading.Event()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._work, name="sensedge-signals", daemon=True)
        self._thread.start()

    def handle(self) -> None:
        """The main thread has come to its handler."""
        self._handled += 1
        with suppress(BlockingIOError):
            os.read(self._read, 1024)

    def close(self) -> None:
        """End the thread."""
        signal.set_wakeup_fd(self._before)
        self._closing.set()
        with suppress(BlockingIOError):
            os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._write)
        os.close(self._read)
        _Watch.one = None

    def _work(self) -> None:
        while not self._closing.is_set():
            handled = self._handled
            select.select([self._read], [], [])
            if self._comes(INTERRUPT_S, handled):
                continue
            for interrupt in interrupts:
                interrupt()
            if self._comes(END_S - INTERRUPT_S, handled):
                continue
            for say in last_words:
                with suppress(Exception):
                    say()
            print("stopped in the middle of something", file=sys.stderr, flush=True)
            os._exit(_FAILED)

    def _comes(self, within_s: float, handled: int) -> bool:
        """Whether the main thread comes to its handler in time, or has been there."""
        if self._closing.wait(within_s) or self._handled > handled:
            return True
        return not select.select([self._read], [], [], 0)[0]
