"""From a torch module to a bundle for the device. This wing knows torch, onnx and the runtime; it never imports sdk.

bundle       module + manifest + example windows -> bundle     export_bundle
offsets      where each tensor lies inside an ONNX file        initializer_offsets
parity       torch against the engine                          check_parity, ParityError
spectrogram  images drawn inside the graph                     SpectrogramImages
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('exporters need torch: pip install "sensedge[export]"') from error

from exporters.bundle import export_bundle
from exporters.offsets import initializer_offsets
from exporters.parity import ParityError, check_parity
from exporters.spectrogram import SpectrogramImages

__all__ = ["ParityError", "SpectrogramImages", "check_parity", "export_bundle", "initializer_offsets"]
