"""From a torch module, or an ONNX file, to a bundle. This wing knows torch, onnx and the runtime; it never imports sdk.

export       module + manifest + example windows -> bundle     export_bundle
own          somebody's ONNX file -> bundle                    exporters.own.bundle_of_onnx
assemble     the end of both: golden answers, comparison, training graphs
modules      a module of the user's own: found by name, tried
draft        a manifest to fill in, and back
offsets      where each tensor lies inside an ONNX file        initializer_offsets
parity       torch against the engine, engines against golden  check_parity, parity_of_engines, ParityError
blame        the first node that an engine gets wrong          exporters.blame.first_difference
frame        windows turned so that up is +z, inside a graph
simplify     small graphs, older opsets
variants     a model in another precision, added to a bundle: fp16, int8; prepare: the graph made ready for it
parts        optional files of a bundle, swapped so that a kill leaves one that opens
training_data what the training data were like, for a bundle
reference    every value of a graph, in float64
tensorrt     whether TensorRT accepts a graph, asked without a GPU
sign         keys and signatures                               exporters.sign.sign_bundle
costs        products, parameters and memory of each layer     exporters.costs.graph_cost
inspect      what a bundle is, as text, JSON, picture          exporters.inspect.describe
commands     python -m exporters ..., sensedge ...
spectrogram  images drawn inside the graph                     SpectrogramImages
training     the graphs that train a bundle on the device      exporters.training.add_training

Only export, spectrogram and check_parity need torch, which is imported when one of them is first asked for.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any


def _leave_if_hidden() -> None:
    """Python's -m looks into the folder that one is in first; a runtime.py there would be taken for the package.

    As in sdk/__init__.py: what is hidden cannot be asked, and this wing does not import sdk.
    """
    from importlib.util import find_spec
    from os.path import dirname, join, relpath

    found, here = find_spec("runtime"), sys.path[0]
    ours = here == dirname(dirname(__file__))
    if ours or found is None or dirname(found.origin or "") not in (here, join(here, "runtime")):
        return
    told = f"{relpath(str(found.origin), here)} in this folder hides the package runtime"
    print(f"error: {told}: go to another folder, or use `sensedge COMMAND`", file=sys.stderr)
    raise SystemExit(2)


if sys.argv[:1] == ["-m"]:  # as long as Python looks for what -m names
    _leave_if_hidden()

from runtime.lazy import attach  # noqa: E402

if TYPE_CHECKING:
    from exporters.export import export_bundle
    from exporters.offsets import initializer_offsets
    from exporters.parity import ParityError, check_parity, parity_of_engines
    from exporters.spectrogram import SpectrogramImages
    from runtime import __version__

_attached = attach(
    __name__,
    {
        "export": "export_bundle",
        "offsets": "initializer_offsets",
        "parity": "ParityError check_parity parity_of_engines",
        "spectrogram": "SpectrogramImages",
    },
)

__all__ = [
    "ParityError",
    "SpectrogramImages",
    "__version__",
    "check_parity",
    "export_bundle",
    "initializer_offsets",
    "parity_of_engines",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("runtime").__version__
    try:
        return _attached(name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError('exporters need torch: pip install "sensedge[export]"') from error
