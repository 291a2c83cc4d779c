"""What the commands of all packages share: exit codes, one-line errors, a progress bar, columns of text."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

from runtime.errors import SensedgeError

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
