"""Keys that are written once, signatures that RFC 8032 and the library agree on, and the two commands."""

import argparse
import base64
import json
import shutil
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from exporters import sign
from exporters.commands import keys as keys_command
from exporters.commands import sign as sign_command
from exporters.sign import create_keys, read_secret, sign_bundle
from runtime.bundle import Bundle, Trust
from runtime.bundle.trust import PREFIX, key_id, read_keys, read_signatures, verifies
from runtime.errors import BundleError, InputError, TrustError
from tests.commands.tools import listing

# RFC 8032, section 7.1, test 2: secret key, public key, message, signature
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
MESSAGE = bytes.fromhex("72")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def command(module, *words):
    p = argparse.ArgumentParser()
    module.add_arguments(p)
    return module.run(p.parse_args([str(word) for word in words]))


def test_the_library_under_us_is_ed25519():
    assert Ed25519PrivateKey.from_private_bytes(SECRET).sign(MESSAGE) == SIGNATURE
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(SIGNATURE, MESSAGE)


def test_what_is_signed_is_the_prefix_and_the_manifest(small_bundle):
    secret = Ed25519PrivateKey.from_private_bytes(SECRET)
    manifest = (small_bundle / "manifest.json").read_bytes()
    assert sign_bundle(small_bundle, secret) == key_id(PUBLIC) == "39f713d0a644253f"  # sha256sum of the 32 bytes
    document = json.loads((small_bundle / "manifest.sig").read_text())
    assert (small_bundle / "manifest.json").read_bytes() == manifest
    assert document["schema"] == 1
    (entry,) = document["signatures"]
    data = base64.b64decode(entry["signature"])
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(data, b"sensedge bundle manifest v1\0" + manifest)
    assert not verifies(PUBLIC, secret.sign(manifest), manifest)  # a signature for something else
    assert verifies(PUBLIC, secret.sign(PREFIX + manifest), manifest)


def test_keys_are_written_once_and_the_secret_is_the_owners(tmp_path):
    secret, public = create_keys(tmp_path / "new" / "vendor.2026")
    assert (secret.name, public.name) == ("vendor.2026.pem", "vendor.2026.pub")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    key = load_pem_private_key(secret.read_bytes(), None)
    assert read_keys(public) == (key.public_key().public_bytes_raw(),)
    for gone in (secret, public):
        before = {path: path.read_bytes() for path in (secret, public)}
        with pytest.raises(InputError, match=r"expected no such file yet, got one\. Choose another name"):
            create_keys(tmp_path / "new" / "vendor.2026")
        assert {path: path.read_bytes() for path in (secret, public)} == before
        shutil.move(gone, tmp_path / "away")
        with pytest.raises(InputError, match=r"expected no such file yet"):
            create_keys(tmp_path / "new" / "vendor.2026")
        assert not gone.exists()
        shutil.move(tmp_path / "away", gone)


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "k.pem").symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match=r"k.pem: expected no such file yet"):
        create_keys(tmp_path / "k")
    assert not (tmp_path / "target").exists()


def test_a_passphrase_is_needed_where_one_was_set(tmp_path, small_bundle):
    secret, public = create_keys(tmp_path / "k", b"open sesame")
    assert b"ENCRYPTED" in secret.read_bytes()
    for wrong in (None, b"open says me"):
        with pytest.raises(InputError, match=r"k.pem: expected a secret key in PEM that opens, got .*passphrase"):
            read_secret(secret, wrong)
    sign_bundle(small_bundle, read_secret(secret, b"open sesame"))
    assert Bundle.open(small_bundle, trust=Trust.of(public)).version == "base"


