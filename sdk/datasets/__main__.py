"""`python -m sdk.datasets`: list, describe, download and check data sets from a shell."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.command import DONE, FAILED, json_text, run_command, say
from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from sdk.datasets import DatasetInfo, dataset_info, get, iter_dataset, list_datasets
from sdk.datasets._find import data_folder, find_archive, no_archive
from sdk.datasets._info import STANDARD_GRAVITY, is_path
from sdk.datasets._pool import parts_of
from sdk.datasets._rates import OFF, MeasuredRate, measured_rate, summary_of_rates
from sdk.datasets._registry import entries_of

QUIET_RAD_S = 0.2  # a gyroscope below this hardly moves: rest, where no label says so
QUIET_M_S2 = 0.2  # without a gyroscope: the standard deviation of each axis in a second of rest
GRAVITY_TOLERANCE = 0.05  # sensors of phones are off by a few per cent; a wrong unit by far more

MANY = 12  # channels of one modality; more are not listed one by one

HELP = "Public motion data sets, read from their official archives, and recordings of one's own."
EXAMPLES = """\
  python -m sdk.datasets list                            what there is, under which licence, and how to get it
  python -m sdk.datasets info hapt                       signal, labels, citation, accepted archives
  python -m sdk.datasets get hapt --data DIR             download the official archive into DIR
  python -m sdk.datasets check hapt --data DIR           read it all and print what is in it
  python -m sdk.datasets check --data DIR --json         the same for every archive in DIR, for a program
  python -m sdk.datasets new recordings                  draft the dataset.toml of a folder of one's own recordings
  python -m sdk.datasets check recordings                read them, and say what would hurt a training

