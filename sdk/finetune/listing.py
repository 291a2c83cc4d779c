"""`python -m sdk.finetune BUNDLE --list`: what every version was made of, by whom, and what it gained.

A record is what a file says, and may be damaged or of another release: what is missing in it is an empty place, and
hides no other version.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, json_text, note, say, table
from runtime.errors import BundleError, printable
from runtime.specs import BASE

if TYPE_CHECKING:
    from runtime.bundle import Bundle

COLUMNS = ("version", "made", "method", "labelled windows", "macro-F1", "kept", "unlabelled", "by", "")


def show(bundle: Bundle, *, as_json: bool) -> int:
    """Print the versions; the exit code."""
    from runtime.bundle.versions import current_version

    records, damaged = records_of(bundle)
    current = None
    try:
        current = current_version(bundle.path)
    except BundleError as error:
        note(str(error))
    if as_json:
        say(json_text({"current": current, "versions": records} | ({"damaged": damaged} if damaged else {})))
        return DONE
    say(table(rows_of(bundle, current)[0], COLUMNS))
    for told in damaged.values():
        note(told)
    return DONE


def rows_of(bundle: Bundle, current: str | None) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """A row of `COLUMNS` for each version, the base first, and what is wrong with those that cannot be read.

    Args:
        bundle: in whatever version.
        current: the version that is marked as in use; None: nobody knows.
    """
    records, damaged = records_of(bundle)
    rows: list[tuple[str, ...]] = [(BASE, *[""] * 7, "in use" if current == BASE else "")]
    for name in bundle.versions():
        state = "damaged" if name in damaged else "in use" if current == name else ""
        rows.append((name, *_cells(records.get(name, {})), state))
    return rows, damaged


def records_of(bundle: Bundle) -> tuple[dict[str, Any], dict[str, str]]:
    """The records of all versions by name, and what is wrong with those that cannot be read."""
    records: dict[str, Any] = {}
    damaged: dict[str, str] = {}
    for name in bundle.versions():
        try:
            records[name] = bundle.record(name)
        except BundleError as error:  # noqa: PERF203
            damaged[name] = str(error)
    return records, damaged


def _cells(record: Mapping[str, Any]) -> tuple[str, ...]:
    kept, unlabelled = record.get("kept"), record.get("unlabelled")
    return (
        _date(record.get("made_s")),
        _text(_part(record, "plan").get("method")),
        _labels(record),
        _change(_part(record, "before"), _part(record, "after")),
        f"{kept:.0%}" if isinstance(kept, float) else "",
        str(unlabelled) if isinstance(unlabelled, int) else "",
        _text(record.get("by")),
    )


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return printable(value)[:40] if isinstance(value, str) else ""


def _date(value: Any) -> str:
    try:
        return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _labels(record: Mapping[str, Any]) -> str:
    """`12 walking, 9 sitting; new: waving`."""
    counts = {_text(name): n for name, n in _part(record, "windows_per_label").items() if isinstance(n, int) and n}
    own = record.get("labels")
    told = ", ".join(f"{n} {name}" for name, n in counts.items())
    return f"{told}; its own: {', '.join(map(_text, own))}" if isinstance(own, list) else told


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """`0.912 -> 0.967`; empty where a version was committed without scores."""
    scores = before.get("macro_f1"), after.get("macro_f1")
    return " -> ".join(f"{value:.3f}" for value in scores if isinstance(value, float))
