"""`python -m sdk.live`: a page of one stream: see it, say what it was, let the model learn, go back."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import DONE, add_trust, note, open_bundle, run_command, say, trust_of
from runtime.errors import InputError
from sdk.live.serving import PORT, hosts_of, listening, make_server, read_tokens

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.recorder import Recorder
    from runtime.sources import Source
    from sdk.live.guard import Rules

HELP = "Show a stream in the browser: what it is, what it was, what the model learns of it."
EXAMPLES = """\
  python -m sdk.live walk.bundle --source iio:mpu6050 --record me.db     see it, label it, personalise, go back
  python -m sdk.live walk.bundle --replay today.npz --record me.db       a recording, as slowly as the sensor was
  python -m sdk.live walk.bundle --source iio:mpu6050 --lan --cert live.crt --key live.key    for a phone in the network
  ssh -L 4913:localhost:4913 pi@device                                   from elsewhere, with nothing to set up

The address that is printed has a token: who has it may look and, on this device or with --allow-changes, change things.
Sources are those of python -m sdk.stream. Ctrl-C ends it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.live", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, where samples come from, and who may look."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    given = p.add_mutually_exclusive_group(required=True)
    given.add_argument("--source", metavar="URL", help="where samples come from, as of python -m sdk.stream")
    given.add_argument("--replay", metavar="FILE", type=Path, help=".csv or .npz recording, in its own time")
    p.add_argument("--record", metavar="STORE", type=Path, help="keep windows here: for labels and learning")
    p.add_argument("--max-mb", metavar="MB", type=float, default=500.0, help="of the store (default %(default)s)")
    p.add_argument("--port", metavar="N", type=int, default=PORT, help="default %(default)s")
    p.add_argument("--lan", action="store_true", help="let the network in; with --cert and --key, or --plain")
    p.add_argument("--plain", action="store_true", help="with --lan: unencrypted, for everybody there to read")
    p.add_argument("--cert", metavar="FILE", type=Path, help="certificate, for https")
    p.add_argument("--key", metavar="FILE", type=Path, help="and its key")
    p.add_argument("--host", metavar="NAME", action="append", default=[], help="another name of this device")
    p.add_argument("--allow-changes", action="store_true", help="with --lan: the address may change things, too")
    p.add_argument("--token-file", metavar="FILE", type=Path, help="default: BUNDLE.token beside the bundle")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Serve until it is ended; the exit code.

    Raises:
        InputError: options that do not fit; a port that is taken.
    """
    from runtime.process.signals import caught, last_words
    from sdk.live.app import make_app
    from sdk.live.feed import Feed
    from sdk.live.guard import Rules
    from sdk.live.jobs import Jobs
    from sdk.live.marks import Marks
    from sdk.meters import open_meter

    _check(arguments)
    bundle = open_bundle(arguments.bundle, trust=trust_of(arguments))
    tokens = read_tokens(arguments.token_file or bundle.path.absolute().with_suffix(".token"))
    tls = arguments.cert is not None
    with ExitStack() as stack:
        listener = stack.enter_context(listening(arguments.port, lan=arguments.lan))
        port = listener.getsockname()[1]
        rules = Rules(*tokens, hosts_of(arguments.host, lan=arguments.lan), port, tls)
        jobs = Jobs(
            bundle, arguments.record, lambda new: feed.use(new), lambda told: feed.tell(told), lambda: feed.flush()
        )
        source = _source(arguments, bundle)
        feed = Feed(source, bundle, _recorders(arguments), meter=open_meter())
        back_to = jobs.end_old_trial()
        if back_to is not None:
            note(f"the trial was not kept: {back_to} is in use again")
            feed = Feed(source, bundle.again(back_to), _recorders(arguments), meter=open_meter())
        marks = None if arguments.record is None else Marks(arguments.record.absolute())
        server = make_server(make_app(feed, marks, jobs), rules, arguments.cert, arguments.key)
        stack.enter_context(source)
        stack.enter_context(feed)
        stack.callback(jobs.close)
        say(address(rules, arguments), err=False)
        sys.stdout.flush()

        def end(_: int) -> None:
            server.should_exit = True
            source.stop()

        with caught(end):
            asyncio.run(server._serve([listener]))
        last_words.clear()
    return DONE


def address(rules: Rules, arguments: argparse.Namespace) -> str:
    """The address with its token, for whoever starts it."""
    import socket

    host = f"{socket.gethostname().lower()}.local" if arguments.lan else "127.0.0.1"
    changes = not arguments.lan or arguments.allow_changes
    token = rules.change if changes else rules.look
    return f"{'https' if rules.tls else 'http'}://{host}:{rules.port}/?token={token}"


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.cert is None) != (arguments.key is None):
        raise InputError("--cert, --key", expected="both", got="one", fix="docs/live.md makes them in three lines.")
    if arguments.lan and arguments.cert is None and not arguments.plain:
        fix = "Use ssh -L, or --cert and --key; --plain if everybody there may see."
        raise InputError("--lan", expected="--cert and --key with it, or --plain", got="neither", fix=fix)
    if arguments.plain:
        note("--plain: everybody in this network can read what the sensor says, and the token")


def _source(arguments: argparse.Namespace, bundle: Bundle) -> Source:
    from runtime import Replay
    from runtime.sources import open_source

    signal = bundle.manifest.signal
    if arguments.source is not None:
        return open_source(arguments.source, signal)
    return Replay(arguments.replay, signal, chunk_samples=max(1, round(signal.rate_hz / 10)), realtime=True)


def _recorders(arguments: argparse.Namespace) -> Callable[[Bundle], Recorder] | None:
    if arguments.record is None:
        return None

    def make(bundle: Bundle) -> Recorder:
        from runtime import Recorder

        return Recorder(arguments.record, bundle, max_mb=arguments.max_mb)

    return make


if __name__ == "__main__":
    sys.exit(main())
