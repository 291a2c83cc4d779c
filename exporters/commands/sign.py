"""`python -m exporters sign`: sign a bundle, or check its signature."""

from __future__ import annotations

import argparse
from pathlib import Path

from exporters.commands.keys import add_passphrase, passphrase_of
from runtime.command import DONE, add_trust, json_text, open_bundle, say, trust_of
from runtime.errors import InputError

HELP = "sign a bundle, or check its signature"
EXAMPLES = """\
  python -m exporters sign walk.bundle --key vendor-2026.pem                 add a signature
  python -m exporters sign walk.bundle --key vendor-2026.pem --revision 3    count the release, then sign
  python -m exporters sign walk.bundle --verify --trust trusted/             what a device with these keys would say"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What the command takes."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--key", metavar="PEM", type=Path, help="secret key to sign with")
    what.add_argument("--verify", action="store_true", help="check instead; needs --trust")
    p.add_argument("--revision", metavar="N", type=int, help="write this number into the manifest first")
    add_passphrase(p)
    add_trust(p)
    p.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    return _verify(arguments) if arguments.verify else _sign(arguments)


def _sign(arguments: argparse.Namespace) -> int:
    from exporters.sign import read_secret, sign_bundle
    from runtime.specs import BASE

    if arguments.revision is not None and not 0 <= arguments.revision < 1 << 53:
        raise InputError("--revision", expected="a number from 0", got=arguments.revision, fix="Count releases up.")
    secret = read_secret(arguments.key, passphrase_of(arguments))
    bundle = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments))
    name = sign_bundle(bundle, secret, arguments.revision)
    print(json_text({"signed_by": name}) if arguments.json else f"{arguments.bundle}: signed by {name}")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    from runtime.bundle import Bundle
    from runtime.bundle.trust import SIGNATURE_FILE, key_id, read_signatures
    from runtime.specs import BASE

    trust = trust_of(arguments, remember=False)
    if trust is None:
        raise InputError("--verify", expected="--trust KEYS", got="none", fix="Give a .pub file or a folder of them.")
    manifest = Bundle.open(arguments.bundle, BASE, trust=trust).manifest
    known = {key_id(key) for key in trust.keys}
    names = sorted(read_signatures(arguments.bundle / SIGNATURE_FILE)[1])
    trusted = [name for name in names if name in known]
    if arguments.json:
        print(
            json_text({"name": manifest.name, "revision": manifest.revision, "signatures": names, "trusted": trusted})
        )
        return DONE
    told = "no revision" if manifest.revision is None else f"revision {manifest.revision}"
    say(f"{arguments.bundle}: {manifest.name}, {told}, whole and signed by {', '.join(trusted)}")
    return DONE
