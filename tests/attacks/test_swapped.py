"""A bundle that is replaced after it was opened: nothing of the other one is run, here or in a child process."""

import json
import shutil

import pytest

from runtime import open_engine
from runtime.bundle import Bundle, Trust, pack
from runtime.engine.auto.choice import choose
from runtime.engine.auto.measure import Candidate, measure_candidates
from runtime.engine.auto.trial import measure_apart
from runtime.errors import BundleError, SensedgeError, TrustError
from sdk.doctor.host import spinning
from sdk.meters import NoMeter
from sdk.profile import ProfileOptions
from sdk.profile.parent import Phases, one_run
from sdk.profile.side import child_options
from tests.commands.tools import copy_bundle

ONE = Candidate("onnxruntime")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "cache"))


def signed(folder):
    pytest.importorskip("cryptography", reason='pip install "sensedge[sign]"')
    from exporters.sign import create_keys, read_secret, sign_bundle

    secret, public = create_keys(folder / "k")
    path = copy_bundle(folder)
    sign_bundle(path, read_secret(secret), 3)
    return Bundle.open(path, trust=Trust.of(public))


def unsigned(folder):
    return Bundle.open(copy_bundle(folder))


def other_name(path):
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "walk"', '"name": "swapped"'))


def another_graph(path):
    """Whole, with a graph that is not the one that was opened."""
    manifest, model = json.loads((path / "manifest.json").read_text()), path / "model.onnx"
    data = model.read_bytes() + b"\x62\x00"  # an empty field more
    model.write_bytes(data)
    import hashlib

    manifest["files"]["model.onnx"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(manifest))


def signature_gone(path):
    (path / "manifest.sig").unlink(missing_ok=True)
    other_name(path)


def in_a_trial(bundle):
    measure_apart(bundle, [ONE], budget_s=0.01)


def in_this_process(bundle):
    measure_candidates(bundle, [ONE], budget_s=0.01)


def in_a_choice(bundle):
    choose(bundle, [ONE], budget_s=0.01)


def in_auto(bundle):
    open_engine(bundle, "auto")


def in_a_profile(bundle):
    one_run(child_options(bundle, ProfileOptions(5)), Phases(NoMeter("a test")), 0)


def in_a_pack(bundle):
    pack(bundle, bundle.path.with_name("out.zip"))


def again(bundle):
    bundle.again("base")


USERS = [in_a_trial, in_this_process, in_a_choice, in_auto, in_a_profile, in_a_pack, again]


@pytest.mark.parametrize("swap", [other_name, another_graph, signature_gone])
@pytest.mark.parametrize("make", [signed, unsigned])
@pytest.mark.parametrize("use", USERS)
def test_another_manifest_is_refused(use, make, swap, tmp_path):
    bundle = make(tmp_path)
    swap(bundle.path)
    with pytest.raises(TrustError if make is signed else BundleError) as caught:
        use(bundle)
    assert "manifest" in str(caught.value)
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize("use", [in_a_trial, in_this_process, again])
def test_what_was_not_replaced_is_measured(use, tmp_path):
    use(signed(tmp_path))


def test_another_release_of_the_same_signer_is_another_one(tmp_path):
    bundle = signed(tmp_path)
    from exporters.sign import read_secret, sign_bundle

    sign_bundle(bundle.path, read_secret(tmp_path / "k.pem"), 4)
    with pytest.raises(
        BundleError, match=r"manifest.json: expected the manifest of sha256 \w{64}, got \w{64}\. The bun"
    ):
        measure_apart(bundle, [ONE], budget_s=0.01)
    Bundle.open(bundle.path, trust=bundle.trust)


def test_the_doctors_spin_too(tmp_path):
    bundle = signed(tmp_path)
    assert spinning(bundle)["ours_cpu_s"] > 0
    other_name(bundle.path)
    with pytest.raises(OSError, match="the manifest that was signed"):
        spinning(bundle)


def test_a_request_is_json_and_opens_the_same(tmp_path):
    bundle = signed(tmp_path)
    plain = json.loads(json.dumps(bundle.request()))
    other = Bundle.of_request(plain)
    assert (other.manifest, other.trust, other.manifest_sha256) == (
        bundle.manifest,
        bundle.trust,
        bundle.manifest_sha256,
    )
    shutil.rmtree(bundle.path)
    with pytest.raises(BundleError):
        Bundle.of_request(plain)


@pytest.mark.parametrize("kind", [SensedgeError, BundleError, TrustError])
def test_an_error_crosses_to_another_process(kind):
    error = kind("here", expected="a", got="b", fix="c.")
    other = SensedgeError.from_plain(json.loads(json.dumps(error.to_plain())))
    assert (type(other), str(other), other.exit_code) == (kind, str(error), kind.exit_code)
    assert type(SensedgeError.from_plain(["os", {"where": 1, "expected": "", "got": "", "fix": ""}])) is SensedgeError
