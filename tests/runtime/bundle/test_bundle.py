"""A bundle that is not whole is refused by name; versions come and go; overlays do what torch does."""

import fcntl
import hashlib
import json
import os
import shutil

import numpy as np
import pytest

from runtime.bundle import Bundle, write_bundle
from runtime.bundle.check import FILES
from runtime.bundle.versions import current_version
from runtime.engine import open_engine
from runtime.errors import BundleError
from runtime.specs import BASE
from tests.bundles_small import FCNS, small_windows

ROLLBACK = r"Go back: python -m sdk.finetune BUNDLE --rollback base"


def change_manifest(path, change):
    document = json.loads((path / "manifest.json").read_text())
    change(document)
    (path / "manifest.json").write_text(json.dumps(document))


def head_of(bundle, seed=0):
    """Another head than the base's."""
    rng = np.random.default_rng(seed)
    names = ("head.weight", "head.bias")
    return {name: rng.normal(size=bundle.tensor(name).shape).astype(np.float32) for name in names}


def test_an_opened_bundle_is_what_was_exported(exported):
    path, module, windows = exported("fcn")
    bundle = Bundle.open(str(path))
    torchs = {f"encoder.{n}": p for n, p in module.encoder.named_parameters()}
    torchs |= {f"head.{n}": p for n, p in module.head.named_parameters()}
    assert [spec.name for spec in bundle.manifest.tensors] == list(torchs)
    for name, parameter in torchs.items():
        assert np.array_equal(bundle.tensor(name), parameter.detach().numpy())
    features, logits = module(windows)
    golden = bundle.golden()
    assert np.array_equal(golden.windows, windows)
    assert np.array_equal(golden.features, features)
    assert np.array_equal(golden.logits, logits)
    assert (bundle.version, bundle.versions(), dict(bundle.personal_tensors)) == (BASE, [], {})
    assert bundle.model() == (path / "model.onnx").read_bytes()
    assert sorted(entry.name for entry in path.iterdir()) == sorted((*FILES, "manifest.json"))
    assert bundle.manifest.provenance["method"] == "random weights"


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_file_that_is_missing_or_a_folder(small_bundle, name):
    (small_bundle / name).unlink()
    with pytest.raises(
        BundleError, match=rf"{name}: expected a file of a bundle, got No such file or directory\. Check"
    ):
        Bundle.open(small_bundle)
    (small_bundle / name).mkdir()
    with pytest.raises(BundleError, match=rf"{name}: expected a file of a bundle, got Is a directory"):
        Bundle.open(small_bundle)


def test_a_path_that_is_no_bundle(tmp_path):
    (tmp_path / "file").write_text("x")
    for name, got in (("none", "No such file or directory"), ("file", "Not a directory")):
        with pytest.raises(BundleError, match=rf"{name}/manifest.json: expected a file of a bundle, got {got}"):
            Bundle.open(tmp_path / name)


@pytest.mark.parametrize("name", FILES)
def test_truncated_lengthened_and_flipped_files_are_named(small_bundle, name):
    whole = (small_bundle / name).read_bytes()
    rng = np.random.default_rng(0)
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        (small_bundle / name).write_bytes(whole[:size])
        with pytest.raises(
            BundleError, match=rf"{name}: expected {len(whole)} bytes, got {size}\. Copy or export the bun"
        ):
            Bundle.open(small_bundle)
    (small_bundle / name).write_bytes(whole + b"\0")
    with pytest.raises(BundleError, match=rf"{name}: expected {len(whole)} bytes, got {len(whole) + 1}"):
        Bundle.open(small_bundle)
    for bit in (0, 8 * len(whole) - 1, *rng.integers(8 * len(whole), size=20).tolist()):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (small_bundle / name).write_bytes(flipped)
        good, bad = (hashlib.sha256(data).hexdigest() for data in (whole, flipped))
        with pytest.raises(
            BundleError, match=rf"{name}: expected sha256 {good}, got {bad}\. Copy or export the bundle"
        ):
            Bundle.open(small_bundle)


