"""`python -m sdk.label`: look at what a recorder kept, say what it was, export it.

Times are local ones of this device (TZ=Europe/Berlin before the command names another place). A time that the clocks
skip in spring is refused, and so is one that they show twice in autumn, unless it says which: 02:30+01:00.
"""

from __future__ import annotations

import argparse
import bisect
import difflib
import json
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, run_command, say
from runtime.errors import InputError, printable

if TYPE_CHECKING:
    from runtime.recorder import Store
    from runtime.recorder.marks import Span

HELP = "Look at what a recorder kept, and say what it was."
EXAMPLES = """\
  python -m sdk.label me.db list                              days, what was predicted, what is labelled
  python -m sdk.label me.db mark "12:00-12:30" walking        today's windows inside were walking
  python -m sdk.label me.db mark "12:00-12:30" walking --date 2026-11-20
  python -m sdk.label me.db mark "23:30-00:15" sitting        an end before the start is on the next day
  python -m sdk.label me.db mark --from "2026-11-20 12:00" --to "2026-11-20T12:30:15" walking
  python -m sdk.label me.db unmark "12:10-12:15"              labels away; what was recorded stays
  python -m sdk.label me.db undo                              as before the last mark or unmark
  python -m sdk.label me.db export mine.npz                   labelled stretches as a recording
  python -m sdk.finetune walk.bundle --labels me.db           train from it

A window gets the label if the whole of it lies inside; those that the ends cut get none. Marks may overlap: the later
one counts. The recorder may go on meanwhile."""

_SLOT_S = 1800  # of one letter of the picture
_SPAN = re.compile(r"\s*(?:(\d{4}-\d\d-\d\d)[ T]+)?(\d\d?:\d\d\S*?)\s*(?:-|–|to)\s*(\d\d?:\d\d\S*)\s*")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.label", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The store, and what is done with it."""
    p.add_argument("store", type=Path, help="file of the recorder (.db)")
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="days with a picture: what was predicted, what is labelled")
    listing.add_argument("--days", metavar="N", type=int, default=31, help="the latest N (default %(default)s)")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    mark = commands.add_parser("mark", help="say what a span of time was")
    unmark = commands.add_parser("unmark", help="take the labels of a span of time away")
    for command, words in ((mark, "SPAN LABEL, or LABEL with --from and --to"), (unmark, "SPAN, if no --from")):
        command.add_argument("words", nargs="*", metavar="WORD", help=f'{words}; a span is "12:00-12:30"')
        command.add_argument("--date", metavar="DAY", help="of the span: 2026-11-20 (default today)")
        command.add_argument("--from", dest="start", metavar="TIME", help='in place of a span: "2026-11-20 12:00"')
        command.add_argument("--to", dest="end", metavar="TIME", help="its end")
    mark.add_argument("--new", action="store_true", help="a label that the model does not have")
    commands.add_parser("undo", help="take back the last mark or unmark")
    export = commands.add_parser("export", help="labelled stretches as a recording")
    export.add_argument("out", type=Path, metavar="OUT.npz", help="file to write")


def run(arguments: argparse.Namespace) -> int:
    """Look, mark or export; the exit code."""
    from runtime.recorder import Store

    with Store(arguments.store) as store:
        say(_COMMANDS[arguments.command](store, arguments))
    return DONE


def _mark(store: Store, arguments: argparse.Namespace) -> str:
    start_s, end_s, words = _span_of(arguments)
    if len(words) != 1:
        raise InputError("mark", expected='a span and one label: "12:00-12:30" walking', got=words, fix="Quote both.")
    label = words[0].strip()
    if not label or not label.isprintable():
        raise InputError("label", expected="a name", got=repr(label), fix="Write it in letters.")
    if not arguments.new:
        _check_label(label, store.labels)
    found = store.mark(start_s, end_s, label, time.time())
    return (
        f"{label}: {found.inside} windows, {_clock(start_s)} to {_clock(end_s)}; {found.straddling} that the ends cut "
        f"are not labelled\nnext: python -m sdk.finetune BUNDLE --labels {store.path}"
    )


