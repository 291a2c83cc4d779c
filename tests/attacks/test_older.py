"""With trust, an older release or another model of the same signer is refused everywhere; one way leads back."""

import os
import re
import shutil
from importlib import import_module

import pytest

pytest.importorskip("cryptography", reason='pip install "sensedge[sign]"')

from exporters.sign import create_keys, read_secret, sign_bundle
from runtime.bundle import Bundle, Trust, pack
from runtime.bundle.revisions import Revisions
from runtime.command import run_command
from runtime.errors import InputError, TrustError
from runtime.files.sealed import CacheError
from tests.commands.test_door import ROWS, TAKES_NO_BUNDLE, WORDS
from tests.commands.tools import DATA, copy_bundle

OPTIONS = ("--name NAME", "--at-least N", "--base-only", "--accept-older")
WORDS = {**WORDS, "stream": ("B", "--replay", str(DATA / "person_6.npz"))}
QUICK = ("stream", "finetune", "inspect", "bundle", "sign", "fp16")  # of those that open a bundle


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """What this device remembers."""
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("signer")
    secret, _ = create_keys(tmp_path / "v26")
    for name, revision in (("new", 3), ("old", 2), ("uncounted", None), ("falls", 9)):
        path = copy_bundle(tmp_path).rename(tmp_path / name)
        if name == "falls":
            manifest = path / "manifest.json"
            manifest.write_text(re.sub(r'"name": "walk"', '"name": "falls"', manifest.read_text()))
        sign_bundle(path, read_secret(secret), revision)
    return tmp_path


@pytest.fixture
def shop(signer, tmp_path):
    """Two releases of one model, a copy of it that counts no releases, and another model, all by one signer."""
    return shutil.copytree(signer, tmp_path, dirs_exist_ok=True)


def call(name, *words):
    it = import_module(ROWS[name][0])
    return run_command([*map(str, words)], f"sensedge {name}", it.HELP, it.EXAMPLES, it.add_arguments, it.run)


def put(shop, name):
    """A release in the place that the device opens."""
    shutil.rmtree(shop / "dev", ignore_errors=True)
    return shutil.copytree(shop / name, shop / "dev")


def inspect(shop, *words):
    return call("inspect", shop / "dev", "--trust", shop / "v26.pub", *words)


@pytest.mark.parametrize("name", sorted(ROWS.keys() - TAKES_NO_BUNDLE))
def test_what_is_asked_beside_the_keys_is_offered_by_whatever_takes_a_bundle(name, capsys):
    with pytest.raises(SystemExit):
        call(name, "--help")
    told = capsys.readouterr().out
    assert all(option in told for option in OPTIONS)


@pytest.mark.parametrize("name", WORDS)
def test_every_command_refuses_what_is_older_than_the_device_took(name, shop, capsys, monkeypatch):
    monkeypatch.setattr("sdk.doctor.libraries.LIBRARIES", {})
    put(shop, "new")
    assert inspect(shop) == 0
    dev = put(shop, "old")
    places = {"B": dev, "B.zip": shop / "B.zip", "K": shop / "v26.pem"}
    assert call(name, *(places.get(word, word) for word in WORDS[name]), "--trust", shop / "v26.pub") == 3
    assert "expected revision 3 or later, since this device took that one, got revision 2." in capsys.readouterr().err
    assert not (shop / "B.zip").exists()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--at-least", "4"), "expected revision 4 or later, got revision 3"),
        (("--name", "falls"), "expected the model 'falls', got 'walk'"),
    ],
)
def test_every_command_can_ask_for_more(name, words, told, shop, capsys):
    dev = put(shop, "new")
    places = {"B": dev, "B.zip": shop / "B.zip", "K": shop / "v26.pem"}
    assert call(name, *(places.get(word, word) for word in WORDS[name]), "--trust", shop / "v26.pub", *words) == 3
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--at-least", 0), ("--name", "walk"), ("--base-only",), ("--accept-older",)])
@pytest.mark.parametrize("name", QUICK)
def test_nothing_is_asked_of_nobody(name, words, shop, capsys):
    dev = put(shop, "new")
    places = {"B": dev, "B.zip": shop / "B.zip", "K": shop / "v26.pem"}
    assert call(name, *(places.get(word, word) for word in WORDS[name]), *words) == 2
    assert f"error: {words[0]}: expected --trust KEYS with it, got none." in capsys.readouterr().err


