"""Peak memory of a window, by the kernel's own count and by sampling."""

import threading
import time

import numpy as np
import pytest

from sdk.meters import Memory, PeakMemory

MB = 10**6
MIB = 1 << 20


def status(hwm_kb, rss_kb):
    return {"proc/self/status": f"Name:\tpython\nVmHWM:\t  {hwm_kb} kB\nVmRSS:\t  {rss_kb} kB"}


@pytest.fixture(params=["kernel", "sampled"])
def memory(request, tmp_path):
    """The two ways on the real process; an empty root has nothing to reset, so that the second is taken."""
    return PeakMemory("/" if request.param == "kernel" else tmp_path)


def test_a_peak_of_50_mb_is_seen_and_forgotten(memory):
    memory.start()
    block = np.ones(50 * MB, np.uint8)
    time.sleep(0.05)
    del block
    peak = memory.stop()
    assert peak.above_baseline_bytes == pytest.approx(50 * MB, rel=0.1)

    memory.start()
    assert memory.stop().above_baseline_bytes < 5 * MB
    assert "sensedge-meter" not in {thread.name for thread in threading.enumerate()}


def test_the_kernels_peak_is_reset_and_read(tree):
    root = tree(status(300, 300) | {"proc/self/clear_refs": "xx"})
    memory = PeakMemory(root)
    memory.start()
    assert (root / "proc/self/clear_refs").read_text() == "5x\n"
    tree(status(700, 200))
    assert memory.stop() == Memory(300 * 1024, 700 * 1024, "VmHWM")


@pytest.mark.parametrize(
    "files",
    [
        {},
        status(300, 300),  # nothing to write to
        status(300, 300) | {"proc/self/clear_refs": None},  # refuses to be written
        status(320_000, 14_000) | {"proc/self/clear_refs": "xx"},  # took the 5 and did not forget
        {"proc/self/status": "Name:\tpython", "proc/self/clear_refs": "xx"},  # a kernel without these fields
    ],
)
def test_without_a_reset_the_peak_is_sampled(tree, files):
    memory = PeakMemory(tree(files))
    memory.start()
    peak = memory.stop()
    assert peak.method == "sampled"
    assert peak.peak_bytes >= peak.baseline_bytes > MIB


def test_a_failed_reset_leaves_no_file_behind(tmp_path):
    memory = PeakMemory(tmp_path)
    memory.start()
    memory.stop()
    assert list(tmp_path.iterdir()) == []
