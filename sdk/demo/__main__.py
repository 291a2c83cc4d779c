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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, json_text, note, run_command
from runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime import Bundle, Prediction
    from sdk.finetune import FinetuneReport
    from sdk.scores import Scores

DATA = Path(__file__).parent / "data"
_PER_LABEL = 5  # labelled windows per activity, as a wearer would give
HELP = "The whole way on a device: open, stream, adapt, measure. Needs no torch."
EXAMPLES = """\
  python -m sdk.demo                     a few seconds on a workstation
  python -m sdk.demo --person 12         another of the people whom the model never saw
  python -m sdk.demo --keep my.bundle    keep the adapted bundle to play with"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.demo", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Whom it streams, and what is kept."""
    p.add_argument("--person", metavar="ID", help=f"one of {', '.join(_people())} (default: the first)")
    p.add_argument("--keep", metavar="DIR", type=Path, help="keep the adapted bundle here")
    p.add_argument("--windows", metavar="N", type=int, default=2000, help="of the profile (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object at the end instead of text")


def _people() -> list[str]:
    return sorted((path.stem.removeprefix("person_") for path in DATA.glob("person_*.npz")), key=int)


def _sample(person: str) -> Path:
    return DATA / f"person_{person}.npz"


def run(arguments: argparse.Namespace) -> int:
    """Open, stream, adapt, measure; the exit code.

    Raises:
        InputError: no such person, no windows, or a folder to keep that is there already.
    """
    person = arguments.person or _people()[0]
    if person not in _people():
        raise InputError("--person", expected=f"one of {', '.join(_people())}", got=person, fix="Choose one of them.")
    if arguments.windows < 1:
        raise InputError("--windows", expected="at least 1", got=arguments.windows, fix="Leave it out.")
    if arguments.keep is not None and arguments.keep.exists():
        raise InputError(
            "--keep", expected="a name that is free", got=arguments.keep, fix="Choose another or remove it."
        )
    with tempfile.TemporaryDirectory(prefix="sensedge-demo-") as folder:
        path = Path(shutil.copytree(DATA / "walk.bundle", Path(folder) / "walk.bundle"))
        results = _demo(path, person, arguments)
        if arguments.keep is not None:
            shutil.copytree(path, arguments.keep)
            kept = _kept(arguments.keep, person, results["version"])
    if arguments.json:
        if arguments.keep is not None:
            note(kept)
        print(json_text(results))
    else:
        if arguments.keep is not None:
            print(f"\n{kept}")
        print(_next(arguments.keep or DATA / "walk.bundle", _sample(person)))
    return DONE


def _demo(path: Path, person: str, arguments: argparse.Namespace) -> dict[str, Any]:
    from runtime import Bundle, Replay
    from runtime.play import play
    from runtime.specs import BASE
    from sdk import shown
    from sdk.finetune.described import describe as describe_finetune
    from sdk.scores import Tally

    quiet = arguments.json
    say = (lambda text: None) if quiet else print
    bundle = Bundle.open(path)
    signal = bundle.manifest.signal
    say(_opened(bundle))
    replay = Replay(_sample(person), signal)
    say(f"\n2. stream: person {person}, {replay.duration_s:.0f} s, never seen by the model\n")
    if not quiet:
        shown.print_header()
    tally = Tally(bundle.manifest.labels)

    def show(prediction: Prediction, true: str | None) -> None:
        tally.add(prediction.label, true)
        if not quiet:
            shown.print_prediction(prediction, true)

    play(replay, bundle, show)
    streamed = tally.scores()
    say(f"\n   {shown.describe_scores(streamed)}")

    say(
        f"\n3. adapt: {_PER_LABEL} labelled windows per activity, scored on the same person's other windows, those "
        "that share no sample with the labelled ones\n"
    )
    results = {name: _adapt(path, name) for name in [person, *(p for p in _people() if p != person)]}
    report, before, after = results[person]
    Bundle.open(path, BASE).rollback(report.version)
    say("   " + describe_finetune(report).replace("\n", "\n   "))
    say(f"\n   {_ROW.format('person', 'other windows', 'macro-F1', 'adapted', '')}".rstrip())
    for name in _people():
        kept, was, now = results[name]
        outcome = "" if kept.accepted else "not accepted: the base stays"
        say(f"   {_ROW.format(name, was.n, f'{was.macro_f1:.3f}', f'{now.macro_f1:.3f}', outcome)}".rstrip())
    say(f"   macro-F1 {_overs(results.values())}")

    say("\n4. profile, in a process of its own\n")
    profiled = _profile(path, arguments)
    say("   " + profiled.rstrip().replace("\n", "\n   ").replace("   \n", "\n"))
    return {
        "person": person,
        "stream": streamed.to_dict(),
        "finetune": report.to_dict(),
        "others": {"before": before.to_dict(), "after": after.to_dict()},
        "everybody": _everybody(results),
        "profile": json.loads(profiled) if quiet else None,
        "version": report.version,
    }


