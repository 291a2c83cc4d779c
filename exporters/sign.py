"""Keys and signatures for bundles: the half of `runtime.bundle.trust` that holds the secret.

    create_keys("vendor")          vendor.pem (secret, mode 0600) and vendor.pub (for the devices)
    sign_bundle(path, secret)      manifest.sig, as runtime.bundle.trust describes it

A signature goes over the manifest as it is: whatever changes the manifest later (training graphs, variants, a new
revision) asks for a new one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.parts import base_of
from runtime.bundle import Bundle
from runtime.bundle.check import MANIFEST_LIMIT_BYTES, check_same
from runtime.bundle.trust import (
    MOST_SIGNATURES,
    PREFIX,
    PUBLIC_SUFFIX,
    SCHEMA,
    SIGNATURE_FILE,
    key_id,
    missing,
    read_signatures,
)
from runtime.errors import InputError, TrustError
from runtime.files.atomic import fsync_folder, read_file, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PRIVATE_SUFFIX = ".pem"
_LIMIT_BYTES = 1 << 16


def create_keys(stem: str | Path, passphrase: bytes | None = None) -> tuple[Path, Path]:
    """Make a pair of keys; the paths of the secret one and of the public one.

    Args:
        stem: path without a suffix: "keys/vendor-2026" becomes keys/vendor-2026.pem and keys/vendor-2026.pub.
        passphrase: encrypts the secret key; None: its mode 0600 is all that guards it.

    Raises:
        InputError: one of the files is there already. Nothing is ever overwritten.
        MissingError: `cryptography` is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise missing() from error
    secret_path, public_path = (Path(f"{stem}{suffix}") for suffix in (_PRIVATE_SUFFIX, PUBLIC_SUFFIX))
    for path in (secret_path, public_path):
        if os.path.lexists(path):
            raise InputError(path, expected="no such file yet", got="one", fix="Choose another name for the new keys.")
    if passphrase is not None and not passphrase:
        raise InputError("passphrase", expected="at least one character", got="none", fix="Give one, or do without.")
    key = Ed25519PrivateKey.generate()
    cipher = form.BestAvailableEncryption(passphrase) if passphrase else form.NoEncryption()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, cipher)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _write_new(secret_path, secret, 0o600)
    _write_new(public_path, public, 0o644)
    fsync_folder(secret_path.parent)
    return secret_path, public_path


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Never through a link, never over a file, never readable by others for an instant."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(data)
        file.flush()
        os.fsync(handle)


def read_secret(path: str | Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """The secret key of a PEM file.

    Raises:
        InputError: no Ed25519 key, the wrong passphrase, or none where one is needed.
        MissingError: `cryptography` is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise missing() from error
    path = Path(path)
    data = read_file(path, "a secret key in PEM", "Check the path of the key.", _LIMIT_BYTES)
    try:
        key = load_pem_private_key(data, passphrase)
    except Exception as error:  # cryptography's own errors share no base class; none of them tells the key
        got = "a public key" if b"PUBLIC KEY" in data else f"{type(error).__name__}: {error}"
        fix = "Give the .pem file that `keys create` wrote, and its passphrase if it has one."
        raise InputError(path, expected="a secret key in PEM that opens", got=got, fix=fix) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(path, expected="an Ed25519 key", got=type(key).__name__, fix="Make one: keys create NAME")
    return key


def sign_bundle(place: str | Path | Bundle, secret: Ed25519PrivateKey, revision: int | None = None) -> str:
    """Sign a whole bundle; the id of the key.

    Signatures by other keys over the same manifest stay, those over an older one go. A kill at any instant leaves a
    bundle that opens without trust; with trust it opens once the signature is there.

    Args:
        place: of the bundle; or the bundle as it was opened, which must still be the one that is there.
        secret: as `read_secret` or cryptography gives it.
        revision: to write into the manifest first; None: it stays as it is.

    Raises:
        BundleError: the bundle is broken or another one, or becomes another while it is signed.
        InputError: a revision below that of the manifest, or too many signatures.
    """
    bundle = base_of(place)
    path, manifest, sha256 = bundle.path, bundle.manifest, bundle.manifest_sha256
    if revision is not None and revision != manifest.revision:
        if revision < (manifest.revision or 0):
            got, fix = f"{revision}, below {manifest.revision}", "A revision only grows."
            raise InputError("revision", expected="a number that is not below the last one", got=got, fix=fix)
        counted = replace(manifest, revision=revision).to_json().encode()
        sha256 = hashlib.sha256(counted).hexdigest()
        write_atomic(path / "manifest.json", counted)
    text = read_file(path / "manifest.json", "a manifest", "Check the path of the bundle.", MANIFEST_LIMIT_BYTES)
    check_same(path, text, sha256)  # what is signed is what was checked
    name = key_id(secret.public_key().public_bytes_raw())
    signatures = {**_others(path, text), name: secret.sign(PREFIX + text)}
    if len(signatures) > MOST_SIGNATURES:
        fix = f"Delete {path / SIGNATURE_FILE} and sign with the keys that are in use."
        raise InputError(path, expected=f"at most {MOST_SIGNATURES} signatures", got=len(signatures), fix=fix)
    write_atomic(path / SIGNATURE_FILE, _document(text, signatures))
    return name


def _others(path: Path, manifest: bytes) -> dict[str, bytes]:
    """Signatures that are there already, if they are over this manifest."""
    where = path / SIGNATURE_FILE
    if not os.path.lexists(where):
        return {}
    try:
        signed_sha256, signatures = read_signatures(where)
    except TrustError:  # broken: replaced
        return {}
    return signatures if signed_sha256 == hashlib.sha256(manifest).hexdigest() else {}


def _document(manifest: bytes, signatures: dict[str, bytes]) -> bytes:
    entries = [{"key": name, "signature": base64.b64encode(data).decode()} for name, data in sorted(signatures.items())]
    document = {"schema": SCHEMA, "manifest_sha256": hashlib.sha256(manifest).hexdigest(), "signatures": entries}
    return (json.dumps(document, indent=1) + "\n").encode()
