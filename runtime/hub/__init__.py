"""Many streams over one engine.

core      the queues and the batches, told the time by the caller: no thread, no clock     HubCore
thread    the one thread that runs a core                                                 Hub
waiting   what waits: samples for a window, windows for a batch
tally     what becomes of the windows, counted                                            HubCounters
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.hub.core import HubCore
    from runtime.hub.tally import HubCounters
    from runtime.hub.thread import Hub

__getattr__ = attach(
    __name__,
    {
        "core": "HubCore",
        "tally": "HubCounters",
        "thread": "Hub",
    },
)

__all__ = [
    "Hub",
    "HubCore",
    "HubCounters",
]
