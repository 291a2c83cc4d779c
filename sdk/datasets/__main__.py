"""`python -m sdk.datasets`: list, describe, download and check data sets from a shell."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.recording import UNLABELLED, Recording
from sdk._command import DONE, FAILED, guarded
from sdk._command import parser as command_parser
from sdk.datasets import DatasetInfo, dataset_info, get, list_datasets, load_dataset
from sdk.datasets._archive import data_folder, find_archive, no_archive
from sdk.datasets._info import STANDARD_GRAVITY
from sdk.datasets._registry import entries_of

QUIET_RAD_S = 0.2  # a gyroscope below this hardly moves: rest, where no label says so
GRAVITY_TOLERANCE = 0.05  # sensors of phones are off by a few per cent; a wrong unit by far more

EXAMPLES = """\
  python -m sdk.datasets list                            what there is, and under which licence
  python -m sdk.datasets info hapt                       signal, labels, citation, accepted archives
  python -m sdk.datasets get hapt --data DIR             download the official archive into DIR
  python -m sdk.datasets check hapt --data DIR           read it all and print what is in it
  python -m sdk.datasets check --data DIR --json         the same for every archive in DIR, for a program

An archive that you have already needs no `get`: put it into DIR, or a direct subfolder of it, under its own name. It
is checked by its sha256 and read as it is; nothing is unpacked. Without --data, `check` takes the folder that the
environment variable SENSEDGE_DATA names, and exits with 1 where what it reads is not what the data set should be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    arguments = _parser().parse_args(argv)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "info": _info,
        "get": _get,
        "check": _check,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        return guarded(lambda: commands[arguments.command](arguments))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("sdk.datasets", "Public motion data sets, read from their official archives.", EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "list": "the data sets, their people and licences",
        "info": "all about one data set, without reading it",
        "get": "download the official archive of one data set",
        "check": "read one data set, or all that are there, and print what is in it",
    }.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name != "list":
            nargs = "?" if name == "check" else None
            command.add_argument("name", metavar="NAME", nargs=nargs, help="one of " + ", ".join(list_datasets()))
        if name in ("get", "check"):
            command.add_argument(
                "--data", metavar="DIR", type=Path, required=name == "get", help="the folder that holds the archives"
            )
        command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _list(arguments: argparse.Namespace) -> int:
    infos = [dataset_info(name) for name in list_datasets()]
    if arguments.json:
        return _print_json([dataclasses.asdict(info) for info in infos])
    for info in infos:
        print(f"{info.name:<16}{info.n_subjects:>3} people  {len(info.labels):>2} labels  {info.title}")
        print(f"{'':<16}commercial use: {'yes' if info.commercial_use else 'no'}; {info.licence}")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    info = dataset_info(arguments.name)
    if arguments.json:
        return _print_json(
            dataclasses.asdict(info) | {"archives": [dataclasses.asdict(entry) for entry in entries_of(info.name)]}
        )
    _print_fields(
        info.name,
        {
            "title": info.title,
            "home page": info.home_page,
            "licence": info.licence,
            "commercial": "yes" if info.commercial_use else "no",
            "citation": info.citation,
            "people": str(info.n_subjects),
            "worn": info.placement,
            "rate": f"{info.signal.rate_hz:g} Hz",
            "channels": _channels(info),
            "labels": ", ".join(info.labels),
            "test people": ", ".join(info.test_subjects) or "no published split",
        },
    )
    for entry in entries_of(info.name):
        print(f"  archive      {entry.file}\n               sha256 {entry.sha256 or 'unknown'}")
        print(f"               {entry.url or 'a repacked copy, no url'}")
    return DONE


def _get(arguments: argparse.Namespace) -> int:
    path = get(arguments.name, arguments.data)
    if arguments.json:
        return _print_json({"name": arguments.name, "path": str(path)})
    print(path)
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    folder = data_folder(arguments.data)
    names = [arguments.name] if arguments.name else [n for n in list_datasets() if find_archive(n, folder) is not None]
    if not names:
        raise no_archive(list_datasets()[0], folder)
    summaries = []
    for name in names:
        summary = _summarise(dataset_info(name), load_dataset(name, folder))
        summaries.append(summary)
        if not arguments.json:
            _print_summary(dataset_info(name), summary)
    if arguments.json:
        _print_json(summaries)
    return FAILED if any(summary["problems"] for summary in summaries) else DONE


