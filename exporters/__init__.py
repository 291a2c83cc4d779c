"""From a torch module to a bundle for the device. This wing knows torch, onnx and the runtime; it never imports sdk.

bundle       module + manifest + example windows -> bundle     export_bundle
offsets      where each tensor lies inside an ONNX file        initializer_offsets
parity       torch against the engine                          check_parity, ParityError
sign         keys and signatures                               exporters.sign.sign_bundle
spectrogram  images drawn inside the graph                     SpectrogramImages
training     the graphs that train a bundle on the device      exporters.training.add_training

All but the offsets, the signatures and the training graphs need torch, which is imported when one of them is first
asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporters.bundle import export_bundle
    from exporters.offsets import initializer_offsets
    from exporters.parity import ParityError, check_parity
    from exporters.spectrogram import SpectrogramImages

_PARTS = {
    "ParityError": "parity",
    "SpectrogramImages": "spectrogram",
    "check_parity": "parity",
    "export_bundle": "bundle",
    "initializer_offsets": "offsets",
}

__all__ = ["ParityError", "SpectrogramImages", "check_parity", "export_bundle", "initializer_offsets"]


def __getattr__(name: str) -> Any:
    if name not in _PARTS:
        raise AttributeError(f"module 'exporters' has no attribute {name!r}")
    try:
        return getattr(import_module(f"exporters.{_PARTS[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError('exporters need torch: pip install "sensedge[export]"') from error
