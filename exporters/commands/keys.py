"""`python -m exporters keys`: make a pair of keys for signing, or tell the ids of those that are there."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from runtime.command import DONE, json_text
from runtime.errors import InputError

HELP = "make and list signing keys"
EXAMPLES = """\
  python -m exporters keys create vendor-2026                        vendor-2026.pem (keep it secret), vendor-2026.pub
  python -m exporters keys create vendor-2026 --ask-passphrase       the secret one encrypted
  python -m exporters keys list trusted/                             ids of the public keys in a folder or file"""
_PASSPHRASE_LIMIT_BYTES = 1 << 12


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What the command takes."""
    p.add_argument("what", choices=("create", "list"))
    p.add_argument("path", type=Path, help="create: the name of the new keys; list: a .pub file or a folder of them")
    add_passphrase(p)
    p.add_argument("--json", action="store_true", help="print one JSON object")


def add_passphrase(p: argparse.ArgumentParser) -> None:
    """The two ways to give the passphrase of a secret key; never on the command line, which others can see."""
    ways = p.add_mutually_exclusive_group()
    ways.add_argument("--passphrase-file", metavar="FILE", type=Path, help="its first line is the key's passphrase")
    ways.add_argument("--ask-passphrase", action="store_true", help="type the key's passphrase")


def passphrase_of(arguments: argparse.Namespace, *, twice: bool = False) -> bytes | None:
    """The passphrase that was given, if any.

    Raises:
        BundleError: the file cannot be read.
        InputError: the two that were typed differ.
    """
    from runtime.files.atomic import read_file

    if arguments.passphrase_file is not None:
        fix = "Check the path of the passphrase."
        data = read_file(arguments.passphrase_file, "a passphrase", fix, _PASSPHRASE_LIMIT_BYTES)
        return data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not arguments.ask_passphrase:
        return None
    found = getpass.getpass("passphrase: ")
    if twice and getpass.getpass("again: ") != found:
        raise InputError("passphrase", expected="the same twice", got="two that differ", fix="Type it again.")
    return found.encode()


def run(arguments: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    from runtime.bundle.trust import key_id, read_keys

    if arguments.what == "list":
        ids = [key_id(key) for key in read_keys(arguments.path)]
        print(json_text({"keys": ids}) if arguments.json else "\n".join(ids))
        return DONE
    from exporters.sign import create_keys

    secret, public = create_keys(arguments.path, passphrase_of(arguments, twice=True))
    (name,) = (key_id(key) for key in read_keys(public))
    if arguments.json:
        print(json_text({"key": name, "secret": str(secret), "public": str(public)}))
        return DONE
    print(f"key {name}\n  {secret}  signs; keep it to yourself\n  {public}  goes to the devices: --trust {public}")
    if arguments.passphrase_file is None and not arguments.ask_passphrase:
        print(f"note: {secret} has no passphrase; whoever can read it can sign", file=sys.stderr)
    return DONE
