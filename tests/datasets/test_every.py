"""What holds for every data set: one battery, on small archives in the published formats."""

import inspect

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.recording import UNLABELLED
from runtime.specs import Signal
from sdk.datasets import __main__ as command
from sdk.datasets import _registry, at_position, dataset_info, iter_dataset, list_datasets
from sdk.datasets._info import ARCHIVE, ASSUMED, FORMAT
from sdk.datasets._registry import entries_of, read_registry
from tests.datasets.archives import load_unknown, write_registry, write_zip
from tests.datasets.formats import NAN, SMALL, write_small

ALL = list_datasets()
WITH_NAN = [name for name in ALL if inspect.signature(SMALL[name]).parameters]
UNITS = {"acc": "m/s^2", "gyro": "rad/s", "mag": "uT", "gravity": "m/s^2", "body_acc": "m/s^2", "user_acc": "m/s^2"}
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def file_of(name):
    return {"wisdm": "wisdm.tar.gz", "seglearn_watch": "watch_dataset.npy"}.get(name, f"{name}.zip")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder whose registry has one file without a hash for every data set."""
    monkeypatch.setattr(
        _registry,
        "REGISTRY",
        write_registry(tmp_path / "registry.txt", *(f"{name} {file_of(name)} - -" for name in ALL)),
    )
    return tmp_path


@pytest.fixture
def recordings(folder):
    def read(name):
        write_small(folder / file_of(name), name)
        return load_unknown(name, folder)

    return read


def test_all_data_sets_are_found():
    assert len(ALL) == 26
    assert sorted(SMALL) == ALL
    assert [dataset_info(name).name for name in ALL] == ALL
    assert {entry.dataset for entry in read_registry()} == set(ALL)
    assert len(WITH_NAN) == 25


@pytest.mark.parametrize("name", ALL)
def test_the_info_is_complete(name):
    info = dataset_info(name)
    for text in (info.title, info.licence, info.citation, info.placement):
        assert len(text) > 3
    assert info.home_page.startswith("https://")
    assert info.n_subjects > 0
    assert info.tested_on in (ARCHIVE, FORMAT, ASSUMED)
    assert all(5 <= rate_hz <= 200 for rate_hz in (info.signal.rate_hz, *info.rates_hz))
    assert len(info.labels) >= 2
    assert len(set(info.labels)) == len(info.labels)
    assert all(label == label.lower() and label.replace("_", "").isalnum() for label in info.labels)
    assert set(info.resting) <= set(info.labels)
    assert not info.commercial_use or any(free in info.licence for free in ("CC BY", "MIT", "BSD"))
    assert info.commercial_use or not info.licence.startswith(("MIT", "BSD"))


@pytest.mark.parametrize("name", ALL)
def test_what_is_called_the_same_has_the_same_unit(name):
    for modality in dataset_info(name).signal.modalities:
        for suffix, unit in UNITS.items():
            if modality.name == suffix or modality.name.endswith(f"_{suffix}"):
                assert modality.unit == unit
                assert modality.channels == ("x", "y", "z")


@pytest.mark.parametrize("name", ALL)
def test_there_is_a_way_to_each(name):
    info, entries = dataset_info(name), entries_of(name)
    assert bool(info.access) != any(entry.url for entry in entries)
    assert entries[0].url or info.access, "the official archive comes first"
    assert info.tested_on != ARCHIVE or any(entry.sha256 for entry in entries)


@pytest.mark.parametrize("name", ALL)
def test_the_small_archive_is_read(name, recordings):
    info, found = dataset_info(name), recordings(name)
    assert len(found) >= 2 or name == "goat"
    assert len({recording.name for recording in found}) == len(found)
    for recording in found:
        assert recording.name.startswith(f"{name}/")
        assert recording.channels == info.signal.channel_names
        assert recording.label_names == info.labels
        assert recording.rate_hz in (info.rates_hz or (info.signal.rate_hz,))
        assert recording.samples.dtype == np.float32
        assert recording.samples.flags.c_contiguous
        assert np.isfinite(recording.samples).all()
        assert recording.labels.dtype == np.int16
        assert recording.is_rising
        assert bool(recording.subject) == info.names_subjects
    assert any((recording.labels != UNLABELLED).any() for recording in found)
    assert len({recording.subject for recording in found}) > 1 or not info.names_subjects or name == "goat"


@pytest.mark.parametrize("name", [name for name in ALL if not dataset_info(name).rates_hz])
def test_recordings_fit_the_signal(name, recordings):
    first = dataset_info(name).signal.modalities[0]
    for recording in recordings(name):
        if recording.t is None:  # the times of a handful of samples say little about the rate
            assert recording.fit(Signal((first,))).samples.shape == (len(recording.samples), len(first.channels))


@pytest.mark.parametrize("name", [name for name in ALL if dataset_info(name).positions])
def test_every_position_is_understood(name, recordings):
    info, all_recordings, seen = dataset_info(name), recordings(name), 0
    for position in info.positions:
        try:
            found = at_position(all_recordings, position)
        except InputError:
            continue
        seen += 1
        assert {recording.name.rpartition("/")[2] for recording in found} == {position}
        assert found[0].channels[:3] == ("acc_x", "acc_y", "acc_z")
        assert len(found[0].channels) == len(found[0].samples[0])
    assert seen == (2 if name == "realworld" else len(info.positions))  # the small RealWorld has two places only
    with pytest.raises(InputError, match=r"position: .* got 'nose'"):
        at_position(all_recordings, "nose")


# --- bad archives: one line, exit code 2, nothing left behind ---------------------------------------------------------


def refused(capsys, folder, name):
    """The line that `check` prints when it refuses the archive of a data set."""
    before = sorted(path.name for path in folder.rglob("*"))
    assert command.main(["check", name, "--data", str(folder)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_hash(name, capsys, tmp_path, monkeypatch):
    registry = write_registry(tmp_path / "registry.txt", f"{name} {file_of(name)} {'0' * 64} -")
    monkeypatch.setattr(_registry, "REGISTRY", registry)
    write_small(tmp_path / file_of(name), name)
    assert f"{file_of(name)}: expected sha256 {'0' * 64}, got " in refused(capsys, tmp_path, name)


@pytest.mark.parametrize("name", ALL)
def test_a_web_page(name, capsys, folder):
    (folder / file_of(name)).write_bytes(PAGE)
    assert f"{file_of(name)}: expected a zip, tar.xz, tar.gz or npy file, got " in refused(capsys, folder, name)


@pytest.mark.parametrize("name", ALL)
def test_a_truncated_file(name, capsys, folder):
    path = write_small(folder / file_of(name), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    assert f"{file_of(name)}: expected " in refused(capsys, folder, name)


@pytest.mark.parametrize("name", [name for name in ALL if name != "seglearn_watch"])
def test_an_archive_of_something_else(name, capsys, folder):
    path = folder / file_of(name)
    write_small(path, name, {"holiday/photo.jpg": b"\xff\xd8"})
    assert f"{path}: expected a member " in refused(capsys, folder, name)


@pytest.mark.parametrize("name", WITH_NAN)
def test_a_nan(name, capsys, folder):
    write_small(folder / file_of(name), name, SMALL[name](NAN))
    line = refused(capsys, folder, name)
    assert "finite number" in line or (name.startswith("pamap2") and "with times" in line)


@pytest.mark.parametrize("name", [name for name in ALL if dataset_info(name).access])
def test_no_archive_and_no_download(name, capsys, tmp_path):
    """`get` of what must be asked for says whom and where the file goes, and makes no folder."""
    info, folder = dataset_info(name), tmp_path / "data"
    assert command.main(["get", name, "--data", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in (info.access, entries_of(name)[0].file, str(folder), "Put the file there."):
        assert part in error
    assert not folder.exists()


def test_a_large_archive_is_given_piece_by_piece(folder):
    """The first recording comes before the second one's bytes are looked at."""
    members = SMALL["usc_had"]()
    members["USC-HAD/Subject14/a12t5.mat"] = b"not a mat file"
    write_zip(folder / "usc_had.zip", members)
    stream = iter_dataset("usc_had", folder)
    with pytest.warns(UserWarning, match="no official sha256"):
        first = next(stream)
    assert first.name == "usc_had/subject1_a1_t5"
    with pytest.raises(InputError, match=r"Subject14/a12t5.mat: expected a MATLAB 5 file"):
        next(stream)
