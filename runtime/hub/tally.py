"""What becomes of the windows of a hub, counted."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import OneLine


@dataclass(frozen=True, repr=False)
class HubCounters(OneLine):
    """What became of the windows of one stream, or of all."""

    windows: int  # that pushes have completed: the sum of the others
    predicted: int
    dropped: int  # pushed out of a full queue, in a batch that failed, or waiting when the stream or the hub ended
    queued: int  # waiting, or in the batch that is being run
    not_finite: int = 0  # the model's numbers for them are none: no prediction


@dataclass(slots=True)
class WindowTally:
    """The same while it is counted."""

    windows: int = 0
    predicted: int = 0
    dropped: int = 0
    not_finite: int = 0

    def counters(self) -> HubCounters:
        """As they are now."""
        queued = self.windows - self.predicted - self.dropped - self.not_finite
        return HubCounters(self.windows, self.predicted, self.dropped, queued, self.not_finite)
