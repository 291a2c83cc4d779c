"""A page of one stream, in the browser of the device or of a phone: what it sees, what that was, what it learns.

messages    what goes to the page, as JSON: hello, tick, pred, event, cost, data, job
feed        one thread: source, stream, recorder; no message is made while nobody listens      Feed
cost        memory, processor, latency, power
marks       the store as the page asks for it: a stretch of a day, what was said there, marks  Marks
jobs        personalise and ask in child processes, versions, the trial of five minutes        Jobs
guard       who may look and who may change: hosts, tokens, origins, sizes, headers            Guard, Rules
app         routes, and the stream of events                                                   make_app
serving     tokens, hosts, a socket, the server

The page itself is in the folder web, with uPlot, which draws its lines (web/THIRD_PARTY.md).
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from sdk.live.app import make_app
    from sdk.live.feed import Feed
    from sdk.live.guard import Guard, Rules
    from sdk.live.jobs import Jobs
    from sdk.live.marks import Marks

__getattr__ = attach(
    __name__, {"app": "make_app", "feed": "Feed", "guard": "Guard Rules", "jobs": "Jobs", "marks": "Marks"}
)

__all__ = ["Feed", "Guard", "Jobs", "Marks", "Rules", "make_app"]
