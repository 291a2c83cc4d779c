"""What a bundle costs on this machine, in time, memory and energy: `python -m sdk.profile BUNDLE`.

    run         `profile`, and `profile_in_turn`: two sides whose runs take turns
    options     how to measure
    side        one bundle measured in one way: run after run, the machine and its meter around them
    child       what happens in each of these: cold start, warm-up, measured windows
    talk        what the two say to each other: two dataclasses
    parent      the other end: starts a child, reads its memory and the meter phase by phase
    resident    the resident memory of a process
    warmup      where the warm-up ends: found, not assumed
    report      what comes out, and its JSON
    sweeps      threads, engines, batches
    finetune    what a fine-tuning run costs
    text        the report for a terminal
    compare     two reports: ratios with their intervals, and a verdict
    interval    how well the median of some runs is known
    html        the report for a browser; `html_figures` draws its pictures
    html_compare    a comparison for a browser

A part is imported when it is first asked for: --help starts at once.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from sdk.profile.compare import Comparison, compare_reports
    from sdk.profile.options import ProfileOptions
    from sdk.profile.report import ProfileReport
    from sdk.profile.run import profile, profile_in_turn

__getattr__ = attach(
    __name__,
    {
        "compare": "Comparison compare_reports",
        "options": "ProfileOptions",
        "report": "ProfileReport",
        "run": "profile profile_in_turn",
    },
)

__all__ = ["Comparison", "ProfileOptions", "ProfileReport", "compare_reports", "profile", "profile_in_turn"]
