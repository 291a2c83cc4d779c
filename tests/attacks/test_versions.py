"""What lies under personal/ and is not whole hides nothing else, blocks nothing, and is told before any training."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle, Trust
from runtime.errors import BundleError, TrustError
from sdk.finetune.__main__ import main as finetune
from tests.commands.tools import DATA, copy_bundle, listing

LABELS = str(DATA / "person_6.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = Bundle.open(copy_bundle(tmp_path_factory.mktemp("made")))
    first = base.commit({"head.bias": base.tensor("head.bias") + 1}, {"parent": "base"})
    first.commit({"head.bias": base.tensor("head.bias") + 2}, {"parent": "0001"})
    return base.path


@pytest.fixture
def bundle(made, tmp_path):
    """With the versions 0001 and 0002, one made from the other."""
    return shutil.copytree(made, tmp_path / "walk.bundle")


def change(bundle):
    return {"head.bias": Bundle.open(bundle, "base").tensor("head.bias") + 3}


def a_folder(name):
    return lambda personal: (personal / name).mkdir()


def a_file(name):
    return lambda personal: (personal / name).write_text("x")


def a_link(name):
    return lambda personal: (personal / name).symlink_to("/etc")


def a_record(data):
    def put(personal):
        (personal / "0003").mkdir()
        (personal / "0003" / "record.json").write_bytes(data)

    return put


BAD = {
    "the last number, empty": a_folder("999999999"),
    "a number far ahead": a_folder("500000000"),
    "the next number, a folder": a_folder("0003"),
    "the next number, a file": a_file("0003"),
    "the next number, a link": a_link("0003"),
    "a link that leads nowhere": lambda personal: (personal / "0003").symlink_to("/nowhere"),
    "ten digits": a_folder("1000000000"),
    "another way to write a number": a_folder("00003"),
    "a record that is a list": a_record(b"[]"),
    "a record that is no JSON": a_record(b"{"),
    "a record that is no text": a_record(b"\xff\xfe"),
    "a record that is empty": a_record(b""),
    "a record with a key twice": a_record(b'{"a": 1, "a": 2}'),
    "a record that is deep": a_record(b"[" * 5000),
    "a record that is huge": lambda personal: (
        (personal / "0003").mkdir(),
        (personal / "0003" / "record.json").touch(),
        os.truncate(personal / "0003" / "record.json", 1 << 40),
    ),
    "a record that is a pipe": lambda personal: (
        (personal / "0003").mkdir(),
        os.mkfifo(personal / "0003" / "record.json"),
    ),
    "a record that is a link": lambda personal: (
        (personal / "0003").mkdir(),
        (personal / "0003" / "record.json").symlink_to("/etc/passwd"),
    ),
    "a name that is none": a_folder("mine"),
}


@pytest.mark.parametrize("put", BAD.values(), ids=BAD)
def test_it_blocks_no_new_version(put, bundle):
    put(bundle / "personal")
    made = Bundle.open(bundle).commit(change(bundle), {})
    assert int(made.version) > 2
    assert Bundle.open(bundle).version == made.version
    assert len(made.version) <= 9
    assert made.rollback("0001").version == "0001"


@pytest.mark.parametrize("put", BAD.values(), ids=BAD)
def test_it_hides_no_other(put, bundle, capsys):
    put(bundle / "personal")
    assert finetune([str(bundle), "--list"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()][2:5] == ["base", "0001", "0002"]
    assert "root:" not in out + err
    assert finetune([str(bundle), "--list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["current"] == "0002"
    assert {"0001", "0002"} <= told["versions"].keys()
    bad = {entry.name for entry in (bundle / "personal").iterdir()} & {"0003", "00003", "999999999", "500000000"}
    assert told.get("damaged", {}).keys() == bad


@pytest.mark.parametrize("put", BAD.values(), ids=BAD)
def test_it_is_thinned_out(put, bundle):
    put(bundle / "personal")
    Bundle.open(bundle).thin(1)
    left = {path.name for path in (bundle / "personal").iterdir()}
    assert left - {"mine", "1000000000"} == {"current", "0001", "0002"}
    assert Path("/etc/passwd").exists()
    assert Bundle.open(bundle).version == "0002"


def test_a_current_that_is_wrong_hides_no_version(bundle, capsys):
    (bundle / "personal" / "current").write_text("tomorrow")
    assert finetune([str(bundle), "--list"]) == 0
    out, err = capsys.readouterr()
    assert out.count("000") == 2
    assert "in use" not in out
    assert "expected base or the name of a version, such as 0001, got 'tomorrow'" in err
    assert finetune([str(bundle), "--prune"]) == 2
    assert len(Bundle.open(bundle, "base").versions()) == 2


# ---- before the training


@pytest.fixture
def untrained(monkeypatch):
    """Nothing may be computed."""
    monkeypatch.setattr("sdk.finetune.run.look", lambda *_: pytest.fail("it was trained"))


@pytest.mark.usefixtures("untrained")
def test_the_last_number_is_told_before_the_training(bundle, capsys):
    shutil.copytree(bundle / "personal" / "0002", bundle / "personal" / "999999999")
    assert finetune([str(bundle), "--labels", LABELS]) == 2
    err = capsys.readouterr().err
    assert "got version 999999999. Delete the folder 999999999, or give it a smaller number." in err


def read_only(monkeypatch, where):
    """As an ordinary user finds it; root may write everywhere."""
    asked = os.access

    def access(path, mode, **more):
        return asked(path, mode, **more) and not (mode & os.W_OK and Path(path) == where)

    monkeypatch.setattr("os.access", access)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("with_versions", [True, False])
def test_a_bundle_without_the_right_to_write_is_told_before_the_training(with_versions, bundle, capsys, monkeypatch):
    where = bundle / "personal" if with_versions else bundle
    if not with_versions:
        shutil.rmtree(bundle / "personal")
    read_only(monkeypatch, where)
    before = listing(bundle)
    words = [["--labels", LABELS], ["--rollback", "base"], ["--prune"]]
    for more in words:
        assert finetune([str(bundle), *more]) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith(f"error: {where}: expected a folder to write to, got no right to write. Give this user")
    assert listing(bundle) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_so_is_a_folder_of_somebody_else():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        bundle = copy_bundle(Path(folder))
        assert _as_somebody_else(bundle) == 7
        (bundle / "personal").mkdir(mode=0o755)
        assert _as_somebody_else(bundle) == 7
        (bundle / "personal").chmod(0o777)
        assert _as_somebody_else(bundle) == 0


def _as_somebody_else(bundle):
    child = os.fork()
    if not child:
        os.seteuid(65534)
        try:
            Bundle(bundle, None, "base", {}, {}, "").check_writable()
        except BundleError as error:
            os._exit(7 if error.got == "no right to write" else 1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("kind", ["link", "file"])
def test_something_else_in_the_folders_place(kind, bundle, capsys, tmp_path):
    shutil.rmtree(bundle / "personal")
    if kind == "link":
        (bundle / "personal").symlink_to(tmp_path)
    else:
        (bundle / "personal").write_text("")
    assert finetune([str(bundle), "--labels", LABELS]) == 2
    told = "got a link. Remove the link" if kind == "link" else "got 'Not a directory'"
    assert told in capsys.readouterr().err
    with pytest.raises(BundleError, match=f"personal: expected a folder, got a {kind}. Remove the {kind}"):
        Bundle.open(bundle, "base").check_writable()


def test_one_that_was_opened_for_its_base_only(bundle):
    trust = Trust((bytes(32),), personal=False)
    opened = Bundle.open(bundle, "base")
    with pytest.raises(TrustError, match="expected the signed base, got version 0003, which this device trained"):
        Bundle(bundle, opened.manifest, "base", opened.base_tensors, {}, "", trust).check_writable()


# ---- sizes


@pytest.mark.parametrize("size", [1 << 22, 1 << 30, 1 << 40])
def test_weights_larger_than_any_are_not_read(size, bundle):
    os.truncate(bundle / "personal" / "0002" / "weights.safetensors", size)
    with pytest.raises(BundleError, match=rf"expected a file of a bundle of at most 1\d{{6}} bytes, got {size}"):
        Bundle.open(bundle)


def test_all_tensors_at_once_are_not_too_large(bundle):
    base = Bundle.open(bundle, "base")
    tuned = base.commit({name: tensor + np.float32(0.01) for name, tensor in base.base_tensors.items()}, {})
    assert Bundle.open(bundle).personal_tensors.keys() == base.base_tensors.keys() == tuned.personal_tensors.keys()


# ---- thinning


@pytest.fixture(scope="module")
def many_made(made, tmp_path_factory):
    path = shutil.copytree(made, tmp_path_factory.mktemp("many") / "walk.bundle")
    used = Bundle.open(path)
    for i in range(3, 13):
        parent = "base" if i % 3 == 0 else used.version
        used = used.commit(change(path), {"parent": parent, "number": i})
    return path


@pytest.fixture
def many(many_made, tmp_path):
    """0001 to 0012: a chain of parents, but for every third, which was made from the base."""
    return shutil.copytree(many_made, tmp_path / "walk.bundle")


def whole(bundle):
    folder = bundle / "personal"
    return [int(n) for n in Bundle.open(bundle, "base").versions() if (folder / n / "weights.safetensors").exists()]


def told(bundle):
    return [int(name) for name in Bundle.open(bundle, "base").versions()]


@pytest.mark.parametrize(
    ("keep", "used", "are_whole", "are_told"),
    [
        ("3", "0012", [10, 11, 12], [10, 11, 12]),
        ("1", "0011", [11, 12], [9, 10, 11, 12]),  # 11 came from 10, and that from 9
        ("0", "0011", [11], [9, 10, 11]),
        ("0", "base", [], []),
        ("2", "0005", [5, 11, 12], [3, 4, 5, 11, 12]),
        ("1", "0002", [2, 12], [1, 2, 12]),
        ("12", "0001", [*range(1, 13)], [*range(1, 13)]),
        ("500", "0001", [*range(1, 13)], [*range(1, 13)]),
        (None, "0012", [8, 9, 10, 11, 12], [8, 9, 10, 11, 12]),
    ],
)
def test_what_stays(keep, used, are_whole, are_told, many, capsys):
    Bundle.open(many).rollback(used)
    shipped = {name: digest for name, digest in listing(many).items() if not name.startswith("personal")}
    assert finetune([str(many), "--prune", "--json", *([] if keep is None else ["--keep", keep])]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (whole(many), told(many)) == (are_whole, are_told)
    assert [int(name) for name in found["kept"]] == are_whole
    assert Bundle.open(many).version == used
    assert {name: digest for name, digest in listing(many).items() if not name.startswith("personal")} == shipped
    assert finetune([str(many), "--list"]) == 0
    assert int(Bundle.open(many).commit(change(many), {}).version) > max(are_whole, default=0)


def test_a_version_whose_weights_went_says_so_and_its_record_stays(many):
    bundle = Bundle.open(many).rollback("0011")
    bundle.thin(0)
    assert bundle.record("0010")["number"] == 10
    with pytest.raises(BundleError, match=r"personal/0010: expected weights.safetensors of sha256 \w+, got None"):
        Bundle.open(many, "0010")


def test_records_that_name_each_other_end(many):
    record = many / "personal" / "0001" / "record.json"
    plain = json.loads(record.read_text())
    record.write_text(json.dumps({**plain, "parent": "0002"}))
    Bundle.open(many).rollback("0002").thin(0)
    assert told(many) == [1, 2]


@pytest.mark.parametrize("words", [("--keep", "-1"), ("--keep", "1.5"), ("--keep", "nan"), ("--keep", "inf")])
def test_a_number_of_versions_is_one(words, bundle, capsys):
    assert finetune([str(bundle), "--prune", *words]) == 2
    assert "--keep: expected with --prune, a number of versions" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--list",), ("--rollback", "base"), ("--labels", LABELS)])
def test_pruning_is_one_thing_at_a_time(words, bundle, capsys):
    with pytest.raises(SystemExit, match="2"):
        finetune([str(bundle), "--prune", *words])


def test_a_record_is_at_most_sixteen_megabytes(bundle):
    """Read: the largest that may be is read, a byte more is not. Valid JSON in both cases."""
    record = bundle / "personal" / "0001" / "record.json"
    whole = record.read_bytes()
    for size, fits in ((1 << 24, True), ((1 << 24) + 1, False)):
        record.write_bytes(whole + b" " * (size - len(whole)))
        if fits:
            assert Bundle.open(bundle).record("0001")["parent"] == "base"
            continue
        with pytest.raises(BundleError, match=r"record.json: expected .*, got 16777217 bytes"):
            Bundle.open(bundle).record("0001")
