"""Personalise and ask in child processes, versions, and the trial of five minutes.

    start -> personal/trial.json -> child: sdk.finetune --json -> accepted: the stream uses it -> kept: the note goes
             where to go back to                               -> refused: the note goes       -> not kept: rollback

The note is written before anything changes, so that a trial that was cut off by a crash ends at the next start.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.bundle import Bundle
from runtime.bundle.versions import current_version
from runtime.errors import InputError, SensedgeError
from runtime.files.atomic import write_atomic
from runtime.process.child import Child
from runtime.specs import BASE

if TYPE_CHECKING:
    from collections.abc import Sequence

TRIAL_S = 300.0
_NICE = 10
_ASK_S = 120.0  # that questions may take
_NOTE = "trial.json"


class Jobs:
    """What a bundle learns, one job at a time.

    Args:
        bundle: its versions change.
        store: where labels are.
        use: called with the bundle in the version that is in use from now on.
        tell: called with messages for the page.
        flush: called before the store is read.
        clock: tells Unix seconds.
    """

    def __init__(
        self,
        bundle: Bundle,
        store: Path | None,
        use: Callable[[Bundle], object],
        tell: Callable[[dict[str, Any]], object],
        flush: Callable[[], object],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._store = bundle.path.absolute(), None if store is None else store.absolute()
        self._bundle, self._use, self._tell, self._flush, self._clock = bundle, use, tell, flush, clock
        self._note = self._path / "personal" / _NOTE
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._timer: threading.Timer | None = None
        self.latest: dict[str, Any] | None = None  # what became of the last job
        self.trial: dict[str, Any] | None = None  # {"back_to", "version", "until"}

    def end_old_trial(self) -> str | None:
        """Go back from a trial that a crash or an end left behind; the version that is used again."""
        try:
            back_to = json.loads(self._note.read_text())["back_to"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            back_to = BASE
        self._go_back(str(back_to))
        return str(back_to)

    def versions(self) -> dict[str, Any]:
        """All versions with what the page shows of them, and the one in use."""
        from sdk.finetune.listing import records_of

        records, damaged = records_of(self._bundle)
        shown = [{"version": BASE, "made_s": None}]
        for name, record in records.items():
            keys = ("made_s", "windows_per_label", "before", "after", "kept", "labels")
            shown.append({"version": name, **{key: record.get(key) for key in keys}})
        shown += [{"version": name, "damaged": text} for name, text in damaged.items()]
        return {"current": current_version(self._path), "versions": shown, "trial": self.trial}

    def use_version(self, version: str) -> None:
        """Let a version predict; a trial is over with it.

        Raises:
            BundleError: there is no such version, or it is not whole; another fine-tuning holds the bundle.
        """
        with self._lock:
            self._refuse_if_busy()
            self._go_back(version)

    def keep(self) -> None:
        """Keep the version that is on trial."""
        with self._lock:
            self._end_trial()

    def start(self, new: Sequence[str] = (), *, sure: bool = False) -> int:
        """Personalise, in a thread of its own; the job's number.

        Args:
            new: names that the model is to learn.
            sure: labels are right, whatever the model is sure of.

        Raises:
            InputError: nothing is recorded, another job goes on, or a version is on trial.
        """
        if self._store is None:
            raise InputError("personalise", expected="a store", got="none", fix="Start with --record me.db.")
        with self._lock:
            self._refuse_if_busy()
            if self.trial is not None:
                fix = "Keep it, or go back first."
                raise InputError("personalise", expected="no version on trial", got="one is on trial", fix=fix)
            number = 1 if self.latest is None else self.latest["id"] + 1
            self.latest = {"kind": "job", "id": number, "state": "running", "text": "learning", "began": self._clock()}
        words = ["--labels", str(self._store), *(["--new", ",".join(new)] if new else []), *(["--sure"] * sure)]
        threading.Thread(target=self._learn, args=(words,), name="sensedge-learn", daemon=True).start()
        return number

    def cancel(self) -> None:
        """End the job that goes on; the bundle stays as it was."""
        child = self._child
        if child is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)

    def questions(self, skipped: str) -> dict[str, Any]:
        """Windows that the model would like to be told about.

        Args:
            skipped: starts of those not to be asked again, with commas.

        Raises:
            InputError: nothing is recorded, or there is nothing to ask about.
        """
        if self._store is None:
            raise InputError("questions", expected="a store", got="none", fix="Start with --record me.db.")
        self._flush()
        words = ["-m", "sdk.ask", str(self._store), str(self._path), "--json", "--budget", "4"]
        with Child([*words, *([f"--skip={skipped}"] if skipped else [])]) as child:
            child.start()
            self._be_nice(child)
            try:
                text = child.text(_ASK_S)
            except TimeoutError:
                text = ""
            if not text:
                raise InputError("questions", expected="some", got=child.last_line(), fix="Record for a while longer.")
            found: dict[str, Any] = json.loads(text)
            return found

    def close(self) -> None:
        """End what goes on; a trial ends at the next start."""
        self.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _refuse_if_busy(self) -> None:
        if self.latest is not None and self.latest["state"] == "running":
            raise InputError("job", expected="one at a time", got="another one goes on", fix="Wait, or cancel it.")

    def _learn(self, words: list[str]) -> None:
        self._say(state="running")
        before = current_version(self._path)
        try:
            self._flush()
            self._write_note({"back_to": before})
            told = self._run(words)
        except (SensedgeError, OSError) as error:
            told = {"state": "failed", "text": str(error)}
        if told["state"] == "accepted":
            self._begin_trial(before, str(told["report"]["version"]))
        else:
            self._note.unlink(missing_ok=True)
        self._say(**told)

    def _run(self, words: list[str]) -> dict[str, Any]:
        """What the child process says: accepted or refused with its report, or failed with its last line."""
        with Child(["-m", "sdk.finetune", str(self._path), *words, "--json"]) as child:
            child.start()
            self._child = child
            self._be_nice(child)
            try:
                text = child.text()
                code = child.wait()
            finally:
                self._child = None
            try:
                report = json.loads(text)
            except ValueError:
                ended = code == -signal.SIGTERM or "stopped" in child.last_line()
                text = "It was ended; the model is as it was." if ended else child.last_line() or child.ending()
                return {"state": "ended" if ended else "failed", "text": text.removeprefix("error: ")}
        accepted = bool(report.get("accepted"))
        return {"state": "accepted" if accepted else "refused", "text": report.get("reason", ""), "report": report}

    def _begin_trial(self, back_to: str, version: str) -> None:
        with self._lock:
            self.trial = {"back_to": back_to, "version": version, "until": self._clock() + TRIAL_S}
            self._write_note(self.trial)
            self._timer = threading.Timer(TRIAL_S, self._time_is_up)
            self._timer.daemon = True
            self._timer.start()
        self._use(self._bundle.again(version))

    def _time_is_up(self) -> None:
        with self._lock:
            trial = self.trial
            if trial is not None:
                self._go_back(trial["back_to"])
        self._tell({"kind": "trial", "trial": None, "over": True})

    def _go_back(self, version: str) -> None:
        bundle = self._bundle.rollback(version)
        self._end_trial()
        self._use(bundle)

    def _end_trial(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.trial = self._timer = None
        self._note.unlink(missing_ok=True)

    def _write_note(self, note: dict[str, Any]) -> None:
        self._note.parent.mkdir(exist_ok=True)
        write_atomic(self._note, json.dumps(note).encode())

    def _say(self, **told: Any) -> None:
        self.latest = {**(self.latest or {}), **told, "trial": self.trial}
        self._tell(self.latest)

    @staticmethod
    def _be_nice(child: Child) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
