"""`python -m sdk.ask`: which windows of a store to ask the wearer about; show each, take the answer, mark it.

    days -> places -> the questions of a round -> picture, guess, answer -> marks -> the next round, where doubt is left

The answers are marks like those of `sdk.label`: `undo` takes back the last one.
"""

from __future__ import annotations

import argparse
import difflib
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, REFUSED, add_trust, json_text, open_bundle, run_command, say, trust_of
from runtime.errors import InputError, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.bundle import Bundle
    from runtime.recorder import Store
    from sdk.finetune.pool import Days
    from sdk.finetune.teach import Pool

HELP = "Ask the wearer about the windows of a store whose answers teach most."
EXAMPLES = """\
  python -m sdk.ask me.db walk.bundle                    twelve questions; Enter takes the guess
  python -m sdk.ask me.db walk.bundle --budget 20        more of them
  python -m sdk.ask me.db walk.bundle --learn            and then a new version, if it is no worse
  python -m sdk.ask me.db walk.bundle --json             the questions of one round, for a page of your own

A question is about one window in the middle of something. Beyond twelve, a third of them is asked where answers leave
doubt. An answer is a label of the model, its number, or a name of your own; s skips, q ends. With --json nothing
is asked: mark the answers (python -m sdk.label STORE mark --from ... --to ... LABEL), name what was skipped with
--skip, and call again."""

