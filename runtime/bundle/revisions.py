"""The highest revision of each model that this device took, so that an older one of the same signer is refused.

    FOLDER/revisions/<signer>-<name>.revision     {"signer": key id, "name": ..., "revision": 7}, sealed by this device

It lies outside of the bundle, in `runtime.files.cache.state_folder`, and under a seal (runtime.files.sealed): whoever
can only replace bundles cannot change it. Whoever can remove the folder makes the device forget. A model is a name by a
signer: a key that is new to the device starts anew. A manifest without a revision leaves nothing to remember, and is
refused once the device has seen one with it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import InputError, TrustError
from runtime.files.cache import state_folder
from runtime.files.sealed import SealedFolder

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest

_WAIT_S = 5.0  # for another process that is writing a number down


class Revisions:
    """What this device remembers of the models that it took; `Trust(revisions=...)` asks it.

    Args:
        accept_older: take an older one all the same, and remember its revision from then on.
        tell: is told, in a sentence, where nothing can be remembered; the bundle opens nevertheless.
    """

    def __init__(self, *, accept_older: bool = False, tell: Callable[[str], None] = lambda text: None) -> None:
        self.accept_older = accept_older
        self._tell_once, self._told = tell, False

    def check(self, where: Path, manifest: Manifest, signers: Iterable[bytes]) -> None:
        """Make sure that this device took no later one.

        Args:
            where: the manifest's file, for the message.
            manifest: whose signature was checked.
            signers: the trusted keys that signed it.

        Raises:
            TrustError: it did.
            CacheError: what was remembered was changed by someone else.
        """
        if self.accept_older or (folder := self._open(make=False)) is None:
            return
        try:
            newest = max((_remembered(folder, key, manifest.name) for key in signers), default=-1)
        finally:
            folder.close()
        if newest > _number(manifest):
            raise TrustError(
                where,
                expected=f"revision {newest} or later, since this device took that one",
                got="no revision" if manifest.revision is None else f"revision {manifest.revision}",
                fix="An older bundle was put in place of a newer one: get that, or go back with --accept-older.",
            )

    def keep(self, manifest: Manifest, signers: Iterable[bytes]) -> None:
        """Remember a model that was taken.

        Args:
            manifest: of a bundle that was found whole.
            signers: the trusted keys that signed it.
        """
        if (folder := self._open(make=manifest.revision is not None)) is None:
            return
        try:
            stale = [key for key in signers if self._is_news(_remembered(folder, key, manifest.name), manifest)]
            if not stale:
                return
            until_s = time.monotonic() + _WAIT_S
            with folder.locked(lambda: time.monotonic() < until_s) as mine:
                if not mine:
                    raise OSError(f"{folder.path} is held by another process")
                for key in stale:
                    if self._is_news(_remembered(folder, key, manifest.name), manifest):
                        _remember(folder, key, manifest)
        except OSError as error:
            self._tell(f"the revision is not remembered: {error}")
        finally:
            folder.close()

    def _is_news(self, remembered: int, manifest: Manifest) -> bool:
        return _number(manifest) != remembered if self.accept_older else _number(manifest) > remembered

    def _open(self, *, make: bool) -> SealedFolder | None:
        """The folder; None: there is none yet, or none that can be used."""
        try:
            path = state_folder(make=make) / "revisions"
            if make:
                path.mkdir(mode=0o700, exist_ok=True)
            return SealedFolder(path) if make or os.path.lexists(path) else None
        except (InputError, OSError) as error:
            self._tell(f"no revision is remembered: {error}")
            return None

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self._tell_once(text)


def _number(manifest: Manifest) -> int:
    return -1 if manifest.revision is None else manifest.revision


def _name(key: bytes, name: str) -> str:
    return f"{hashlib.sha256(key).hexdigest()[:32]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}.revision"


def _remembered(folder: SealedFolder, key: bytes, name: str) -> int:
    """The highest revision, or -1."""
    found = folder.load(_name(key, name))
    return -1 if found is None else int(found.facts["revision"])


def _remember(folder: SealedFolder, key: bytes, manifest: Manifest) -> None:
    name = _name(key, manifest.name)
    if manifest.revision is None:
        folder.remove(name)
        return
    facts = {"signer": hashlib.sha256(key).hexdigest()[:16], "name": manifest.name, "revision": manifest.revision}
    folder.store(name, facts)