def test_an_older_one_does_not_come_by_the_way_of_an_update_either(shop, capsys):
    pack(shop / "old", shop / "old.zip")
    pack(shop / "new", shop / "new.zip")
    keys = ("--trust", shop / "v26.pub")
    assert call("bundle", "unpack", shop / "new.zip", shop / "a", *keys) == 0
    assert call("bundle", "unpack", shop / "old.zip", shop / "b", *keys) == 3
    assert not (shop / "b").exists()
    assert call("bundle", "unpack", shop / "new.zip", shop / "c", *keys, "--name", "falls") == 3
    assert call("bundle", "unpack", shop / "new.zip", shop / "c", *keys, "--at-least", 4) == 3
    assert not (shop / "c").exists()
    assert call("bundle", "unpack", shop / "old.zip", shop / "d", *keys, "--accept-older") == 0


def test_one_way_leads_back(shop, capsys):
    put(shop, "new")
    assert inspect(shop) == 0
    put(shop, "old")
    assert inspect(shop) == 3
    assert inspect(shop, "--accept-older") == 0
    assert inspect(shop) == 0  # it is the one that is remembered now
    put(shop, "new")
    assert inspect(shop) == 0
    put(shop, "old")
    assert inspect(shop) == 3


def test_no_revision_is_older_than_one(shop, state, capsys):
    put(shop, "uncounted")
    assert inspect(shop) == 0
    assert not state.exists()  # nothing is to be remembered
    put(shop, "new")
    assert inspect(shop) == 0
    put(shop, "uncounted")
    assert inspect(shop) == 3
    assert "got no revision. An older bundle was put in place of a newer one" in capsys.readouterr().err
    assert inspect(shop, "--accept-older") == 0
    assert inspect(shop) == 0


def test_another_model_and_another_signer_count_for_themselves(shop, capsys):
    put(shop, "falls")
    assert inspect(shop) == 0
    put(shop, "old")
    assert inspect(shop) == 0
    other, _ = create_keys(shop / "w26")
    put(shop, "new")
    sign_bundle(shop / "dev", read_secret(other))
    assert call("inspect", shop / "dev", "--trust", shop / "w26.pub") == 0
    put(shop, "old")
    assert inspect(shop) == 0  # v26's third was never asked for here
    sign_bundle(shop / "dev", read_secret(other))
    assert call("inspect", shop / "dev", "--trust", shop / "w26.pub") == 3


def test_all_that_signed_it_and_are_trusted_count(shop):
    other, _ = create_keys(shop / "w26")
    put(shop, "new")
    sign_bundle(shop / "dev", read_secret(other))
    both = shop / "both"
    both.mkdir()
    for name in ("v26.pub", "w26.pub"):
        shutil.copy(shop / name, both)
    assert call("inspect", shop / "dev", "--trust", both) == 0
    put(shop, "old")
    assert inspect(shop) == 3
    (shop / "dev" / "manifest.sig").unlink()
    sign_bundle(shop / "dev", read_secret(other))
    assert call("inspect", shop / "dev", "--trust", both) == 3


def test_an_altered_bundle_is_not_remembered(shop, state, capsys):
    dev = put(shop, "new")
    with (dev / "golden.npz").open("r+b") as file:
        file.write(b"XX")
    assert inspect(shop) == 3
    put(shop, "old")
    assert inspect(shop) == 0


def sealed(state):
    return next((state / "revisions").glob("*.revision"))


def forge(state):
    sealed(state).write_bytes(sealed(state).read_bytes().replace(b'"revision": 3', b'"revision": 1'))


def of_another_device(state):
    (state / "revisions" / "key").write_bytes(bytes(32))


def of_another_model(state):
    """The memory of `falls`, sealed here, under the name of that of `walk`."""
    mine = sealed(state)
    other = mine.with_name("0" * len(mine.stem) + ".revision")
    mine.rename(other)
    shutil.copy(other, mine)


