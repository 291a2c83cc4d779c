"""How long steps tell how far they are: `progress(done, total, text)`, which runtime.command.Progress().show draws."""

from __future__ import annotations

from collections.abc import Callable

ShowProgress = Callable[[int, int, str], None]  # steps done, steps in all, what comes next


def silent(done: int, total: int, text: str) -> None:
    """Tell nobody how far a long step is."""
