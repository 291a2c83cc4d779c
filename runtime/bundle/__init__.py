"""A bundle: the folder that carries a model to a device, what it says about itself, and whose it is.

folder       opening, writing, versions that the device adds       Bundle, Golden, write_bundle
manifest     what a bundle says about itself                       Manifest
contents     what it lists of its files                            TensorSpec, TrainingSpec, VariantSpec, ...
typed_json   parsed JSON as the dataclasses that it stands for
check        whether a bundle is whole
overlay      the graph of a version: the shipped bytes with its tensors in them
versions     folders under personal/, and which of them is in use
variants     the model in another precision
reference    what the training data were like
tensors      safetensors, read and written
graph_bytes  what is inside an ONNX file, without the onnx package
trust        whose bundles are taken                               Trust
revisions    the newest revision that this device ever took
transport    a bundle as one file                                  pack, unpack
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.bundle.folder import Bundle, Golden, write_bundle
    from runtime.bundle.manifest import Manifest
    from runtime.bundle.transport import pack, unpack
    from runtime.bundle.trust import Trust

__getattr__ = attach(
    __name__,
    {
        "folder": "Bundle Golden write_bundle",
        "manifest": "Manifest",
        "transport": "pack unpack",
        "trust": "Trust",
    },
)

__all__ = [
    "Bundle",
    "Golden",
    "Manifest",
    "Trust",
    "pack",
    "unpack",
    "write_bundle",
]
