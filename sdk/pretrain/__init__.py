"""Pretraining on a workstation. One file per method; a method is a module that turns a batch into a loss.

supervised   labels of many people                     Supervised
loop         epochs, schedule, resume                  PretrainPlan, fit
checkpoint   weights, optimiser and epoch in one file  save_checkpoint, load_checkpoint
study        seeds and folds over unseen people        run_study, Split, subject_folds
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('pretraining needs torch: pip install "sensedge[train]"') from error

from sdk.pretrain.checkpoint import load_checkpoint, save_checkpoint
from sdk.pretrain.loop import PretrainPlan, fit
from sdk.pretrain.study import Split, run_study, subject_folds
from sdk.pretrain.supervised import Supervised

__all__ = [
    "PretrainPlan",
    "Split",
    "Supervised",
    "fit",
    "load_checkpoint",
    "run_study",
    "save_checkpoint",
    "subject_folds",
]
