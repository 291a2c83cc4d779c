"""The spectrogram inside the graph against the one outside, and bundles of a model that looks at images."""

import copy
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import ParityError, SpectrogramImages, check_parity, export_bundle
from runtime import Bundle, Modality, RollingSpectrogram, Signal, Spectrogram, SpectrogramSpec, Stream, WindowSpec
from runtime.engine import open_engine
from runtime.errors import BundleError, InputError
from sdk.finetune import LabelledSet, finetune
from sdk.profile import ProfileOptions, profile
from tests.bundles_small import image_manifest, image_parts, small_manifest, small_windows
from tests.taken import take_all
from tests.waiting import Clock

FORMS = ("outside", "inside")
RATE_HZ, LENGTH = 50.0, 300


def walking(n):
    """Gravity, a stride, and the noise of a good sensor: the quiet cells are 6 decades below the loud ones."""
    rng, t = np.random.default_rng(0), np.arange(n * LENGTH) / RATE_HZ
    rows = np.outer(3 * np.sin(2 * np.pi * 1.9 * t), (1, -0.6, 0.3)) + np.array((0.8, 9.5, 2.0))
    return (rows + rng.normal(0, 0.02, rows.shape)).astype(np.float32).reshape(n, LENGTH, -1)


def manifest_of(**spec):
    signal = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), RATE_HZ),))
    facts = {"n_fft": 64, "hop_samples": 8, "channels": ("acc_y", "acc_x", "acc_z"), **spec}
    return small_manifest(signal=signal, window=WindowSpec(LENGTH, 40), spectrogram=SpectrogramSpec(**facts))


def off(manifest, windows):
    """How far the module is from the runtime's images, as a share of their largest value."""
    truth = Spectrogram(manifest).images(windows)
    with torch.inference_mode():
        found = SpectrogramImages(manifest).eval()(torch.from_numpy(windows)).numpy()
    assert found.shape == truth.shape
    return float(np.abs(found - truth).max() / np.abs(truth).max())


@pytest.mark.parametrize("n_fft", [32, 64, 128, 256])
@pytest.mark.parametrize("hop", [2, 4, 8, 16])
def test_the_papers_grid_is_drawn_alike_inside_and_outside(n_fft, hop):
    assert off(manifest_of(n_fft=n_fft, hop_samples=hop), walking(3)) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": "db", "floor": 1e-6},
        {"scale": "power"},
        {"fixed_range": (-5.0, 1.0)},
        {"scale": "power", "fixed_range": (0.0, 3.0)},
        {"low_frequencies": "top", "width_px": 9, "height_px": 70},
        {"n_fft": LENGTH},
        {"n_fft": 2, "hop_samples": 1},
    ],
)
def test_every_option_is_drawn_alike_inside_and_outside(changes):
    assert off(manifest_of(**changes), walking(3)) < 1e-5


def test_a_product_in_plain_float32_would_not_do():
    """The coarse and fine parts are there for a reason: without them the quiet cells are drawn from rounding."""

    class Plain(SpectrogramImages):
        def _power(self, pieces):
            basis = self.rest[self.spec.n_fft :]
            parts = pieces @ basis
            real, imaginary = parts[..., : self.spec.n_bins], parts[..., self.spec.n_bins :]
            return self._unit * (real**2 + imaginary**2)

    manifest, windows = manifest_of(n_fft=128, hop_samples=4), walking(3)
    truth = Spectrogram(manifest).images(windows)
    with torch.inference_mode():
        found = Plain(manifest)(torch.from_numpy(windows)).numpy()
    plain = np.abs(found - truth).max() / np.abs(truth).max()
    assert 1e-3 > plain > 10 * off(manifest, windows)


