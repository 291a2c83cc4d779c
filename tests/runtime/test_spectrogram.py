"""The spectrogram against scipy and torch, and the incremental form against the offline one."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Manifest, Modality, RollingSpectrogram, Signal, Spectrogram, SpectrogramSpec, WindowSpec
from runtime.errors import BundleError, InputError
from runtime.specs import Normalise
from runtime.spectrogram import hann, resize_taps
from runtime.window import Windower
from tests.bundles_small import image_manifest, small_manifest, small_windows

RATE_HZ = 50.0
MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))  # published with ImageNet's models


def torch():
    """It is not there on a device."""
    return pytest.importorskip("torch")


def manifest_of(length, hop, n_channels=3, **spec):
    signal = Signal((Modality("acc", "m/s^2", tuple("abcd"[:n_channels]), RATE_HZ),))
    facts = {"n_fft": 64, "hop_samples": 8, "channels": ("acc_a", "acc_b", "acc_c"), **spec}
    zeros = (0.0,) * n_channels
    normalise = Normalise(zeros, (1.0,) * n_channels)
    return Manifest("m", signal, WindowSpec(length, hop), ("x", "y"), normalise, spectrogram=SpectrogramSpec(**facts))


def walking(n, length=256, n_channels=3, seed=0):
    """Gravity, a stride with overtones, and noise, in m/s^2."""
    rng, t = np.random.default_rng(seed), np.arange(n * length) / RATE_HZ
    gait = sum(np.sin(2 * np.pi * 1.9 * k * t + k) * 3 / k**2 for k in (1, 2, 3))
    rows = np.outer(gait, (1, -0.6, 0.3, 0.1)[:n_channels]) + (0.8, 9.5, 2.0, -1.0)[:n_channels]
    return (rows + rng.normal(0, 0.02, rows.shape)).astype(np.float32).reshape(n, length, n_channels)


# ---- the raw spectrogram


@pytest.mark.parametrize(("n_fft", "hop"), [(32, 2), (64, 8), (128, 12), (255, 5), (256, 16), (7, 3), (2, 1)])
def test_power_is_scipys(n_fft, hop):
    windows = walking(3)
    found = Spectrogram(manifest_of(256, 64, n_fft=n_fft, hop_samples=hop)).power(windows)
    signals = windows.astype(np.float64).transpose(0, 2, 1)
    _, _, legacy = scipy.signal.spectrogram(
        signals, RATE_HZ, "hann", n_fft, n_fft - hop, detrend=False, scaling="spectrum", mode="complex"
    )
    window = scipy.signal.windows.hann(n_fft, sym=False)
    transform = scipy.signal.ShortTimeFFT(window, hop, RATE_HZ, scale_to="magnitude", phase_shift=None)
    first = -(-(n_fft // 2) // hop)  # ShortTimeFFT centres its slices: this many begin before the signal
    assert found.shape == legacy.shape == (3, 3, n_fft // 2 + 1, 1 + (256 - n_fft) // hop)
    assert np.abs(found - np.abs(legacy) ** 2).max() < 1e-12 * found.max()
    if n_fft // 2 % hop == 0:  # then the slices start at the rows where ours do
        slices = transform.spectrogram(signals, p0=first, p1=first + found.shape[3])
        assert np.abs(found - slices).max() < 1e-12 * found.max()


def test_power_of_a_sine_worked_by_hand():
    manifest = manifest_of(64, 64, n_fft=16, hop_samples=16)
    t = np.arange(64)
    window = np.stack([2 * np.sin(2 * np.pi * t / 4), np.full(64, 3.0), np.zeros(64)], axis=1).astype(np.float32)
    power = Spectrogram(manifest).power(window[None])[0]
    expected = np.zeros((3, 9))
    expected[0, 3:6] = 0.25, 1, 0.25  # a quarter of the rate is bin 4 of 16; a Hann window gives half to each neighbour
    expected[1, :2] = 9, 2.25
    np.testing.assert_allclose(power, np.repeat(expected[:, :, None], 4, axis=2), atol=1e-12)


def test_the_window_is_scipys_periodic_hann():
    for n in (2, 3, 32, 255):
        window = scipy.signal.windows.hann(n, sym=False)
        np.testing.assert_allclose(hann(n), window / window.sum(), rtol=0, atol=1e-16)


@pytest.mark.parametrize("n_in", [1, 2, 3, 17, 65, 240])
@pytest.mark.parametrize("n_out", [1, 2, 5, 96, 128])
def test_the_resize_is_torchs(n_in, n_out):
    cells = np.random.default_rng(0).normal(size=n_in).astype(np.float32)
    first, second, share = resize_taps(n_in, n_out)
    found = cells[first] + share * (cells[second] - cells[first])
    truth = torch().nn.functional.interpolate(
        torch().from_numpy(cells.astype(np.float64))[None, None], size=n_out, mode="linear", align_corners=False
    )
    np.testing.assert_allclose(found, truth[0, 0].numpy(), atol=1e-6)


# ---- the image


def image_by_others(manifest, window):
    """The definition once more, with scipy and torch, in float64."""
    spec = manifest.spectrogram
    columns = [manifest.signal.channel_names.index(name) for name in spec.channels]
    _, _, transform = scipy.signal.spectrogram(
        window.T[columns].astype(np.float64),
        nperseg=spec.n_fft,
        noverlap=spec.n_fft - spec.hop_samples,
        window="hann",
        detrend=False,
        scaling="spectrum",
        mode="complex",
    )
    cells = np.abs(transform) ** 2
    if spec.scale != "power":
        cells = np.log10(np.maximum(cells, spec.floor)) * (10 if spec.scale == "db" else 1)
    if spec.fixed_range is None:
        low, high = cells.min((1, 2), keepdims=True), cells.max((1, 2), keepdims=True)
    else:
        low, high = spec.fixed_range
    cells = np.clip((cells - low) / (high - low), 0, 1)
    if spec.low_frequencies == "bottom":
        cells = cells[:, ::-1]
    size = (spec.height_px, spec.width_px)
    image = torch().nn.functional.interpolate(
        torch().from_numpy(cells.copy())[None], size=size, mode="bilinear", align_corners=False
    )
    return (image[0].numpy() - MEAN[:, None, None]) / STD[:, None, None]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scale": "db"},
        {"scale": "power"},
        {"scale": "log10", "floor": 1e-3},
        {"fixed_range": (-6.0, 2.0)},
        {"scale": "db", "fixed_range": (-30.0, 10.0)},
        {"scale": "power", "fixed_range": (0.0, 0.5)},
        {"low_frequencies": "top"},
        {"channels": ("acc_c", "acc_a", "acc_b")},
        {"channels": ("acc_a", "acc_a", "acc_b")},
        {"width_px": 7, "height_px": 5},  # fewer pixels than cells
        {"n_fft": 256, "width_px": 33},  # one column
        {"n_fft": 32, "hop_samples": 1},  # more columns than pixels
    ],
)
def test_images_are_those_of_scipy_and_torch(changes):
    manifest, windows = manifest_of(256, 64, **changes), walking(4)
    found = Spectrogram(manifest).images(windows)
    truth = np.stack([image_by_others(manifest, window) for window in windows])
    assert (found.shape, found.dtype) == (truth.shape, np.float32)
    assert truth.std(axis=(0, 2, 3)).min() > 0.1  # there is something to see
    assert np.abs(found - truth).max() < 2e-6 * np.abs(truth).max()


def test_range_per_window_is_zero_to_one_per_channel():
    spec = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "n_fft": 16, "hop_samples": 4, "width_px": 61, "height_px": 9}
    images = Spectrogram(manifest_of(256, 64, **spec)).images(walking(2))  # as many pixels as cells
    np.testing.assert_allclose(images.min(axis=(2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(images.max(axis=(2, 3)), 1, atol=1e-6)


def test_loudness_shows_with_a_fixed_range_only():
    quiet, loud = walking(1), walking(1) * 8
    drawn = {}
    for name, fixed in (("window", None), ("fixed", (0.0, 2.0))):
        spectrogram = Spectrogram(manifest_of(256, 64, scale="power", fixed_range=fixed))
        drawn[name] = [spectrogram.images(window).mean() for window in (quiet, loud)]
    assert drawn["window"][0] == pytest.approx(drawn["window"][1], rel=1e-5)
    assert drawn["fixed"][1] > drawn["fixed"][0] + 0.1


@pytest.mark.parametrize("scale", ["power", "db", "log10"])
@pytest.mark.parametrize("fixed_range", [None, (0.0, 1.0)])
def test_extreme_samples_give_finite_images(scale, fixed_range):
    spectrogram = Spectrogram(manifest_of(256, 64, scale=scale, fixed_range=fixed_range))
    for size in (0.0, 1e-44, 1e-30, 1e-15, 1e15, 1e30, 3e38):
        window = (np.random.default_rng(0).uniform(-1, 1, (1, 256, 3)) * size).astype(np.float32)
        images = spectrogram.images(window)
        assert np.isfinite(images).all()
        assert ((images - 1e-5) * STD[:, None, None] + MEAN[:, None, None] <= 1).all()
        assert ((images + 1e-5) * STD[:, None, None] + MEAN[:, None, None] >= 0).all()


def test_a_channel_without_a_signal_is_black():
    windows = walking(1)
    windows[:, :, 1] = 0
    image = Spectrogram(manifest_of(256, 64)).images(windows)[0]
    assert (image[1] == np.float32(-0.456 / 0.224)).all()
    assert image[0].std() > 0.1


def test_no_windows_give_no_images():
    spectrogram = Spectrogram(manifest_of(256, 64))
    assert spectrogram.images(walking(1)[:0]).shape == (0, 3, 96, 128)
    assert spectrogram.power(walking(1)[:0]).shape == (0, 3, 33, 25)


def test_images_do_not_share_memory_and_windows_are_left_alone():
    manifest, windows = manifest_of(256, 64), walking(2)
    before = windows.copy()
    spectrogram, rolling = Spectrogram(manifest), RollingSpectrogram(manifest)
    first, rolled = spectrogram.images(windows[:1]), rolling.push(windows[0], 0)
    kept = first.copy(), rolled.copy()
    spectrogram.images(windows[1:])
    rolling.push(windows[1], 64)
    assert np.array_equal(first, kept[0])
    assert np.array_equal(rolled, kept[1])
    assert np.array_equal(windows, before)


# ---- the incremental form


def stream_images(manifest, rows, chunks, times=None):
    windower, rolling = Windower(manifest.signal, manifest.window, source_hz=RATE_HZ), RollingSpectrogram(manifest)
    windows, images, begin = [], [], 0
    for size in (*chunks, len(rows)):
        part = slice(begin, begin + size)
        for window in windower.push(rows[part], None if times is None else times[part]):
            windows.append(window.samples)
            images.append(rolling.push(window.samples, window.row))
        begin += size
    return windows, images


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_incremental_is_offline_bit_for_bit(data):
    """Any window, hop, transform and image; any chunks; with gaps between the samples."""
    n_fft = data.draw(st.integers(2, 40))
    column_hop = data.draw(st.integers(1, 12))
    length = n_fft + data.draw(st.integers(0, 80))
    hop = data.draw(st.integers(1, 12)) * data.draw(st.sampled_from((1, column_hop)))
    n_channels = data.draw(st.sampled_from((3, 4)))
    manifest = manifest_of(
        length,
        hop,
        n_channels,
        n_fft=n_fft,
        hop_samples=column_hop,
        channels=tuple(data.draw(st.permutations([f"acc_{c}" for c in "abcd"[:n_channels]])))[:3],
        scale=data.draw(st.sampled_from(("power", "db", "log10"))),
        fixed_range=data.draw(st.sampled_from((None, (-3.0, 1.5)))),
        low_frequencies=data.draw(st.sampled_from(("bottom", "top"))),
        width_px=data.draw(st.integers(1, 40)),
        height_px=data.draw(st.integers(1, 40)),
    )
    rows = walking(1, length + hop * data.draw(st.integers(0, 12)), n_channels)[0]
    chunks = data.draw(st.lists(st.integers(0, 2 * length), max_size=8))
    gaps = data.draw(st.lists(st.integers(0, len(rows)), max_size=2))
    times = np.arange(len(rows)) / RATE_HZ + 7.0 * sum(np.arange(len(rows)) >= gap for gap in gaps)
    windows, images = stream_images(manifest, rows, chunks, times)
    if not gaps:
        assert len(images) == 1 + (len(rows) - length) // hop
    if images:
        offline = Spectrogram(manifest).images(np.stack(windows))
        assert np.array_equal(np.stack(images), offline)
        alone = np.concatenate([Spectrogram(manifest).images(window[None]) for window in windows])
        assert np.array_equal(alone, offline)


@pytest.mark.parametrize("hop", [64, 128, 250, 512])
def test_incremental_is_offline_at_the_papers_sizes(hop):
    manifest = manifest_of(500, hop, n_fft=128, hop_samples=2)
    rows = walking(1, 3000)[0]
    windows, images = stream_images(manifest, rows, [37] * 90)
    assert len(images) == 1 + (3000 - 500) // hop
    assert np.array_equal(np.stack(images), Spectrogram(manifest).images(np.stack(windows)))


def test_only_the_new_columns_are_computed():
    manifest = manifest_of(256, 64)  # columns of 64 rows every 8: 25, of which the last 8 are new
    first, second = walking(2)
    spoilt = second.copy()
    spoilt[: 17 * 8] = 1e6  # the rows before the first new column
    truth = RollingSpectrogram(manifest)
    truth.push(first, 0)
    whole = Spectrogram(manifest).images(spoilt[None])[0]
    for rows, reset, same in (
        ((0, 64), False, True),
        ((0, 65), False, False),
        ((9, 9), False, False),
        ((0, 64), True, False),
    ):
        rolling = RollingSpectrogram(manifest)
        rolling.push(first, rows[0])
        if reset:
            rolling.reset()
        image = rolling.push(spoilt, rows[1])
        assert np.array_equal(image, whole) != same
    rolling = RollingSpectrogram(manifest)
    rolling.push(first, 0)
    assert np.array_equal(rolling.push(spoilt, 64), truth.push(second, 64))


# ---- what is refused


@pytest.mark.parametrize("form", [Spectrogram, RollingSpectrogram])
def test_a_manifest_without_a_spectrogram(form):
    with pytest.raises(InputError, match=r"manifest: expected a spectrogram, got none\. Give the model the windows"):
        form(small_manifest())


@pytest.mark.parametrize(
    "windows", [walking(2)[:, :-1], walking(2)[0], walking(2).astype(np.float64), walking(2, n_channels=4)]
)
def test_windows_of_another_shape(windows):
    spectrogram = Spectrogram(manifest_of(256, 64))
    for form in (spectrogram.images, spectrogram.power):
        with pytest.raises(InputError, match=r"windows: expected float32 of shape \(n, 256, 3\), got float"):
            form(windows)


FAULTS = [
    ({"n_fft": 1}, "n_fft: expected at least 2, got 1. Correct `spectrogram` in the manifest."),
    ({"n_fft": 33}, "spectrogram: expected one rate, n_fft of at most the 32 rows of a window, .* got n_fft 33"),
    ({"hop_samples": 0}, "hop_samples: expected at least 1, got 0"),
    ({"channels": ("acc_x", "acc_y")}, "channels: expected three names, got "),
    ({"channels": ("acc_x", "acc_y", "gyro_z")}, "channels of acc_x, acc_y, acc_z, got n_fft 16 and channels .*gyro_z"),
    ({"window": "hamming"}, "window: expected .*hann.*, got '?hamming"),
    ({"scale": "mel"}, "scale: expected .*power.*db.*log10.*, got '?mel"),
    ({"floor": 0.0}, "floor: expected a power above 1e-37, got 0.0"),
    ({"fixed_range": (1.0,)}, "fixed_range: expected two finite numbers that rise"),
    ({"fixed_range": (1.0, 1.0)}, "fixed_range: expected two finite numbers that rise"),
    ({"width_px": 0}, "width_px: expected 1 to 4096, got 0"),
    ({"height_px": 10**6}, "height_px: expected 1 to 4096"),
    ({"resize": "cubic"}, "resize: expected .*bilinear.*, got '?cubic"),
    ({"low_frequencies": "left"}, "low_frequencies: expected .*bottom.*top.*, got '?left"),
    ({"mean": (0.0,)}, "mean: expected three finite numbers, got "),
    ({"std": (1.0, 1.0, 0.0)}, "std: expected three numbers above 1e-6, got "),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_a_fault_in_the_spec_is_named_in_code_and_in_a_file(changes, message):
    manifest = image_manifest()
    with pytest.raises(BundleError, match=message):
        dataclasses.replace(manifest, spectrogram=dataclasses.replace(manifest.spectrogram, **changes))
    text = manifest.to_json()
    for name, value in changes.items():
        text = replaced(text, name, value)
    with pytest.raises(BundleError, match=f"^m.json: .*{message}"):
        Manifest.from_json(text, "m.json")


def replaced(text, name, value):
    document = json.loads(text)
    assert name in document["spectrogram"]
    document["spectrogram"][name] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_fft", 16.0, "m.json: spectrogram: n_fft: expected int, got 16.0"),
        ("in_graph", 1, "m.json: spectrogram: in_graph: expected bool, got 1"),
        ("scale", None, "m.json: spectrogram: scale: expected .*log10.*, got None"),
        ("scale", ["db"], r"m.json: spectrogram: scale: expected .*log10.*, got \['db'\]"),
        ("fixed_range", 3, "m.json: spectrogram: fixed_range: expected .*tuple.*, got 3"),
        ("fixed_range", [1, "x"], r"m.json: spectrogram: fixed_range\[1\]: expected float, got 'x'"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(name, value, message):
    with pytest.raises(BundleError, match=message):
        Manifest.from_json(replaced(image_manifest().to_json(), name, value), "m.json")


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("fixed_range", [None, (-3.0, 2.5)])
def test_a_spec_comes_back_from_its_file(in_graph, fixed_range):
    manifest = image_manifest(in_graph=in_graph)
    manifest = dataclasses.replace(
        manifest, spectrogram=dataclasses.replace(manifest.spectrogram, fixed_range=fixed_range)
    )
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_what_the_graph_takes():
    assert (small_manifest().input_shape, small_manifest().input_name) == ((32, 3), "windows")
    assert (image_manifest().input_shape, image_manifest().input_name) == ((3, 20, 24), "images")
    inside = image_manifest(in_graph=True)
    assert (inside.input_shape, inside.input_name) == ((32, 3), "windows")
    assert "spectrogram" not in small_manifest().to_json()
    assert small_windows(1).shape[1:] == inside.window_shape
