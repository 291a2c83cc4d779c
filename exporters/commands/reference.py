"""`python -m exporters reference BUNDLE`: say in the bundle what its training data were like."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import DONE, add_trust, open_bundle, say, trust_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.bundle import Bundle
    from runtime.recording import Recording

HELP = "say in a bundle what its training data were like, so that a device can tell others from them"
EXAMPLES = """\
  python -m exporters reference walk.bundle person_1.npz person_2.npz        recordings that it was trained on

Bundles of sdk.pretrain have it from the start. The model, its golden windows and personal versions stay as they are."""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What the command takes."""
    p.add_argument("bundle", type=Path, help="the folder to add to")
    p.add_argument("recordings", metavar="RECORDING", nargs="+", type=Path, help="of the training (.npz, .csv)")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Cut, encode, add; the exit code."""
    from exporters.training_data import add_reference
    from runtime.bundle.check import REFERENCE
    from runtime.recording import Recording
    from runtime.specs import BASE

    bundle = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments))
    windows, labels = _windows(bundle, [Recording.load(path) for path in arguments.recordings])
    files = add_reference(arguments.bundle, windows, labels).manifest.files
    told = "" if labels is not None else ", classes as the model says"
    say(f"{REFERENCE}: {files[REFERENCE].bytes:,} bytes, of {len(windows)} windows{told}")
    if (arguments.bundle / "manifest.sig").exists():
        say("The signature no longer holds: sign the bundle again.")
    return DONE


def _windows(bundle: Bundle, recordings: list[Recording]) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """All windows with their classes; those without a class are left out where others have one."""
    import numpy as np

    from runtime.window import cut_windows, label_of

    manifest, cuts, names = bundle.manifest, [], []
    for recording in recordings:
        for cut in cut_windows(recording, manifest.signal, manifest.window, manifest.clock):
            cuts.append(cut.samples)
            names.append(label_of(recording, cut.start_s, cut.end_s))
    places = {name: i for i, name in enumerate(manifest.labels)}
    labels = np.array([places.get(name or "", -1) for name in names], np.int64)
    windows = np.array(cuts, np.float32).reshape(-1, *manifest.window_shape)
    if not (labels >= 0).any():
        return windows, None
    return windows[labels >= 0], labels[labels >= 0]