@settings(max_examples=40, deadline=None)
@given(
    n_fft=st.integers(2, 300),
    hop=st.integers(1, 40),
    scale=st.sampled_from(("power", "db", "log10")),
    fixed_range=st.sampled_from((None, (-4.0, 1.0))),
    size=st.sampled_from((0.0, 1e-3, 1.0, 100.0)),
)
def test_any_spec_is_drawn_alike_inside_and_outside(n_fft, hop, scale, fixed_range, size):
    """Wider than above: of so many cells one is so quiet that its rounding shows, and moves its channel's range."""
    spec = {"scale": scale, "fixed_range": fixed_range, "width_px": 21, "height_px": 16}
    assert off(manifest_of(n_fft=n_fft, hop_samples=hop, **spec), walking(2) * np.float32(size)) < 2e-4


def test_a_channel_without_a_signal_is_black_inside_too():
    windows = walking(1)
    windows[:, :, 1] = 0
    with torch.inference_mode():
        image = SpectrogramImages(manifest_of())(torch.from_numpy(windows))[0]
    np.testing.assert_allclose(image[0], -0.485 / 0.229, rtol=1e-6)  # red is y


def test_no_spectrogram_no_module():
    with pytest.raises(InputError, match=r"manifest: expected a spectrogram, got none\. Export the en"):
        SpectrogramImages(small_manifest())


# ---- bundles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """One tiny CNN in both forms; not to be written to."""
    folder, windows = tmp_path_factory.mktemp("images"), small_windows(6)
    encoder, head = image_parts()
    images = torch.from_numpy(Spectrogram(image_manifest()).images(windows))
    with torch.no_grad():
        head.weight *= 30
        head.bias -= head(encoder(images)).mean(0)  # so that every label occurs
        features = encoder(images)
        truth = {"features": features.numpy(), "logits": head(features).numpy()}
    made = {
        form: export_bundle(folder / form, encoder, head, image_manifest(in_graph=form == "inside"), windows)
        for form in FORMS
    }
    return SimpleNamespace(windows=windows, truth=truth, encoder=encoder, head=head, **made)


@pytest.mark.parametrize("form", FORMS)
def test_the_graph_has_matrix_products_and_no_transform(bundles, form):
    model = onnx.load(getattr(bundles, form).path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"STFT", "DFT", "HannWindow", "Resize", "Upsample", "GridSample", "GatherND", "NonZero"}
    assert not operators & {"Loop", "If", "Scan", "SplitToSequence", "SequenceAt"}
    n_products = sum(node.op_type == "MatMul" for node in model.graph.node)
    assert n_products == (4 if form == "inside" else 0)
    names = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input}
    assert names == ({"windows": [0, 32, 3]} if form == "inside" else {"images": [0, 3, 20, 24]})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("output", ["features", "logits"])
def test_the_engine_gives_what_torch_gives_for_windows(bundles, form, output):
    bundle = getattr(bundles, form)
    engine, truth = open_engine(bundle), bundles.truth[output]
    for batch in (1, 4, 6):
        parts = [bundles.windows[i : i + batch] for i in range(0, 6, batch)]
        found = np.concatenate([engine.run(part, output) for part in parts])
        assert np.abs(found - truth).max() < 2e-5 * np.abs(truth).max()
    golden = bundle.golden()
    assert np.array_equal(golden.windows, bundles.windows)
    assert np.abs(golden.logits - bundles.truth["logits"]).max() < 2e-5 * np.abs(bundles.truth["logits"]).max()


def test_windows_and_their_images_give_the_same_bits_outside(bundles):
    engine = open_engine(bundles.outside)
    images = Spectrogram(bundles.outside.manifest).images(bundles.windows)
    for n in (0, 1, 6):
        assert np.array_equal(engine.run(bundles.windows[:n]), engine.run(images[:n]))


