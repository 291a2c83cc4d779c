"""Encoders by name: windows of shape (n, length_samples, n_channels) to features of shape (n, n_features).

registry   names, and what makes them            create_encoder, list_encoders, register_encoder
fcn        MaskCAE's fully convolutional net     FCN ("fcn", "fcn-stride4")
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('encoders need torch: pip install "sensedge[train]"') from error

from sdk.encoders.fcn import FCN
from sdk.encoders.registry import Classifier, create_encoder, list_encoders, register_encoder

__all__ = ["FCN", "Classifier", "create_encoder", "list_encoders", "register_encoder"]
