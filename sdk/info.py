"""`python -m sdk.info BUNDLE`: what a bundle is, in a look; nothing but the base install is needed.

`python -m exporters inspect` says more of the graph, and needs the package onnx.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import (
    DONE,
    add_trust,
    add_version,
    json_text,
    open_bundle,
    run_command,
    say,
    table,
    trust_of,
)

if TYPE_CHECKING:
    from runtime.bundle import Bundle

HELP = "What a bundle is: labels, rate, units, window, versions, size, where it comes from, licence."
EXAMPLES = """\
  python -m sdk.info walk.bundle
  python -m sdk.info walk.bundle --json
  python -m sdk.info walk.bundle --trust vendor.pub       and refuse what nobody we trust has signed"""
_WIDTH, _NAMES = 100, 12  # of the page, and of its first column
_VERSION = ("made_s", "parent", "by", "plan", "labels", "windows_per_label", "before", "after", "kept", "unlabelled")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.info", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, and how it is shown."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    add_version(p)
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Print the page or the JSON; the exit code."""
    bundle = open_bundle(arguments.bundle, arguments.version, trust=trust_of(arguments))
    say(json_text(facts_of(bundle), indent=1) if arguments.json else _page(bundle))
    return DONE


def facts_of(bundle: Bundle) -> dict[str, Any]:
    """What the page shows, as plain JSON."""
    import json

    from sdk.finetune.listing import records_of

    manifest = bundle.manifest
    stored = json.loads(manifest.to_json())
    records, damaged = records_of(bundle)
    versions = [
        {"version": name, **{key: record[key] for key in _VERSION if key in record}} for name, record in records.items()
    ]
    return {
        "name": manifest.name,
        "version": bundle.version,
        "revision": manifest.revision,
        "signed": (bundle.path / "manifest.sig").is_file(),
        "labels": [*manifest.labels],
        **{key: stored.get(key) for key in ("signal", "window", "normalise", "spectrogram", "events", "clock")},
        "window_s": manifest.window_s,
        "hop_s": manifest.hop_s,
        "features": manifest.features,
        "bytes": sum(spec.bytes for spec in manifest.files.values()),
        "model_bytes": manifest.files["model.onnx"].bytes,
        "precisions": [*bundle.precisions],
        "trains_from": [spec.layer for spec in manifest.training],
        "versions": versions,
        "damaged": damaged,
        "licence": _licence(manifest.provenance),
        "provenance": stored["provenance"],
    }


def _licence(provenance: Mapping[str, Any]) -> str | None:
    """What is said of it: of the model, or else of its data."""
    data = provenance.get("data")
    places = (provenance, data if isinstance(data, Mapping) else {})
    said = (place.get(key) for place in places for key in ("licence", "license"))
    return next((value for value in said if isinstance(value, str)), None)


def _page(bundle: Bundle) -> str:
    facts = facts_of(bundle)
    signed = "signed" if facts["signed"] else "not signed"
    title = f"{facts['name']}, version {facts['version']}, {signed}"
    signal = [
        f"{m['name']} ({', '.join(m['channels'])}) in {m['unit']} at {m['rate_hz']:g} Hz"
        for m in facts["signal"]["modalities"]
    ]
    window = facts["window"]
    cut = f"{window['length_samples']} samples = {facts['window_s']:g} s, every {window['hop_samples']}"
    trains = ", ".join(map(str, facts["trains_from"])) or "the head only"
    size = f"{facts['bytes'] / 1e6:.3g} MB, of which the model {facts['model_bytes'] / 1e6:.3g} MB"
    lines = [title]
    for name, said in (
        ("labels", [f"{len(facts['labels'])}: {', '.join(facts['labels'])}"]),
        ("signal", signal),
        ("window", [f"{cut} = {facts['hop_s']:g} s"]),
        ("precisions", [", ".join(facts["precisions"])]),
        ("trains from", [f"layer {trains}" if facts["trains_from"] else trains]),
        ("size", [size]),
        ("versions", _versions(bundle)),
        ("comes from", _origin(facts["provenance"])),
        ("scores", _scores(facts["provenance"])),
        ("licence", [facts["licence"] or "not told"]),
    ):
        wrapped = [part for line in said for part in _wrapped(line)]
        lines += [f"{name if i == 0 else '':<{_NAMES}}{line}".rstrip() for i, line in enumerate(wrapped)]
    return "\n".join(lines)


def _wrapped(line: str) -> list[str]:
    return [line] if "  " in line else textwrap.wrap(line, _WIDTH - _NAMES, subsequent_indent="  ") or [""]


def _versions(bundle: Bundle) -> list[str]:
    """The table of `python -m sdk.finetune --list`, with dates and the name of each figure."""
    from runtime.bundle.versions import current_version
    from runtime.errors import BundleError
    from sdk.finetune.listing import COLUMNS, rows_of

    broken = ""
    try:
        current: str | None = current_version(bundle.path)
    except BundleError as error:
        current, broken = None, str(error)
    rows, damaged = rows_of(bundle, current)
    return [*table(rows, COLUMNS).splitlines(), *damaged.values(), broken] if len(rows) > 1 else ["base alone"]


def _origin(provenance: Mapping[str, Any]) -> list[str]:
    """Method, data, placement, and whose model it was."""
    data, model = (provenance.get(key) for key in ("data", "model"))
    said = []
    if isinstance(data, Mapping):
        named = ("title", "citation")
        said.append(". ".join(str(data[key]) for key in named if data.get(key)) or str(data.get("name", "")))
    told = {key: provenance.get(key) for key in ("source", "method", "placement")}
    said += [f"{key}: {value}" for key, value in told.items() if isinstance(value, str)]
    if isinstance(model, Mapping):
        said.append(f"the file {model.get('file')} of {model.get('producer')}, opset {model.get('opset')}")
    return said or ["not told"]


def _scores(provenance: Mapping[str, Any]) -> list[str]:
    """What the base scored on people never seen."""
    scores = provenance.get("unseen_people")
    if not isinstance(scores, Mapping):
        return ["not told"]
    named = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
    figures = [f"{said} {scores[key]:.3f}" for key, said in named.items() if isinstance(scores.get(key), float)]
    people = scores.get("test_subjects")
    who = f" of {len(people)} people never seen" if isinstance(people, list) else " of people never seen"
    return [f"{', '.join(figures)} on {scores.get('n', '?')} windows{who} (the base)" if figures else "not told"]


if __name__ == "__main__":
    sys.exit(main())
