"""The list of accepted archives, `registry.txt`, and its reader."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InputError

REGISTRY = Path(__file__).with_name("registry.txt")
FIELDS = ("data set", "file name", "sha256", "url")
UNKNOWN = "-"


@dataclass(frozen=True)
class Entry:
    """One line: a file that holds a data set."""

    dataset: str
    file: str
    sha256: str | None  # None: not known
    url: str | None  # None: a repacked copy, nowhere to be downloaded


def read_registry(path: Path | None = None) -> tuple[Entry, ...]:
    """All entries in the order of the file.

    Raises:
        InputError: a line without four fields, a hash that is none, a url that is none, a line twice.
    """
    path = path or REGISTRY
    entries: list[Entry] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            entry = _parse(line, f"{path.name}: line {number}")
            if entry in entries:
                raise InputError(f"{path.name}: line {number}", expected="each entry once", got=line, fix="Drop one.")
            entries.append(entry)
    return tuple(entries)


def entries_of(dataset: str) -> tuple[Entry, ...]:
    """The archives that hold one data set, the preferred first."""
    return tuple(entry for entry in read_registry() if entry.dataset == dataset)


def _parse(line: str, where: str) -> Entry:
    try:
        fields = shlex.split(line)
    except ValueError as error:  # an open quote
        raise InputError(where, expected="closed quotes", got=f"{error} in {line!r}", fix="Close the quote.") from None
    if len(fields) != len(FIELDS):
        raise InputError(
            where,
            expected=f"{len(FIELDS)} fields ({', '.join(FIELDS)})",
            got=f"{len(fields)} in {line!r}",
            fix="Write - for what is unknown and quote a file name with spaces.",
        )
    dataset, file, sha256, url = fields
    if sha256 != UNKNOWN and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InputError(
            where, expected="a sha256 of 64 lower-case hex digits, or -", got=repr(sha256), fix="Correct the hash."
        )
    if url != UNKNOWN and not re.match(r"https?://", url):
        raise InputError(
            where, expected="a url that starts with http(s)://, or -", got=repr(url), fix="Correct the url."
        )
    return Entry(dataset, file, None if sha256 == UNKNOWN else sha256, None if url == UNKNOWN else url)
