"""Waiting for what comes, however slow or busy the machine is.

No test says how fast something must be. It waits for an event, with a ceiling that is reached by nothing but what never
comes; it counts steps; or it hands in a clock that it turns itself.
"""

import threading
import time

PATIENCE_S = 120.0


def until(condition):
    """Wait for a condition that another thread or process brings about."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.005)


def ending(call):
    """What a call returns that must come back; a test fails, and does not hang, where it does not."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert answers, "it does not end"
    return answers[0]


class Clock:
    """A clock that only work and tests move."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
