"""INT, TERM and HUP end a command within a second, also out of a library that is in the middle of something.

    with caught(act):                     act(number) is called in the main thread; None: KeyboardInterrupt
        engine: interrupts.append(stop)   called where the main thread does not come to it
        ...     last_words.append(close)  called where even that does not help, before the process ends

Python calls a handler between two of its own instructions: never, while a graph of strangers loops. But the kernel's
note of a signal also goes through a pipe to a thread of ours. If the main thread has not come to its handler after
0.25 s, what runs is interrupted; after 0.85 s the process ends as it is. An ignored HUP, as under nohup, stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPT_S, END_S = 0.25, 0.85  # after the signal
_FAILED = 1  # exit code

interrupts: list[Callable[[], object]] = []  # they end what a library is doing; from another thread
last_words: list[Callable[[], object]] = []  # they keep what was told; from another thread


@contextmanager
def caught(act: Callable[[int], object] | None = None) -> Iterator[None]:
    """Within, the three signals call `act`; in a thread that is not the main one nothing changes.

    Args:
        act: called with the number of the signal; None raises KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        _Watch.handled.set()
        if act is None:
            raise KeyboardInterrupt
        act(number)

    watch = None if _Watch.running else _Watch()
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
    """The thread that hears of signals though the main thread is busy."""

    running = False
    handled = threading.Event()  # whether the main thread has come to the handler of the latest signal

    def __init__(self) -> None:
        _Watch.running = True
        _Watch.handled.clear()
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._work, name="sensedge-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        signal.set_wakeup_fd(self._before)
        os.close(self._write)
        self._thread.join()
        os.close(self._read)
        _Watch.running = False

    def _work(self) -> None:
        while came := os.read(self._read, 64):
            if set(came) & set(ENDING):
                self._see_to_it(monotonic())
                _Watch.handled.clear()

    def _see_to_it(self, came_s: float) -> None:
        if _Watch.handled.wait(INTERRUPT_S):
            return
        for interrupt in interrupts:
            interrupt()
        if _Watch.handled.wait(max(came_s + END_S - monotonic(), 0)):
            return
        for say in last_words:
            with suppress(Exception):
                say()
        print("stopped in the middle of something", file=sys.stderr, flush=True)
        os._exit(_FAILED)
