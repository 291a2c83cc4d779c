"""Whether a processor adds up products of int8 without overflow."""

from __future__ import annotations

from pathlib import Path

_EXACT = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}  # flags of x86 and features of Arm


def needs_reduced_range(root: Path = Path("/")) -> bool:
    """True without VNNI (x86) or dot product (Arm): there, sums of two products saturate at 16 bits on the way.

    Weights of 7 bits keep them below that. Where /proc/cpuinfo tells nothing, True: it is exact everywhere.

    Args:
        root: of the file system.
    """
    try:
        text = (root / "proc" / "cpuinfo").read_text(errors="replace")
    except OSError:
        return True
    lines = [line.partition(":") for line in text.splitlines()]
    flags = {flag for key, _, value in lines if key.strip() in ("flags", "Features") for flag in value.split()}
    return flags.isdisjoint(_EXACT)
