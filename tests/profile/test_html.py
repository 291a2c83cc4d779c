"""The page: drawn from reports with and without a meter, opened in a browser, and compared with their numbers."""

import copy
import html
import json
import os
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser

import pytest

from sdk.demo.__main__ import DATA
from sdk.meters import open_meter
from sdk.profile import ProfileOptions, compare_reports, profile
from tests.board_trees import orin_nano

pytest.importorskip("matplotlib")
from sdk.profile.__main__ import main
from sdk.profile.html import render
from sdk.profile.html_compare import _added, render_comparison
from sdk.profile.html_figures import duration

WALK = DATA / "walk.bundle"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"),
)
# Tells the sizes of the pictures, and then makes an error: whoever sees no error but this one has looked for them.
SPY = """<script>
document.title = JSON.stringify([...document.querySelectorAll("figure")].map(f => {
  const box = f.querySelector("svg").getBoundingClientRect();
  const shapes = [...f.querySelectorAll("path")].filter(p => p.getBoundingClientRect().width > 0).length;
  return [f.querySelector("svg").getAttribute("aria-label"), box.width, box.height, shapes];
}));
thisErrorIsOurs();
</script>"""


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(f"{content}\n")
        os.replace(fresh, path)


@pytest.fixture(scope="module")
def metered(tmp_path_factory):
    """Two runs and two sweeps on a recorded board that gets busy and idle again, as JSON gives it back."""
    root, ended = tmp_path_factory.mktemp("board"), threading.Event()
    write(root, orin_nano())

    def flip():
        busy = False
        while not ended.wait(0.3):
            busy = not busy
            write(root, orin_nano(busy))

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        options = ProfileOptions(60, runs=2, idle_s=0.6, cap_s=2.4)
        report = profile(WALK, options, meter=open_meter(root=root, timeline=50), root=root)
    finally:
        ended.set()
        thread.join()
    return json.loads(json.dumps(report.to_dict()))


def point(value, p50_s=1e-3, reason=""):
    spread = (None,) * 5 if reason else (p50_s, 2 * p50_s, 0.9 * p50_s, 1.1 * p50_s, p50_s)
    names = ("p50_s", "p99_s", "low_s", "high_s", "cpu_s")
    return {"value": value, **dict(zip(names, spread, strict=True)), "reason": reason}


@pytest.fixture(scope="module")
def full(metered):
    """The same with everything that a report can hold."""
    report = copy.deepcopy(metered)
    report["sweeps"] = {
        "threads": [point("1"), point("2", 2e-3)],
        "engines": [point("onnxruntime"), point("openvino", reason="no Python package 'openvino'")],
        "batch": [point("1"), point("32", 3e-4)],
    }
    phase = {"seconds": 0.2, "cpu_seconds": 0.1, "peak_bytes": 8e7, "above_baseline_bytes": 1e6}
    phase["energy"] = report["energy"]
    report["finetune"] = {
        "plan": {"method": "head"},
        "reason": "better on held-out labels",
        "points": 2.5,
        "labelled_windows": 60,
        "seconds_per_point": 0.2,
        "joules_per_point": 1.5,
        "net_joules_per_point": 1.0,
        **phase,
        "phases": [{"name": "prefix", **phase}, {"name": "training", **phase}],
    }
    return report


@pytest.fixture(scope="module")
def page(full):
    return render(full)


