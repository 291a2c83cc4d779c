"""Which column of a table is the time, which the label, which the channels; and a table's numbers as samples.

Today's rule: the column `t` holds seconds, `label` names, and every other column with a name is a channel of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.recording.checks import as_float32
from runtime.recording.table import Table
from runtime.specs import Signal


@dataclass(frozen=True)
class Columns:
    """What the columns of one source mean, decided once.

    `numbers` and `words` are the columns that the reader has to read; of all others it reads nothing.
    """

    channels: tuple[str, ...]  # names of the columns of the samples that `apply` gives
    places: tuple[int, ...]  # column of each
    time: int | None = None  # column of the time
    label: int | None = None  # column of the label

    @property
    def numbers(self) -> tuple[int, ...]:
        """Columns that must hold numbers."""
        return (*self.places, *(() if self.time is None else (self.time,)))

    @property
    def words(self) -> tuple[int, ...]:
        """Columns that are kept as they are written."""
        return () if self.label is None else (self.label,)

    @staticmethod
    def is_header(cells: Sequence[str], signal: Signal | None) -> bool:
        """Whether a line's cells are the names of columns, among them all channels of `signal`."""
        return signal is not None and set(signal.channel_names) <= {cell.strip() for cell in cells}

    @classmethod
    def plan(
        cls, names: Sequence[str] | None, first: Table, signal: Signal | None, *, final: bool = True
    ) -> Columns | None:
        """Decide from the header and the first rows.

        Args:
            names: of the columns, as the header has them; None: there is no header.
            first: the first rows of the source. The reader asks again with one row more until it gets an answer, so
                that the answer does not depend on how the rows came; a live source holds them back meanwhile.
            signal: what the model wants, in its order; None: every column with a name is a channel.
            final: no more rows come before the answer is needed.

        Returns:
            None: more rows are needed (never where `final`).
        """
        if names is None:
            wanted = () if signal is None else signal.channel_names
            names = ("t", *wanted) if first.values.shape[1] > len(wanted) else wanted
        names = [name.strip() for name in names]
        given = tuple(name for name in names if name not in ("", "t", "label"))
        channels = given if signal is None else signal.channel_names
        time, label = (names.index(name) if name in names else None for name in ("t", "label"))
        return cls(channels, tuple(names.index(name) for name in channels), time, label)

    def apply(self, table: Table) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """A table's rows as samples, shape (n, n_channels), and their times, shape (n,), in seconds.

        It is called with every table of the source, in order, so it may keep what a wrap of a counter needs.
        """
        t = None if self.time is None else table.values[:, self.time]
        return as_float32(table.values[:, self.places]), t
