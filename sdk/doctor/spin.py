"""What a prediction costs the processor while there is a pause before the next: `sdk.doctor.spin REQUEST`.

Two threads, twenty windows a second, first with the options of the runtime, then with onnxruntime's own: threads that
spin burn the pause. Tells its parent, `sdk.doctor.host`, the CPU seconds of all threads per window.
"""

from __future__ import annotations

import json
import sys
import time

PERIOD_S, WINDOWS, THREADS = 0.05, 15, 2


def main(request: str) -> dict[str, float]:
    """Measure both: the CPU seconds per window; `request` of a bundle, as JSON."""
    from runtime import Bundle  # before onnxruntime: it switches its telemetry off

    import onnxruntime  # isort: skip

    from runtime.engine.inputs import Inputs
    from runtime.engine.ort import open_session, session_options

    bundle = Bundle.of_request(json.loads(request))
    inputs = {bundle.manifest.input_name: Inputs(bundle.manifest)(bundle.golden().windows[:1])}
    theirs = onnxruntime.SessionOptions()
    theirs.intra_op_num_threads = THREADS
    found = {"period_s": PERIOD_S, "threads": float(THREADS)}
    for name, options in (("ours_cpu_s", session_options(THREADS)), ("default_cpu_s", theirs)):
        session = open_session(bundle.model(), str(bundle.path), options=options)
        session.run(None, inputs)
        time.sleep(PERIOD_S)
        began_s = time.process_time()
        for _ in range(WINDOWS):
            session.run(None, inputs)
            time.sleep(PERIOD_S)
        found[name] = (time.process_time() - began_s) / WINDOWS
        del session
    return found


if __name__ == "__main__":
    from runtime.process.parent import Parent

    parent = Parent()
    parent.tell(main(*sys.argv[1:]))
