"""Which column of a table is the time, which the label, which the channels; and a table's numbers as samples.

Today's rule: the column `t` holds seconds, `label` names, and every other column with a name is a channel of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.errors import InputError
from runtime.recording.checks import as_float32, check_names
from runtime.recording.reading import T_UNITS, Reading
from runtime.recording.rows import Rows
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
    unit: str = "auto"  # of the time
    told: tuple[str, ...] = ()  # what was recognised, in words

    @property
    def numbers(self) -> tuple[int, ...]:
        """Columns that must hold numbers."""
        return (*self.places, *(() if self.time is None else (self.time,)))

    @property
    def words(self) -> tuple[int, ...]:
        """Columns that are kept as they are written."""
        return () if self.label is None else (self.label,)

    @staticmethod
    def is_header(cells: Sequence[str], signal: Signal | None, reading: Reading | None = None) -> bool:
        """Whether a line's cells are the names of columns, among them all channels of `signal`."""
        return signal is not None and set(signal.channel_names) <= {cell.strip() for cell in cells}

    @classmethod
    def plan(
        cls,
        names: Sequence[str] | None,
        first: Table,
        signal: Signal | None,
        *,
        final: bool = True,
        reading: Reading | None = None,
        rate_hz: float | None = None,
        where: str = "columns",
    ) -> Columns | None:
        """Decide from the header and the first rows.

        Args:
            names: of the columns, as the header has them; None: there is no header.
            first: the first rows of the source. The reader asks again with more rows until it gets an answer, so
                that the answer does not depend on how the rows came.
            signal: what the model wants, in its order; None: every column with a name is a channel.
            final: no more rows come before the answer is needed.
            reading: what was said about the columns.
            rate_hz: samples per second that are expected.
            where: for messages.

        Returns:
            None: more rows are needed (never where `final`).

        Raises:
            InputError: columns that do not fit.
        """
        unit = (reading or Reading()).unit
        if names is None:
            wanted = () if signal is None else signal.channel_names
            names = ("t", *wanted) if first.values.shape[1] > len(wanted) else wanted
        names = [name.strip() for name in names]
        check_names([name for name in names if name], "column", where)
        given = tuple(name for i, name in enumerate(names) if name not in ("", "t", "label") and i not in first.texts)
        channels = given if signal is None else signal.channel_names
        if missing := [name for name in channels if name not in names]:
            raise InputError(
                where,
                expected=f"the channels {', '.join(channels)}",
                got=f"{len(given)} channels ({', '.join(given)}) without {', '.join(missing)}",
                fix="Name the columns as the model does and record what is missing.",
            )
        time, label = (names.index(name) if name in names else None for name in ("t", "label"))
        return cls(
            channels, tuple(names.index(name) for name in channels), None if unit == "none" else time, label, unit
        )

    def apply(self, table: Table) -> Rows:
        """A table's rows as samples with their times.

        It is called with every table of the source, in order, so it may keep what a wrap of a counter needs.
        """
        t = None if self.time is None else table.values[:, self.time] * T_UNITS.get(self.unit, 1.0)
        labels = None if self.label is None else table.texts[self.label]
        return Rows(as_float32(table.values[:, self.places]), t, labels)

    def flush(self) -> Rows:
        """The rows that wait; no more will come."""
        return Rows(np.zeros((0, len(self.channels)), np.float32))
