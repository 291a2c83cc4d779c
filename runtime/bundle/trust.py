"""Whose bundles a device takes: Ed25519 signatures (RFC 8032) over a bundle's manifest.

    manifest.json   holds size and sha256 of every file, so that who signs it signs them all
    manifest.sig    {"schema": 1,
                     "manifest_sha256": hash of the manifest that was signed; only for a better message,
                     "signatures": [{"key": id of a public key, "signature": base64}, ...]}

What is signed is `PREFIX` and then the exact bytes of manifest.json: a signature for something else than a bundle never
fits. A key's id is the first eight bytes of the sha256 of its 32 raw bytes, in hex; it helps to find the key and proves
nothing. One signature by one trusted key is enough, and several may stand side by side while keys are exchanged.

`cryptography` is imported when a signature is checked, and not by a program that asks for none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import BundleError, InputError, MissingError, TrustError, one_line
from runtime.files import strict_json
from runtime.files.atomic import read_file
from runtime.specs import BASE

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest
    from runtime.bundle.revisions import Revisions

SIGNATURE_FILE = "manifest.sig"
SCHEMA = 1
PREFIX = b"sensedge bundle manifest v1\0"
PUBLIC_SUFFIX = ".pub"
MOST_SIGNATURES = 16
_LIMIT_BYTES = 1 << 16  # of a signature or key file
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]{1,400}-----END PUBLIC KEY-----")
_INSTALL = 'pip install "sensedge[sign]"'
_BY_WHOM = "Get the bundle from whom you trust, or add their public key."
_AGAIN = "Sign it again: python -m exporters sign BUNDLE --key KEY.pem"
_WHO = "Use it only if you know who changed it; whoever vouches for it signs it again: python -m exporters sign"


@dataclass(frozen=True)
class Trust:
    """What a bundle must be to be opened: signed by one of `keys`, and more where it is asked for.

    Raises:
        InputError: no key, or one that is not 32 bytes long.
    """

    keys: tuple[bytes, ...]  # Ed25519 public keys, 32 bytes each
    name: str | None = None  # of the manifest; None: any bundle of these signers will do
    at_least: int | None = None  # `revision` of the manifest; None: old ones are taken too
    personal: bool = True  # versions that were trained on this device, which nobody signs; False: the base only
    revisions: Revisions | None = field(default=None, compare=False)  # what this device took before; None: not asked

    def __repr__(self) -> str:
        told = (f"name={self.name!r}", f"at_least={self.at_least}", f"personal={self.personal}")
        return one_line(self, f"{len(self.keys)} keys", *told)

    def __post_init__(self) -> None:
        if not self.keys or any(len(key) != _KEY_BYTES for key in self.keys):
            raise InputError(
                "trust",
                expected=f"at least one public key of {_KEY_BYTES} bytes",
                got=f"keys of {[len(key) for key in self.keys]} bytes",
                fix="Give a .pub file that `python -m exporters keys create` wrote, or a folder of them.",
            )

    @classmethod
    def of(
        cls,
        keys: str | Path | bytes | Iterable[bytes],
        *,
        name: str | None = None,
        at_least: int | None = None,
        personal: bool = True,
        revisions: Revisions | None = None,
    ) -> Trust:
        """Trust in the keys of a file, of all .pub files of a folder, or given as 32 raw bytes each.

        Raises:
            InputError: no keys there, or something else than Ed25519 public keys in PEM.
            MissingError: `cryptography` is not installed.
        """
        if isinstance(keys, str | Path):
            found = read_keys(Path(keys))
        else:
            found = (keys,) if isinstance(keys, bytes) else tuple(keys)
        return cls(tuple(found), name, at_least, personal, revisions)

    def to_plain(self) -> dict[str, Any]:
        """For JSON, to another process of this device; what is remembered was asked here already."""
        keys = [key.hex() for key in self.keys]
        return {"keys": keys, "name": self.name, "at_least": self.at_least, "personal": self.personal}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Trust:
        """The same from JSON."""
        return cls(**{**plain, "keys": tuple(map(bytes.fromhex, plain["keys"]))})

    def check_signature(self, path: Path, manifest: bytes) -> tuple[bytes, ...]:
        """Make sure that one of the keys signed these bytes; all that did.

        Raises:
            TrustError: says why not.
            MissingError: `cryptography` is not installed.
        """
        where = path / SIGNATURE_FILE
        if not os.path.lexists(where):
            raise TrustError(where, expected=self._signers(), got="an unsigned bundle", fix=_BY_WHOM)
        signed_sha256, signatures = read_signatures(where)
        mine = {key_id(key): key for key in self.keys}
        tried = [name for name in signatures if name in mine]
        signers = tuple(mine[name] for name in tried if verifies(mine[name], signatures[name], manifest))
        if signers:
            return signers
        if signed_sha256 != hashlib.sha256(manifest).hexdigest():
            raise TrustError(
                path / "manifest.json",
                expected=f"the manifest that was signed, sha256 {signed_sha256}",
                got="one that was altered after it was signed, or training graphs or variants were added",
                fix=_WHO,
            )
        got = f"a signature by {', '.join(signatures) or 'nobody'}" if not tried else "a signature that does not fit"
        raise TrustError(where, expected=self._signers(), got=got, fix=_BY_WHOM)

    def check_contents(self, path: Path, manifest: Manifest, signers: tuple[bytes, ...]) -> None:
        """Make sure that a signed manifest is the one that is wanted, and that there are no files beside its own.

        Args:
            path: of the bundle.
            manifest: whose signature was checked.
            signers: the trusted keys that signed it.

        Raises:
            TrustError: another name, too old, a file that the manifest does not list.
            CacheError: what was remembered of older ones was changed by someone else.
        """
        where = path / "manifest.json"
        if self.name is not None and manifest.name != self.name:
            raise TrustError(
                where, expected=f"the model {self.name!r}", got=repr(manifest.name), fix="Copy the right bundle here."
            )
        if self.at_least is not None and (manifest.revision is None or manifest.revision < self.at_least):
            raise TrustError(
                where,
                expected=f"revision {self.at_least} or later",
                got="no revision" if manifest.revision is None else f"revision {manifest.revision}",
                fix="An older bundle was put in place of a newer one: get the newer one.",
            )
        if self.revisions is not None:
            self.revisions.check(where, manifest, signers)
        known = {*manifest.files, "manifest.json", SIGNATURE_FILE}
        for name in _names(path):
            if name not in known:
                raise TrustError(
                    path / name, expected="only files that the manifest lists", got="one more", fix="Delete it."
                )

    def check_version(self, path: Path, version: str | None) -> str | None:
        """The version to open: without trust in personal ones, the base is the only one.

        Raises:
            TrustError: another one was asked for by name.
        """
        if self.personal:
            return version
        if version not in (None, BASE):
            raise TrustError(
                path / "personal",
                expected="the signed base",
                got=f"version {version}, which this device trained",
                fix="Open it with Trust(personal=True) if this device's own versions are wanted.",
            )
        return BASE

    @staticmethod
    def broken(error: BundleError) -> TrustError:
        """A fault of a signed bundle's files: they are not those that were signed."""
        return TrustError(error.where, expected=f"{error.expected}, as it was signed", got=error.got, fix=error.fix)

    def _signers(self) -> str:
        return f"a signature by {' or '.join(map(key_id, self.keys))}"