@pytest.fixture(scope="module")
def compared(metered):
    """Twice six processes that took turns, those of the second with half as much time again, and what it means."""
    first = metered | {"runs": metered["runs"] * 4, "phases": [], "series": "s"}
    second = copy.deepcopy(first)
    for run in second["runs"]:
        run["samples"]["total"] = [tick * 3 // 2 for tick in run["samples"]["total"]]
    second["setup"]["engine"] = "openvino"
    return compare_reports([first], [second]), [first], [second]


@pytest.fixture
def without_meter(metered):
    report = copy.deepcopy(metered)
    report["idle"] = None
    for energy in (report["energy"], *(phase["energy"] for phase in report["phases"])):
        energy.update(dict.fromkeys(energy), source="none", rails=[], notes=[], reason="no /sys/class/powercap")
        energy["meters"] = []
    return report


class Text(HTMLParser):
    """What a reader sees, and every attribute that could fetch something."""

    def __init__(self, page):
        super().__init__()
        self.words, self.tags, self.links = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action")]

    def handle_data(self, data):
        self.words.append(data)


def browse(page, folder):
    """Title and console of the page in a browser of its own."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"{SPY}</body>"), encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'user'}", "--dump-dom", path.as_uri()]
    env = {**os.environ, "HOME": str(folder)}  # where it also writes
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=env)
    title = html.unescape(re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)[1])
    return json.loads(title), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_a_browser_shows_every_picture_and_reports_no_error(page, tmp_path):
    pictures, console = browse(page, tmp_path)
    assert len(console) == 1, console
    assert "thisErrorIsOurs" in console[0]
    labels = [label for label, *_ in pictures]
    assert labels == [
        *("Latency", "Stages", "Cold start", "Memory over time", "Power over time"),
        *("Threads", "Engines", "Batch", "Fine-tuning"),
    ]
    for label, width, height, shapes in pictures:
        assert width > 500, label
        assert height > 60, label
        assert shapes > 3, label


def test_the_page_fetches_nothing_and_runs_nothing(page):
    text = Text(page)
    assert not {"script", "iframe", "object", "embed", "img", "form"} & set(text.tags)
    assert all(link.startswith("#") or link == "data:," for link in text.links)
    assert "url(http" not in page
    assert "@import" not in page


def test_the_same_report_gives_the_same_page(page, full, compared):
    assert render(copy.deepcopy(full)) == page
    assert render_comparison(*copy.deepcopy(compared)) == render_comparison(*compared)


def test_the_figures_are_the_reports(page, full):
    words = Text(page).words
    for stage in full["latency"].values():
        assert {duration(stage[key]) for key in ("p50_s", "p90_s", "p99_s", "p99_9_s", "max_s")} <= set(words)
    assert f"{full['memory']['peak_rss_bytes'] / 1e6:.1f}" in words
    assert f"{full['energy']['joules_per_hop'] * 1e3:.4g} mJ" in words
    assert full["bundle"]["model_sha256"] in words
    assert "NVIDIA Jetson Orin Nano Developer Kit" in words
    assert "no Python package 'openvino'" in words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.72e-5, "97.2 µs"), (1.28, "1.28 s"), (0.02, "20 ms"), (0.9999, "1 s"), (1234, "1234 s"), (0, "0 µs")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_power_has_the_area_of_the_energy(page, metered):
    """What is drawn is what was measured: the steps of each phase over its own seconds."""
    for phase in metered["phases"]:
        timeline = phase["energy"]["timeline"]
        edges_s = timeline["edges_s"]
        area = sum(w[0] * (b - a) for w, a, b in zip(timeline["watts"], edges_s, edges_s[1:], strict=False))
        assert area == pytest.approx(phase["energy"]["joules"])
    drawn = re.search(r'aria-label="Power over time".*?</svg>', page, re.DOTALL)[0]
    assert {"idle", "start", "warm-up", "measured", "power, W"} <= set(Text(drawn).words)


def test_without_a_meter_a_sentence_says_so_and_no_zero_is_shown(without_meter):
    page = render(without_meter)
    assert "<p>energy: not measured (no meter: no /sys/class/powercap)</p>" in page
    assert "Power over time" not in page
    assert " mJ" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_a_browser_shows_a_comparison(compared, tmp_path):
    pictures, console = browse(render_comparison(*compared), tmp_path)
    assert len(console) == 1, console
    assert [label for label, *_ in pictures] == ["Ratios", "Runs", "Distributions"]
    assert all(width > 500 and height > 60 and shapes > 3 for _, width, height, shapes in pictures)


def test_a_comparison_says_what_was_found(compared):
    found, *_ = compared
    assert found.verdict == "worse"
    words = Text(render_comparison(*compared)).words
    assert {
        "The second is WORSE.",
        "setup.engine",
        "openvino",
        "Processes: 8 and 8, judged as 8 pairs of runs.",
    } <= set(words)
    p50 = found.ratios[0]
    assert {f"{p50.ratio:.3f}", f"{p50.low:.3f} to {p50.high:.3f}", "+50 %"} <= set(words)


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.0, "0 %"), (1.05, "+5 %"), (0.9, "-10 %"), (2, "2 x"), (0.5, "0.5 x"), (20, "20 x")]
)
def test_ratios_as_what_is_added(ratio, text):
    assert _added(ratio) == text


def test_a_comparison_by_the_command(metered, tmp_path, capsys):
    report = metered | {"runs": metered["runs"] * 3}  # 6 runs, measured at two times
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(report))
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    assert main(["--compare", *files, "--html", str(tmp_path / "both.html")]) == 0
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert {"No difference was shown.", "Processes: 6 and 6."} <= set(Text(page).words)
    assert capsys.readouterr().out


def test_throttling_stands_first(page, metered):
    assert "THROTTLED" not in page
    slow = copy.deepcopy(metered)
    slow["machine"]["throttled"] = "The machine did not hold its speed: throttled at the end."
    assert '<body>\n<p class="warn">THROTTLED: The machine did not hold its speed' in render(slow)


def test_names_are_text_and_never_markup(full):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)> $\\frac$ \" ' &amp;"
    report = copy.deepcopy(full)
    for part, key in (("bundle", "name"), ("bundle", "version"), ("setup", "engine"), ("workload", "pace")):
        report[part][key] = evil
    report["machine"]["before"]["board"] = report["machine"]["throttled"] = evil
    report["sweeps"] = {"engines": [point(evil), point("openvino", reason=evil)]}
    report["finetune"]["reason"] = report["finetune"]["phases"][0]["name"] = evil
    report["energy"]["source"], report["energy"]["notes"], report["notes"] = evil, [evil], [evil]
    text = Text(render(report))
    assert not {"script", "img"} & set(text.tags)
    assert "".join(text.words).count("<script>alert(1)</script>") >= 12
    other = copy.deepcopy(report)
    other["setup"]["engine"] = f"{evil} too"
    found = compare_reports([report | {"runs": report["runs"] * 3}], [other | {"runs": other["runs"] * 3}])
    text = Text(render_comparison(found, [report], [other]))
    assert not {"script", "img"} & set(text.tags)
    assert "".join(text.words).count("<script>alert(1)</script>") >= 5
