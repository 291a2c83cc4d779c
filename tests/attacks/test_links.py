"""Links in a bundle: under personal/ none is followed, and what one leads to is never quoted in a line of a log."""

import json
import shutil

import pytest

from runtime.bundle import Bundle
from runtime.errors import BundleError
from sdk.stream import main as stream
from tests.commands.tools import DATA, copy_bundle

SECRETS = {
    "a line": "root:*:20228:hush\n",
    "a version": "0001\n",
    "a text of JSON": '"hush"',
    "a number": "20228",
    "a list": '["hush"]',
    "an object": '{"hush": "20228"}',
    "an object of our schema": '{"schema": 1, "hush": "20228"}',
    "a key twice": '{"hush": 1, "hush": 2}',
    "no finite number": '{"a": Infinity, "hush": 20228}',
}


@pytest.fixture(params=SECRETS.values(), ids=SECRETS)
def secret(request, tmp_path):
    path = tmp_path / "shadow"
    path.write_text(request.param)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = Bundle.open(copy_bundle(tmp_path_factory.mktemp("made")))
    base.commit({"head.bias": base.tensor("head.bias") + 1}, {})
    return base.path


@pytest.fixture
def bundle(made, tmp_path):
    return shutil.copytree(made, tmp_path / "walk.bundle")


PLACES = ("manifest.json", "personal/current", "personal/0001/record.json", "personal/0001/weights.safetensors")
SHIPPED = ("model.onnx", "weights.safetensors", "golden.npz", "train/00.onnx")


@pytest.mark.parametrize("name", [*PLACES, *SHIPPED])
def test_nothing_of_it_is_told(name, secret, bundle, capsys):
    (bundle / name).unlink()
    (bundle / name).symlink_to(secret)
    names_a_version = name == "personal/current" and secret.read_text() == SECRETS["a version"]
    assert stream([str(bundle), "--replay", str(DATA / "person_6.npz")]) == (0 if names_a_version else 2)
    out, err = capsys.readouterr()
    assert "hush" not in out + err
    assert "20228" not in out + err
    assert names_a_version or err.splitlines()[-1].startswith(f"error: {bundle}")


@pytest.mark.parametrize("name", SHIPPED)
def test_nor_its_hash(name, bundle, tmp_path):
    data = bytearray((bundle / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / "secret").write_bytes(data)
    (bundle / name).unlink()
    (bundle / name).symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="got another, behind a link"):
        Bundle.open(bundle)


def test_the_version_in_use_may_be_named_behind_a_link_and_is_never_written_there(bundle, tmp_path):
    (tmp_path / "elsewhere").write_text("hush\n")
    (bundle / "personal" / "current").unlink()
    (bundle / "personal" / "current").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"personal/current: .* got something else, behind a link\. Choose one"):
        Bundle.open(bundle)
    Bundle.open(bundle, "base").rollback("0001")  # replaces the link, not what it leads to
    assert Bundle.open(bundle).version == "0001"
    assert (tmp_path / "elsewhere").read_text() == "hush\n"


def test_a_version_that_is_a_link_is_none(bundle, tmp_path):
    (bundle / "personal" / "0001").rename(tmp_path / "0001")
    (bundle / "personal" / "0001").symlink_to(tmp_path / "0001")
    with pytest.raises(BundleError, match="personal/0001: expected a personal version, got no such folder"):
        Bundle.open(bundle)


def test_a_bundle_of_links_still_opens(bundle, tmp_path):
    """As some package managers lay it out."""
    for name in ("manifest.json", *SHIPPED):
        there = tmp_path / name.replace("/", "-")
        (bundle / name).rename(there)
        (bundle / name).symlink_to(there)
    assert Bundle.open(bundle).version == "0001"
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema": 2}))
    with pytest.raises(BundleError, match="expected a manifest, got something else behind a link, which is not shown"):
        Bundle.open(bundle)
