"""Encoders by name: windows of shape (n, length_samples, n_channels) to features of shape (n, n_features).

registry         names, and what makes them              create_encoder, list_encoders, register_encoder
fcn              MaskCAE's fully convolutional net       FCN ("fcn", "fcn-stride4")
ispl_inception   convolutions of three lengths at once   ISPLInception ("ispl-inception")
deepconvlstm     convolutions, then two LSTMs            DeepConvLSTM ("deepconvlstm")
hart             a transformer with two sensors          HART ("hart")
mobilehart       convolutions and transformers           MobileHART ("mobilehart-xs", "mobilehart-xxs")
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('encoders need torch: pip install "sensedge[train]"') from error

from sdk.encoders.deepconvlstm import DeepConvLSTM
from sdk.encoders.fcn import FCN
from sdk.encoders.hart import HART
from sdk.encoders.ispl_inception import ISPLInception
from sdk.encoders.mobilehart import MobileHART, MobileHARTConfig
from sdk.encoders.registry import Classifier, create_encoder, list_encoders, register_encoder

__all__ = [
    "FCN",
    "HART",
    "Classifier",
    "DeepConvLSTM",
    "ISPLInception",
    "MobileHART",
    "MobileHARTConfig",
    "create_encoder",
    "list_encoders",
    "register_encoder",
]