def key_id(key: bytes) -> str:
    """What a public key is called in signature files and messages: 16 hex digits."""
    return hashlib.sha256(key).hexdigest()[:16]


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The Ed25519 public keys of a PEM file, or of all .pub files of a folder, 32 bytes each.

    Raises:
        InputError: there are none, or others.
        MissingError: `cryptography` is not installed.
    """
    files = sorted(path.glob(f"*{PUBLIC_SUFFIX}")) if path.is_dir() else [path]
    keys = tuple(dict.fromkeys(key for file in files for key in _keys_of(file)))
    if not keys:
        raise InputError(path, expected="public keys", got=f"no {PUBLIC_SUFFIX} file", fix=_BY_WHOM)
    return keys


def _keys_of(file: Path) -> list[bytes]:
    text = read_file(file, "a public key in PEM", "Check the path of the key.", _LIMIT_BYTES).decode("utf-8", "replace")
    keys = [_raw_key(block) for block in _PEM.findall(text)]
    if not keys or None in keys or "PRIVATE KEY" in text:
        got = "a private key" if "PRIVATE KEY" in text else "something else"
        raise InputError(
            file,
            expected="Ed25519 public keys in PEM",
            got=got,
            fix=f"Give the {PUBLIC_SUFFIX} file that `python -m exporters keys create` wrote.",
        )
    return [key for key in keys if key is not None]


def _raw_key(pem: str) -> bytes | None:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise missing() from error
    try:
        key = load_pem_public_key(pem.encode())
    except Exception:  # cryptography's own errors share no base class
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def missing() -> MissingError:
    """The error where `cryptography` is not installed."""
    return MissingError("signatures", expected="the package cryptography", got="none", fix=f"Install it: {_INSTALL}")


def verifies(key: bytes, signature: bytes, manifest: bytes) -> bool:
    """Whether a signature over a manifest is that of a key.

    Raises:
        MissingError: cryptography is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise missing() from error
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, PREFIX + manifest)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_signatures(where: Path) -> tuple[str, dict[str, bytes]]:
    """The hash of the manifest that was signed, and the signatures by key id; none of it is checked.

    Raises:
        TrustError: the file is not as this module's docstring says.
    """
    try:
        document = strict_json.loads(read_file(where, "a signature file", _AGAIN, _LIMIT_BYTES))
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError(f"schema {document.get('schema')!r}" if isinstance(document, dict) else "no object")
        return _parts(document)
    except (ValueError, TypeError, KeyError) as error:
        raise TrustError(
            where, expected=f"a signature file of schema {SCHEMA}", got=getattr(error, "got", error), fix=_AGAIN
        ) from None


def _parts(document: Mapping[str, object]) -> tuple[str, dict[str, bytes]]:
    signed, entries = document["manifest_sha256"], document["signatures"]
    if not isinstance(signed, str) or not re.fullmatch("[0-9a-f]{64}", signed):
        raise ValueError("manifest_sha256 that is no hash")
    if not isinstance(entries, list) or len(entries) > MOST_SIGNATURES:
        raise ValueError(f"no list of at most {MOST_SIGNATURES} signatures")
    signatures = {}
    for entry in entries:
        name, text = entry["key"], entry["signature"]
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{16}", name) or name in signatures:
            raise ValueError("a key id that is none, or twice")
        signatures[name] = _decoded(text)
    return signed, signatures


def _decoded(text: object) -> bytes:
    try:
        data = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != _SIGNATURE_BYTES:
        raise ValueError(f"a signature that is not {_SIGNATURE_BYTES} bytes in base64")
    return data


def _names(path: Path) -> Iterable[str]:
    """Every file under a bundle by its path inside it, links too, without what the device keeps under personal/."""
    for folder, folders, files in os.walk(path):
        inside = Path(folder).relative_to(path)
        if not inside.parts:
            folders[:] = [name for name in folders if name != "personal"]
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from sorted((inside / name).as_posix() for name in (*files, *links))
