"""With trust keys only what they signed opens, and the refusal says why; without them nothing changes."""

import base64
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("cryptography", reason='pip install "sensedge[sign]"')

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from exporters.sign import sign_bundle
from runtime.bundle import Bundle, Trust
from runtime.bundle.trust import key_id, read_signatures
from runtime.command import guarded, open_bundle
from runtime.errors import BundleError, InputError, MissingError, SensedgeError, TrustError
from runtime.specs import BASE

SECRETS = [Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in range(3)]
KEYS = [secret.public_key().public_bytes_raw() for secret in SECRETS]
MINE = Trust.of(KEYS[0])


def public_pem(secret):
    return secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def signed(small_bundle):
    sign_bundle(small_bundle, SECRETS[0], revision=5)
    return small_bundle


def test_a_signed_bundle_opens_for_whoever_trusts_one_of_its_signers(signed):
    assert Bundle.open(signed, trust=MINE).trust is MINE
    assert Bundle.open(signed, trust=Trust.of([KEYS[1], KEYS[0]], name="small", at_least=5)).manifest.revision == 5
    assert Bundle.open(signed).trust is None
    sign_bundle(signed, SECRETS[1])
    for key in KEYS[:2]:
        Bundle.open(signed, trust=Trust.of(key))
    with pytest.raises(TrustError):
        Bundle.open(signed, trust=Trust.of(KEYS[2]))


def test_an_unsigned_bundle_is_refused_with_keys_and_opens_without(small_bundle):
    Bundle.open(small_bundle)
    with pytest.raises(
        TrustError, match=rf"manifest.sig: expected a signature by {key_id(KEYS[0])}, got an unsigned bundle\. Get the"
    ) as caught:
        Bundle.open(small_bundle, trust=MINE)
    assert caught.value.exit_code == 3