Some data sets must be asked for or are behind a login: `get` says where, and exits with 2. An archive that you have
already needs no `get`: put it into DIR, or a direct
subfolder of it, under its own name. It is checked by its sha256 and read as it is; nothing is unpacked. Without --data,
`check` takes the folder that the environment variable SENSEDGE_DATA names, and exits with 1 where what it reads is not
what the data set should be, or cannot be trained on."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.datasets", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What is done, and with which data set."""
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "list": "the data sets, their people and licences",
        "info": "all about one data set, without reading it",
        "get": "download the official archive of one data set",
        "new": "draft the dataset.toml of a folder of one's own recordings, and say what it was guessed from",
        "check": "read one data set, or all that are there, and print what is in it and what would hurt",
    }.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == "new":
            command.add_argument(
                "folder", metavar="DIR", type=Path, help="the folder; a dataset.toml is not overwritten"
            )
        elif name != "list":
            nargs = "?" if name == "check" else None
            known = "a folder or zip with a dataset.toml, or one of " + ", ".join(list_datasets())
            command.add_argument("name", metavar="NAME", nargs=nargs, help=known)
        if name in ("get", "check"):
            command.add_argument(
                "--data", metavar="DIR", type=Path, required=name == "get", help="the folder that holds the archives"
            )
        command.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """List, describe, download or check; the exit code."""
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "info": _info,
        "get": _get,
        "new": _new,
        "check": _check,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        return commands[arguments.command](arguments)


def _list(arguments: argparse.Namespace) -> int:
    infos = [dataset_info(name) for name in list_datasets()]
    if arguments.json:
        return _print_json([dataclasses.asdict(info) for info in infos])
    for info in infos:
        got = "by request or login" if info.access else "download"
        size = f"{info.n_subjects:>4} people  {len(info.labels):>2} labels  {_rate(info):>12}"
        print(f"{info.name:<18}{size}  {got}: {info.title}")
        print(f"{'':<18}commercial use: {'yes' if info.commercial_use else 'no'}; {info.licence}")
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
            "people": str(info.n_subjects or "not counted") + ("" if info.names_subjects else ", not named"),
            "worn": info.placement,
            "positions": ", ".join(info.positions) or "one",
            "rate": _rate(info),
            "channels": _channels(info),
            "gravity": "in the acceleration" if info.has_gravity else "none",
            "labels": ", ".join(info.labels),
            "test people": ", ".join(info.test_subjects) or "no published split",
            "tested on": info.tested_on,
            "access": info.access or "download",
        },
    )
    for entry in entries_of(info.name):
        print(f"  archive      {entry.file}\n               sha256 {entry.sha256 or 'unknown'}")
        print(f"               {entry.url or ('no url' if info.access else 'a repacked copy, no url')}")
    return DONE


def _get(arguments: argparse.Namespace) -> int:
    path = get(arguments.name, arguments.data)
    if arguments.json:
        return _print_json({"name": arguments.name, "path": str(path)})
    print(path)
    return DONE


def _new(arguments: argparse.Namespace) -> int:
    from sdk.datasets.own.draft import write_draft

    path, draft = write_draft(arguments.folder)
    if arguments.json:
        return _print_json({"path": str(path), "guessed": draft.told, "to_be_said": draft.unsure})
    say(f"{path} is drafted. Guessed:")
    for line in draft.told:
        say(f"  {line}")
    for line in draft.unsure:
        say(f"  to be said: {line}")
    say(f"Correct what is wrong there. Next: python -m sdk.datasets check {arguments.folder}")
    return DONE


def _check_own(arguments: argparse.Namespace) -> int:
    from sdk.datasets.own.check import look_over, printed
    from sdk.datasets.own.read import OwnSet

    found = look_over(OwnSet(arguments.name))
    if arguments.json:
        _print_json([found.to_dict()])
    else:
        say(printed(found))
    return FAILED if found.problems else DONE


def _check(arguments: argparse.Namespace) -> int:
    if arguments.name and len(parts_of(arguments.name)) > 1:
        raise InputError(arguments.name, expected="one data set", got="a pool", fix="Check one after the other.")
    if arguments.name and is_path(arguments.name):
        return _check_own(arguments)
    folder = data_folder(arguments.data)
    names = [arguments.name] if arguments.name else [n for n in list_datasets() if find_archive(n, folder) is not None]
    if not names:
        raise no_archive("uci_har", folder)
    summaries = []
    for name in names:
        summary = _summarise(dataset_info(name), iter_dataset(name, folder))
        summaries.append(summary)
        if not arguments.json:
            _print_summary(dataset_info(name), summary)
    if arguments.json:
        _print_json(summaries)
    return FAILED if any(summary["problems"] for summary in summaries) else DONE


def _summarise(info: DatasetInfo, recordings: Iterable[Recording]) -> dict[str, Any]:
    """What the recordings hold, and what of it is not as `info` says."""
    seconds = np.zeros(len(info.labels) + 1)  # per label; the last: UNLABELLED
    people, rates_hz = set[str](), set[float]()
    rates = list[tuple[float, MeasuredRate | None]]()
    places: dict[str, set[str]] = {position: set() for position in info.positions}
    n_recordings, n_samples, rest_sum, n_rest = 0, 0, 0.0, 0
    for recording in recordings:
        labels = _labels(recording)
        counts = np.bincount(np.where(labels == UNLABELLED, len(info.labels), labels), minlength=len(seconds))
        seconds += counts / recording.rate_hz
        people.add(recording.subject)
        rates_hz.add(recording.rate_hz)
        rates.append((recording.rate_hz, measured_rate(recording.t)))
        places.get(recording.name.rpartition("/")[2], set()).add(recording.subject)
        n_recordings, n_samples = n_recordings + 1, n_samples + len(labels)
        rest = _acc_at_rest(info, recording, labels)
        rest_sum, n_rest = rest_sum + float(rest.sum()), n_rest + len(rest)
    summary: dict[str, Any] = {
        "name": info.name,
        "people": len(people) if info.names_subjects else None,
        "recordings": n_recordings,
        "samples": n_samples,
        "rate_hz": info.signal.rate_hz,
        "rates_hz": sorted(rates_hz),
        "measured": summary_of_rates(rates),
        "people_at": {place: len(who) for place, who in places.items()} if any(places.values()) else None,
        "units": {modality.name: modality.unit for modality in info.signal.modalities},
        "seconds": {label: round(float(s), 2) for label, s in zip(info.labels, seconds, strict=False)},
        "unlabelled_s": round(float(seconds[-1]), 2),
        "rest_acc_m_s2": round(rest_sum / n_rest, 4) if n_rest else None,
    }
    return summary | {"problems": _problems(info, summary)}


def _labels(recording: Recording) -> NDArray[np.int16]:
    if recording.labels is None:
        return np.full(len(recording.samples), UNLABELLED, np.int16)
    return recording.labels


def _acc_at_rest(info: DatasetInfo, recording: Recording, labels: NDArray[np.int16]) -> NDArray[np.float64]:
    """|acc| of the first accelerometer at every sample of rest, in m/s^2; empty where it is without gravity."""
    names = [modality.name for modality in info.signal.modalities]
    acc = next((name for name in names if name.endswith("acc")), None)
    if acc is None or not info.has_gravity:
        return np.empty(0)
    samples = recording.samples[:, _columns(info, acc)].astype(np.float64)
    gyro = acc.removesuffix("acc") + "gyro"
    if info.resting:
        at_rest = np.isin(labels, [info.labels.index(label) for label in info.resting])
    elif gyro in names:
        at_rest = np.linalg.norm(recording.samples[:, _columns(info, gyro)], axis=1) < QUIET_RAD_S
    else:
        at_rest = _quiet(samples, max(round(recording.rate_hz), 2))
    return np.asarray(np.linalg.norm(samples[at_rest], axis=1))


def _columns(info: DatasetInfo, modality: str) -> list[int]:
    return [i for i, name in enumerate(info.signal.channel_names) if name.rpartition("_")[0] == modality]


def _quiet(samples: NDArray[np.float64], second: int) -> NDArray[np.bool_]:
    """Samples of seconds in which no axis moves, but for those of a sensor that gives zeros only."""
    whole = len(samples) // second * second
    seconds = samples[:whole].reshape(-1, second, samples.shape[1])
    quiet = (seconds.std(axis=1) < QUIET_M_S2).all(axis=1) & seconds.any(axis=(1, 2))
    return np.concatenate((np.repeat(quiet, second), np.zeros(len(samples) - whole, bool)))


def _problems(info: DatasetInfo, summary: dict[str, Any]) -> list[str]:
    problems = []
    if info.names_subjects and summary["people"] != info.n_subjects:
        problems.append(f"expected {info.n_subjects} people, got {summary['people']}")
    empty = [name for name, seconds in summary["seconds"].items() if not seconds and name not in info.may_be_absent]
    if empty:
        problems.append(f"expected samples of every label, got none of {', '.join(empty)}")
    rest = summary["rest_acc_m_s2"]
    if info.has_gravity and (rest is None or abs(rest / STANDARD_GRAVITY - 1) > GRAVITY_TOLERANCE):
        problems.append(f"expected |acc| of about {STANDARD_GRAVITY:.1f} m/s^2 at rest, got {rest}")
    return problems


def _print_summary(info: DatasetInfo, summary: dict[str, Any]) -> None:
    rest = summary["rest_acc_m_s2"]
    when = ", ".join(info.resting) or f"samples below {QUIET_RAD_S} rad/s, or seconds within {QUIET_M_S2} m/s^2"
    hours = (sum(summary["seconds"].values()) + summary["unlabelled_s"]) / 3600
    why = "no such samples" if info.has_gravity else "no gravity in this data"
    _print_fields(
        f"{info.name}: {info.title}",
        {
            "people": "not named" if summary["people"] is None else str(summary["people"]),
            "recordings": f"{summary['recordings']:,}",
            "samples": f"{summary['samples']:,}, {hours:.1f} h",
            **({"worn at": _people_at(summary["people_at"])} if summary["people_at"] else {}),
            "rate": " ".join(f"{rate_hz:g}" for rate_hz in summary["rates_hz"]) + " Hz",
            **({"measured": _measured(summary["measured"])} if summary["measured"] else {}),
            "channels": _channels(info),
            "at rest": f"not measured ({why})" if rest is None else f"|acc| {rest:.2f} m/s^2 ({when})",
            "seconds": "",
        },
    )
    for label, seconds in (summary["seconds"] | {"unlabelled": summary["unlabelled_s"]}).items():
        print(f"    {label:<24}{seconds:>9,.0f}")
    absent = [name for name in info.may_be_absent if not summary["seconds"][name]]
    if absent:
        print(f"  absent       {', '.join(absent)}: not in every published version")
    for problem in summary["problems"]:
        print(f"  problem      {problem}")


def _people_at(people: dict[str, int]) -> str:
    return ", ".join(f"{place} {n} people" for place, n in people.items())


def _measured(rates: dict[str, Any]) -> str:
    """What the recordings' own times say of the rate."""
    told = f"{rates['median_hz']:g} Hz ({rates['least_hz']:g} to {rates['most_hz']:g}) by the times of the recordings"
    off = f"{rates['off_nominal']} of {rates['recordings']} are off the nominal rate by more than {OFF:.0%}"
    changing = f"{rates['changing']} of them change their rate" if rates["changing"] else ""
    return "; ".join(part for part in (told, off if rates["off_nominal"] else "", changing) if part)


def _rate(info: DatasetInfo) -> str:
    if not info.rates_hz:
        return f"{info.signal.rate_hz:g} Hz"
    return f"{min(info.rates_hz):g} to {max(info.rates_hz):g} Hz"


def _channels(info: DatasetInfo) -> str:
    return "; ".join(f"{m.name} ({_short(m.channels)}) in {m.unit}" for m in info.signal.modalities)


def _short(names: Sequence[str]) -> str:
    few = len(names) <= MANY
    return ", ".join(names) if few else f"{names[0]}, {names[1]}, ... {names[-1]}: {len(names):,} of them"


def _print_fields(title: str, fields: dict[str, str]) -> None:
    print(title)
    for name, value in fields.items():
        print(f"  {name:<13}{value}".rstrip())


def _print_json(value: object) -> int:
    print(json_text(value, indent=1))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
