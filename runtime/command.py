"""What the commands of all packages share: how one is run, exit codes, one-line errors, --trust, columns of text.

A command is a module with

    HELP: str                                        what it does
    EXAMPLES: str                                    lines for the end of --help, as `python -m sdk.NAME` has them
    add_arguments(p: argparse.ArgumentParser)        what it takes
    run(arguments: argparse.Namespace) -> int        the exit code; SensedgeError becomes one line on stderr

It imports torch, onnx and other heavy things inside `run`, so that --help and wrong use answer at once. `sensedge NAME`
and `python -m ...` run the same module; help is spelled as the user called it.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError, SensedgeError, printable

if TYPE_CHECKING:
    from runtime.bundle import Bundle, Trust

DONE, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3  # exit codes

EXIT_CODES = (
    "exit codes: 0 done, 1 failed while running, 2 wrong use or bad input, 3 refused (not accepted, not trusted)"
)
_MODULE = r"(?m)python -m (?:sdk\.|exporters )(\w+)(.*?)(?=  |$)"  # to where a column ends


def run_command(
    argv: Sequence[str] | None,
    called: str,
    description: str,
    examples: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
) -> int:
    """Parse a command line and run the command; the exit code.

    Args:
        argv: what follows the command's name; None: all that this process was given.
        called: "sensedge stream" or "python -m sdk.stream".
        description: the module's HELP.
        examples: the module's EXAMPLES.
        add_arguments: the module's.
        run: the module's.
    """
    _show_anything()
    p = argparse.ArgumentParser(
        prog=called,
        description=_spelled(description, called),
        epilog=f"examples:\n{_spelled(examples, called)}\n\n{EXIT_CODES}",
        formatter_class=_Formatter,
    )
    add_arguments(p)
    with suppress(argparse.ArgumentError):  # it has one that names a version of the bundle, too
        p.add_argument(
            "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="say sensedge's version and leave"
        )
    arguments = p.parse_args(argv)
    return guarded(lambda: run(arguments))


def no_command(name: str, names: Iterable[str]) -> int:
    """Say on stderr that there is no such command, with all names and the near ones; the exit code."""
    from difflib import get_close_matches

    _show_anything()
    names = list(names)
    near = get_close_matches(name, names)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    print(f"error: no command {name!r}; there are {', '.join(names)}{meant}", file=sys.stderr)
    return BAD_INPUT


def version_line() -> str:
    """The version of sensedge, and those of what it stands on."""
    from importlib.metadata import PackageNotFoundError, version

    from runtime import __version__

    found = [f"Python {sys.version.split()[0]}"]
    for name in ("numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return f"sensedge {__version__} ({', '.join(found)})"


def _spelled(text: str, called: str) -> str:
    """Commands as `sensedge` calls them, if that was called; what stands in columns keeps its place."""
    if not called.startswith("sensedge"):
        return text
    text = re.sub(_MODULE, lambda found: f"sensedge {found[1]}{found[2]}".ljust(len(found[0])), text)
    return "\n".join(line.rstrip() for line in text.split("\n"))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Spells the commands that the help of an option speaks of as the one that was called."""

    def _expand_help(self, action: argparse.Action) -> str:
        return _spelled(super()._expand_help(action), self._prog)


class _Version(argparse.Action):
    """`--version` alone says sensedge's; with a word behind it, which one of the bundle's is meant."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        if values:
            setattr(namespace, self.dest, values)
        else:
            print(version_line())
            parser.exit()


def guarded(command: Callable[[], int]) -> int:
    """Run a command; turn what the user can mend into one line on stderr and an exit code."""
    from runtime.process.signals import caught

    _show_anything()
    try:
        with caught():
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
    except MemoryError as error:
        return _fail(MemoryError(f"out of memory. {error}"), FAILED)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return FAILED


def _show_anything() -> None:
    """What a terminal of another encoding than UTF-8 cannot show is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(error: Exception, code: int) -> int:
    print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
    return code


