"""The folder for what can be made again: measured choices, built engines. Nothing is written there unless asked for."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import InputError

_FIX = "Set SENSEDGE_CACHE to a folder of your own with mode 0700."


def cache_folder() -> Path:
    """$SENSEDGE_CACHE, else $XDG_CACHE_HOME/sensedge, else ~/.cache/sensedge; made with mode 0700 if it is not there.

    Raises:
        InputError: it cannot be made, belongs to another user, or others may write to it: then what is in it cannot be
            trusted.
    """
    path = _place()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise InputError(path, expected="a folder to write to", got=error.strerror, fix=_FIX) from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise InputError(
            path,
            expected="a folder that only its owner, this user, writes to",
            got=f"owner {status.st_uid}, mode {status.st_mode & 0o777:o}",
            fix=_FIX,
        )
    return path


def _place() -> Path:
    own = os.environ.get("SENSEDGE_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # the specification has a relative one ignored
        return Path(shared, "sensedge")
    try:
        return Path.home() / ".cache" / "sensedge"
    except RuntimeError:
        raise InputError("cache", expected="a home folder", got="none", fix=_FIX) from None
