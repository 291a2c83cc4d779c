"""Dies as onnxruntime 1.21.0 does on a Cortex-A72: of an illegal instruction, at its import."""

import os
import signal

os.kill(os.getpid(), signal.SIGILL)