@pytest.mark.parametrize(
    ("form", "shape", "message"),
    [
        ("outside", (1, 31, 3), r"windows: expected float32 of shape \(n, 32, 3\), got float32 of shape \(1, 31, 3\)"),
        ("outside", (1, 3, 20, 23), r"windows: expected float32 of shape \(n, 32, 3\), got float32 of shape \(1, 3, 2"),
        ("inside", (1, 3, 20, 24), r"windows: expected float32 of shape \(n, 32, 3\), got float32 of shape \(1, 3, 2"),
    ],
)
def test_other_shapes_are_refused(bundles, form, shape, message):
    with pytest.raises(InputError, match=message):
        open_engine(getattr(bundles, form)).run(np.zeros(shape, np.float32))


def test_images_of_another_dtype_are_refused(bundles):
    with pytest.raises(InputError, match=r"images: expected float32 of shape \(n, 3, 20, 24\), got float64"):
        open_engine(bundles.outside).run(np.zeros((1, 3, 20, 24)))


def rows_of(n=600):
    return small_windows(n // 32 + 1, seed=5).reshape(-1, 3)[:n]


def predictions(bundle, chunk, times=None):
    stream, rows = Stream(bundle), rows_of()
    parts = [slice(i, i + chunk) for i in range(0, len(rows), chunk)]
    return [p for part in parts for p in stream.push(rows[part], None if times is None else times[part])]


@pytest.mark.parametrize("gap", [None, 250])
def test_both_forms_stream_to_the_same_predictions(bundles, gap):
    times = None if gap is None else np.arange(600) / 32 + 9.0 * (np.arange(600) >= gap)
    found = {form: predictions(getattr(bundles, form), 7, times) for form in FORMS}
    assert [p.label for p in found["inside"]] == [p.label for p in found["outside"]]
    assert len({p.label for p in found["outside"]}) > 1
    assert [p.start_s for p in found["inside"]] == [p.start_s for p in found["outside"]]
    probabilities = {form: np.array([p.probabilities for p in found[form]]) for form in FORMS}
    np.testing.assert_allclose(probabilities["inside"], probabilities["outside"], atol=1e-4)
    # and the stream's are the engine's on whole windows, bit for bit, however it was cut
    again = [p.probabilities for p in predictions(bundles.outside, 113, times)]
    assert again == [p.probabilities for p in found["outside"]]
    starts = [p.start_s for p in found["outside"]]
    rows = rows_of()
    begins = [round(s * 32) if gap is None else int(np.searchsorted(times, s - 1e-9)) for s in starts]
    engine = open_engine(bundles.outside)
    logits = np.concatenate([engine.run(rows[None, b : b + 32]) for b in begins])
    whole = torch.softmax(torch.from_numpy(logits.astype(np.float64)), 1).numpy()
    np.testing.assert_allclose(probabilities["outside"], whole, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_profile_and_fine_tuning_work_on_windows_as_for_any_bundle(bundles, form, tmp_path, monkeypatch):
    take_all(monkeypatch)
    path = shutil.copytree(getattr(bundles, form).path, tmp_path / "b")
    assert profile(path, ProfileOptions(3)).latency["window"].p50_s > 0
    rng = np.random.default_rng(0)
    labels = np.arange(36) % 3
    windows = small_windows(36, seed=7) * 0.1
    beat = np.sin(2 * np.pi * np.outer(np.arange(32), (2, 6, 12)) / 32)  # one frequency per label
    windows += beat.T[labels][:, :, None] * rng.uniform(1, 2, (36, 1, 3))
    data = LabelledSet(windows.astype(np.float32), labels, np.ones(36))
    personal, report = finetune(Bundle.open(path), data)
    assert report.accepted
    assert (open_engine(personal).run(data.windows).argmax(1) == labels).all()


WITHOUT_TORCH = """
import sys
sys.modules |= dict.fromkeys(("torch", "onnx", "scipy", "exporters", "sdk"))  # an import of None fails
import numpy
from runtime import Stream
stream = Stream(sys.argv[1])
print([p.probabilities for p in stream.push(numpy.load(sys.argv[2]))])
"""


@pytest.mark.parametrize("form", FORMS)
def test_a_device_without_torch_and_scipy_streams_them(bundles, form, tmp_path):
    rows, path = tmp_path / "rows.npy", getattr(bundles, form).path
    np.save(rows, rows_of(100))
    command = [sys.executable, "-c", WITHOUT_TORCH, str(path), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = [p.probabilities for p in Stream(path).push(rows_of(100))]
    assert len(expected) == 6
    assert done.stdout.strip() == str(expected)


def test_a_reset_stream_starts_anew(bundles):
    stream, rows = Stream(bundles.outside), rows_of()
    before = [p.probabilities for p in stream.push(rows)]
    stream.reset()
    assert [p.probabilities for p in stream.push(rows)] == before
    stream.reset()
    other = [p.probabilities for p in stream.push(rows[100:])]
    assert other == [p.probabilities for p in Stream(bundles.outside).push(rows[100:])]


def test_the_time_of_drawing_is_in_the_prediction(bundles, monkeypatch):
    honest, clock = RollingSpectrogram.push, Clock()

    def slow(self, window, row):
        clock.sleep(0.02)
        return honest(self, window, row)

    monkeypatch.setattr(RollingSpectrogram, "push", slow)
    monkeypatch.setattr("runtime.stream.perf_counter", clock)
    prediction = Stream(bundles.outside).push(rows_of(32))[0]
    assert prediction.window_s == pytest.approx(0.02)
    assert prediction.engine_s == 0


@pytest.mark.parametrize("form", FORMS)
def test_parity_holds_and_can_fail(bundles, form):
    bundle = getattr(bundles, form)
    assert max(bundle.manifest.provenance["parity"].values()) < 1e-5

    def module(scale):
        draw = SpectrogramImages(bundle.manifest) if form == "inside" else torch.nn.Identity()

        def run(inputs):
            features = bundles.encoder(draw(inputs))
            return features, bundles.head(features) * scale

        return run

    assert max(check_parity(bundle, module(1.0), bundles.windows).values()) < 1e-5
    with pytest.raises(ParityError, match=r"logits at batch 1"):
        check_parity(bundle, module(1.01), bundles.windows)


@pytest.mark.parametrize("form", FORMS)
def test_a_personal_version_changes_every_tensor_as_torch_does(bundles, form, tmp_path):
    encoder, head = copy.deepcopy(bundles.encoder), copy.deepcopy(bundles.head)
    bundle = Bundle.open(shutil.copytree(getattr(bundles, form).path, tmp_path / "b"))
    torch.manual_seed(3)
    modules = torch.nn.ModuleDict({"encoder": encoder, "head": head})
    changed = {name: (p + 0.1 * torch.randn_like(p)).detach() for name, p in modules.named_parameters()}
    assert changed.keys() == {spec.name for spec in bundle.manifest.tensors}
    personal = bundle.commit({name: tensor.numpy() for name, tensor in changed.items()}, {})
    modules.load_state_dict(changed, strict=False)
    images = torch.from_numpy(Spectrogram(bundle.manifest).images(bundles.windows))
    with torch.inference_mode():
        truth = head(encoder(images)).numpy()
    assert np.abs(truth - bundles.truth["logits"]).max() > 0.1 * np.abs(truth).max()
    assert np.abs(open_engine(personal).run(bundles.windows) - truth).max() < 2e-5 * np.abs(truth).max()


def test_a_manifest_that_speaks_of_other_images_is_refused(bundles, tmp_path):
    path = shutil.copytree(bundles.outside.path, tmp_path / "b")
    document = json.loads((path / "manifest.json").read_text())
    document["spectrogram"]["width_px"] = 25
    (path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"'images': \[3, 20, 25\].* got .*'images': \[3, 20, 24\]"):
        open_engine(Bundle.open(path))
    del document["spectrogram"]
    (path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"'windows': \[32, 3\].* got .*'images': \[3, 20, 24\]"):
        Stream(Bundle.open(path))
