"""Which precision and engine earn their place on this device: faster than float32 and as good, or float32 stays.

faster      candidates in turn with the float32 baseline, and the interval of the ratio    race, median_interval
judge       baseline, race, accuracy, verdicts; the best goes into the cache of "auto"     optimize, Verdict, Optimized
__main__    python -m sdk.optimize BUNDLE
"""

from sdk.optimize.faster import median_interval
from sdk.optimize.judge import Limits, Optimized, Verdict, optimize

__all__ = ["Limits", "Optimized", "Verdict", "median_interval", "optimize"]