def _unmark(store: Store, arguments: argparse.Namespace) -> str:
    start_s, end_s, words = _span_of(arguments)
    if words:
        raise InputError("unmark", expected="a span and no label", got=words, fix="Leave the label out.")
    found = store.mark(start_s, end_s, None, time.time())
    return f"{_clock(start_s)} to {_clock(end_s)}: no labels; {found.inside} windows inside"


def _undo(store: Store, arguments: argparse.Namespace) -> str:
    span = store.undo()
    if span is None:
        raise InputError(store.path, expected="a mark to take back", got="none", fix="There is nothing to do.")
    return f"taken back: {printable(span.label or 'unmark')}, {_clock(span.start_s)} to {_clock(span.end_s)}"


def _export(store: Store, arguments: argparse.Namespace) -> str:
    if arguments.out.suffix.lower() != ".npz":
        raise InputError("export", expected="a name that ends in .npz", got=arguments.out, fix="Choose another name.")
    if not arguments.out.parent.is_dir():
        raise InputError(arguments.out, expected="a folder that exists", got="none", fix="Make it first.")
    from runtime.recorder import labelled_recording

    recording = labelled_recording(store)
    recording.save(arguments.out)
    os.chmod(arguments.out, 0o600)
    return (
        f"{arguments.out}: {len(recording.samples)} samples, labels {', '.join(map(printable, recording.label_names))}"
    )


def _list(store: Store, arguments: argparse.Namespace) -> str:
    from runtime.recorder import days_of

    days = list(days_of(store, arguments.days))
    span = store.span_s
    if arguments.json:
        spans = [entry._asdict() for entry in store.spans()]
        return json.dumps(
            {"span_s": span, "labels": store.labels, "keeps": store.keeps(), "days": days, "spans": spans}
        )
    if span is None:
        return f"{store.path}: empty"
    letters = _letters([name for day in days for part in ("predicted", "labelled") for name in day[part]])
    lines = [f"{store.path}: {_clock(span[0])} to {_clock(span[1])}, keeps {', '.join(store.keeps()) or 'predictions'}"]
    marked = store.spans()
    for day in days:
        lines += ["", *_picture(store, day, letters, marked)]
    return "\n".join([*lines, "", "  ".join(f"{letter} {printable(name)}" for name, letter in letters.items())])


