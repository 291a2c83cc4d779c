"""The battery as a whole: how many attacks there are of each kind."""

import re
from collections import Counter

from tests.commands.tools import ROOT, python

LEAST = 1000
KINDS = {
    *("cache_parents", "endings", "filling", "links", "names", "not_finite", "older", "signing_table", "stores"),
    *("swapped", "sysfs", "terminals", "unpacked", "versions"),
}


def test_there_are_a_thousand_cases_of_every_kind(request):
    found = collected(request.session.items)
    if sum(found[name] for name in KINDS) < LEAST:  # a part of the battery is run
        found = collected_anew()
    assert found.keys() >= KINDS
    assert sum(found[name] for name in KINDS) >= LEAST
    assert min(found.values()) > 0


def collected(items):
    """How many there are in each file of the battery, of what this run collected."""
    return Counter(item.path.stem.removeprefix("test_") for item in items if item.path.parent.name == "attacks")


def collected_anew():
    words = ("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/attacks")
    done = python(*words, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:]
    return Counter(
        {name: int(n) for name, n in re.findall(r"^tests/attacks/test_(\w+)\.py: (\d+)$", done.stdout, re.MULTILINE)}
    )
