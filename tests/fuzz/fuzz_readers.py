"""Coverage-guided fuzzing of what reads files from elsewhere; it needs `atheris` and runs for as long as it is told.

    python tests/fuzz/fuzz_readers.py manifest -max_total_time=300 CORPUS_FOLDER

Whatever is not the reader's own error stops it and is left behind as a file; such inputs become tests in
tests/runtime/bundle/test_hostile.py. -rss_limit_mb bounds the memory, -timeout the seconds per input.
"""

import copy
import json
import random
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["runtime"]):
    from runtime.bundle import graph_bytes, manifest, tensors, transport, trust
    from runtime.errors import BundleError, TrustError
    from runtime.files import npz, strict_json

WHERE = Path("/nowhere/file")


def read_manifest(data):
    found = manifest.Manifest.from_json(data, WHERE)
    assert manifest.Manifest.from_json(found.to_json(), WHERE) == found
    assert all(side > 0 for side in found.window_shape)
    repr(found)


def read_tensors(data):
    found = tensors.parse_tensors(data, WHERE)
    assert sum(array.nbytes for array in found.values()) <= len(data)
    again = tensors.parse_tensors(tensors.dump_tensors(found), WHERE)
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in found.items()}


def read_npz(data):
    assert sum(array.nbytes for array in npz.read_stored(data, WHERE).values()) <= len(data)


def read_zip(data):
    assert sum(len(part) for part in transport._contents(WHERE, data).values()) <= len(data)


def read_graph(data):
    try:
        graph_bytes.refuse_outside(data)
        graph_bytes._walk(memoryview(data), "model", 0)  # whatever words are in it
    except ValueError as error:
        raise BundleError(WHERE, expected="a graph", got=error, fix="none") from None


def read_signatures(data):
    try:
        trust._parts(strict_json.loads(data))
    except (ValueError, TypeError, KeyError) as error:
        raise TrustError(WHERE, expected="signatures", got=error, fix="none") from None


STRANGE = (
    None, True, False, 0, -1, 1, 1 << 31, 1 << 53, 1 << 64, 10**400, 0.0, -0.0, 1e-320, 1e300, -1e300, 1.5, "", "x",
    "acc", "train/00.onnx", "../x", "/x", "\0", "\u202e", "\ud800", "é" * 50, [], {}, [[]], [0] * 40,
)  # fmt: skip


def mutate_json(data, max_size, seed):
    """Change one place of a JSON document to another value of it or to a strange one; every third time any bytes."""
    rng = random.Random(seed)
    begin = 8 if data[:1] != b"{" else 0  # a safetensors header follows its length
    size = int.from_bytes(data[:8], "little") if begin else len(data)
    try:
        document = json.loads(data[begin : begin + size])
        places = [(parent, key) for parent in walk(document) for key in keys_of(parent)]
    except (ValueError, RecursionError):
        places = []
    if not places or rng.random() < 0.3:
        return atheris.Mutate(data, max_size)
    parent, key = rng.choice(places)
    how = rng.random()
    if how < 0.5:
        parent[key] = rng.choice(STRANGE)
    elif how < 0.8:
        other, other_key = rng.choice(places)
        parent[key] = copy.deepcopy(other[other_key])
    elif how < 0.9:
        del parent[key]
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[str(rng.choice(STRANGE))[:100]] = parent.pop(key)
    text = json.dumps(document).encode()
    whole = len(text).to_bytes(8, "little") + text + data[begin + size :] if begin else text
    return whole[:max_size]


def walk(item):
    """An item and all objects and lists in it."""
    waiting = [item]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict | list):
            yield found
            waiting += found.values() if isinstance(found, dict) else found


def keys_of(parent):
    return list(parent) if isinstance(parent, dict) else range(len(parent))


READERS = {
    "graph": read_graph,
    "manifest": read_manifest,
    "npz": read_npz,
    "signatures": read_signatures,
    "tensors": read_tensors,
    "zip": read_zip,
}
JSON_READERS = (read_manifest, read_signatures, read_tensors)


def main():
    reader = READERS[sys.argv.pop(1)]

    def one(data):
        try:
            reader(data)
        except BundleError as error:
            assert str(WHERE) in str(error), error  # noqa: PT017
            assert len(str(error)) < 5000  # noqa: PT017

    atheris.Setup(sys.argv, one, **({"custom_mutator": mutate_json} if reader in JSON_READERS else {}))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
