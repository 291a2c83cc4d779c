"""Files that Keras, scikit-learn and torch really made, as bundles: answers, gradients, head, stream.

make_models.py made them; models/made.json says with which versions. How each takes its windows stands here, not in what
is tested.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from exporters.draft import Draft
from exporters.own import bundle_of_onnx, look
from runtime import Recording, Stream, open_engine
from runtime.bundle import Bundle
from runtime.engine.ort import training_options
from runtime.errors import InputError
from runtime.specs import Modality, Normalise, Signal, WindowSpec
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from tests.bundles_small import small_manifest

MODELS = Path(__file__).parent / "models"
LENGTH, CHANNELS = 24, 3
MEAN, STD = (0.5, -1.0, 9.0), (2.0, 3.0, 4.0)
REFUSED = {"sklearn_forest"}
NAMES = sorted(path.stem for path in MODELS.glob("*.onnx") if path.stem not in REFUSED)
FIRST = {"torch_script_conv", "torch_script_fixed", "torch_dynamo_conv", "torch_dynamo_fixed", "torch_dynamo_external"}
ONE_BY_ONE = {"keras_fixed": 1, "torch_script_fixed": 1, "torch_script_lstm_fixed": 1, "torch_dynamo_fixed": 1}
BATCH = {**ONE_BY_ONE, "torch_script_image_fixed": 2}
# layers from which there are graphs; all layers but those of a residual block, and recurrent nets laid out as loops
LAYERS = {
    **dict.fromkeys(("keras_conv", "torch_script_conv", "torch_script_fixed"), 4),
    **dict.fromkeys(("torch_dynamo_conv", "torch_dynamo_fixed", "torch_dynamo_external"), 4),
    **dict.fromkeys(("keras_separable", "sklearn_mlp", "sklearn_mlp_plain", "sklearn_mlp_binary"), 3),
    **dict.fromkeys(("keras_gru", "sklearn_logistic", "sklearn_logistic_binary"), 1),
    "keras_bilstm": 2,
    "torch_dynamo_attention": 6,
}


def windows_of(n, seed=0):
    return np.random.default_rng(seed).normal(MEAN, STD, (n, LENGTH, CHANNELS)).astype(np.float32)


def manifest_of(labels):
    signal = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 20.0),))
    facts = {"signal": signal, "window": WindowSpec(LENGTH, 12), "labels": labels, "normalise": Normalise(MEAN, STD)}
    return small_manifest(**facts)


def placed(name, windows):
    """Windows as a file wants them."""
    values = ((windows - np.float32(MEAN)) / np.float32(STD)).astype(np.float32)
    if name.startswith("sklearn"):
        return values.reshape(len(values), -1)
    if "image" in name:
        return values[:, None]
    if name == "keras_conv2d":
        return values[..., None]
    return np.ascontiguousarray(values.transpose(0, 2, 1)) if name in FIRST else values


def answers(name, windows):
    """Probabilities that a file itself gives, shape (n, n_classes)."""
    session = onnxruntime.InferenceSession(str(MODELS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    inputs, size = placed(name, windows), BATCH.get(name, len(windows))
    found = []
    for at in range(0, len(inputs), size):
        part = np.resize(inputs[at : at + size], (size, *inputs.shape[1:]))
        value = session.run(None, {session.get_inputs()[0].name: part})[-1]
        found.append(np.array([[*row.values()] for row in value]) if isinstance(value, list) else value)
    value = np.concatenate(found)[: len(inputs)]
    if value.shape[1] == 1:
        return np.concatenate([1 - value, value], 1)
    if (value >= 0).all() and np.allclose(value.sum(1), 1, atol=1e-5):
        return value
    return softmax(value)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The bundle of a file, made once."""
    folder, bundles = tmp_path_factory.mktemp("made"), {}

    def of(name):
        if name not in bundles:
            found = look(MODELS / f"{name}.onnx")
            labels = tuple(found.labels) or tuple(f"class {i}" for i in range(found.n_classes))
            draft, windows = Draft(manifest_of(labels)), windows_of(5)
            path, source = folder / f"{name}.bundle", MODELS / f"{name}.onnx"
            bundles[name] = bundle_of_onnx(path, source, draft, windows, training=True)
        return bundles[name]

    return of


