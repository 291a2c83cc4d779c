"""What sdk.profile feeds, and how much of it counts."""

from dataclasses import replace

import numpy as np

from runtime import Bundle, WindowSpec
from runtime.bundle import Golden, write_bundle
from sdk.demo.__main__ import DATA
from sdk.profile import _hops, profile


def test_a_hop_longer_than_all_golden_windows(tmp_path):
    shipped = Bundle.open(DATA / "walk.bundle")
    golden, tensors = shipped.golden(), shipped.base_tensors
    manifest = replace(shipped.manifest, window=WindowSpec(128, 2000), training=())
    one = Golden(golden.windows[:1], golden.features[:1], golden.logits[:1])
    bundle = write_bundle(tmp_path / "b", manifest, shipped.model(), tensors, one)
    (hop,) = _hops(bundle)
    assert np.array_equal(hop, np.tile(golden.windows[0], (16, 1))[:2000])
    seen = []
    report = profile(bundle.path, 7, progress=lambda done, total, text: seen.append((done, total)))
    assert all(latency.n == 7 for latency in report.latency.values())
    assert report.first_prediction_s > 0
    assert seen[-1] == (57, 57)
    assert report.hop_s == 40


def test_the_hops_are_the_golden_rows_in_order():
    bundle = Bundle.open(DATA / "walk.bundle")
    rows = np.concatenate(bundle.golden().windows)
    assert np.array_equal(np.concatenate(_hops(bundle)), rows)