def test_a_truncated_manifest_is_named(small_bundle):
    whole = (small_bundle / "manifest.json").read_bytes()
    for size in range(0, len(whole) - 2, 41):  # the last two bytes are a brace and a line end
        (small_bundle / "manifest.json").write_bytes(whole[:size])
        with pytest.raises(BundleError, match=r"manifest.json: expected JSON, got"):
            Bundle.open(small_bundle)


def test_a_flipped_manifest_is_a_bundle_error_or_a_bundle_whose_engine_opens_or_refuses(small_bundle):
    """The manifest has no hash of its own: a flip inside a word goes unseen, but nothing breaks otherwise."""
    whole = (small_bundle / "manifest.json").read_bytes()
    refused = 0
    for place in np.random.default_rng(1).integers(len(whole), size=150).tolist():
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        (small_bundle / "manifest.json").write_bytes(flipped)
        try:
            open_engine(Bundle.open(small_bundle)).run(small_windows(1))
        except BundleError as error:
            refused += 1
            assert str(small_bundle) in str(error)  # noqa: PT017
        except ValueError as error:
            assert "window" in str(error)  # noqa: PT017
    assert refused > 75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m["tensors"][0].update(offset=m["tensors"][0]["offset"] + 4),
            r"json: expected encoder.blocks.0.0.weight at byte \d+ of model.onnx, got other bytes\. Copy or export",
        ),
        (
            lambda m: m["tensors"][0].update(offset=-4),
            "encoder.blocks.0.0.weight at byte -4 of model.onnx, got other by",
        ),
        (
            lambda m: m["tensors"][0].update(offset=1 << 80),
            r"manifest.json: tensors\[0\]: offset: expected int, got 1208925819614629174706176",
        ),
        (
            lambda m: m["tensors"][1].update(name="x"),
            r"weights.safetensors: expected x of shape \(16,\), got no such tensor\. Copy",
        ),
        (lambda m: m["tensors"][1].update(shape=[4, 4]), r"blocks.0.0.bias of shape \(4, 4\), got shape \(16,\)"),
        (
            lambda m: m.update(features=5),
            "manifest.json: expected a head of 3 classes by 5 features, got tensors of shape",
        ),
        (
            lambda m: m.update(labels=["a", "b"]),
            "manifest.json: expected a head of 2 classes by 768 features, got tensors",
        ),
        (lambda m: m["head"].update(weight="x"), r"expected a head of 3 .* got tensors of shape None and \(3,\)"),
        (
            lambda m: m["files"].update({"../../etc/passwd": m["files"]["model.onnx"]}),
            r"manifest.json: expected the files golden.npz, model.onnx, weights.safetensors, got \['../../etc/passwd'",
        ),
        (
            lambda m: m["files"].update({"/etc/passwd": m["files"].pop("model.onnx")}),
            r"got \['/etc/passwd', 'golden.npz'",
        ),
        (lambda m: m["files"].pop("golden.npz"), r"expected the files golden.npz, .* got \['model.onnx', 'weights"),
    ],
)
def test_a_manifest_that_contradicts_the_files(small_bundle, change, message):
    change_manifest(small_bundle, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(small_bundle)


@pytest.mark.parametrize("length", [33, 10**13])
def test_a_manifest_that_contradicts_the_graph(small_bundle, length):
    from runtime.stream import Stream

    change_manifest(small_bundle, lambda m: m["window"].update(length_samples=length))
    with pytest.raises(
        BundleError,
        match=rf"model.onnx: expected per window .*\[{length}, 3\].* got .*\[32, 3\].*Export the bundle again",
    ):
        Stream(small_bundle)


def test_links_are_as_good_as_what_they_point_to(small_bundle, tmp_path):
    shutil.move(small_bundle / "model.onnx", tmp_path / "elsewhere")
    (small_bundle / "model.onnx").symlink_to(tmp_path / "elsewhere")
    Bundle.open(small_bundle)
    (tmp_path / "elsewhere").write_bytes(b"secret")
    with pytest.raises(BundleError, match=r"model.onnx: expected \d+ bytes, got 6"):
        Bundle.open(small_bundle)


def test_versions_are_committed_used_and_rolled_back(small_bundle):
    base = Bundle.open(small_bundle)
    first, second = head_of(base, 1), head_of(base, 2)
    one = base.commit(first, {"note": "first", "gain": 0.25})
    assert (one.version, one.versions(), current_version(small_bundle)) == ("0001", ["0001"], "0001")
    assert one.record("0001")["gain"] == 0.25
    two = one.commit({"head.bias": second["head.bias"]}, {})
    assert (two.version, two.versions()) == ("0002", ["0001", "0002"])
    # a version lies over the base, not over the version before it
    assert np.array_equal(two.tensor("head.bias"), second["head.bias"])
    assert np.array_equal(two.tensor("head.weight"), base.tensor("head.weight"))
    assert set(Bundle.open(small_bundle).personal_tensors) == {"head.bias"}
    assert np.array_equal(Bundle.open(small_bundle, "0001").tensor("head.weight"), first["head.weight"])
    assert two.rollback("0001").version == "0001"
    assert Bundle.open(small_bundle).version == "0001"
    assert two.rollback().version == BASE
    assert Bundle.open(small_bundle).model() == (small_bundle / "model.onnx").read_bytes()
    assert Bundle.open(small_bundle).commit(first, {}).version == "0003"  # no name is used twice
    assert sorted(entry.name for entry in (small_bundle / "personal").iterdir()) == ["0001", "0002", "0003", "current"]


def test_versions_count_on_after_four_digits(small_bundle):
    (small_bundle / "personal" / "9999").mkdir(parents=True)
    (small_bundle / "personal" / "x").mkdir()
    bundle = Bundle.open(small_bundle, BASE)
    assert bundle.commit({}, {}).version == "10000"
    assert bundle.commit({}, {}).version == "10001"
    assert bundle.versions() == ["9999", "10000", "10001"]


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (
            "body",
            np.zeros(3, np.float32),
            r"small.bundle: body: expected a finite tensor of the manifest, got shape \(3,\)",
        ),
        (
            "head.bias",
            np.zeros(4, np.float32),
            r"head.bias: expected a finite tensor of shape \(3,\), got shape \(4,\)\. T",
        ),
        (
            "head.bias",
            np.array([0, np.nan, 0], np.float32),
            r"head.bias: expected .* got shape \(3,\) with NaN or infinity",
        ),
        ("head.bias", np.array([0, -np.inf, 0], np.float32), r"got shape \(3,\) with NaN or infinity"),
        ("head.bias", np.array([0, 1e39, 0]), r"got shape \(3,\) with NaN or infinity"),
    ],
)
def test_what_commit_refuses_leaves_no_trace(small_bundle, name, tensor, message):
    with pytest.raises(BundleError, match=message):
        Bundle.open(small_bundle).commit({name: tensor}, {})
    assert Bundle.open(small_bundle).versions() == []
    assert current_version(small_bundle) == BASE


