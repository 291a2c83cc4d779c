"""Recordings: samples of one signal in a file, perhaps with their times and the true label of each.

recording   samples with times and labels; load, save, fit        Recording
npz         the fields of one from a .npz
files       a file of text, in pieces                             TextFile
text        lines to samples: CSV, JSON, name:value               TextReader
lines       bytes to lines
reader      lines of cells to rows; shape and numbers: how
json_rows   what JSON holds of rows
table       rows as cells, and as a table                         Table
columns     which column is what; a table as samples and times    Columns
time_column which is the time; times: its units, ISO 8601, counters that wrap
placement   which are the model's channels: names, units, axes
units       what a unit is in another
reading     what one says about columns                           Reading
rows        samples with times and labels: sorted, spread
sensors     one file per sensor
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
    from runtime.recording.reading import Reading
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
        "reading": "Reading",
        "recording": "Recording",
        "text": "TextReader",
        "table": "Table",
    },
)

__all__ = [
    "UNLABELLED",
    "Columns",
    "Reading",
    "RecentLabels",
    "Recording",
    "Table",
    "TextFile",
    "TextReader",
    "check_finite",
]
