"""Engines: from windows to features and logits. One file per engine, the same verbs for all.

    open_engine(bundle)                 onnxruntime on the processor, as it always was
    open_engine(bundle, "openvino")     the engine that one names
    open_engine(bundle, "auto")         the fastest that is here, measured once on this device: runtime.engine.auto
    engines_here()                      which of the table below can be opened, and what the others need

    ort            onnxruntime on the processor             OrtEngine
    providers      onnxruntime with a provider of its own   ProviderEngine
    openvino       OpenVINO on the processor                OpenvinoEngine
    tensorrt       TensorRT on an NVIDIA GPU                TensorrtEngine

    base           what every engine does, and the table of them   Engine, ENGINES, EngineKind, engines_here, open_of
    opening        one for a bundle                        open_engine, open_prefix
    inputs         windows as a graph wants them           Inputs

No engine's library is imported before the engine is chosen.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.engine.base import AUTO, ENGINES, Engine, EngineKind, EngineStatus, Output, engines_here, open_of
    from runtime.engine.opening import open_engine, open_prefix

__getattr__ = attach(
    __name__,
    {
        "base": "AUTO ENGINES Engine EngineKind EngineStatus Output engines_here open_of",
        "opening": "open_engine open_prefix",
    },
)

__all__ = [
    "AUTO",
    "ENGINES",
    "Engine",
    "EngineKind",
    "EngineStatus",
    "Output",
    "engines_here",
    "open_engine",
    "open_of",
    "open_prefix",
]
