"""Who is in a recording, and parts of recordings that share nobody.

Every data set has a person 1. Where several are pooled, a person is called with the data set, `hapt:1`; the name alone
is understood as long as only one of the pooled data sets has somebody of it. Data sets of one's own are named so, too.
Data sets of the same people (`hapt` is `uci_har` cut in another way) count as one, or a person could be trained and
tested on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from runtime.errors import InputError
from runtime.recording import Recording
from sdk.datasets._info import NAMES, OF_OWN

_SAME_PEOPLE = {  # a data set, and the one by which its people are called
    "uci_har": "hapt",
    "utd_mhad_depth": "utd_mhad",
    "utd_mhad_skeleton": "utd_mhad",
    "pamap2_heart_rate": "pamap2",
    "mri_radar": "mri",
}


def subject_of(recording: Recording) -> str:
    """A person's name with the data set, such as `hapt:1`; as it is where the recording is of no data set.

    People whom several data sets recorded have the same name in all of them: those of `uci_har` are `hapt:1` and so on.
    """
    name = _data_set(recording)
    return f"{_SAME_PEOPLE.get(name, name)}:{recording.subject}" if name else recording.subject


def split_by_subject(
    recordings: Iterable[Recording], test: Collection[str | int] | str | int
) -> tuple[list[Recording], list[Recording]]:
    """Split recordings into (train, test) so that no person is in both.

    Args:
        recordings: any number of them, of one data set or of several, left untouched.
        test: the people to test on, as in `Recording.subject`, or with the data set as `subject_of` has it.

    Raises:
        InputError: one of `test` is in no recording, or in those of several data sets.
    """
    recordings = list(recordings)
    known = defaultdict[str, set[str]](set)  # by every name that is understood, whom it means
    for recording in recordings:
        person = subject_of(recording)
        for name in {recording.subject, person, f"{_data_set(recording)}:{recording.subject}"}:
            known[name].add(person)
    wanted = {str(test)} if isinstance(test, str | int) else {str(subject) for subject in test}
    if unknown := wanted - known.keys():
        raise InputError(
            "test",
            expected=f"subjects among {', '.join(subjects_of(recordings)) or 'none: there are no recordings'}",
            got=", ".join(_natural(unknown)),
            fix="Name people who were recorded.",
        )
    for name in _natural(wanted):
        if len(known[name]) > 1:
            people = _natural(known[name])
            raise InputError(
                "test", expected=f"one of {', '.join(people)}", got=f"{name}, which is each of them", fix="Say whose."
            )
    held_out = {person for name in wanted for person in known[name]}
    parts: tuple[list[Recording], list[Recording]] = [], []
    for recording in recordings:
        parts[subject_of(recording) in held_out].append(recording)
    return parts


def subjects_of(recordings: Iterable[Recording]) -> list[str]:
    """Everybody who was recorded: by the name alone where one data set has them all, else with the data set."""
    recordings = list(recordings)
    alone = {recording.subject for recording in recordings}
    people = {subject_of(recording) for recording in recordings}
    return _natural(alone if len(alone) == len(people) else people)


def _data_set(recording: Recording) -> str:
    """The data set of a recording; empty where it is of none, or nobody is named."""
    name, _, rest = recording.name.partition("/")
    if name == OF_OWN:
        name, _, rest = rest.partition("/")
        return name if rest and recording.subject else ""
    return name if rest and name in NAMES and recording.subject else ""


def _natural(names: Iterable[str]) -> list[str]:
    """Sorted, with 2 before 10."""

    def key(name: str) -> tuple[str, bool, int, str]:
        of, _, own = name.rpartition(":")
        return of, not own.isdecimal(), int(own) if own.isdecimal() else 0, own

    return sorted(names, key=key)