def changed(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def other_signature(path):
    sign_bundle(path, SECRETS[1])
    changed(
        path / "manifest.sig",
        lambda d: d.update(signatures=[s for s in d["signatures"] if s["key"] == key_id(KEYS[1])]),
    )


def forged(path):
    """The name of the trusted key over another's signature."""
    other_signature(path)
    changed(path / "manifest.sig", lambda d: d["signatures"][0].update(key=key_id(KEYS[0])))


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


REFUSED = {
    "altered model": (lambda p: flipped(p / "model.onnx"), r"model.onnx: expected sha256 \w+, as it was signed, got"),
    "cut model": (lambda p: os.truncate(p / "model.onnx", 9), r"onnx: expected \d+ bytes, as it was signed, got 9"),
    "missing weights": (lambda p: (p / "weights.safetensors").unlink(), r"weights.safetensors: expected a file of a b"),
    "altered manifest": (
        lambda p: changed(p / "manifest.json", lambda m: m["labels"].reverse()),
        r"manifest.json: expected the manifest that was signed, sha256 \w+, got one that was altered",
    ),
    "renamed": (
        lambda p: changed(p / "manifest.json", lambda m: m.update(name="other")),
        r"manifest.json: expected the manifest that was signed",
    ),
    "reformatted manifest": (
        lambda p: (p / "manifest.json").write_text((p / "manifest.json").read_text() + " "),
        r"manifest.json: expected the manifest that was signed",
    ),
    "one file more": (lambda p: (p / "extra.py").write_text("x"), r"extra.py: expected only files that the ma"),
    "one file more inside": (
        lambda p: ((p / "train").mkdir(), (p / "train" / "00.onnx").write_text("x")),
        r"train/00.onnx: expected only files that the manifest lists, got one more\. Delete",
    ),
    "a link more": (lambda p: (p / "etc").symlink_to("/etc"), r"etc: expected only files that the manifest lists"),
    "signed by another": (other_signature, rf"by {key_id(KEYS[0])}, got a signature by {key_id(KEYS[1])}"),
    "forged": (forged, r"got a signature that does not fit"),
    "signature gone": (lambda p: (p / "manifest.sig").unlink(), "got an unsigned bundle"),
    "signature a dangling link": (
        lambda p: ((p / "manifest.sig").unlink(), (p / "manifest.sig").symlink_to("none")),
        r"manifest.sig: expected a signature file of schema 1, got No such file",
    ),
    "signature a folder": (
        lambda p: ((p / "manifest.sig").unlink(), (p / "manifest.sig").mkdir()),
        r"manifest.sig: expected a signature file of schema 1, got Is a directory",
    ),
    "signature empty": (lambda p: (p / "manifest.sig").write_bytes(b""), r"manifest.sig: expected a signature file of"),
    "signatures none": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(signatures=[])),
        "got a signature by nobody",
    ),
    "signatures many": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(signatures=d["signatures"] * 17)),
        "got no list of at most 16 signatures",
    ),
    "signature twice": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(signatures=d["signatures"] * 2)),
        "got a key id that is none, or twice",
    ),
    "signature short": (
        lambda p: changed(p / "manifest.sig", lambda d: d["signatures"][0].update(signature="AAAA")),
        "got a signature that is not 64 bytes in base64",
    ),
    "signature without a hash": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(manifest_sha256="zz")),
        "got manifest_sha256 that is no hash",
    ),
    "signature with a hash in capitals": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(manifest_sha256=d["manifest_sha256"][:-1] + "A")),
        "got manifest_sha256 that is no hash",
    ),
    "signature with a number for a hash": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(manifest_sha256=1)),
        "got manifest_sha256 that is no hash",
    ),
    "signatures that are no list": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(signatures=dict(enumerate(d["signatures"])))),
        "got no list of at most 16 signatures",
    ),
    "key id a number": (
        lambda p: changed(p / "manifest.sig", lambda d: d["signatures"][0].update(key=1)),
        "got a key id that is none, or twice",
    ),
    "key id short": (
        lambda p: changed(p / "manifest.sig", lambda d: d["signatures"][0].update(key="ab")),
        "got a key id that is none, or twice",
    ),
    "signature no text": (
        lambda p: changed(p / "manifest.sig", lambda d: d["signatures"][0].update(signature=7)),
        "got a signature that is not 64 bytes in base64",
    ),
    "signature of a later schema": (
        lambda p: changed(p / "manifest.sig", lambda d: d.update(schema=2)),
        "expected a signature file of schema 1, got schema 2",
    ),
    "signature huge": (lambda p: os.truncate(p / "manifest.sig", 1 << 40), r"manifest.sig: .* got 1099511627776 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_refused_and_why(signed, how):
    spoil, message = REFUSED[how]
    spoil(signed)
    with pytest.raises(TrustError, match=message) as caught:
        Bundle.open(signed, trust=MINE)
    assert str(signed) in caught.value.where


def test_sixteen_signatures_are_read_and_seventeen_are_not(tmp_path):
    path, signature = tmp_path / "manifest.sig", base64.b64encode(bytes(64)).decode()
    entries = [{"key": f"{i:016x}", "signature": signature} for i in range(17)]
    for n in (0, 1, 16):
        path.write_text(json.dumps({"schema": 1, "manifest_sha256": "a" * 64, "signatures": entries[:n]}))
        signed, found = read_signatures(path)
        assert (signed, len(found), set(found.values())) == ("a" * 64, n, {bytes(64)} if n else set())
    path.write_text(json.dumps({"schema": 1, "manifest_sha256": "a" * 64, "signatures": entries}))
    with pytest.raises(TrustError, match="got no list of at most 16 signatures"):
        read_signatures(path)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_has_64_bytes(tmp_path, length):
    path, signature = tmp_path / "manifest.sig", base64.b64encode(bytes(length)).decode()
    entry = {"key": "0" * 16, "signature": signature}
    path.write_text(json.dumps({"schema": 1, "manifest_sha256": "a" * 64, "signatures": [entry]}))
    with pytest.raises(TrustError, match="got a signature that is not 64 bytes in base64"):
        read_signatures(path)


def test_another_model_or_an_older_one_of_the_same_signer(signed):
    with pytest.raises(TrustError, match=r"manifest.json: expected the model 'walk', got 'small'"):
        Bundle.open(signed, trust=Trust.of(KEYS[0], name="walk"))
    with pytest.raises(
        TrustError, match=r"manifest.json: expected revision 6 or later, got revision 5\. An older bundle"
    ):
        Bundle.open(signed, trust=Trust.of(KEYS[0], at_least=6))


def test_no_revision_is_older_than_any(small_bundle):
    sign_bundle(small_bundle, SECRETS[0])
    with pytest.raises(TrustError, match="expected revision 0 or later, got no revision"):
        Bundle.open(small_bundle, trust=Trust.of(KEYS[0], at_least=0))


def test_a_manifest_is_not_read_before_its_signature(signed):
    (signed / "manifest.json").write_bytes(b"[" * 1000)
    with pytest.raises(TrustError, match="expected the manifest that was signed"):
        Bundle.open(signed, trust=MINE)


def test_personal_versions_are_the_devices_own(signed):
    base = Bundle.open(signed, trust=MINE)
    tuned = base.commit({"head.bias": np.ones(3, np.float32)}, {})
    assert (tuned.version, tuned.trust) == ("0001", MINE)
    assert Bundle.open(signed, trust=MINE).version == "0001"
    assert tuned.rollback().trust is MINE
    tuned.rollback("0001")
    strict = Trust.of(KEYS[0], personal=False)
    assert Bundle.open(signed, trust=strict).version == BASE
    assert Bundle.open(signed, BASE, trust=strict).version == BASE
    with pytest.raises(TrustError, match=r"personal: expected the signed base, got version 0001, which this device"):
        Bundle.open(signed, "0001", trust=strict)
    with pytest.raises(TrustError, match="expected the signed base"):
        Bundle.open(signed, trust=strict).rollback("0001")


def test_a_commit_after_the_base_was_exchanged_is_refused(signed):
    bundle = Bundle.open(signed, trust=MINE)
    (signed / "manifest.sig").unlink()
    with pytest.raises(TrustError, match="got an unsigned bundle"):
        bundle.commit({"head.bias": np.ones(3, np.float32)}, {})


def test_what_was_verified_is_what_runs(signed):
    bundle = Bundle.open(signed, trust=MINE)
    flipped(signed / "model.onnx")
    flipped(signed / "golden.npz")
    for read in (bundle.model, bundle.golden):
        with pytest.raises(BundleError, match=r"expected sha256 \w+, got"):
            read()


def test_keys_from_files_and_folders(tmp_path, signed):
    folder = tmp_path / "trusted"
    folder.mkdir()
    for i, secret in enumerate(SECRETS):
        (folder / f"{i}.pub").write_bytes(public_pem(secret))
    (folder / "notes.txt").write_text("not a key")
    both = tmp_path / "both.pub"
    both.write_bytes(b"# two keys\n" + public_pem(SECRETS[1]) + public_pem(SECRETS[0]) + public_pem(SECRETS[1]))
    assert Trust.of(folder).keys == tuple(KEYS)
    assert Trust.of(str(both)).keys == (KEYS[1], KEYS[0])
    assert Bundle.open(signed, trust=Trust.of(folder)).manifest.name == "small"


def test_what_are_no_keys(tmp_path):
    private = SECRETS[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    elliptic = public_pem(generate_private_key(SECP256R1()))
    for data, message in (
        (private, r"k.pub: expected Ed25519 public keys in PEM, got a private key\. Give the .pub file"),
        (public_pem(SECRETS[0]) + private, "got a private key"),
        (elliptic, "expected Ed25519 public keys in PEM, got something else"),
        (public_pem(SECRETS[0]) + elliptic, "got something else"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "got something else"),
        (b"", "got something else"),
        (KEYS[0], "got something else"),
    ):
        (tmp_path / "k.pub").write_bytes(data)
        for path in (tmp_path, tmp_path / "k.pub"):
            with pytest.raises(InputError, match=message):
                Trust.of(path)
    (tmp_path / "k.pub").unlink()
    with pytest.raises(InputError, match=r"expected public keys, got no .pub file"):
        Trust.of(tmp_path)
    for keys in ((), b"short", [KEYS[0], b"x" * 33]):
        with pytest.raises(InputError, match="trust: expected at least one public key of 32 bytes"):
            Trust.of(keys)


def test_a_folder_beside_a_prefix_of_a_real_key_is_no_match(signed):
    """Ids are for finding a key; a key with another's id would still have to have made the signature."""
    assert len({key_id(key) for key in KEYS}) == 3
    changed(signed / "manifest.sig", lambda d: d["signatures"][0].update(key="0" * 16))
    with pytest.raises(TrustError, match="got a signature by 0000000000000000"):
        Bundle.open(signed, trust=MINE)


def test_without_the_library_the_error_names_it(signed, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    Bundle.open(signed)
    with pytest.raises(
        MissingError, match=r'expected the package cryptography, got none\. Install it: pip install "sense'
    ):
        Bundle.open(signed, trust=MINE)


def test_the_library_is_loaded_only_for_trust(signed):
    code = f"""
import sys
from runtime import Bundle
Bundle.open({str(signed)!r}).golden()
assert not [name for name in sys.modules if name.startswith("cryptography")]
from runtime.bundle.trust import Trust
Bundle.open({str(signed)!r}, trust=Trust.of({KEYS[0]!r}))
assert "cryptography" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- commands


def test_commands_say_in_one_line_that_nobody_is_asked(small_bundle, tmp_path, capsys):
    open_bundle(small_bundle, trust=None)
    assert capsys.readouterr().err == f"note: {small_bundle}: not signed; whoever made it is trusted\n"
    sign_bundle(small_bundle, SECRETS[0])
    open_bundle(small_bundle, trust=None)
    assert capsys.readouterr().err == f"note: {small_bundle}: the signature is not checked: --trust KEYS does\n"
    (tmp_path / "a.pub").write_bytes(public_pem(SECRETS[0]))
    assert open_bundle(small_bundle, BASE, trust=tmp_path / "a.pub").trust == MINE
    assert capsys.readouterr().err == ""
    (tmp_path / "a.pub").write_bytes(public_pem(SECRETS[1]))
    assert guarded(lambda: len(open_bundle(small_bundle, trust=tmp_path).path.parts)) == 3
    assert "expected a signature by" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("sdk.finetune", "--list"), ("sdk.finetune", "--layers"), ("sdk.finetune", "--rollback", "base")]
)
def test_finetune_takes_trust(small_bundle, tmp_path, capsys, words):
    from sdk.finetune.__main__ import main

    (tmp_path / "a.pub").write_bytes(public_pem(SECRETS[0]))
    arguments = [str(small_bundle), *words[1:], "--trust", str(tmp_path / "a.pub")]
    assert main(arguments) == 3
    assert "got an unsigned bundle" in capsys.readouterr().err
    sign_bundle(small_bundle, SECRETS[0])
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_stream_takes_trust(small_bundle, tmp_path, capsys):
    from sdk.stream import main

    rows = np.zeros((64, 3), np.float32)
    np.savez(tmp_path / "r.npz", samples=rows, channels=["acc_x", "acc_y", "acc_z"], rate_hz=32.0)
    (tmp_path / "a.pub").write_bytes(public_pem(SECRETS[0]))
    arguments = [str(small_bundle), "--replay", str(tmp_path / "r.npz"), "--json"]
    assert main(arguments) == 0
    assert capsys.readouterr().err == f"note: {small_bundle}: not signed; whoever made it is trusted\n"
    assert main([*arguments, "--trust", str(tmp_path / "a.pub")]) == 3
    sign_bundle(small_bundle, SECRETS[0])
    assert main([*arguments, "--trust", str(tmp_path / "a.pub")]) == 0


# ---- transport


def test_a_bundle_travels_as_one_file(signed, tmp_path, capsys):
    from runtime.bundle import pack, unpack
    from sdk.bundle import main

    Bundle.open(signed).commit({"head.bias": np.ones(3, np.float32)}, {})
    first = pack(signed, tmp_path / "a.zip").read_bytes()
    again = shutil.copytree(signed, tmp_path / "again")
    assert pack(again, tmp_path / "b.zip").read_bytes() == first  # other times, same bytes
    there = unpack(tmp_path / "a.zip", tmp_path / "there" / "small.bundle", trust=MINE)
    assert (there.version, there.versions(), there.trust) == (BASE, [], MINE)
    names = {file.name for file in there.path.iterdir()}
    assert names == {"golden.npz", "manifest.json", "manifest.sig", "model.onnx", "weights.safetensors"}
    assert all((there.path / name).read_bytes() == (signed / name).read_bytes() for name in names)
    with pytest.raises(BundleError, match=r"small.bundle: expected no such folder yet, got one"):
        unpack(tmp_path / "a.zip", there.path)
    with pytest.raises(TrustError, match=r"a.zip/manifest.sig: expected a signature by"):
        unpack(tmp_path / "a.zip", tmp_path / "other", trust=Trust.of(KEYS[2]))
    assert not (tmp_path / "other").exists()
    with pytest.raises(BundleError, match=r"a.zip: expected the folder of a bundle, got a zip file\. Unpack it first"):
        Bundle.open(tmp_path / "a.zip")
    assert main(["pack", str(signed), str(tmp_path / "c.zip")]) == 0
    assert (tmp_path / "c.zip").read_bytes() == first
    capsys.readouterr()
    assert main(["unpack", str(tmp_path / "c.zip"), str(tmp_path / "c")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'c'}: small\n"
    assert err.count("\n") == 1
    assert main(["unpack", str(tmp_path / "c.zip"), str(tmp_path / "c")]) == 2


def test_an_ordinary_unzip_reads_what_we_pack(signed, tmp_path):
    import zipfile

    from runtime.bundle import pack

    pack(signed, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("model.onnx") == (signed / "model.onnx").read_bytes()


def test_a_file_of_keys_has_64_kib_at_most(tmp_path):
    path, key = tmp_path / "k.pub", public_pem(SECRETS[0])
    path.write_bytes(key.rjust(1 << 16))
    assert Trust.of(path).keys == (KEYS[0],)
    path.write_bytes(key.rjust((1 << 16) + 1))
    with pytest.raises(SensedgeError, match="65536"):
        Trust.of(path)