def link(state):
    mine = sealed(state)
    mine.rename(state / "elsewhere")
    mine.symlink_to(state / "elsewhere")


@pytest.mark.parametrize("change", [forge, of_another_device, of_another_model, link])
def test_what_is_remembered_is_sealed(change, shop, state, capsys):
    put(shop, "new")
    assert inspect(shop) == 0
    change(state)
    put(shop, "old")
    code = inspect(shop)
    err = capsys.readouterr().err
    if change is of_another_model:
        assert code == 3  # what lies under the right name is right
        return
    assert code == 2
    assert err.startswith(f"error: {state}/revisions/")
    assert "Remove the folder" in err


def test_a_memory_cannot_be_passed_off_as_another(shop, state, capsys):
    put(shop, "falls")
    assert inspect(shop) == 0
    falls = sealed(state)
    kept = falls.read_bytes()
    falls.unlink()
    put(shop, "new")
    assert inspect(shop) == 0
    sealed(state).write_bytes(kept)
    assert inspect(shop) == 2
    assert "expected the content of this name, got that of" in capsys.readouterr().err


def a_file(state):
    state.write_text("")


def open_to_all(state):
    state.mkdir()
    state.chmod(0o777)


def below_a_file(state):
    state.with_name("file").write_text("")
    os.environ["SENSEDGE_CACHE"] = str(state.with_name("file") / "cache")


@pytest.mark.parametrize("spoil", [a_file, open_to_all, below_a_file])
def test_a_device_that_cannot_remember_opens_bundles_and_says_so(spoil, shop, state, capsys, monkeypatch):
    monkeypatch.setenv("SENSEDGE_CACHE", str(state))  # so that it is put back
    spoil(state)
    put(shop, "new")
    assert inspect(shop) == 0
    err = capsys.readouterr().err
    assert err.startswith("note: no revision is remembered: ")
    assert err.count("\n") == 1


def test_so_does_one_whose_disk_is_full(shop, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    put(shop, "old")
    assert inspect(shop) == 0
    put(shop, "new")
    monkeypatch.setattr("runtime.files.sealed.SealedFolder.store", full)
    assert inspect(shop) == 0
    assert capsys.readouterr().err == "note: the revision is not remembered: [Errno 28] No space left on device\n"


def test_base_only_leaves_out_what_this_device_trained(shop, capsys):
    dev = put(shop, "new")
    base = Bundle.open(dev)
    base.commit({"head.bias": base.tensor("head.bias") + 1}, {})
    words = ("--replay", DATA / "person_6.npz", "--json", "--trust", shop / "v26.pub")
    for more, version in (((), "0001"), (("--base-only",), "base")):
        capsys.readouterr()
        assert call("stream", dev, *words, *more) == 0
        assert f'"version": "{version}"' in capsys.readouterr().out.splitlines()[-1]
    assert inspect(shop, "--base-only", "--version", "0001") == 3
    assert call("finetune", dev, "--rollback", "0001", "--trust", shop / "v26.pub", "--base-only") == 3


def test_from_python(shop, state):
    remembering = Trust.of(shop / "v26.pub", revisions=Revisions())
    assert Bundle.open(shop / "new", trust=remembering).manifest.revision == 3
    with pytest.raises(TrustError, match="expected revision 3 or later, since this device took that one, got"):
        Bundle.open(shop / "old", trust=remembering)
    Bundle.open(shop / "old", trust=Trust.of(shop / "v26.pub"))  # nobody asked
    of_another_device(state)
    with pytest.raises(CacheError):
        Bundle.open(shop / "new", trust=remembering)
    assert Trust.from_plain(remembering.to_plain()) == remembering
    with pytest.raises(InputError, match="trust: expected at least one public key"):
        Trust(())


def test_many_at_once_remember_the_highest(shop):
    from concurrent.futures import ThreadPoolExecutor

    def take(name):
        try:
            return Bundle.open(shop / name, trust=Trust.of(shop / "v26.pub", revisions=Revisions())).manifest.revision
        except TrustError:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(take, ["old", "new"] * 4))
    assert set(found) <= {2, 3, None}
    assert take("old") is None
    assert take("new") == 3
