"""Recordings: samples of one signal in a file, perhaps with their times and the true label of each.

recording   samples with times and labels; load, save, fit        Recording
npz         the fields of one from a .npz
files       a file of text, in pieces                             TextFile
text        lines to samples: CSV, JSON, name:value               TextReader
lines       bytes to lines
reader      lines of cells to rows; shape and numbers: how
table       rows as cells, and as a table                         Table
columns     which column is what; a table as samples and times    Columns
reading     what one says about columns
rows        samples with times and labels, on their way
labels      the true label of a span of time                      RecentLabels
checks      what is looked at wherever names and labels come      UNLABELLED, check_finite

docs/files.md says what a file may hold.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.recording.checks import UNLABELLED, check_finite
    from runtime.recording.columns import Columns
    from runtime.recording.files import TextFile
    from runtime.recording.labels import RecentLabels
    from runtime.recording.recording import Recording
    from runtime.recording.table import Table
    from runtime.recording.text import TextReader

__getattr__ = attach(
    __name__,
    {
        "checks": "UNLABELLED check_finite",
        "columns": "Columns",
        "files": "TextFile",
        "labels": "RecentLabels",
        "recording": "Recording",
        "text": "TextReader",
        "table": "Table",
    },
)

__all__ = ["UNLABELLED", "Columns", "RecentLabels", "Recording", "Table", "TextFile", "TextReader", "check_finite"]