@pytest.mark.parametrize("record", [{"gain": float("nan")}, {"gain": object()}])
def test_a_record_that_is_not_json_leaves_no_trace(small_bundle, record):
    bundle = Bundle.open(small_bundle)
    with pytest.raises((TypeError, ValueError)):
        bundle.commit(head_of(bundle), record)
    assert list((small_bundle / "personal").iterdir()) == []
    assert Bundle.open(small_bundle).version == BASE


def test_what_a_killed_writer_left_is_swept_by_the_next(small_bundle, tmp_path):
    personal = small_bundle / "personal"
    (personal / ".tmp-half" / "deep").mkdir(parents=True)
    (personal / ".tmp-half" / "weights.safetensors").write_bytes(b"half")
    (personal / ".tmp-file").write_bytes(b"0001")
    (tmp_path / "keep").mkdir()
    (personal / ".tmp-link").symlink_to(tmp_path / "keep")
    bundle = Bundle.open(small_bundle)
    assert bundle.versions() == []
    bundle.commit(head_of(bundle), {})
    assert sorted(entry.name for entry in personal.iterdir()) == ["0001", "current"]
    assert (tmp_path / "keep").is_dir()


def test_a_second_writer_is_refused(small_bundle):
    bundle = Bundle.open(small_bundle).commit({}, {})
    handle = os.open(small_bundle / "personal", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for write in (lambda: bundle.commit(head_of(bundle), {}), bundle.rollback):
            with pytest.raises(
                BundleError, match=r"personal: expected one writer at a time, got a second one\. Wait for"
            ):
                write()
    finally:
        os.close(handle)
    assert Bundle.open(small_bundle).versions() == ["0001"]
    assert bundle.commit(head_of(bundle), {}).version == "0002"  # free again


def spoil_record(folder, **changes):
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({k: v for k, v in (record | changes).items() if v != "gone"}))