def _opened(bundle: Bundle) -> str:
    """What was opened, and how good it is said to be."""
    from sdk.scores import over_classes

    manifest = bundle.manifest
    unseen = manifest.provenance["unseen_people"]
    classes = unseen.get("macro_f1_classes")
    over = f" {over_classes(classes, len(manifest.labels))}" if classes is not None else ""
    return (
        f"1. open: {manifest.name}, verified: {len(manifest.files)} files by hash, {len(manifest.tensors)} tensors\n"
        f"   {len(manifest.labels)} activities from {', '.join(manifest.signal.channel_names)} at "
        f"{manifest.signal.rate_hz:g} Hz; macro-F1 {unseen['macro_f1']:.3f}{over} on people it never saw"
    )


def _everybody(results: dict[str, tuple[FinetuneReport, Scores, Scores]]) -> dict[str, Any]:
    """What each person's adaptation gave, for JSON."""
    return {
        name: {
            "accepted": kept.accepted,
            "before": was.macro_f1,
            "after": now.macro_f1,
            "macro_f1_classes": [was.macro_f1_classes, now.macro_f1_classes],
        }
        for name, (kept, was, now) in results.items()
    }


def _overs(results: Iterable[tuple[FinetuneReport, Scores, Scores]]) -> str:
    """Over how many classes the scores are, each way to say it once."""
    return " or ".join(dict.fromkeys(one.over for _, was, now in results for one in (was, now)))


# As `python -m sdk.profile`, but that the current folder, which may hold a runtime.py, is not looked into.
_ROW = "{:<8}  {:>13}  {:>8}  {:>8}  {}"


def _adapt(path: Path, person: str) -> tuple[FinetuneReport, Scores, Scores]:
    """Adapt the base to one person; the scores on that person's other windows before and after."""
    import numpy as np

    from runtime import Bundle, Recording, labelled_windows
    from runtime.specs import BASE
    from sdk.finetune import finetune, set_apart
    from sdk.meters import open_meter
    from sdk.scores import score_bundle

    base = Bundle.open(path, BASE)
    manifest = base.manifest
    recordings = [Recording.load(_sample(person))]
    windows = labelled_windows(recordings, manifest.signal, manifest.window, manifest.labels, manifest.clock)
    chosen = np.concatenate([_spread(np.flatnonzero(windows.labels == label)) for label in range(len(manifest.labels))])
    labelled, rest = set_apart(windows, chosen, manifest.window_s)
    before = score_bundle(base, rest)
    adapted, report = finetune(base, labelled, meter=open_meter())
    return report, before, score_bundle(adapted, rest)


def _profile(path: Path, arguments: argparse.Namespace) -> str:
    """What `python -m sdk.profile` prints: a fresh process, so that memory counts from the start."""
    from runtime.process.child import HELD, Child

    code = f"{HELD}from sdk.profile.__main__ import main; raise SystemExit(main())"
    options = [str(path.absolute()), "--windows", str(arguments.windows), *(["--json"] if arguments.json else [])]
    with Child(["-c", code, *options]) as child:
        child.start()
        text = child.text()
        if child.wait():
            raise OSError(f"the profile failed: {child.last_line() or child.ending()}")
    return text


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A few rows, evenly spaced over all of them."""
    return rows[:: max(1, len(rows) // _PER_LABEL)][:_PER_LABEL]


def _kept(bundle: Path, person: str, version: str) -> str:
    """Which version the kept bundle is used in, and the way back."""
    from runtime.specs import BASE

    if version == BASE:
        return f"{bundle}: the base is in use, since no version for person {person} was accepted."
    return (
        f"{bundle}: version {version} is in use, adapted to person {person}; back to the model as shipped: "
        f"python -m sdk.finetune {bundle} --rollback base"
    )


def _next(bundle: Path, sample: Path) -> str:
    return f"""
5. next

   python -m sdk.stream {bundle} --replay {sample}
   python -m sdk.profile {bundle} --json
   python -m sdk.finetune --help      your own labels
   python -m sdk.datasets list        data to train on; then python -m sdk.pretrain --help"""


if __name__ == "__main__":
    sys.exit(main())
