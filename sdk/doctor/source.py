"""A source of samples, listened to for a while: does it send, how fast, and can its values be what a bundle wants?"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Timer
from typing import TYPE_CHECKING

from sdk.doctor.finding import NOTE, OK, PROBLEM, Finding

if TYPE_CHECKING:
    from runtime import Bundle

LISTEN_S = 20.0  # fifteen windows of the shipped bundle; a unit is told after five
_TOPIC = "source"


def source(bundle: Bundle, url: str, listen_s: float = LISTEN_S) -> Iterator[Finding]:
    """Stream a source for some seconds, or until it ends.

    Args:
        bundle: whose signal it should send.
        url: of the source, as of `sdk.stream --source`.
        listen_s: seconds.
    """
    from runtime.errors import InputError, MissingError
    from runtime.play import play
    from runtime.sources import open_source

    rates: list[float] = []
    warnings: list[str] = []
    try:
        opened = open_source(url, bundle.manifest.signal)
        with opened:
            timer = Timer(listen_s, opened.stop)
            timer.daemon = True
            timer.start()
            try:
                counters = play(
                    opened, bundle, lambda p, _: rates.extend(p.quality.source_hz[:1]), on_warning=warnings.append
                )
            finally:
                timer.cancel()
    except (InputError, MissingError) as error:
        told = f"{error.where}: expected {error.expected}, got {error.got}"
        yield Finding(_TOPIC, PROBLEM, told, error.fix)
        return
    rate = f", {sorted(rates)[len(rates) // 2]:.4g} Hz by its own times" if rates else ""
    told = f"{counters.samples} samples{rate}, {counters.windows} windows of {bundle.manifest.name}"
    facts = {"samples": counters.samples, "windows": counters.windows, "warnings": warnings}
    if not counters.samples:
        yield Finding(_TOPIC, PROBLEM, f"nothing came in {listen_s:g} s", "Check its wire and its name.", facts)
    elif not counters.windows:
        fix = "Listen longer, or look at its times: docs/streaming.md."
        yield Finding(_TOPIC, NOTE, told, fix, facts)
    else:
        yield Finding(_TOPIC, OK, told, "", facts)
    for text in warnings:
        what, _, cure = text.rpartition(": ")
        fix = cure[:1].upper() + cure[1:] + "."
        yield Finding(_TOPIC, NOTE if text.startswith("unlike") else PROBLEM, what, fix)