_AROUND_S = 10.0  # shown before and after a window
_COLUMNS = 64
_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.:-=+*#"
_EDGE_S = 1e-3  # that a mark is longer than its window at either end


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.ask", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The store, the bundle, and how many questions."""
    p.add_argument("store", type=Path, help="file of the recorder (.db)")
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    p.add_argument("--budget", metavar="N", type=int, default=12, help="questions (default %(default)s)")
    p.add_argument("--learn", action="store_true", help="train from the answers at the end")
    p.add_argument("--skip", metavar="S[,...]", default="", help="start_s of questions not to ask again (with --json)")
    p.add_argument("--json", action="store_true", help="print the questions of one round as one JSON object")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Ask; the exit code.

    Raises:
        InputError: a budget or options that make no sense.
    """
    if arguments.budget < 1:
        raise InputError("--budget", expected="at least 1", got=arguments.budget, fix="Such as --budget 12.")
    if arguments.json and arguments.learn:
        raise InputError("--learn", expected="a person who answers", got="--json", fix="Call sdk.finetune afterwards.")
    from runtime.recorder import Store

    bundle = open_bundle(arguments.bundle, trust=trust_of(arguments))
    with Store(arguments.store) as store:
        session = Sitting.open(store, bundle)
        if arguments.json:
            say(json_text(_listed(session, _round(session, arguments))))
            return DONE
        answered = _sitting(session, arguments.budget)
    print(f"{answered} answers; python -m sdk.label {store.path} undo takes back the last")
    if not answered or not arguments.learn:
        print(printable(f"next: python -m sdk.finetune {bundle.path} --labels {store.path} --sure"))
        return DONE
    return _learn(store.path, bundle)


@dataclass
class Sitting:
    """A store's windows, and what was asked and told about them by now."""

    store: Store
    bundle: Bundle
    days: Days
    pool: Pool
    names: list[str]  # the model's labels, and those that marks added
    labels: NDArray[np.int64]  # shape (n,), -1: nothing is known
    asked: NDArray[np.bool_]  # shape (n,)
    logits: NDArray[np.float64]  # shape (n, n_classes), of the version in use

    @classmethod
    def open(cls, store: Store, bundle: Bundle) -> Sitting:
        """Read the store's days, and lay them out in the space.

        Raises:
            InputError: a store of another signal or window, or without samples.
        """
        import numpy as np

        from sdk.finetune.days import run_over, space_features
        from sdk.finetune.pool import read_days
        from sdk.finetune.teach import Pool

        days = read_days(store.path, bundle, marked=True)
        if len(days.windows) < 2:
            raise InputError(
                store.path,
                expected="windows with their samples",
                got=f"{len(days.windows)} of {days.recorded}",
                fix="Record with keep='windows' (python -m sdk.stream ... --record).",
            )
        logits, encoded = run_over(bundle, days.windows, days.windows.ndim != 3)
        pool = Pool.of(space_features(days.windows, bundle.manifest.normalise, encoded, "hand"), days.start_s)
        nothing = np.full(len(days.windows), -1)
        session = cls(store, bundle, days, pool, [*bundle.manifest.labels], nothing, nothing >= 0, logits)
        for span in store.spans():
            inside = (days.start_s >= span.start_s - 1e-6) & (days.start_s + store.window_s <= span.end_s + 1e-6)
            session.labels[inside] = session.index(span.label)
        return session

    def index(self, name: str) -> int:
        """The number of a label; one that is new gets the next."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def choose(self, n: int) -> NDArray[np.int64]:
        """The windows of the next round, at most n: rows, shape (k,)."""
        from sdk.finetune.questions import next_questions

        return next_questions(self.pool, self.days.start_s, self.store.window_s, self.labels, self.asked, n)

    def guesses(self, rows: NDArray[np.int64]) -> list[tuple[str, float]]:
        """What windows (rows, shape (n,)) look like, and how sure that is: by labels so far, at first by the model."""
        import numpy as np

        from sdk.finetune.head import log_softmax

        if (self.labels >= 0).any():
            p = self.pool.soft_labels(np.where(self.labels[:, None] == np.arange(len(self.names)), 1.0, 0.0))[rows]
        else:
            p = np.exp(log_softmax(self.logits[rows]))
        return [(self.names[int(row.argmax())], float(row.max())) for row in p]

    def tell(self, row: int, label: str) -> None:
        """Mark a window.

        Args:
            row: of the days.
            label: any name.
        """
        start_s = float(self.days.start_s[row])
        self.store.mark(start_s - _EDGE_S, start_s + self.store.window_s + _EDGE_S, label, time.time())
        self.labels[row] = self.index(label)

    def picture(self, row: int) -> dict[str, NDArray[np.float64]]:
        """The norm of each modality around a window, shape (columns of the screen,); NaN where nothing is known."""
        import numpy as np

        if not self.store.is_even:
            return {}
        first_s = float(self.days.start_s[row]) - _AROUND_S
        last_s = first_s + 2 * _AROUND_S + self.store.window_s
        pieces = [*self.store.samples(first_s - self.store.window_s, last_s + self.store.window_s)]
        times = np.concatenate([p.start_s + np.arange(len(p.data)) / self.store.rate_hz for p in pieces])
        samples = np.concatenate([p.data for p in pieces])
        column = np.floor((times - first_s) / (last_s - first_s) * _COLUMNS).astype(int)
        seen = (column >= 0) & (column < _COLUMNS)
        n = np.bincount(column[seen], minlength=_COLUMNS)
        told, signal = {}, self.bundle.manifest.signal
        for modality, columns in zip(signal.modalities, signal.columns, strict=True):
            norm = np.sqrt((samples[:, columns].astype(np.float64) ** 2).sum(axis=1))
            mean = np.bincount(column[seen], norm[seen], _COLUMNS) / np.maximum(n, 1)
            told[modality.name] = np.where(n > 0, mean, np.nan)
        return told


def _round(session: Sitting, arguments: argparse.Namespace) -> NDArray[np.int64]:
    """The questions of one round of a page."""
    import numpy as np

    try:
        skipped = [float(part) for part in arguments.skip.split(",") if part]
    except ValueError:
        raise InputError("--skip", expected="seconds", got=arguments.skip, fix="As start_s says.") from None
    for start_s in skipped:
        session.asked |= np.abs(session.days.start_s - start_s) < 1e-3
    return session.choose(arguments.budget)


def _listed(session: Sitting, rows: NDArray[np.int64]) -> dict[str, Any]:
    """The questions for a page."""
    questions = []
    for row, (guess, sure) in zip(rows.tolist(), session.guesses(rows), strict=True):
        start_s = float(session.days.start_s[row])
        ends = start_s, start_s + session.store.window_s
        span = [datetime.fromtimestamp(s).astimezone().isoformat() for s in (ends[0] - _EDGE_S, ends[1] + _EDGE_S)]
        shown = {
            k: [None if v != v else round(v, 4) for v in line.tolist()] for k, line in session.picture(row).items()
        }
        around_s = [ends[0] - _AROUND_S, ends[1] + _AROUND_S]
        question = {"start_s": ends[0], "end_s": ends[1], "guess": guess, "confidence": round(sure, 4)}
        questions.append(question | {"mark": span, "picture": {"span_s": around_s, "norms": shown}})
    labelled = int((session.labels >= 0).sum())
    return {"questions": questions, "labels": session.names, "windows": len(session.labels), "labelled": labelled}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _sitting(session: Sitting, budget: int, read: Callable[[str], str] = input) -> int:
    """Ask a person, round by round; how many questions were answered."""
    from sdk.finetune.questions import rounds

    done = answered = 0
    for n in rounds(budget):
        rows = session.choose(n)
        for row, (guess, sure) in zip(rows.tolist(), session.guesses(rows), strict=True):
            done += 1
            print(f"\n{_shown(session, row, f'question {done} of {budget}')}")
            print(f"  looks like {printable(guess)} ({sure:.0%})")
            session.asked[row] = True
            try:
                label = _answer(session, guess, read)
            except (EOFError, KeyboardInterrupt):
                print()
                return answered
            if label is not None:
                session.tell(row, label)
                answered += 1
    return answered


def _shown(session: Sitting, row: int, title: str) -> str:
    """A question as text: when, and how it moved."""
    start_s = float(session.days.start_s[row])
    when = datetime.fromtimestamp(start_s).astimezone()
    end = datetime.fromtimestamp(start_s + session.store.window_s)
    lines = [f"{title}   {when:%a %Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}"]
    lines += [f"  {printable(name):<6} {_spark(line)}" for name, line in session.picture(row).items()]
    whole = 2 * _AROUND_S + session.store.window_s
    first, last = (round(s / whole * _COLUMNS) for s in (_AROUND_S, _AROUND_S + session.store.window_s))
    lines.append(f"  {'':<6} {' ' * first}{'^' * max(last - first, 1)}")
    names = "  ".join(f"{i + 1} {printable(name)}" for i, name in enumerate(session.names))
    return "\n".join([*lines, f"  {names}"])


def _spark(values: NDArray[np.float64]) -> str:
    """A line of blocks, each column as high as its value between the least and the largest."""
    known = [v for v in values.tolist() if not math.isnan(v)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    blocks = _BLOCKS if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else _PLAIN
    scale = (len(blocks) - 1) / (high - low or 1.0)
    return "".join(" " if math.isnan(v) else blocks[round((v - low) * scale)] for v in values.tolist())


def _answer(session: Sitting, guess: str, read: Callable[[str], str]) -> str | None:
    """A label, or None for a question that is skipped.

    Raises:
        EOFError: it is enough.
    """
    doubted = ""
    while True:
        words = read(f"  Enter: {printable(guess)}; a number or a name; s: skip; q: enough > ").strip()
        if words == "q":
            raise EOFError
        if words == "s":
            return None
        if not words:
            return guess
        if words.isdigit() and 1 <= int(words) <= len(session.names):
            return session.names[int(words) - 1]
        if words in session.names or words == doubted:
            return words
        near = difflib.get_close_matches(words, session.names, 1, 0.75)
        hint = f"did you mean {near[0]}? " if near else ""
        if not words.isprintable() or words.isdigit():
            print("  not a label")
        else:
            doubted = words
            print(printable(f"  {words} is new to the model: {hint}once more if you mean it"))


def _learn(path: Path, bundle: Bundle) -> int:
    """A new version from the marks, as sdk.finetune makes it."""
    from sdk.finetune import FinetunePlan, finetune, read_days, read_store
    from sdk.finetune.described import describe
    from sdk.meters import open_meter

    days = read_days(path, bundle)
    _, report = finetune(bundle, read_store(path, bundle), FinetunePlan(sure=True), meter=open_meter(), days=days)
    say(describe(report))
    return DONE if report.accepted else REFUSED


if __name__ == "__main__":
    sys.exit(main())
