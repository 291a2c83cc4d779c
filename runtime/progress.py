"""How something that takes long tells how far it is.

One word for one thing, in every package:

progress(done, total, text)    steps done, steps in all, what comes next; `runtime.command.Progress().show` draws it
report(...)                    a training: what it has reached, after each epoch
tell(thing)                    each thing as it is made or begun: a finding, a candidate
say(text)                      a line for a person
"""

from __future__ import annotations

from collections.abc import Callable

ShowProgress = Callable[[int, int, str], None]  # steps done, steps in all, what comes next


def silent(done: int, total: int, text: str) -> None:
    """Tell nobody how far it is."""
