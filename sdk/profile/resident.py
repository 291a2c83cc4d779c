"""The resident memory of a process, as the kernel tells it; light enough to be read before anything is imported."""

from __future__ import annotations

import os


def resident(root: str = "/", pid: int | str = "self") -> tuple[int, int | None]:
    """Resident bytes, and those of them that no other process shares (USS); None: the kernel does not tell."""
    return rss_bytes(root, pid), _uss_bytes(root, pid)


def rss_bytes(root: str = "/", pid: int | str = "self") -> int:
    """Resident bytes; raises OSError when the process is gone."""
    with open(os.path.join(root, "proc", str(pid), "statm")) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _uss_bytes(root: str, pid: int | str) -> int | None:
    try:
        with open(os.path.join(root, "proc", str(pid), "smaps_rollup")) as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    private = [line.split() for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))]
    return sum(int(words[1]) for words in private) * 1024 if private else None
