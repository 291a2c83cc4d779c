"""Recordings: samples of one signal in a file, perhaps with their times and the true label of each.

recording   samples with times and labels; load, save, fit        Recording
npz         the fields of one from a .npz
table       text to tables, in pieces                             Table
columns     which column is what; a table as samples and times    Columns
checks      what is looked at wherever names and labels come      UNLABELLED, check_finite

docs/files.md says what a file may hold.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.recording.checks import UNLABELLED, check_finite
    from runtime.recording.columns import Columns
    from runtime.recording.recording import Recording
    from runtime.recording.table import Table

__getattr__ = attach(
    __name__,
    {
        "checks": "UNLABELLED check_finite",
        "columns": "Columns",
        "recording": "Recording",
        "table": "Table",
    },
)

__all__ = ["UNLABELLED", "Columns", "Recording", "Table", "check_finite"]
