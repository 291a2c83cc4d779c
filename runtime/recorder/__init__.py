"""What a device keeps of its days: windows and predictions in a bounded file, and labels that are given later.

recorder   from a stream into the file, at its own pace           Recorder, RecordedStream
writer     one transaction after the other, within a budget
schema     the tables of the file
store      reading and marking the file                           Store
marks      marks laid over one another
days       what there is of each day                              days_of
labelled   the marked stretches as a recording                    labelled_recording
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.recorder.days import days_of
    from runtime.recorder.labelled import labelled_recording
    from runtime.recorder.recorder import RecordedStream, Recorder
    from runtime.recorder.store import Store

__getattr__ = attach(
    __name__,
    {
        "days": "days_of",
        "labelled": "labelled_recording",
        "recorder": "RecordedStream Recorder",
        "store": "Store",
    },
)

__all__ = [
    "RecordedStream",
    "Recorder",
    "Store",
    "days_of",
    "labelled_recording",
]