def test_what_is_no_secret_key(tmp_path):
    _, public = create_keys(tmp_path / "k")
    (tmp_path / "junk").write_bytes(b"junk")
    for path, got in ((public, "a public key"), (tmp_path / "junk", "ValueError"), (tmp_path / "none", "No such file")):
        with pytest.raises(ValueError, match=rf"expected a secret key in PEM.* got {got}"):
            read_secret(path)
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "other.pem").write_bytes(other)
    with pytest.raises(InputError, match=r"other.pem: expected an Ed25519 key, got E.*PrivateKey"):
        read_secret(tmp_path / "other.pem")


def test_signatures_stand_side_by_side_until_the_manifest_changes(small_bundle, tmp_path):
    pairs = [create_keys(tmp_path / name) for name in ("old", "new")]
    ids = [sign_bundle(small_bundle, read_secret(secret)) for secret, _ in pairs]
    assert sorted(read_signatures(small_bundle / "manifest.sig")[1]) == sorted(ids)
    for _, public in pairs:
        Bundle.open(small_bundle, trust=Trust.of(public))
    before = (small_bundle / "manifest.sig").read_bytes()
    sign_bundle(small_bundle, read_secret(pairs[0][0]))
    assert (small_bundle / "manifest.sig").read_bytes() == before  # Ed25519 is deterministic
    sign_bundle(small_bundle, read_secret(pairs[1][0]), revision=7)
    assert list(read_signatures(small_bundle / "manifest.sig")[1]) == [ids[1]]
    assert Bundle.open(small_bundle).manifest.revision == 7
    with pytest.raises(InputError, match=r"revision: expected a number that is not below the last one, got 6, below 7"):
        sign_bundle(small_bundle, read_secret(pairs[1][0]), revision=6)


