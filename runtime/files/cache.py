"""The folders of ours: for what can be made again (measured choices, built engines), and for what cannot (revisions).

Nothing is written there unless asked for. What is in them is believed, so nobody else may be able to write there, nor
to put another folder in their place.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.errors import InputError

_ROOT, _UNMAPPED = 0, 65534  # owners of folders above ours; in a container the second stands for whoever has no name
_FIX = "Set SENSEDGE_CACHE to a folder of your own with mode 0700."


def cache_folder() -> Path:
    """$SENSEDGE_CACHE, else $XDG_CACHE_HOME/sensedge, else ~/.cache/sensedge; made with mode 0700 if it is not there.

    Raises:
        InputError: it cannot be made, belongs to another user, or others may write to it or to a folder above it: then
            what is in it cannot be trusted.
    """
    return _own(_place("XDG_CACHE_HOME", ".cache"))


def state_folder(*, make: bool = True) -> Path:
    """$SENSEDGE_CACHE, else $XDG_STATE_HOME/sensedge, else ~/.local/state/sensedge: not lost with a cache.

    Args:
        make: False: one that is not there is left so.

    Raises:
        InputError: as of `cache_folder`.
    """
    path = _place("XDG_STATE_HOME", ".local/state")
    return _own(path) if make or os.path.lexists(path) else path


def _own(path: Path) -> Path:
    """The folder, made if it is not there, once it is known to be ours alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        above = {parent: parent.stat() for way in (path.absolute(), path.resolve()) for parent in way.parents}
    except OSError as error:
        raise InputError(path, expected="a folder to write to", got=error.strerror, fix=_FIX) from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise InputError(
            path,
            expected="a folder that only its owner, this user, writes to",
            got=f"owner {status.st_uid}, mode {status.st_mode & 0o777:o}",
            fix=_FIX,
        )
    for parent, found in above.items():
        if not _holds(found):
            raise InputError(
                path,
                expected="a folder that nobody else can rename",
                got=f"{parent} above it, owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}",
                fix=_FIX,
            )
    return path


def _holds(status: os.stat_result) -> bool:
    """Whether only root and this user can rename what is in a folder: all others may not write, or it is sticky."""
    if status.st_uid not in (_ROOT, os.geteuid(), _UNMAPPED):
        return False
    others = 0o002 if status.st_gid == os.getegid() else 0o022  # a group of one's own is usual
    return not status.st_mode & others or bool(status.st_mode & stat.S_ISVTX)


def _place(variable: str, usual: str) -> Path:
    own = os.environ.get("SENSEDGE_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get(variable, "")
    if os.path.isabs(shared):  # the specification has a relative one ignored
        return Path(shared, "sensedge")
    try:
        return Path.home() / usual / "sensedge"
    except RuntimeError:
        raise InputError("cache", expected="a home folder", got="none", fix=_FIX) from None