SPOILT = {
    "weights flipped": lambda f: (f / "weights.safetensors").write_bytes(
        (f / "weights.safetensors").read_bytes()[:-1] + b"\x01"
    ),
    "weights cut": lambda f: (f / "weights.safetensors").write_bytes((f / "weights.safetensors").read_bytes()[:-9]),
    "weights gone": lambda f: (f / "weights.safetensors").unlink(),
    "weights and their hash gone": lambda f: (
        spoil_record(f, weights_sha256="gone"),
        (f / "weights.safetensors").unlink(),
    ),
    "record gone": lambda f: (f / "record.json").unlink(),
    "record empty": lambda f: (f / "record.json").write_bytes(b""),
    "record of a list": lambda f: (f / "record.json").write_text("[]"),
    "record too deep": lambda f: (f / "record.json").write_text("[" * 100_000),
    "record of another model": lambda f: spoil_record(f, model_sha256="0" * 64),
    "record of other weights": lambda f: spoil_record(f, weights_sha256="0" * 64),
    "record without the model": lambda f: spoil_record(f, model_sha256="gone"),
    "folder gone": shutil.rmtree,
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_version_is_refused_and_the_base_still_works(small_bundle, how):
    base = Bundle.open(small_bundle)
    base.commit(head_of(base), {})
    SPOILT[how](small_bundle / "personal" / "0001")
    for version in (None, "0001"):
        with pytest.raises(BundleError, match=rf"0001.*: expected .* got .*{ROLLBACK}") as caught:
            Bundle.open(small_bundle, version)
        assert str(small_bundle / "personal" / "0001") in str(caught.value)
    restored = Bundle.open(small_bundle, "base").rollback()
    assert Bundle.open(small_bundle).version == restored.version == BASE
    golden = restored.golden()
    np.testing.assert_allclose(open_engine(restored).run(golden.windows), golden.logits, rtol=1e-4, atol=1e-5)


def test_weights_that_fit_their_record_but_not_the_model(small_bundle):
    from runtime.bundle.tensors import dump_tensors

    base = Bundle.open(small_bundle)
    base.commit({}, {})
    folder = small_bundle / "personal" / "0001"
    for tensors in ({"x": np.ones(3, np.float32)}, {"head.bias": np.ones(5, np.float32)}):
        data = dump_tensors(tensors)
        (folder / "weights.safetensors").write_bytes(data)
        spoil_record(folder, weights_sha256=hashlib.sha256(data).hexdigest())
        with pytest.raises(BundleError, match=r"personal/0001: (x|head.bias): expected a finite tensor of"):
            Bundle.open(small_bundle)


def test_a_base_that_was_replaced_refuses_its_personal_versions(small_bundle, exported):
    base = Bundle.open(small_bundle)
    base.commit(head_of(base), {})
    other = exported("fcn-stride4").path
    for name in (*FILES, "manifest.json"):
        shutil.copy(other / name, small_bundle / name)
    new = json.loads((other / "manifest.json").read_text())["files"]["model.onnx"]["sha256"]
    old = base.manifest.files["model.onnx"].sha256
    with pytest.raises(
        BundleError, match=rf"0001: expected made for model.onnx of sha256 {new}, got {old}\. {ROLLBACK}"
    ):
        Bundle.open(small_bundle)
    with pytest.raises(BundleError, match=r"0002.* expected made for model.onnx of sha256"):
        base.commit(head_of(base), {})  # opened before the base was replaced
    assert current_version(small_bundle) == "0001"
    assert Bundle.open(small_bundle, "base").rollback().version == BASE


@pytest.mark.parametrize("text", ["2", "0001 0002", "../0001", "/etc", "", "\n", "\xff\xfe", "0" * 5000])
def test_a_spoilt_name_of_the_current_version(small_bundle, text):
    Bundle.open(small_bundle).commit({}, {})
    (small_bundle / "personal" / "current").write_bytes(text.encode("latin-1"))
    with pytest.raises(
        BundleError,
        match=r"current: expected base or the name of a version, such as 0001, got '.*Choose one: python -m",
    ):
        Bundle.open(small_bundle)
    Bundle.open(small_bundle, BASE).rollback()
    assert Bundle.open(small_bundle).version == BASE


def test_a_current_that_is_no_file(small_bundle):
    (small_bundle / "personal" / "current").mkdir(parents=True)
    with pytest.raises(BundleError, match=r"current: expected base or the name of a version.* got 'Is a directory'"):
        Bundle.open(small_bundle)
    shutil.rmtree(small_bundle / "personal")
    (small_bundle / "personal").write_text("")
    with pytest.raises(BundleError, match=r"current: expected base or the name of a version.* got 'Not a directory'"):
        Bundle.open(small_bundle)


@pytest.mark.parametrize("version", ["0001", "9999", "../small.bundle", "1", ""])
def test_a_version_that_is_not_there(small_bundle, version):
    with pytest.raises(BundleError, match=rf"expected a personal version, got no such folder\. {ROLLBACK}"):
        Bundle.open(small_bundle, version)
    with pytest.raises(BundleError, match=r"expected a personal version, got no such folder"):
        Bundle.open(small_bundle).rollback(version)


def test_a_golden_file_that_vanished_after_opening(small_bundle):
    bundle = Bundle.open(small_bundle)
    (small_bundle / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"golden.npz: expected a file of a bundle, got No such file"):
        bundle.golden()


def test_what_is_no_bundle_is_never_replaced_by_one(exported, tmp_path):
    bundle = Bundle.open(exported("fcn").path)
    again = bundle.manifest, bundle.model(), bundle.base_tensors, bundle.golden()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary.txt").write_text("dear")
    for name in ("home", "home/diary.txt"):
        with pytest.raises(
            BundleError, match=rf"{name}: expected no folder yet, or a bundle, got something else\. Choose"
        ):
            write_bundle(tmp_path / name, *again)
    assert (tmp_path / "home" / "diary.txt").read_text() == "dear"
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]
    (tmp_path / "empty").mkdir()
    for path in ("empty", "empty", "new/deep"):
        assert write_bundle(tmp_path / path, *again).model() == bundle.model()


