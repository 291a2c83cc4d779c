"""What the commands of all packages share: exit codes, one-line errors, --trust, a progress bar, columns of text."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import SensedgeError

if TYPE_CHECKING:
    from runtime.bundle import Bundle

DONE, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3  # exit codes

EXIT_CODES = (
    "exit codes: 0 done, 1 failed while running, 2 wrong use or bad input, 3 refused (not accepted, not trusted)"
)


def parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose --help ends in examples and exit codes."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog=f"examples:\n{examples}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def guarded(command: Callable[[], int]) -> int:
    """Run a command; turn what the user can mend into one line on stderr and an exit code."""
    try:
        code = command()
        if sys.stdout is not None:  # closed, as by >&-
            sys.stdout.flush()
        return code
    except SensedgeError as error:
        return _fail(error, error.exit_code)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (OSError, ImportError) as error:
        return _fail(error, FAILED)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return FAILED


def _fail(error: Exception, code: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def add_trust(p: argparse.ArgumentParser) -> None:
    """The option --trust, for `open_bundle`."""
    p.add_argument(
        "--trust", metavar="KEYS", type=Path, help="a .pub file or a folder of them: take only what one of them signed"
    )


def open_bundle(path: Path, version: str | None = None, *, trust: Path | None) -> Bundle:
    """Open a command's bundle; one line on stderr says so where nobody's signature is asked for.

    Raises:
        BundleError, TrustError: as `Bundle.open` does.
    """
    from runtime.bundle import Bundle

    if trust is not None:
        from runtime.bundle import Trust

        return Bundle.open(path, version, trust=Trust.of(trust))
    bundle = Bundle.open(path, version)
    signed = os.path.lexists(path / "manifest.sig")
    told = "the signature is not checked: --trust KEYS does" if signed else "not signed; whoever made it is trusted"
    print(f"note: {path}: {told}", file=sys.stderr)
    return bundle


class Progress:
    """A bar on stderr while it is a terminal, nothing otherwise: `bar.show(done, total, "text")`."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._on = sys.stderr.isatty()

    def show(self, done: int, total: int, text: str = "") -> None:
        """Draw the bar anew, with the seconds that are left."""
        if not self._on:
            return
        left_s = (time.monotonic() - self._began) * (total - done) / max(done, 1)
        bar = "█" * round(24 * done / total)
        end = "\n" if done == total else ""
        print(f"\r\033[K{bar:░<24} {done}/{total}  {left_s:.0f} s left  {text}", end=end, file=sys.stderr, flush=True)


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:]))