def test_the_files_are_of_three_libraries():
    said = json.loads((MODELS / "made.json").read_text())
    assert {*said} == {*NAMES, *REFUSED}
    words = " ".join(said.values())
    for maker in ("tf2onnx", "skl2onnx", "(TorchScript)", "(dynamo)"):
        assert words.count(maker) >= 5
    opsets = {onnx.load(path, load_external_data=False).opset_import[0].version for path in MODELS.glob("*.onnx")}
    assert {11, 13, 15, 17, 18, 20, 21} <= opsets


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_answers_as_the_file(made, name):
    bundle, windows = made(name), windows_of(9, seed=7)
    assert onnx.load_from_string(bundle.model()).opset_import[0].version == 17
    engine = open_engine(bundle)
    for n in (9, 1):  # any batch, whatever the file says
        found = softmax(engine.run(windows[:n], "logits").astype(np.float64))
        assert np.abs(found - answers(name, windows[:n])).max() < 2e-5
    assert bundle.manifest.provenance["model"]["file"] == f"{name}.onnx"
    assert max(bundle.manifest.provenance["parity"].values()) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_training_graphs_have_the_gradient_of_their_loss(made, name):
    bundle, windows = made(name), windows_of(6, seed=3)
    manifest = bundle.manifest
    assert len(manifest.training) == LAYERS.get(name, 2)
    spec = manifest.training[0]
    labels = np.arange(6) % len(manifest.labels)
    theta = np.concatenate([bundle.tensor(tensor).ravel() for tensor in spec.tensors])
    activations = windows if spec.cut == "windows" else open_engine(bundle).run(windows, "features")
    session = onnxruntime.InferenceSession(bundle.training_model(spec), training_options(), ["CPUExecutionProvider"])

    def run(at):
        feeds = {"activations": activations, "labels": labels, "weights": np.ones(6, np.float32), "theta": at}
        return session.run(["loss", "gradient"], feeds)

    loss, gradient = run(theta)
    truth = -np.log(answers(name, windows)[np.arange(6), labels]).mean()
    assert loss == pytest.approx(truth, abs=2e-5)
    # along a direction that each tensor has its share of, and along the gradient itself
    rng, step = np.random.default_rng(5), 2e-3
    for way in (gradient, rng.normal(size=len(theta)).astype(np.float32)):
        way = way / np.linalg.norm(way)
        slope = (float(run(theta + step * way)[0]) - float(run(theta - step * way)[0])) / (2 * step)
        assert slope == pytest.approx(float(gradient @ way), abs=0.01 * float(np.linalg.norm(gradient)) + 2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_head_learns_and_the_stream_says_so(made, name):
    bundle = made(name)
    n_classes = len(bundle.manifest.labels)
    windows, labels = windows_of(8 * n_classes, seed=11), np.repeat(np.arange(n_classes), 8)
    windows += np.linspace(-12, 12, n_classes, dtype=np.float32)[labels][:, None, None] * np.float32([1, -0.5, 2])
    data = LabelledSet(windows, labels, np.ones(len(labels)))
    adapted, report = finetune(bundle, data, FinetunePlan(sure=True, keep=0.0))
    assert adapted.version == "0001", report
    logits = open_engine(adapted).run(windows, "logits")
    before = (open_engine(bundle).run(windows, "logits").argmax(1) == labels).mean()
    assert (logits.argmax(1) == labels).mean() > before
    recording = Recording(windows[-1], bundle.manifest.signal.channel_names, 20.0)
    (prediction,) = Stream(adapted).push(recording.samples)
    assert prediction.label == bundle.manifest.labels[logits[-1].argmax()]
    assert prediction.probability == pytest.approx(float(softmax(logits[-1:]).max()), abs=1e-5)
    assert Bundle.open(bundle.path, "base").version == "base"


def test_the_names_of_torch_are_kept_behind_the_layer(made):
    specs = {spec.name: spec.layer for spec in made("torch_dynamo_conv").manifest.tensors}
    assert specs == {
        **dict.fromkeys(("encoder.0.conv1.weight", "encoder.0.conv1.bias"), 0),
        "encoder.1.conv2.weight": 1,  # its normalisation is in it: torch's exporter folds one
        **dict.fromkeys(("encoder.2.fc1.weight", "encoder.2.fc1.bias"), 2),
        **dict.fromkeys(("head.weight", "head.bias"), 3),
    }
    keras = [spec.name for spec in made("keras_lstm").manifest.tensors]
    assert keras == [
        *("encoder.0.weight_ih", "encoder.0.weight_hh", "encoder.0.bias"),
        *("head.weight", "head.bias"),
    ]


def test_a_forest_has_no_linear_layer(tmp_path):
    draft = Draft(manifest_of(("clap", "point", "rest", "wave")))
    expected = r"sklearn_forest\.onnx: expected a linear layer .* got ai\.onnx\.ml\.TreeEnsembleClassifier"
    with pytest.raises(InputError, match=expected):
        bundle_of_onnx(tmp_path / "b", MODELS / "sklearn_forest.onnx", draft, windows_of(2))


def test_words_that_the_file_has_are_its_labels(made, tmp_path):
    assert made("sklearn_mlp").manifest.labels == ("clap", "point", "rest", "wave")
    draft = Draft(manifest_of(("rest", "clap", "point", "wave")), "walk.json")
    expected = (
        r"walk\.json: labels: expected those of sklearn_mlp\.onnx, in its order: clap, point, rest, wave, got rest"
    )
    with pytest.raises(InputError, match=expected):
        bundle_of_onnx(tmp_path / "b", MODELS / "sklearn_mlp.onnx", draft, windows_of(2))
