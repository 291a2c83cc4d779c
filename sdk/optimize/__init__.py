"""Which precision and engine earn their place on this device: faster than float32 and as good, or float32 stays.

run         baseline, race, accuracy, verdicts; the best goes into the cache of "auto"     optimize, Verdict, Optimized
__main__    python -m sdk.optimize BUNDLE
"""

from sdk.optimize.run import Limits, Optimized, Verdict, optimize

__all__ = ["Limits", "Optimized", "Verdict", "optimize"]
