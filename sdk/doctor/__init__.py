"""What this machine is, what it lacks, and how to mend it: `python -m sdk.doctor [BUNDLE]`.

host        the machine that is asked; a test gives it files and answers of its own
finding     what was found: ok, a note or a problem, and the fix in words
libraries   Python, wheels, versions that are known to be bad; imports, each tried in a process of its own
machine     board, throttling, memory, disk, limits of the control group
devices     meters, device nodes and who may open them
clocks      clocks, governor, frequencies
engines     engines that are here, their answers to the golden windows, threads that spin
source      a source of samples, listened to for a while
raw         files and answers as they are, for a bug report
run         all of it, in order
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from sdk.doctor.finding import Finding
    from sdk.doctor.host import Host
    from sdk.doctor.run import Diagnosis, examine

__getattr__ = attach(__name__, {"finding": "Finding", "host": "Host", "run": "Diagnosis examine"})

__all__ = ["Diagnosis", "Finding", "Host", "examine"]
