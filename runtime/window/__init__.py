"""From samples to windows: late, uneven and missing samples, the beat of the model, and what is to be said of a window.

samples -> check -> Track: Order -> Rate -> gaps -> LowPass -> Grid -> Buffer -> Window

windower   a stream, in pieces of any size            Windower
cut        whole recordings, with their labels        cut_windows, label_of, labelled_windows
check      what may be pushed
track      one clock: samples in, rows of the grid out
order, rate, lowpass, grid   what a track is made of
buffer     the newest rows, from which windows are cut
frame      windows turned so that up is +z
watch      whether a window's values can be what the bundle says
sensor     the same of one modality
unusual    how unlike the training data the latest windows are
pieces     what goes through all of these, counted    Counters, Window, Quality
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.window.cut import LabelledWindows, cut_windows, label_of, labelled_windows
    from runtime.window.pieces import Counters, Quality, Window
    from runtime.window.windower import Windower

__getattr__ = attach(
    __name__,
    {
        "cut": "LabelledWindows cut_windows label_of labelled_windows",
        "pieces": "Counters Quality Window",
        "windower": "Windower",
    },
)

__all__ = [
    "Counters",
    "LabelledWindows",
    "Quality",
    "Window",
    "Windower",
    "cut_windows",
    "label_of",
    "labelled_windows",
]
