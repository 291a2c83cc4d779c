"""Optional parts of a bundle, swapped so that a kill at any instant leaves a bundle that opens.

    manifest without the old parts -> old files away -> new files -> manifest with the new parts

The model and its tensors stay as they are, and so do the personal versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from runtime.bundle import Bundle, Manifest
from runtime.files.atomic import fsync_folder, write_atomic
from runtime.specs import BASE


def base_of(place: str | Path | Bundle) -> Bundle:
    """The shipped version of a bundle.

    Args:
        place: its path; or the bundle as it was opened: then exactly that, trusted as it was.

    Raises:
        BundleError: it is broken, or no longer the one that was opened.
    """
    return place.again(BASE) if isinstance(place, Bundle) else Bundle.open(place, BASE)


def swap_parts(path: Path, bare: Manifest, complete: Manifest, folder: str, contents: Mapping[str, bytes]) -> Bundle:
    """Put files into a folder of a bundle, in place of those that the manifest no longer lists.

    Args:
        path: of the bundle.
        bare: its manifest without the parts that go, with the files that stay.
        complete: the manifest with the parts that come; its `files` are filled in here.
        folder: such as "train", which holds nothing but such parts.
        contents: the new files by name, such as "train/04.onnx".

    Raises:
        BundleError: the bundle is broken.
    """
    complete = replace(complete, files={**bare.files, **complete.with_files(contents).files})
    write_atomic(path / "manifest.json", bare.to_json().encode())
    (path / folder).mkdir(exist_ok=True)
    fsync_folder(path)
    for old in (path / folder).glob("*.onnx"):
        if f"{folder}/{old.name}" not in bare.files:
            old.unlink()
    for name, data in contents.items():
        write_atomic(path / name, data)
    write_atomic(path / "manifest.json", complete.to_json().encode())
    return Bundle.open(path)
