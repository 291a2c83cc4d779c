"""All that is looked at, in order; what cannot be done without a library that does not work is left out."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import BundleError, TrustError
from sdk.doctor.clocks import Wall, clocks, speed
from sdk.doctor.devices import meters, nodes
from sdk.doctor.finding import NOTE, PROBLEM, Finding
from sdk.doctor.host import Host
from sdk.doctor.libraries import NEEDED, libraries, system
from sdk.doctor.machine import board, room

if TYPE_CHECKING:
    from runtime import Bundle

KIND, SCHEMA = "sensedge doctor", 1
SHIPPED = Path(__file__).parents[1] / "demo" / "data" / "walk.bundle"


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found on a board."""

    taken_at: str  # UTC, ISO 8601
    host: dict[str, Any]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        """How many findings keep something from working."""
        return sum(finding.state == PROBLEM for finding in self.findings)

    @property
    def notes(self) -> int:
        """How many findings are only worth knowing."""
        return sum(finding.state == NOTE for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        findings = [finding.to_dict() for finding in self.findings]
        head = {"schema": SCHEMA, "kind": KIND, "taken_at": self.taken_at, "host": self.host}
        return head | {"problems": self.problems, "notes": self.notes, "findings": findings}


def examine(
    host: Host | None = None,
    path: str | Path | None = None,
    tell: Callable[[Finding], None] = lambda finding: None,
    *,
    opener: Callable[[Path], Bundle] | None = None,
    source: str | None = None,
) -> Diagnosis:
    """Look at everything.

    Args:
        host: None: this machine.
        path: folder of a bundle whose golden windows are run; None: the one that the package carries.
        tell: is given each finding as it is made.
        opener: opens the bundle at `path`, once the libraries are known to work; None: `Bundle.open`.
        source: URL of a source that is listened to for some seconds; None: of none.

    Raises:
        TrustError: `opener` refused the bundle; what was found before it has been told.
    """
    host = host or Host()
    taken_at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    findings = []
    for finding in _all(host, Path(path) if path is not None else None, opener, source):
        findings.append(finding)
        tell(finding)
    return Diagnosis(taken_at, host.to_dict(), tuple(findings))


def _all(
    host: Host, path: Path | None, opener: Callable[[Path], Bundle] | None, source: str | None
) -> Iterator[Finding]:
    wall = Wall()
    yield from board(host)
    yield from system(host)
    broken = yield from _broken(libraries(host))
    yield from room(host, Path.cwd() if path is None else path)
    yield from meters(host)
    yield from nodes(host)
    yield from speed(host)
    if broken:
        told = f"not run, since {', '.join(broken)} does not work"
        yield Finding("engines", PROBLEM, told, "Mend the libraries above first.")
    else:
        yield from _bundle(host, path, opener, source)
    yield from clocks(host, wall)  # last: they had time to run apart


def _broken(findings: Iterable[Finding]) -> Any:
    """Pass them on; return those libraries that are needed and have a problem."""
    names = []
    for finding in findings:
        yield finding
        name = finding.topic.removeprefix("library ")
        if finding.state == PROBLEM and any(name.startswith(needed) for needed in NEEDED):
            names.append(name)
    return list(dict.fromkeys(names))


def _bundle(
    host: Host, path: Path | None, opener: Callable[[Path], Bundle] | None, source: str | None
) -> Iterator[Finding]:
    from runtime import Bundle
    from sdk.doctor.engines import engines, threads
    from sdk.doctor.source import source as listened

    try:
        bundle = Bundle.open(SHIPPED) if path is None else (opener or Bundle.open)(path)
    except TrustError:
        raise
    except BundleError as error:
        where = f"expected {error.expected}, got {error.got}"
        yield Finding("bundle", PROBLEM, f"{error.where}: {where}", error.fix)
        return
    yield from engines(bundle)
    yield from threads(host, bundle)
    if source is not None:
        yield from listened(bundle, source)
