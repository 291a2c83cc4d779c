"""Fine-tuning on the device, without torch: a handful of the wearer's own labels, a new version of the bundle.

labels     from a file of labels to windows            read_labels, LabelledSet, set_apart
head       the linear head as a convex problem         fit_head
run        features, hold-out, acceptance, commit      finetune, FinetunePlan, FinetuneReport
"""

from sdk.finetune.head import fit_head
from sdk.finetune.labels import LabelledSet, read_labels, set_apart
from sdk.finetune.run import FinetunePlan, FinetuneReport, finetune

__all__ = ["FinetunePlan", "FinetuneReport", "LabelledSet", "finetune", "fit_head", "read_labels", "set_apart"]
