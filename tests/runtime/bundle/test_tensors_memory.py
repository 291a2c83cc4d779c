"""Reading a file of many tensors takes the memory of one file, not of one file per tensor."""

import tracemalloc

import numpy as np

from runtime.bundle.tensors import dump_tensors, load_tensors


def test_loaded_tensors_share_the_bytes_of_their_file(tmp_path):
    tensors = {f"layer.{i}": np.full((256, 64), i, np.float32) for i in range(50)}
    path = tmp_path / "weights.safetensors"
    path.write_bytes(dump_tensors(tensors))
    tracemalloc.start()
    loaded = load_tensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(np.array_equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert peak < 2 * path.stat().st_size
