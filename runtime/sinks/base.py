"""What every sink is: a context manager that predictions are written to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from runtime.errors import InputError
from runtime.stream import Prediction


@dataclass
class SinkCounters:
    """What became of the predictions so far: the live object, for reading."""

    written: int = 0  # to the file, or taken by the broker
    dropped: int = 0  # pushed out of the queue by newer ones, or still in it at the end
    lost: int = 0  # times that the other end went away
    reconnects: int = 0  # times that it came back


class Sink(Protocol):
    """What predictions are written to; a context manager.

    One that has a method `about(name, version, labels)` is told what predicts, at first and at each change.
    """

    counters: SinkCounters

    def __enter__(self) -> Sink: ...

    def __exit__(self, *_: object) -> None: ...

    def write(self, prediction: Prediction) -> None:
        """Take a prediction; a sink on a network never waits for it."""


def json_of(prediction: Prediction, **more: object) -> str:
    """A prediction as one line of JSON, which knows neither NaN nor infinity (RFC 8259).

    Args:
        prediction: of a stream.
        more: further fields.

    Raises:
        InputError: it holds one; those of a `Stream` never do.
    """
    try:
        return json.dumps(prediction.to_dict() | more, allow_nan=False)
    except ValueError:
        raise InputError(
            "prediction", expected="finite numbers", got=tuple(prediction), fix="Leave this window out."
        ) from None
