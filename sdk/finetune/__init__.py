"""Fine-tuning on the device, without torch: a handful of the wearer's own labels, a new version of the bundle.

labels              from a file of labels to windows                  read_labels, LabelledSet
spans               names and times that labels speak of; the later of two lines counts
stored              the same from a recorder's store                  read_store
contradictions      labels that the model is sure are others
kept                what a new version must not forget; its classes
others              what a new activity must leave alone
candidate           a new head, and what it is judged by
days                the same from labels that were spread over windows without:
  pool              windows of a store that cover its days                read_days, Days
  space, spread     which windows are near each other; labels flow along
  clusters          k-means
  crowd             many people's windows, named by a few labels
  teach             soft labels, and the windows that a head is taught with
questions           which windows to ask the wearer about
plan                what moves, how far, for how long                 FinetunePlan, Budget
head                the linear head as a convex problem               fit_head
layers              more than the head, by gradient steps:
  graph               the bundle's training graphs on this device
  theta               all tensors as one vector; the pull of MESEN's eq. 9 and 10
  sample              which windows a step sees, and how they are changed
  optimise, train     AdamW and SGD in NumPy; the loop
  scratch             random weights to start from, for comparison
budget              seconds, joules, megabytes, by phase
judge               whether the new version may replace the old one
run                 from labels to a committed version                finetune, FinetuneReport
described           a report as text
listing             what every version was made of

A part is imported when it is first asked for, so that a process starts with what it needs.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from sdk.finetune.head import fit_head
    from sdk.finetune.labels import LabelledSet, read_labels, set_apart
    from sdk.finetune.plan import Budget, FinetunePlan
    from sdk.finetune.pool import Days, read_days
    from sdk.finetune.run import FinetuneReport, finetune
    from sdk.finetune.sample import few_shot
    from sdk.finetune.stored import read_store

__getattr__ = attach(
    __name__,
    {
        "head": "fit_head",
        "labels": "LabelledSet read_labels set_apart",
        "pool": "Days read_days",
        "plan": "Budget FinetunePlan",
        "run": "FinetuneReport finetune",
        "sample": "few_shot",
        "stored": "read_store",
    },
)

__all__ = [
    "Budget",
    "Days",
    "FinetunePlan",
    "FinetuneReport",
    "LabelledSet",
    "few_shot",
    "finetune",
    "fit_head",
    "read_days",
    "read_labels",
    "read_store",
    "set_apart",
]