def add_version(p: argparse.ArgumentParser) -> None:
    """The option --version V, for `open_bundle`."""
    p.add_argument(
        "--version",
        metavar="V",
        nargs="?",
        action=_Version,
        help="base, 0001, ... (default: the one in use); without V: say sensedge's version and leave",
    )


def add_trust(p: argparse.ArgumentParser) -> None:
    """The option --trust and those that say more, for `trust_of`."""
    p.add_argument(
        "--trust", metavar="KEYS", type=Path, help="a .pub file or a folder of them: take only what one of them signed"
    )
    more = p.add_argument_group("with --trust")
    more.add_argument("--name", metavar="NAME", help="the name that the model must have")
    more.add_argument("--at-least", metavar="N", type=int, help="the least revision")
    more.add_argument("--base-only", action="store_true", help="no version that was trained on this device")
    more.add_argument(
        "--accept-older",
        action="store_true",
        help="take an older revision than this device took before, and remember that one",
    )


def trust_of(arguments: argparse.Namespace, *, remember: bool = True) -> Trust | None:
    """What a command line says of whose bundles are taken; None: nobody's signature is asked for.

    Args:
        arguments: with the options of `add_trust`.
        remember: refuse what is older than this device took before, and remember what it takes.

    Raises:
        InputError: the others without --trust; no keys there.
        MissingError: `cryptography` is not installed.
    """
    if arguments.trust is None:
        more = ("name", "at_least", "base_only", "accept_older")
        given = next(
            (name for name in more if vars(arguments)[name] is not None and vars(arguments)[name] is not False), None
        )
        if given is not None:
            option = f"--{given.replace('_', '-')}"
            raise InputError(option, expected="--trust KEYS with it", got="none", fix="Say whose signature counts.")
        return None
    from runtime.bundle import Trust
    from runtime.bundle.revisions import Revisions

    return Trust.of(
        arguments.trust,
        name=arguments.name,
        at_least=arguments.at_least,
        personal=not arguments.base_only,
        revisions=Revisions(accept_older=arguments.accept_older, tell=note) if remember else None,
    )


def say(text: str, *, err: bool = False) -> None:
    """Print a page for people; what is in it of names from files is escaped.

    Args:
        text: of one line or more.
        err: to stderr.
    """
    print(printable(text, keep="\n"), file=sys.stderr if err else sys.stdout)


def json_text(value: object, *, indent: int | None = None) -> str:
    """What a command's --json prints: JSON as RFC 8259 has it, in which a number that is not finite is null.

    Args:
        value: of dicts, lists, tuples, text, numbers, truths and None.
        indent: as of `json.dumps`.
    """
    import json

    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def note(text: str) -> None:
    """A line on stderr that is no error."""
    print(f"note: {printable(' '.join(text.split()))}", file=sys.stderr)


def open_bundle(path: Path, version: str | None = None, *, trust: Trust | Path | None) -> Bundle:
    """Open a command's bundle; one line on stderr says so where nobody's signature is asked for.

    Args:
        path: its folder.
        version: as of `Bundle.open`.
        trust: of `trust_of`; or the path of the keys, for what was never taken here.

    Raises:
        BundleError, TrustError: as `Bundle.open` does.
    """
    from runtime.bundle import Bundle

    if trust is not None:
        from runtime.bundle import Trust

        return Bundle.open(path, version, trust=trust if isinstance(trust, Trust) else Trust.of(trust))
    bundle = Bundle.open(path, version)
    signed = os.path.lexists(path / "manifest.sig")
    told = "the signature is not checked: --trust KEYS does" if signed else "not signed; whoever made it is trusted"
    note(f"{path}: {told}")
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
        bar, text = "█" * round(24 * done / total), printable(text)
        end = "\n" if done == total else ""
        print(f"\r\033[K{bar:░<24} {done}/{total}  {left_s:.0f} s left  {text}", end=end, file=sys.stderr, flush=True)


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:]))
