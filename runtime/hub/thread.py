"""A hub with a thread of its own: pushes from any thread, predictions by a callback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event as Flag
from threading import Thread, current_thread
from time import monotonic
from typing import Literal

from numpy.typing import ArrayLike

from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.errors import one_line
from runtime.hub.core import MAX_BATCH, MAX_DELAY_S, MAX_QUEUE, MAX_STREAMS, HubCore
from runtime.hub.tally import HubCounters
from runtime.specs import ClockSpec
from runtime.stream import Prediction
from runtime.window import Counters

_DRAIN_S, _JOIN_S = 0.8, 0.95  # close() ends within a second
_log = logging.getLogger(__name__)


class Hub:
    """Many streams over one engine, run by one thread that the hub owns.

    Predictions come by the callback, in the hub's thread, those of a stream in order. While the callback takes its time
    no batch is run, which shows as drops. If it raises, the hub goes on: `errors` counts it, and the first one is
    logged. An engine that raises is treated alike, and its batch counts as dropped.

    Args:
        bundle: a verified bundle, or the path of one.
        on_prediction: called with the stream's name and the prediction. To hand them to another thread, let it put
            them into a bounded queue.
        engine: None opens one. It belongs to the hub's thread while the hub is open.
        max_delay_s: as of `HubCore`, and so the rest.
        axes: as text, or a matrix of shape (3, 3).

    Example:
        >>> with Hub("walk.bundle", lambda name, p: print(name, p.label)) as hub:     # doctest: +SKIP
        ...     hub.push("anna", samples)
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        on_prediction: Callable[[str, Prediction], object],
        *,
        engine: Engine | None = None,
        max_delay_s: float = MAX_DELAY_S,
        max_batch: int = MAX_BATCH,
        max_queue: int = MAX_QUEUE,
        max_streams: int = MAX_STREAMS,
        clock: ClockSpec | None = None,
        units: str | Mapping[str, str] | None = None,
        axes: str | ArrayLike | None = None,
    ) -> None:
        bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self._core = HubCore(
            bundle,
            engine or open_engine(bundle),
            max_delay_s=max_delay_s,
            max_batch=max_batch,
            max_queue=max_queue,
            max_streams=max_streams,
            clock=clock,
            units=units,
            axes=axes,
        )
        self._on_prediction = on_prediction
        self.errors = 0  # raised by the callback or by the engine
        self._wake, self._closing = Flag(), False
        self._thread = Thread(target=self._work, name="sensedge-hub", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return one_line(self, self._core)

    def push(self, name: str, samples: ArrayLike, t: ArrayLike | None = None, modality: str | None = None) -> None:
        """Take samples of one stream, from any thread; a new name begins a new stream.

        Args:
            name: of the stream.
            samples: shape (n, n_channels), as of `Stream.push`.
            t: shape (n,), on the stream's own clock, as of `Stream.push`; or None.
            modality: whose samples these are, as of `Stream.push`.

        Raises:
            InputError: samples or times that do not fit, one stream too many, or the hub is closed.
        """
        if self._core.push(name, samples, t, modality, now_s=monotonic()):
            self._wake.set()

    def flush(self, name: str, pad: Literal["hold", "zero"] | None = None) -> None:
        """End a stream, as `Stream.flush` does; its next sample begins a new one.

        Raises:
            InputError: no such stream, or the hub is closed.
        """
        if self._core.flush(name, pad, now_s=monotonic()):
            self._wake.set()

    def use(self, bundle: Bundle | str | Path, engine: Engine | None = None) -> None:
        """Go on with another model from the next batch on, from any thread; as of `HubCore.use`.

        Args:
            bundle: another version or another bundle, of the same signal and window; or its path.
            engine: of that bundle; None opens one.

        Raises:
            InputError: another signal or window. The hub is then as it was.
        """
        bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self._core.use(bundle, engine or open_engine(bundle))

    def remove(self, name: str) -> None:
        """Forget a stream; its windows that wait are dropped.

        Raises:
            InputError: no such stream.
        """
        self._core.remove(name)

    def counters(self, name: str | None = None) -> HubCounters:
        """Of one stream, or of all that there ever were.

        Raises:
            InputError: no such stream.
        """
        return self._core.counters(name)

    def sample_counters(self, name: str) -> Counters:
        """What became of a stream's samples so far: the live object, for reading.

        Raises:
            InputError: no such stream.
        """
        return self._core.sample_counters(name)

    def warnings(self, name: str) -> tuple[str, ...]:
        """As of `Stream.warnings`.

        Raises:
            InputError: no such stream.
        """
        return self._core.warnings(name)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams."""
        return self._core.streams

    def close(self) -> None:
        """Refuse further pushes, run what waits, and drop what is left after 0.8 s.

        Returns within a second. A callback or an engine that takes longer is left behind with the thread, which ends
        when they return.
        """
        self._core.close()
        self._closing = True
        self._wake.set()
        if current_thread() is not self._thread:  # a callback may close its hub
            self._thread.join(_JOIN_S)

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while not self._closing:
            due_s = self._core.due_s()
            wait_s = None if due_s is None else due_s - monotonic()
            if wait_s is not None and wait_s <= 0:
                self._step()
            else:
                self._wake.wait(wait_s)
                self._wake.clear()  # before the next look, so that no wake-up is lost
        end_s = monotonic() + _DRAIN_S
        while self._core.due_s() is not None and monotonic() < end_s:
            self._step()
        self._core.drop_all()

    def _step(self) -> None:
        try:
            predictions = self._core.step()
        except Exception:
            self._note("the engine raised; its windows are dropped")
            return
        for name, prediction in predictions:
            self._deliver(name, prediction)

    def _deliver(self, name: str, prediction: Prediction) -> None:
        try:
            self._on_prediction(name, prediction)
        except Exception:
            self._note("a callback raised; the hub goes on")

    def _note(self, what: str) -> None:
        self.errors += 1
        if self.errors == 1:
            _log.exception("%s; further errors are only counted", what)