def test_a_broken_bundle_is_not_signed(small_bundle, tmp_path):
    secret, _ = create_keys(tmp_path / "k")
    (small_bundle / "model.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"model.onnx: expected \d+ bytes, got 5"):
        sign_bundle(small_bundle, read_secret(secret))
    assert not (small_bundle / "manifest.sig").exists()


def test_training_graphs_ask_for_a_new_signature(small_bundle, tmp_path):
    from exporters.training import add_training

    secret, public = create_keys(tmp_path / "k")
    sign_bundle(small_bundle, read_secret(secret))
    add_training(small_bundle, layers=[4])
    with pytest.raises(TrustError, match=r"altered after it was signed, or training graphs .*signs it again"):
        Bundle.open(small_bundle, trust=Trust.of(public))
    sign_bundle(small_bundle, read_secret(secret))
    assert Bundle.open(small_bundle, trust=Trust.of(public)).manifest.training


def test_a_bundle_that_is_written_anew_has_no_signature(small_bundle, tmp_path):
    from runtime.bundle import write_bundle

    secret, _ = create_keys(tmp_path / "k")
    sign_bundle(small_bundle, read_secret(secret))
    bundle = Bundle.open(small_bundle)
    write_bundle(small_bundle, bundle.manifest, bundle.model(), bundle.base_tensors, bundle.golden())
    assert not (small_bundle / "manifest.sig").exists()


def test_the_commands(small_bundle, tmp_path, capsys):
    (tmp_path / "phrase").write_text("open sesame\nand more\n")
    assert command(keys_command, "create", tmp_path / "k", "--passphrase-file", tmp_path / "phrase", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["public"] == str(tmp_path / "k.pub")
    read_secret(tmp_path / "k.pem", b"open sesame")
    assert command(keys_command, "create", tmp_path / "bare") == 0
    out, err = capsys.readouterr()
    assert "bare.pub  goes to the devices" in out
    assert "bare.pem has no passphrase" in err
    assert command(keys_command, "list", tmp_path) == 0
    assert capsys.readouterr().out.split() == [key_id(key) for key in read_keys(tmp_path)]
    words = ("--key", tmp_path / "k.pem", "--passphrase-file", tmp_path / "phrase", "--revision", 2)
    assert command(sign_command, small_bundle, *words) == 0
    assert capsys.readouterr().out == f"{small_bundle}: signed by {made['key']}\n"
    assert command(sign_command, small_bundle, "--verify", "--trust", tmp_path, "--name", "small", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"name": "small", "revision": 2, "signatures": [made["key"]], "trusted": [made["key"]]}
    assert command(sign_command, small_bundle, "--verify", "--trust", tmp_path, "--at-least", 2) == 0
    assert f"small, revision 2, whole and signed by {made['key']}" in capsys.readouterr().out
    with pytest.raises(TrustError, match="expected revision 3 or later, got revision 2"):
        command(sign_command, small_bundle, "--verify", "--trust", tmp_path, "--at-least", 3)
    with pytest.raises(TrustError, match=r"expected a signature by .* got a signature by"):
        command(sign_command, small_bundle, "--verify", "--trust", tmp_path / "bare.pub")
    with pytest.raises(InputError, match="--verify: expected --trust KEYS, got none"):
        command(sign_command, small_bundle, "--verify")
    with pytest.raises(InputError, match="--revision: expected a number from 0"):
        command(sign_command, small_bundle, "--key", tmp_path / "bare.pem", "--revision", -1)


def test_a_typed_passphrase_is_typed_twice(tmp_path, monkeypatch):
    typed = iter(["one", "two", "one", "one"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    with pytest.raises(InputError, match="passphrase: expected the same twice"):
        command(keys_command, "create", tmp_path / "k", "--ask-passphrase")
    assert list(tmp_path.iterdir()) == []
    command(keys_command, "create", tmp_path / "k", "--ask-passphrase")
    read_secret(tmp_path / "k.pem", b"one")


def other_manifest(bundle):
    path = bundle.path / "manifest.json"
    path.write_text(path.read_text().replace('"revision": 3', '"revision": 4'))


def test_nothing_is_added_to_a_bundle_that_was_replaced_after_it_was_checked(small_bundle, tmp_path):
    """Commands check whose it is and then write: what lies there by then must be what was checked."""
    from exporters.fp16 import to_fp16
    from exporters.training import add_training
    from exporters.variants import add_variant

    secret, public = create_keys(tmp_path / "k")
    sign_bundle(small_bundle, read_secret(secret), 3)
    for trust in (None, Trust.of(public)):
        bundle = Bundle.open(small_bundle, trust=trust)
        variant = to_fp16(bundle.model(), bundle.manifest)
        whole = bundle.path.joinpath("manifest.json").read_text()
        other_manifest(bundle)
        replaced = listing(small_bundle)
        for add in (
            lambda bundle=bundle, variant=variant: add_variant(bundle, variant),
            lambda bundle=bundle: add_training(bundle),
            lambda bundle=bundle: sign_bundle(bundle, read_secret(secret)),
            lambda bundle=bundle: sign_bundle(bundle, read_secret(secret), 5),
        ):
            with pytest.raises(BundleError, match="manifest"):
                add()
            assert listing(small_bundle) == replaced
        bundle.path.joinpath("manifest.json").write_text(whole)
    assert sign_bundle(bundle, read_secret(secret)) == sign_bundle(small_bundle, read_secret(secret))
    assert [spec.precision for spec in add_variant(Bundle.open(small_bundle), variant).manifest.variants] == ["fp16"]


def test_what_is_signed_is_what_was_checked(small_bundle, tmp_path, monkeypatch):
    """A manifest that comes between the check and the signature is not signed."""
    secret = read_secret(create_keys(tmp_path / "k")[0])
    checked = sign.base_of

    def base_of(place):
        bundle = checked(place)
        path = small_bundle / "manifest.json"
        path.write_text(path.read_text().replace('"name": "', '"name": "x'))
        return bundle

    monkeypatch.setattr(sign, "base_of", base_of)
    with pytest.raises(BundleError, match="expected the manifest of sha256"):
        sign_bundle(small_bundle, secret)
    assert not (small_bundle / "manifest.sig").exists()