def _picture(store: Store, day: dict[str, Any], letters: dict[str, str], spans: list[Span]) -> list[str]:
    """The lines of one day: numbers, hours, a letter per half hour for what was predicted and what is labelled."""
    from runtime.recorder.days import midnight_s

    at = date.fromisoformat(day["date"])
    begin_s, end_s = midnight_s(at), midnight_s(at + timedelta(1))
    ruler, predicted, labelled = "", "", ""
    counts, longest = store.timeline(begin_s, end_s), _longest(spans, begin_s, end_s)
    for slot in range(int((end_s - begin_s) // _SLOT_S)):
        slot_s = begin_s + slot * _SLOT_S
        local = datetime.fromtimestamp(slot_s)
        if len(ruler) <= slot:
            ruler += f"{local.hour:02d}" if local.hour % 3 == local.minute == 0 else " "
        both = Counter(counts.get(slot_s, {})) + Counter(counts.get(slot_s + 900, {}))
        predicted += letters[both.most_common(1)[0][0]] if both else "·"
        labelled += letters.get(longest.get(slot, ""), "·")
    share = sum(day["labelled"].values()) / day["windows"]
    told = ", ".join(f"{printable(name)} {n / day['windows']:.0%}" for name, n in day["predicted"].items())
    return [
        f"{day['date']} {at:%a}  {day['windows']} windows, {share:.1%} labelled; {told}",
        f"           {ruler}",
        f"predicted  {predicted}",
        f"labelled   {labelled}",
    ]


def _longest(spans: list[Span], begin_s: float, end_s: float) -> dict[int, str]:
    """The label of most of each half hour of a day, by its number; spans are in the order of time."""
    inside: dict[int, dict[str, float]] = {}
    first = bisect.bisect_right(spans, begin_s, key=lambda span: span.end_s)
    for span in spans[first : bisect.bisect_left(spans, end_s, key=lambda span: span.start_s)]:
        start_s, stop_s = max(span.start_s, begin_s), min(span.end_s, end_s)
        for slot in range(int((start_s - begin_s) // _SLOT_S), math.ceil((stop_s - begin_s) / _SLOT_S)):
            slot_s = begin_s + slot * _SLOT_S
            part_s = min(stop_s, slot_s + _SLOT_S) - max(start_s, slot_s)
            if part_s > 0:
                parts = inside.setdefault(slot, {})
                parts[span.label] = parts.get(span.label, 0.0) + part_s
    return {slot: max(parts, key=lambda name: parts[name]) for slot, parts in inside.items()}


def _letters(names: Sequence[str]) -> dict[str, str]:
    """A letter for each name, its own where it is free."""
    letters: dict[str, str] = {}
    for name in sorted(set(names)):
        wishes = [*name.lower(), *name.upper(), *"0123456789abcdefghijklmnopqrstuvwxyz", "?"]
        letters[name] = next(c for c in wishes if c == "?" or (c.isalnum() and c not in letters.values()))
    return letters


def _span_of(arguments: argparse.Namespace) -> tuple[float, float, list[str]]:
    """Start and end in Unix seconds, and the words that are left."""
    if arguments.start is not None or arguments.end is not None:
        if arguments.start is None or arguments.end is None or arguments.date is not None:
            raise InputError("--from", expected="--from and --to, without --date", got="less", fix="Give both, dated.")
        start_s, end_s, words = instant(arguments.start), instant(arguments.end), arguments.words
    else:
        found = _SPAN.fullmatch(arguments.words[0]) if arguments.words else None
        if found is None:
            raise InputError(
                "span", expected='two times such as "12:00-12:30"', got=arguments.words[:1], fix="Quote it; or --from."
            )
        day = found[1] or arguments.date or str(date.today())
        start_s, end_s, words = instant(f"{day} {found[2]}"), instant(f"{day} {found[3]}"), arguments.words[1:]
        if end_s <= start_s:
            end_s = instant(f"{_date(day) + timedelta(1)} {found[3]}")
    if end_s <= start_s:
        raise InputError("--to", expected=f"a time after {_clock(start_s)}", got=_clock(end_s), fix="Correct it.")
    return start_s, end_s, words


def instant(text: str) -> float:
    """Unix seconds of an ISO date and time, local unless it says otherwise.

    Raises:
        InputError: no such time, here and on that day; or one that the clocks show twice.
    """
    padded = re.sub(r"([ T])(\d:)", r"\g<1>0\2", text.strip())
    try:
        local = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", padded))
        first, second = local.timestamp(), local.replace(fold=1).timestamp()
    except (ValueError, OverflowError):  # the years 1 and 9999 are too near to the edge for the local time
        raise InputError(
            "time", expected='a date and a time such as "2026-11-20 12:00"', got=repr(text), fix="Correct it."
        ) from None
    if local.tzinfo is not None:
        return first
    if datetime.fromtimestamp(first) != local:
        raise InputError(
            "time", expected="a time that the clocks show", got=f"{text}, which they skip", fix="Summer time begins."
        )
    if first != second:
        offsets = [f"{padded}{_offset(datetime.fromtimestamp(s).astimezone())}" for s in (first, second)]
        raise InputError(
            "time", expected=" or ".join(offsets), got=f"{text}, which the clocks show twice", fix="Say which."
        )
    return first


def _offset(local: datetime) -> str:
    text = local.strftime("%z")
    return f"{text[:3]}:{text[3:]}"


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError("--date", expected="a day such as 2026-11-20", got=repr(text), fix="Correct it.") from None


def _clock(at_s: float) -> str:
    try:
        return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):  # a mark in a damaged store can still be taken back
        return f"{at_s:g} s since 1970"


def _check_label(label: str, known: tuple[str, ...]) -> None:
    if label not in known:
        near = difflib.get_close_matches(label, known, 1, 0.75)
        raise InputError(
            "label",
            expected=f"one of the model's: {', '.join(known)}",
            got=repr(label),
            fix=f"Did you mean {near[0]}?" if near else "Add --new for one that the model is to learn.",
        )


_COMMANDS = {"list": _list, "mark": _mark, "unmark": _unmark, "undo": _undo, "export": _export}

if __name__ == "__main__":
    sys.exit(main())
