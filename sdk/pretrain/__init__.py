"""Pretraining on a workstation. One file per method; a method is a module that turns a batch into a loss.

supervised   labels of many people                     Supervised ("supervised")
maskcae      no labels; fill in what is hidden         MaskCAE ("maskcae")
mesen        no labels; sensors that agree             MESEN ("mesen")
cosmo        no labels; any fusion says the same       Cosmo ("cosmo")
cmc          no labels; sensors against one another    CMC ("cmc")
moco         photographs; two views are the same       MoCo ("img2imu")
simclr       no labels; two views are the same         SimCLR ("simclr")
graph        a few labels, which name the others       Student ("graph")

contrast     losses that compare embeddings
front        gyroscopes in another scale               Arcsinh
pictures     views of pictures, and their twins of windows
photos       a folder or tar of photographs            read_photos
drawn        a net of pictures, shown windows          Drawn
project      from features to where they are compared  Projector

registry     names, and what makes them                list_methods, method_info, create_method, register_method
plan         which method, how, and what for           PretrainPlan, StudyTask
data         which device, rate and clock; what gave no window
views        windows to the tensors of a batch
loop         epochs, schedule, resume                  fit, Epoch
lamb         the optimiser of large batches            LAMB
processes    one or several that train together        start
checkpoint   weights, optimiser and epoch in one file  save_checkpoint, load_checkpoint
probe        a head for a method without one           with_probe
few          few labels, and what others are called by them
groups       people who train, are watched, are tested
run          one of a study
study        seeds and folds over unseen people        run_study, Split, subject_folds
export       a run of a study to a bundle              export_run
options      what the command may be asked for
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('pretraining needs torch: pip install "sensedge[train]"') from error

from sdk.pretrain.checkpoint import load_checkpoint, save_checkpoint
from sdk.pretrain.cmc import CMC
from sdk.pretrain.cosmo import Cosmo
from sdk.pretrain.export import export_run
from sdk.pretrain.graph import Student
from sdk.pretrain.loop import Epoch, fit
from sdk.pretrain.maskcae import MaskCAE
from sdk.pretrain.mesen import MESEN
from sdk.pretrain.moco import MoCo
from sdk.pretrain.photos import read_photos
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.probe import with_probe
from sdk.pretrain.processes import start
from sdk.pretrain.registry import (
    Method,
    MethodInfo,
    Needs,
    create_method,
    list_methods,
    method_info,
    register_method,
)
from sdk.pretrain.simclr import SimCLR
from sdk.pretrain.study import Split, run_study, subject_folds
from sdk.pretrain.supervised import Supervised

__all__ = [
    "CMC",
    "MESEN",
    "Cosmo",
    "Epoch",
    "MaskCAE",
    "Method",
    "MethodInfo",
    "MoCo",
    "Needs",
    "PretrainPlan",
    "SimCLR",
    "Split",
    "Student",
    "StudyTask",
    "Supervised",
    "create_method",
    "export_run",
    "fit",
    "list_methods",
    "load_checkpoint",
    "method_info",
    "read_photos",
    "register_method",
    "run_study",
    "save_checkpoint",
    "start",
    "subject_folds",
    "with_probe",
]
