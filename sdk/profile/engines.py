"""The engines that a profile can open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime import Bundle
    from runtime.engine import Engine


def open_named(bundle: Bundle, engine: str, precision: str, threads: int) -> Engine:
    """Open an engine by its name.

    Raises:
        InputError: there is none of that name or precision.
        MissingError: its library is not installed.
    """
    from runtime import engine as engines

    open_engine: Any = engines.open_engine
    if hasattr(engines, "engines_here"):
        opened: Engine = open_engine(bundle, engine, threads=threads, precision=precision)
    else:
        opened = open_engine(bundle, threads=threads)
    return opened


def engine_names(bundle: Bundle) -> dict[str, str]:
    """Every engine, with what it lacks here; empty: nothing."""
    from runtime import engine as engines

    if not hasattr(engines, "engines_here"):
        return {"onnxruntime": ""}
    return {status.name: "" if status.available else status.reason for status in engines.engines_here(bundle)}