@pytest.mark.parametrize("name", FCNS)
def test_every_trainable_tensor_can_be_replaced_as_in_torch(exported, tmp_path, name):
    """The trap: onnxruntime ignores initializers that are handed to it for weights which its layout transform took."""
    torch = pytest.importorskip("torch")
    path, module, _ = exported(name)
    path = shutil.copytree(path, tmp_path / "b")
    windows = small_windows(5, seed=3)
    torchs = {f"encoder.{n}": p for n, p in module.encoder.named_parameters()}
    torchs |= {f"head.{n}": p for n, p in module.head.named_parameters()}
    base = Bundle.open(path)
    assert {spec.name for spec in base.manifest.tensors} == set(torchs)
    before = open_engine(base).run(windows)
    rng = np.random.default_rng(4)
    for tensor, parameter in torchs.items():
        kept = parameter.detach().clone()
        replaced = (kept.numpy() + rng.normal(0, 0.3, kept.shape)).astype(np.float32)
        version = base.commit({tensor: replaced}, {})
        engine = open_engine(version)
        try:
            parameter.data = torch.from_numpy(replaced.copy())
            features, logits = module(windows)
        finally:
            parameter.data = kept
        for output, truth in (("features", features), ("logits", logits)):
            assert np.abs(engine.run(windows, output) - truth).max() <= 1e-4 * np.abs(truth).max(), tensor
            one = np.concatenate([engine.run(window[None], output) for window in windows])
            assert np.abs(one - truth).max() <= 1e-4 * np.abs(truth).max(), tensor
        assert np.abs(logits - before).max() > 1e-2 * np.abs(before).max(), f"{tensor} changed nothing"
