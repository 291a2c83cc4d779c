"""From a recorder's store to labelled windows, and some of those that nobody marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.errors import InputError
from sdk.finetune.labels import LabelledSet, Names, spread_over

if TYPE_CHECKING:
    from runtime.recorder.marks import Span
    from runtime.recorder.schema import RecordedWindow

    _Between = Callable[[float, float], Iterator[RecordedWindow]]

_STRETCHES, _STRETCH_S = 60, 20.0  # from which windows without labels are taken


def read_store(path: str | Path, bundle: Bundle) -> LabelledSet:
    """The marked windows of a recorder's store, in the order of time; its features where it keeps no windows.

    A mark of an activity that the model does not have was made as such, and is a new one.

    Raises:
        InputError: no store, or one of another signal or window; nothing that was marked; features of another encoder
            than the one in use.
    """
    from runtime.recorder import Store  # sqlite3, for those who have a store
    from runtime.recorder.schema import encoder_id

    manifest = bundle.manifest
    names = Names(manifest.labels, None)
    with Store(path) as store:
        store.check_fits(manifest)
        spans = store.spans()
        keeps_features = store.keeps() == ("features",)
        encoder = encoder_id(bundle)

        def between(start_s: float, end_s: float) -> Iterator[RecordedWindow]:
            return store.features(start_s, end_s, encoder) if keeps_features else store.windows(start_s, end_s)

        found = []
        for span in spans:
            inside = list(between(span.start_s, span.end_s))
            label = names.index(span.label, str(path)) if inside else None
            found += [(entry, label) for entry in inside if label is not None]
        rest = spread_over(_unmarked(between, spans, store.span_s, manifest.window_s)) if found else None
    if not found:
        kept = "features of the encoder in use" if keeps_features else "samples"
        raise InputError(
            path,
            expected=f"marks with windows wholly inside, and their {kept}",
            got=f"{len(spans)} spans without" if spans else "no mark",
            fix='Mark what was recorded: python -m sdk.label STORE mark "12:00-12:30" LABEL',
        )
    data, n = np.stack([entry.data for entry, _ in found]), len(found)
    starts = np.array([entry.start_s for entry, _ in found])
    return LabelledSet(
        np.zeros((0, *manifest.window_shape), np.float32) if keeps_features else data,
        np.array([label for _, label in found]),
        np.ones(n),
        data if keeps_features else None,
        tuple(names.all),
        np.stack([starts, starts + manifest.window_s], axis=1),
        rest,
        names.notes(),
    )


def _unmarked(
    between: _Between, spans: Sequence[Span], whole: tuple[float, float] | None, window_s: float
) -> list[NDArray[np.float32]]:
    """Some of what nobody marked: stretches of `_STRETCH_S`, spread over all that was recorded."""
    begin_s, end_s = whole or (0.0, 0.0)
    n = max(1, min(_STRETCHES, int((end_s - begin_s) / _STRETCH_S)))
    stretches = np.linspace(begin_s, max(begin_s, end_s - _STRETCH_S), n)
    entries = (entry for at_s in stretches for entry in between(float(at_s), float(at_s) + _STRETCH_S))
    return [
        entry.data
        for entry in entries
        if not any(span.start_s < entry.start_s + window_s and entry.start_s < span.end_s for span in spans)
    ]
