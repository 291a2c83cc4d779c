"""Engines that this device built, and no others.

A built engine is machine code: opening one from elsewhere is running a stranger's program, and TensorRT's own checks
do not find tampering. So a file counts only if this device sealed it (runtime.files.sealed):

    CACHE/tensorrt/
      <digest>.engine       the engine
      <digest>.refused      a reason: what TensorRT refused is not tried at every start
      <digest>.timing       what builds measured, for the next build
      lock                  one build at a time

The digest is of everything that an engine depends on: another model, version of TensorRT, GPU or option has another
name. Nothing is ever read from a bundle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.files.atomic import TEMPORARY
from runtime.files.cache import cache_folder
from runtime.files.sealed import SealedFolder

KEPT_BYTES = 1 << 29  # the oldest engines beyond it are removed


def digest_of(facts: Mapping[str, Any]) -> str:
    """The name of what depends on these facts and on nothing else."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class EngineCache(SealedFolder):
    """The folder of built engines.

    Args:
        path: None: `tensorrt` in the cache folder of `runtime.files.cache`.

    Raises:
        CacheError: the folder or the key could have been written by someone else.
        InputError: there is no cache folder to write to.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(cache_folder() / "tensorrt" if path is None else path)

    def store(self, name: str, facts: Mapping[str, Any], data: bytes = b"") -> None:
        """Seal something under a name, and remove the oldest engines beyond KEPT_BYTES.

        Raises:
            OSError: no space, or no right to write.
        """
        super().store(name, facts, data)
        self._prune(name)

    @contextmanager
    def building(self, cancel: threading.Event) -> Iterator[Path | None]:
        """A private folder to build in, once no other process builds; None if cancelled while waiting for it."""
        with self.locked(lambda: not cancel.is_set()) as mine:
            if not mine:
                yield None
                return
            for leftover in self.path.glob(f"{TEMPORARY}build-*"):  # of a process that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}build-", dir=self.path))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _prune(self, kept: str) -> None:
        """Remove the oldest engines until the folder is small enough."""
        engines = [(entry.stat().st_mtime_ns, entry) for entry in self.path.glob("*.engine") if entry.name != kept]
        newest_first = [entry for _, entry in sorted(engines, reverse=True)]
        total = 0
        for entry in newest_first:
            total += entry.stat().st_size
            if total > KEPT_BYTES:
                self.remove(entry.name)
