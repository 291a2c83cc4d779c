"""`python -m sdk.demo`: open, stream, adapt, measure, all on files that the package carries.

The bundle is copied into a folder of the demo's own first, because adapting writes into it; the copy goes when the demo
ends, unless --keep names a place for it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError
from sdk._command import DONE, guarded, parser

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime import Bundle, Recording
    from runtime.window import LabelledWindows

DATA = Path(__file__).parent / "data"
_PER_LABEL = 5  # labelled windows per activity, as a wearer would give
_EXAMPLES = """\
  python -m sdk.demo                     about ten seconds
  python -m sdk.demo --person 12         another of the people whom the model never saw
  python -m sdk.demo --keep my.bundle    keep the adapted bundle to play with"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code."""
    p = parser("sdk.demo", "The whole way on a device: open, stream, adapt, measure. Needs no torch.", _EXAMPLES)
    p.add_argument("--person", metavar="ID", help=f"one of {', '.join(_people())} (default: the first)")
    p.add_argument("--keep", metavar="DIR", type=Path, help="keep the adapted bundle here")
    p.add_argument("--windows", metavar="N", type=int, default=2000, help="of the profile (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object at the end instead of text")
    arguments = p.parse_args(argv)
    return guarded(lambda: _run(arguments))


def _people() -> list[str]:
    return sorted((path.stem.removeprefix("person_") for path in DATA.glob("person_*.npz")), key=int)


def _run(arguments: argparse.Namespace) -> int:
    person = arguments.person or _people()[0]
    if person not in _people():
        raise InputError("--person", expected=f"one of {', '.join(_people())}", got=person, fix="Choose one of them.")
    if arguments.keep is not None and arguments.keep.exists():
        raise InputError(
            "--keep", expected="a name that is free", got=arguments.keep, fix="Choose another or remove it."
        )
    with tempfile.TemporaryDirectory(prefix="sensedge-demo-") as folder:
        path = Path(shutil.copytree(DATA / "walk.bundle", Path(folder) / "walk.bundle"))
        results = _demo(path, DATA / f"person_{person}.npz", arguments)
        if arguments.keep is not None:
            shutil.copytree(path, arguments.keep)
    if arguments.json:
        print(json.dumps(results))
    else:
        print(_next(arguments.keep or DATA / "walk.bundle", DATA / f"person_{person}.npz"))
    return DONE


def _demo(path: Path, sample: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from runtime import Bundle, Replay
    from sdk import stream
    from sdk.finetune import finetune
    from sdk.finetune.__main__ import describe as describe_finetune
    from sdk.meters import open_meter
    from sdk.profile import describe as describe_profile
    from sdk.profile import profile

    quiet = arguments.json
    say = (lambda text: None) if quiet else print
    bundle = Bundle.open(path)
    unseen = bundle.manifest.provenance["unseen_people"]
    say(
        f"1. open: {bundle.manifest.name}, verified: {len(bundle.manifest.files)} files by hash, "
        f"{len(bundle.manifest.tensors)} tensors"
    )
    say(
        f"   {len(bundle.manifest.labels)} activities from {', '.join(bundle.manifest.signal.channel_names)} at "
        f"{bundle.manifest.signal.rate_hz:g} Hz; macro-F1 {unseen['macro_f1']:.3f} on people it never saw"
    )
    replay = Replay(sample, bundle.manifest.signal)
    recording = replay.recording
    say(f"\n2. stream: person {recording.subject}, {recording.duration_s:.0f} s, never seen by the model\n")
    if not quiet:
        stream.print_header()
    streamed = stream.play(bundle, replay, (lambda p, true: None) if quiet else stream.print_prediction)
    say(f"\n   {stream.describe_scores(streamed)}")

    say(
        f"\n3. adapt: {_PER_LABEL} labelled windows per activity of this person, scored on all windows that share no "
        "sample with them\n"
    )
    labelled, rest = _split(bundle, recording)
    before = _score(bundle, rest)
    adapted, report = finetune(bundle, labelled, meter=open_meter())
    after = _score(adapted, rest)
    say("   " + describe_finetune(report).replace("\n", "\n   "))
    say(
        f"   this person's other {before.n} windows: accuracy {before.accuracy:.3f} -> {after.accuracy:.3f}, "
        f"macro-F1 {before.macro_f1:.3f} -> {after.macro_f1:.3f}"
    )

    say("\n4. profile\n")
    profiled = profile(path, arguments.windows)
    say("   " + describe_profile(profiled).replace("\n", "\n   "))
    return {
        "stream": streamed.to_dict(),
        "finetune": report.to_dict(),
        "others": {"before": before.to_dict(), "after": after.to_dict()},
        "profile": profiled.to_dict(),
    }


def _split(bundle: Bundle, recording: Recording) -> tuple[Any, LabelledWindows]:
    """A few windows per label for the wearer to name, and the others that share no sample with these."""
    import numpy as np

    from runtime import labelled_windows
    from sdk.finetune import LabelledSet

    manifest = bundle.manifest
    windows = labelled_windows([recording], manifest.signal, manifest.window, manifest.labels)
    chosen = np.concatenate([_spread(np.flatnonzero(windows.labels == label)) for label in range(len(manifest.labels))])
    distance = np.abs(windows.start_s[:, None] - windows.start_s[chosen])
    rest = distance.min(axis=1) >= manifest.window_s - 1e-6
    labelled = LabelledSet(windows.samples[chosen], windows.labels[chosen], np.ones(len(chosen)), "demo")
    return labelled, type(windows)(*(column[rest] for column in windows))


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A few rows, evenly spaced over all of them."""
    return rows[:: max(1, len(rows) // _PER_LABEL)][:_PER_LABEL]


def _score(bundle: Bundle, windows: LabelledWindows) -> Any:
    from runtime import open_engine
    from sdk.scores import score

    engine = open_engine(bundle)
    return score(windows.labels, engine.run(windows.samples).argmax(axis=1), len(bundle.manifest.labels))


def _next(bundle: Path, sample: Path) -> str:
    return f"""
5. next

   python -m sdk.stream {bundle} --replay {sample}
   python -m sdk.profile {bundle} --json
   python -m sdk.finetune --help      your own labels
   python -m sdk.datasets list        data to train on; then python -m sdk.pretrain --help"""


if __name__ == "__main__":
    sys.exit(main())
