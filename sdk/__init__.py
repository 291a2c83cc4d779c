"""Tools around the runtime: data sets, pretraining, fine-tuning, meters and the commands that use them."""

import sys

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module 'sdk' has no attribute {name!r}")
    from runtime import __version__

    return __version__


def _leave_if_hidden() -> None:
    """Python's -m looks into the folder that one is in first; a runtime.py there would be taken for the package."""
    from importlib.util import find_spec
    from os.path import dirname, join, relpath

    found, here = find_spec("runtime"), sys.path[0]
    ours = here == dirname(dirname(__file__))
    if ours or found is None or dirname(found.origin or "") not in (here, join(here, "runtime")):
        return
    name = next((word[4:] for word in sys.orig_argv if word.startswith("sdk.")), "COMMAND")
    told = f"{relpath(str(found.origin), here)} in this folder hides the package runtime"
    print(f"error: {told}: go to another folder, or use `sensedge {name}`", file=sys.stderr)
    raise SystemExit(2)


if sys.argv[:1] == ["-m"]:  # as long as Python looks for what -m names
    _leave_if_hidden()
