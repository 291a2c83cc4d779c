"""Peak memory of a window, by the kernel's own count and by sampling."""

import mmap
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from sdk.meters import GpuMemory, GpuWatch, GroupMemory, GroupPeak, Memory, NoMeter, PeakMemory
from sdk.profile import ProfileOptions, profile
from tests.board_trees import FakeNvml
from tests.commands.tools import DATA
from tests.waiting import until

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
    block = mmap.mmap(-1, 50 * MB)  # not of the heap, where memory that earlier tests gave back may lie
    np.frombuffer(block, np.uint8)[:] = 1
    if memory._ticker is not None:  # its thread looks now and then
        until(lambda: memory._peak_bytes >= memory._baseline_bytes + 45 * MB)
    block.close()
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


# ---- the control group, and graphics cards


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/"}, None),
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/memory.peak": 5000}, "app/memory.peak"),
        ({"proc/self/cgroup": "0::/host/app", "sys/fs/cgroup/memory.peak": 5000}, "cgroup/memory.peak"),
        (
            {
                "proc/self/cgroup": "4:cpu,memory:/app\n0::/",
                "sys/fs/cgroup/memory/app/memory.max_usage_in_bytes": 5000,
            },
            "app/memory.max_usage_in_bytes",
        ),
    ],
    ids=["nothing", "no file", "v2", "v2 in a container", "v1"],
)
def test_the_file_of_the_control_group(tree, files, expected):
    root = tree(files)
    group = GroupMemory(root)
    if expected is None:
        reason = "no control group that keeps a peak of memory (memory.peak: Linux 5.19)"
        assert group.peak() == GroupPeak(None, "", reason)
        return
    (path,) = [path for path in root.rglob("*") if str(path).endswith(expected)]
    assert (path.read_text() == "5000\n") == ("max_usage" in expected)  # the older one is everybody's: not reset
    path.write_text("7000\n")
    assert group.peak() == GroupPeak(7000, "reset" if "peak" in expected else "since the group began", "")


def test_a_control_group_that_cannot_be_reset(tree):
    root = tree({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.peak": 5000})
    path = root / "sys/fs/cgroup/memory.peak"
    real = type(path).open

    def read_only(self, mode="r", *arguments, **named):
        if "+" in mode:
            raise PermissionError(13, "Permission denied")
        return real(self, mode, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(path), "open", read_only)
        group = GroupMemory(root)
    assert group.peak() == GroupPeak(5000, "since the group began", "")


def test_a_profile_that_fails_leaves_no_file_open(tree, monkeypatch):
    root = tree({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.peak": 5000})
    opened = []

    def group(where):
        opened.append(GroupMemory(root))
        return opened[-1]

    def fails(*_):
        raise OSError("a run that failed")

    monkeypatch.setattr("sdk.profile.side.GroupMemory", group)
    monkeypatch.setattr("sdk.profile.side.one_run", fails)
    with pytest.raises(OSError, match="a run that failed"):
        profile(DATA / "walk.bundle", ProfileOptions(5), meter=NoMeter("a test"))
    assert len(opened) == 1
    assert opened[0]._file.closed


class Cards(FakeNvml):
    """Two cards; the process 7 has 300 bytes, the driver says nothing of the others."""

    def __init__(self, used=(1000, 2000), pids=(7,)):
        super().__init__(("a", "b"))
        self.used, self.pids = used, pids

    def nvmlDeviceGetMemoryInfo(self, card):  # noqa: N802
        return SimpleNamespace(used=self.used[card])

    def nvmlDeviceGetComputeRunningProcesses(self, card):  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=150) for pid in self.pids]


def test_graphics_memory_of_a_process():
    watch = GpuWatch(nvml=Cards())
    watch.look(7)
    assert watch.result() == GpuMemory(300, "process", "")


def test_graphics_memory_of_a_card_whose_processes_are_hidden():
    cards = Cards(pids=())
    watch = GpuWatch(nvml=cards)
    cards.used = (1000, 2600)
    watch.look(7)
    cards.used = (1000, 2400)
    watch.look(7)
    assert watch.result() == GpuMemory(600, "card", "")


def test_no_graphics_card(tmp_path):
    broken = FakeNvml(error="Library Not Found")
    watch = GpuWatch(nvml=broken)
    watch.look(7)
    assert watch.result() == GpuMemory(None, "", "NVML: Library Not Found")
    assert GpuWatch(tmp_path).result().reason == "NVML: a recorded tree has no driver to ask"
