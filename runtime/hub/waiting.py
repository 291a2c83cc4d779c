"""What waits in a hub: the samples of each stream for a window, its windows for a batch."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import NamedTuple

from runtime.hub.tally import WindowTally
from runtime.window import Window, Windower
from runtime.window.watch import Watch


class StreamQueue:
    """One stream: its samples that wait for a window, its windows that wait for a batch."""

    __slots__ = ("lock", "name", "removed", "tally", "waiting", "watch", "windower")

    def __init__(self, name: str, windower: Windower, watch: Watch) -> None:
        self.name, self.windower, self.watch = name, windower, watch
        self.lock = Lock()  # over `windower`; taken before the core's
        self.waiting: deque[Waiting] = deque()
        self.tally, self.removed = WindowTally(), False


class Waiting(NamedTuple):
    """A window in the queue."""

    source: StreamQueue
    window: Window
    window_s: float  # that cutting it took
