"""A recording does not grow out of all proportion when it is unpacked; what is honest is read as ever."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from runtime.command import BAD_INPUT, guarded
from runtime.errors import InputError
from runtime.recording import Recording

MIB = 1 << 20
CHANNELS = np.array(["acc_x", "acc_y"])


def npy(shape, values=b"", dtype="<f4"):
    """An .npy of this shape that holds these bytes, or zeros without end."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + values


def archive(path, samples, zeros=0, more=(), method=zipfile.ZIP_DEFLATED):
    """An .npz whose samples end with so many zero bytes."""
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as made:
        for name, array in (("channels", CHANNELS), ("rate_hz", np.float64(50))):
            file = io.BytesIO()
            np.save(file, array)
            made.writestr(f"{name}.npy", file.getvalue())
        with made.open("samples.npy", "w") as member:
            member.write(samples)
            for _ in range(zeros // MIB):
                member.write(bytes(MIB))
        for name, n_bytes in more:
            with made.open(name, "w", force_zip64=True) as member:
                for _ in range(n_bytes // MIB):
                    member.write(bytes(MIB))
    return path


def refused(path):
    with pytest.raises(InputError, match=r"a NumPy \.npz archive") as found:
        Recording.load(path)
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize("mib", [129, 200, 1024])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zeros_that_were_packed(tmp_path, mib, method):
    if method == zipfile.ZIP_BZIP2 and mib > 200:
        mib = 150
    path = archive(tmp_path / "bomb.npz", npy((mib * MIB // 8, 2)), mib * MIB, method=method)
    tracemalloc.start()
    try:
        assert "unpack to" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_many_arrays_that_nobody_asked_for(tmp_path):
    more = [(f"extra{i}.npy", 20 * MIB) for i in range(8)]
    path = archive(tmp_path / "bomb.npz", npy((1, 2), bytes(8)), more=more)
    assert "unpack to" in refused(path)


@pytest.mark.parametrize("shape", [(2**42, 2), (2**62, 2), (10**9, 10**9)])
def test_a_shape_that_lies(tmp_path, shape):
    refused(archive(tmp_path / "lie.npz", npy(shape, bytes(64))))


def test_a_size_that_lies(tmp_path):
    """The archive says that little comes out: little comes out."""
    path = archive(tmp_path / "lie.npz", npy((150 * MIB // 8, 2)), 150 * MIB)
    data = path.read_bytes()
    true = (150 * MIB + len(npy((150 * MIB // 8, 2)))).to_bytes(4, "little")
    assert data.count(true) >= 1
    path.write_bytes(data.replace(true, (1000).to_bytes(4, "little")))
    refused(path)


@pytest.mark.parametrize("n", [1, 100_000])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_honest_recordings(tmp_path, n, save):
    samples = np.zeros((n, 2), np.float32)
    save(tmp_path / "r.npz", samples=samples, channels=CHANNELS, rate_hz=50.0)
    assert Recording.load(tmp_path / "r.npz").samples.shape == (n, 2)


def test_a_large_one_that_was_not_packed(tmp_path):
    samples = np.zeros((17 * MIB, 2), np.float32)  # 136 MiB
    np.savez(tmp_path / "r.npz", samples=samples, channels=CHANNELS, rate_hz=50.0)
    assert len(Recording.load(tmp_path / "r.npz").samples) == 17 * MIB


def test_a_command_says_it_in_one_line(tmp_path, capsys):
    path = archive(tmp_path / "bomb.npz", npy((200 * MIB // 8, 2)), 200 * MIB)
    assert guarded(lambda: bool(Recording.load(path))) == BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1
