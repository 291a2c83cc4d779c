"""Recordings of one's own as a data set: a folder or a zip of them, and a `dataset.toml` that says what they are.

description   dataset.toml, read strictly                        Description
files         which files are one recording, and whose
logs          logs of apps and studios that are no table, as files that the one reader reads
spans         files of labels: from when to when
times         what the times of labels count: seconds, samples, a clock
labels        the label of each sample
read          all of it, as any other data set                   OwnSet
guesses       what files look like, and why
draft         dataset.toml, guessed from the files               write_draft
check         what would hurt a training                         look_over

The path of a folder or zip with a dataset.toml stands wherever the name of a public data set does.
docs/own_data.md has every key.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from sdk.datasets.own.check import look_over
    from sdk.datasets.own.description import Description
    from sdk.datasets.own.draft import write_draft
    from sdk.datasets.own.read import OwnSet

__getattr__ = attach(
    __name__,
    {
        "check": "look_over",
        "description": "Description",
        "draft": "write_draft",
        "read": "OwnSet",
    },
)

__all__ = ["Description", "OwnSet", "look_over", "write_draft"]