def _summarise(info: DatasetInfo, recordings: list[Recording]) -> dict[str, Any]:
    """What the recordings hold, and what of it is not as `info` says."""
    samples = np.zeros(len(info.labels) + 1, np.int64)  # per label; the last: UNLABELLED
    rest_sum, rest_samples = 0.0, 0
    resting = [info.labels.index(label) for label in info.resting]
    for recording in recordings:
        labels = _labels(recording)
        samples += np.bincount(np.where(labels == UNLABELLED, len(info.labels), labels), minlength=len(samples))
        quiet = np.linalg.norm(recording.samples[:, 3:6], axis=1) < QUIET_RAD_S
        at_rest = np.isin(labels, resting) if resting else quiet
        norm = np.linalg.norm(recording.samples[at_rest, :3].astype(np.float64), axis=1)
        rest_sum, rest_samples = rest_sum + float(norm.sum()), rest_samples + len(norm)
    rate_hz = info.signal.rate_hz
    summary: dict[str, Any] = {
        "name": info.name,
        "people": len({recording.subject for recording in recordings}),
        "recordings": len(recordings),
        "samples": int(samples.sum()),
        "rate_hz": rate_hz,
        "units": {modality.name: modality.unit for modality in info.signal.modalities},
        "seconds": {label: round(int(n) / rate_hz, 2) for label, n in zip(info.labels, samples, strict=False)},
        "unlabelled_s": round(int(samples[-1]) / rate_hz, 2),
        "rest_acc_m_s2": round(rest_sum / rest_samples, 4) if rest_samples else None,
    }
    return summary | {"problems": _problems(info, summary)}


def _labels(recording: Recording) -> np.ndarray[Any, np.dtype[np.int16]]:
    if recording.labels is None:
        return np.full(len(recording.samples), UNLABELLED, np.int16)
    return recording.labels


def _problems(info: DatasetInfo, summary: dict[str, Any]) -> list[str]:
    problems = []
    if summary["people"] != info.n_subjects:
        problems.append(f"expected {info.n_subjects} people, got {summary['people']}")
    if empty := [label for label, seconds in summary["seconds"].items() if not seconds]:
        problems.append(f"expected samples of every label, got none of {', '.join(empty)}")
    rest = summary["rest_acc_m_s2"]
    if rest is None or abs(rest / STANDARD_GRAVITY - 1) > GRAVITY_TOLERANCE:
        problems.append(f"expected |acc| of about {STANDARD_GRAVITY:.1f} m/s^2 at rest, got {rest}")
    return problems


def _print_summary(info: DatasetInfo, summary: dict[str, Any]) -> None:
    rest = summary["rest_acc_m_s2"]
    when = ", ".join(info.resting) or f"samples below {QUIET_RAD_S} rad/s"
    _print_fields(
        f"{info.name}: {info.title}",
        {
            "people": str(summary["people"]),
            "recordings": f"{summary['recordings']:,}",
            "samples": f"{summary['samples']:,}, {summary['samples'] / summary['rate_hz'] / 3600:.1f} h",
            "rate": f"{summary['rate_hz']:g} Hz",
            "channels": _channels(info),
            "at rest": "not measured (no such samples)" if rest is None else f"|acc| {rest:.2f} m/s^2 ({when})",
            "seconds": "",
        },
    )
    for label, seconds in (summary["seconds"] | {"unlabelled": summary["unlabelled_s"]}).items():
        print(f"    {label:<24}{seconds:>9,.0f}")
    for problem in summary["problems"]:
        print(f"  problem      {problem}")


def _channels(info: DatasetInfo) -> str:
    return "; ".join(f"{m.name} ({', '.join(m.channels)}) in {m.unit}" for m in info.signal.modalities)


def _print_fields(title: str, fields: dict[str, str]) -> None:
    print(title)
    for name, value in fields.items():
        print(f"  {name:<13}{value}".rstrip())


def _print_json(value: object) -> int:
    print(json.dumps(value, indent=1))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
