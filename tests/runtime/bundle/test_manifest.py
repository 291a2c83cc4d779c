"""What a manifest must hold, and how each fault is told."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import Manifest
from runtime.bundle.contents import FileSpec, Head, TensorSpec, TrainingSpec, VariantSpec
from runtime.errors import BundleError
from runtime.specs import FrameSpec, Modality, Normalise, Signal, SpectrogramSpec, WindowSpec
from tests.bundles_small import small_manifest


def full(**changes):
    return small_manifest(
        **{
            "features": 768,
            "head": Head("head.weight", "head.bias"),
            "tensors": (TensorSpec("head.bias", (3,), 4, 17), TensorSpec("scale", (), 0, 99)),
            "files": {"model.onnx": FileSpec(12, "ab" * 32)},
            "provenance": {"method": "none", "scores": {"f1": [0.5, None, True]}, "text": "größer"},
            **changes,
        }
    )


def raw(path=(), value=None, *, delete=False):
    """The JSON of a good manifest with one thing changed."""
    document = json.loads(full().to_json())
    if path:
        place = document
        for key in path[:-1]:
            place = place[key]
        if delete:
            del place[path[-1]]
        else:
            place[path[-1]] = value
    return json.dumps(document)


def test_round_trip():
    assert Manifest.from_json(full().to_json()) == full()
    assert Manifest.from_json(full().to_json()).to_json() == full().to_json()
    assert json.loads(full().to_json())["schema"] == 1


NAMES = st.characters(exclude_categories=("C", "Z")) | st.just(
    " "
)  # printable; tests/attacks/test_names.py has the others


@settings(max_examples=60, deadline=None)
@given(
    rate_hz=st.floats(1e-3, 1e6),
    length=st.integers(1, 10**6),
    hop=st.integers(1, 10**6),
    labels=st.lists(st.text(NAMES, max_size=8), min_size=2, max_size=5, unique=True),
    channels=st.lists(st.text(NAMES, max_size=4), min_size=1, max_size=5, unique=True),
    provenance=st.dictionaries(
        st.text(NAMES, max_size=4),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(NAMES | st.sampled_from("\n\t")),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(NAMES, max_size=3), inner, max_size=3),
            max_leaves=8,
        ),
    ),
)
def test_round_trip_of_anything_allowed(rate_hz, length, hop, labels, channels, provenance):
    manifest = Manifest(
        name="x",
        signal=Signal((Modality("m", "1", tuple(channels), rate_hz),)),
        window=WindowSpec(length, hop),
        labels=tuple(labels),
        normalise=Normalise((0.1,) * len(channels), (1 / 3,) * len(channels)),
        provenance=provenance,
    )
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_what_follows_from_the_fields():
    manifest = small_manifest(
        signal=Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), 50.0))),
        window=WindowSpec(128, 64),
    )
    assert manifest.signal.channel_names == ("acc_x", "acc_y", "gyro_z")
    assert manifest.signal.units == ("m/s^2", "m/s^2", "rad/s")
    assert manifest.signal.rate_hz == 50
    assert manifest.window_shape == (128, 3)
    assert (manifest.window_s, manifest.hop_s) == (2.56, 1.28)


@pytest.mark.parametrize(
    ("full_scale", "mean", "std", "range_"),
    [
        (None, 0.0, 1.0, 1e9),  # nobody measured them
        (None, 0.0, 0.5, 500),
        (None, 1.0, 1.0, 1001),
        (None, -3.0, 2.0, 2003),
        (None, 5.0, 0.0, 1e9),
        (None, 0.0, 1e7, 1e9),
        (16.0, -3.0, 2.0, 16),
    ],
)
def test_a_sample_is_saturated_at_full_scale_or_a_thousand_deviations_off(full_scale, mean, std, range_):
    signal = Signal((Modality("acc", "m/s^2", ("x",), 32.0, full_scale), Modality("gyro", "rad/s", ("z",), 32.0)))
    manifest = small_manifest(signal=signal, normalise=Normalise((mean, 0.0), (std, 1.0)))
    assert manifest.ranges == (range_, 1e9)


def test_windows_of_two_rates_are_flat():
    signal = Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), 25.0)))
    manifest = small_manifest(signal=signal, window=WindowSpec(4, 2))
    assert manifest.window_shape == manifest.input_shape == (4 * 2 + 2 * 1,)
    assert manifest.spread((1.0, 2.0, 3.0)) == (1.0, 2.0) * 4 + (3.0,) * 2
    assert small_manifest().spread((1.0, 2.0, 3.0)) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(("in_graph", "shape", "name"), [(False, (3, 16, 24), "images"), (True, (32, 3), "windows")])
def test_what_goes_into_the_graph(in_graph, shape, name):
    spec = SpectrogramSpec(16, 4, ("acc_x", "acc_y", "acc_z"), width_px=24, height_px=16, in_graph=in_graph)
    manifest = small_manifest(spectrogram=spec)
    assert (manifest.input_shape, manifest.input_name) == (shape, name)
    assert (small_manifest().input_shape, small_manifest().input_name) == ((32, 3), "windows")


TENSORS = (TensorSpec("a", (2, 3), 1, 0), TensorSpec("b", (4,), 2, 9), TensorSpec("c", (), 3, 99))


@pytest.mark.parametrize(
    ("layer", "tensors", "sizes", "right"),
    [
        (2, ("b", "c"), (4, 1), True),
        (1, ("a", "b", "c"), (6, 4, 1), True),
        (2, ("a", "b", "c"), (6, 4, 1), False),
        (2, ("c",), (1,), False),
        (2, ("c", "b"), (1, 4), False),
        (2, ("b", "c"), (4, 2), False),
        (2, ("b", "d"), (4, 1), False),
    ],
)
def test_a_training_graph_is_of_all_tensors_of_its_layer_and_of_later_ones(layer, tensors, sizes, right):
    spec = TrainingSpec(layer, f"train/0{layer}.onnx", "x", (5,), tensors, sizes, 0, 0)
    if right:
        assert small_manifest(tensors=TENSORS, training=(spec,)).training == (spec,)
        return
    with pytest.raises(BundleError, match="training from layer 2: expected the tensors b, c, with the sizes 4, 1, got"):
        small_manifest(tensors=TENSORS, training=(spec,))


def test_a_layer_and_its_file_have_one_number():
    for layer, file in ((-1, "train/-1.onnx"), (1, "train/02.onnx")):
        with pytest.raises(BundleError, match=f"training from layer {layer}: expected the file train/NN.onnx"):
            TrainingSpec(layer, file, "x", (5,), (), (), 0, 0)


XYZ = ("acc_x", "acc_y", "acc_z")
SLOW = Signal((Modality("acc", "m/s^2", ("x", "y"), 32.0), Modality("gyro", "rad/s", ("z",), 16.0)))


@pytest.mark.parametrize(
    ("n_fft", "channels", "signal"),
    [(33, XYZ, None), (16, ("acc_x", "acc_y", "gyro_z"), None), (16, ("acc_x", "acc_y", "gyro_z"), SLOW)],
)
def test_a_spectrogram_fits_window_and_channels_of_one_rate(n_fft, channels, signal):
    small_manifest(spectrogram=SpectrogramSpec(32, 4, XYZ))
    with pytest.raises(BundleError, match=f"n_fft of at most the 32 rows.*got n_fft {n_fft} and channels acc_x, acc_y"):
        small_manifest(spectrogram=SpectrogramSpec(n_fft, 4, channels), **({"signal": signal} if signal else {}))


@pytest.mark.parametrize(("mean", "std"), [(2, 3), (3, 2), (4, 3), (3, 4)])
def test_each_of_mean_and_deviation_is_one_per_channel(mean, std):
    with pytest.raises(BundleError, match=f"expected 3 means and deviations, one per channel, got {mean} and {std}"):
        small_manifest(normalise=Normalise((0.0,) * mean, (1.0,) * std))


def test_with_files():
    files = full().with_files({"a": b"abc"}).files
    # FIPS 180-2, appendix B.1
    assert files == {"a": FileSpec(3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")}


REQUIRED = ("name", "signal", "window", "labels", "normalise")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name):
    with pytest.raises(
        BundleError, match=rf"a/m.json: expected the fields name, .*, got missing or unknown: {name}\. Ex"
    ):
        Manifest.from_json(raw((name,), delete=True), "a/m.json")


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (("colour",), "m.json"),
        (("window", "colour"), "m.json: window"),
        (("signal", "modalities", 0, "colour"), r"m.json: signal: modalities\[0\]"),
        (("tensors", 1, "colour"), r"m.json: tensors\[1\]"),
        (("files", "model.onnx", "colour"), "m.json: files: model.onnx"),
    ],
)
def test_an_unknown_field_is_named(path, where):
    with pytest.raises(BundleError, match=rf"^{where}: expected the fields .*, got missing or unknown: colour\."):
        Manifest.from_json(raw(path, 1), "m.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("name",), 3, "m.json: name: expected str, got 3. Export the bundle again."),
        (("name",), None, "m.json: name: expected str, got None"),
        (("labels",), "sit,walk", "m.json: labels: expected .*tuple.*, got 'sit,walk'"),
        (("labels", 1), 2, r"m.json: labels\[1\]: expected str, got 2"),
        (("window",), 128, "m.json: window: expected WindowSpec, got 128"),
        (("window",), [128, 64], r"m.json: window: expected WindowSpec, got \[128, 64\]"),
        (("window", "length_samples"), 128.0, "m.json: window: length_samples: expected int, got 128.0"),
        (("window", "length_samples"), True, "m.json: window: length_samples: expected int, got True"),
        (("window", "hop_samples"), "64", "m.json: window: hop_samples: expected int, got '64'"),
        (("signal", "modalities", 0, "rate_hz"), "50", r"modalities\[0\]: rate_hz: expected float, got '50'"),
        (("signal", "modalities", 0, "rate_hz"), True, r"modalities\[0\]: rate_hz: expected float, got True"),
        (("signal", "modalities", 0, "rate_hz"), 10**400, r"modalities\[0\]: rate_hz: expected float, got 1000"),
        (("normalise", "mean", 0), None, r"m.json: normalise: mean\[0\]: expected float, got None"),
        (("tensors", 0, "shape", 0), 1.5, r"m.json: tensors\[0\]: shape\[0\]: expected int, got 1.5"),
        (("tensors", 0, "offset"), "0", r"m.json: tensors\[0\]: offset: expected int, got '0'"),
        (("files",), [], r"m.json: files: expected Mapping, got \[\]"),
        (("provenance",), "text", "m.json: provenance: expected Mapping, got 'text'"),
        (("head",), None, "m.json: head: expected Head, got None"),
        (("schema",), True, "m.json: schema: expected int, got True"),
        # right types, wrong values
        (
            ("window", "hop_samples"),
            0,
            "m.json: window: window: expected a length and a hop of at least 1 sample, got le",
        ),
        (("labels",), ["a"], "m.json: labels: expected at least two names that differ, got a. Name each class once."),
        (("labels",), ["a", "b", "a"], "m.json: labels: expected at least two names that differ, got a, b, a"),
        (("normalise", "std"), [1], "m.json: normalise: expected 3 means and deviations, one per channel, got 3 and 1"),
        (
            ("signal", "modalities"),
            [],
            "m.json: signal: signal: expected at least one modality, .* got the channels none",
        ),
        (
            ("signal", "modalities", 0, "channels"),
            [],
            "modality 'acc': expected at least one channel, a rate above 0 Hz .* above 0, got 0 channels",
        ),
        (("signal", "modalities", 0, "channels"), ["x", "y", "x"], "channels acc_x, acc_y, acc_x. Name each"),
        (("signal", "modalities", 0, "rate_hz"), -1, "modality 'acc': expected .* got 3 channels at -1.0 Hz"),
        (("signal", "modalities", 0, "full_scale"), 0, "modality 'acc': expected .* full scale 0.0"),
        (("clock", "gap"), "fill", "m.json: clock: gap: expected .*, got 'fill'"),
        (("clock", "back_s"), -1, "m.json: clock: clock: expected times of at least 0 seconds .* back_s -1.0"),
        (("clock", "least_real"), 1.5, "m.json: clock: clock: expected .* least_real from 0 to 1, got .*1.5"),
    ],
)
def test_a_field_of_the_wrong_type_or_value_is_named(path, value, message):
    with pytest.raises(BundleError, match=message) as caught:
        Manifest.from_json(raw(path, value), "m.json")
    assert str(caught.value).startswith("m.json: ")
    assert len(str(caught.value)) < 300


def test_modalities_of_two_rates_need_whole_samples_at_each():
    modality = {"name": "gyro", "unit": "rad/s", "channels": ["x"], "rate_hz": 100, "full_scale": None}
    document = json.loads(raw())
    document["signal"]["modalities"].append(modality)
    with pytest.raises(
        BundleError, match=r"window: expected a length and a hop of whole samples at 100 Hz too, got .*\. Choose a"
    ):
        Manifest.from_json(json.dumps(document))
    document["signal"]["modalities"][-1]["rate_hz"] = 64
    document["normalise"] = {"mean": [0.0] * 4, "std": [1.0] * 4}
    manifest = Manifest.from_json(json.dumps(document))
    length = manifest.window.length_samples
    assert manifest.window_shape == (length * 3 + 2 * length * 1,)


@pytest.mark.parametrize("schema", [0, 2, "1", None, 1.5])
def test_another_schema_is_refused_before_its_fields_are_read(schema):
    with pytest.raises(
        BundleError, match=rf"m.json: expected a manifest of schema 1, got schema {schema!r}. Use the se"
    ):
        Manifest.from_json(json.dumps({"schema": schema, "colour": 1}), "m.json")
    with pytest.raises(BundleError, match=r"got schema None"):
        Manifest.from_json(raw(("schema",), delete=True))


@pytest.mark.parametrize("text", ["[]", "1", '"text"', "null", "true"])
def test_json_that_is_no_object_is_refused(text):
    with pytest.raises(BundleError, match=r"expected a manifest of schema 1"):
        Manifest.from_json("[" + text + "]")
    with pytest.raises(BundleError, match=r"m.json"):
        Manifest.from_json(text, "m.json")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("path", [("normalise", "mean", 0), ("provenance", "method")])
def test_numbers_that_are_not_finite_are_refused(constant, path):
    text = raw(path, "HERE").replace('"HERE"', constant)
    assert constant in text
    with pytest.raises(
        BundleError, match=rf"m.json: expected JSON, got the constant {constant}, which is not a finite num"
    ):
        Manifest.from_json(text, "m.json")


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "\ufeff{}", "{}{}", "\0", '{"a": "\n"}'])
def test_what_is_not_json(text):
    with pytest.raises(BundleError, match=r"m.json: expected JSON, got .*Export the bundle again or copy it anew."):
        Manifest.from_json(text, "m.json")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, '{"schema":' + "[" * 5000 + "]" * 5000 + "}"])
def test_deep_nesting_is_an_error_like_any_other(text):
    with pytest.raises(BundleError, match=r"m.json: expected JSON, got .*recursion"):
        Manifest.from_json(text, "m.json")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_one_thing_changed_is_a_bundle_error_or_a_manifest(data):
    document = json.loads(raw())
    value = data.draw(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]))
    place = document
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    before = copy.deepcopy(document)
    place[key] = value
    try:
        manifest = Manifest.from_json(json.dumps(document), "m.json")
    except BundleError as error:
        assert str(error).startswith("m.json")  # noqa: PT017
    else:
        assert manifest == full() or document != before


def test_a_frame_needs_the_sensors_that_it_names():
    gyro = Modality("gyro", "rad/s", ("x", "y", "z"), 32.0)
    both = Signal((*small_manifest().signal.modalities, gyro))
    normalise = Normalise((0.0,) * 6, (1.0,) * 6)
    frame = FrameSpec("acc", ("acc", "gyro"))
    assert small_manifest(signal=both, normalise=normalise, frame=frame).frame == frame
    with pytest.raises(BundleError, match="frame: expected sensors of three channels each, at one rate, in a graph of"):
        small_manifest(frame=frame)


def test_a_manifest_without_a_name_of_its_own_is_called_by_its_files():
    with pytest.raises(BundleError, match=r"^manifest\.json: "):
        Manifest.from_json("[]")


def test_variants_are_stored_where_there_are_some():
    plain = small_manifest()
    spec = VariantSpec("int8", "variants/int8.onnx", ())
    more = small_manifest(variants=(spec,), files={**plain.files, spec.file: FileSpec("0" * 64, 1)})
    assert "variants" not in json.loads(plain.to_json())
    assert [one["precision"] for one in json.loads(more.to_json())["variants"]] == ["int8"]
