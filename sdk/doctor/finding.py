"""What was found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    A problem keeps something from working, or makes its answers wrong; a note is worth knowing.

    Raises:
        ValueError: another state, or a problem without its fix.
    """

    topic: str  # "python", "library torch", "meter rapl"
    state: str  # OK, NOTE or PROBLEM
    text: str  # what was found
    fix: str = ""  # what to do, as a sentence; a problem always has one
    facts: dict[str, Any] = field(default_factory=dict)  # the same as plain values

    def __post_init__(self) -> None:
        if self.state not in (OK, NOTE, PROBLEM) or (self.state == PROBLEM) > bool(self.fix):
            raise ValueError(f"a finding is ok, a note, or a problem with its fix, got {self.state!r}: {self.text}")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
