"""Bundles that were made to do harm: no crash, no write outside, little memory, and the file is named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.errors import BundleError
from tests.runtime.bundle.hostile_cases import FILES, PERSONAL, bundle_cases, zip_cases

COUNT = int(os.environ.get("SENSEDGE_HOSTILE", "5"))  # of random ones per kind


@pytest.fixture(scope="module")
def prey(exported, tmp_path_factory):
    """A small bundle with a training graph and a version of its own, and the bytes of all its files."""
    from exporters.training import add_training

    path = shutil.copytree(exported("fcn").path, tmp_path_factory.mktemp("hostile") / "prey.bundle")
    add_training(path, layers=[4])
    bundle = Bundle.open(path)
    bundle.commit({"head.bias": bundle.tensor("head.bias") + 1}, {})
    return path, {name: (path / name).read_bytes() for name in ("manifest.json", *FILES, *PERSONAL)}


def tell(good, paths):
    """What the process of its own said of each."""
    target = Path(__file__).with_name("hostile_target.py")
    done = subprocess.run(
        [sys.executable, str(target)],
        input="\n".join(map(str, [good, *paths])),
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2 * len(paths), f"ended by {done.returncode} at {lines[-1]}: {done.stderr[-2000:]}"
    assert done.returncode == 0, done.stderr
    return lines[1::2]


def judge(names, hows, paths, told):
    wrong = []
    for name, how, path, found in zip(names, hows, paths, told, strict=True):
        refused = found.get("refused", "")
        named = str(path.parent) in found.get("where", "") and len(refused) < 3000 and "MemoryError" not in refused
        difference = found.get("difference")
        same = "difference" in found and difference is not None and difference < 1e-4
        opened = "difference" in found
        fine = {
            "refused": named,
            "same": same,
            "any": named or same,
            "other": named or opened,
        }
        if not fine[how]:
            wrong.append(f"{name} ({how}): {str(found)[:300]}")
    assert not wrong, "\n".join(wrong)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_bundles(prey, tmp_path):
    good, whole = prey
    cases = list(bundle_cases(whole, COUNT))
    assert len(cases) >= 200
    paths = []
    for i, (_, spoil, _) in enumerate(cases):
        paths.append(tmp_path / str(i) / "b.bundle")
        shutil.copytree(good, paths[-1], copy_function=os.link)
        spoil(paths[-1])
    before = listing(tmp_path)
    told = tell(good, paths)
    assert listing(tmp_path) == before
    judge([name for name, _, _ in cases], [how for _, _, how in cases], paths, told)
    assert {name: (good / name).read_bytes() for name in whole} == whole


def test_zips(prey, tmp_path):
    good, whole = prey
    cases = list(zip_cases(whole, COUNT))
    paths = []
    for i, (_, make, _) in enumerate(cases):
        paths.append(tmp_path / str(i) / "b.zip")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(make())
    told = tell(good, paths)
    judge([name for name, _, _ in cases], [how for _, _, how in cases], paths, told)
    for i, found in enumerate(told):  # nothing beside the zip but the whole bundle
        names = {"b.zip", "unpacked.bundle"} if "difference" in found else {"b.zip"}
        assert {path.name for path in (tmp_path / str(i)).iterdir()} == names
    assert len(list(tmp_path.iterdir())) == len(cases)
    assert not Path("/tmp/evil").exists()


def test_a_link_in_place_of_personal_is_not_written_through(prey, tmp_path):
    path = shutil.copytree(prey[0], tmp_path / "b.bundle")
    shutil.rmtree(path / "personal")
    (tmp_path / "outside").mkdir()
    (path / "personal").symlink_to(tmp_path / "outside")
    bundle = Bundle.open(path)
    for write in (lambda: bundle.commit({"head.bias": np.ones(3, np.float32)}, {}), bundle.rollback):
        with pytest.raises(BundleError, match=r"personal: expected a folder, got a link\. Remove the link"):
            write()
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_current_that_is_a_link_is_replaced_and_not_followed(prey, tmp_path):
    path = shutil.copytree(prey[0], tmp_path / "b.bundle")
    (tmp_path / "outside").write_text("0001")
    (path / "personal" / "current").unlink()
    (path / "personal" / "current").symlink_to(tmp_path / "outside")
    assert Bundle.open(path).rollback().version == "base"
    assert (tmp_path / "outside").read_text() == "0001"
    assert not (path / "personal" / "current").is_symlink()
