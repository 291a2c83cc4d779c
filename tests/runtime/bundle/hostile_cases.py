"""Some hundred ways to spoil a bundle or its zip. Each is a name, what to do to a fresh copy, and how it must end.

"refused": a BundleError that names the file. "same": it opens and answers as before. "any": one of the two.
"other": refused, or it opens with a graph that is another one.

A file is replaced, never written to: the copies share their files.
"""

import hashlib
import io
import json
import os
import random
import struct
import warnings
import zipfile

import numpy as np

FILES = ("golden.npz", "model.onnx", "weights.safetensors", "train/04.onnx")
PERSONAL = ("personal/0001/weights.safetensors", "personal/0001/record.json", "personal/current")
STRANGE = (
    None,
    True,
    -1,
    0,
    1 << 62,
    10**400,
    1e308,
    1e-308,
    -0.5,
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "é\u202e\0",
    [],
    {},
    [[0]],
)


def put(path, name, data):
    target = path / name
    if os.path.lexists(target):
        target.unlink()
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data if isinstance(data, bytes) else data.encode())


def edit(path, change):
    document = json.loads((path / "manifest.json").read_text())
    change(document)
    put(path, "manifest.json", json.dumps(document))


def seal(path, name, data):
    """Replace a file and let the manifest tell its size and hash, as whoever means harm would."""
    put(path, name, data)
    told = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(path, lambda m: m["files"].update({name: told}))
    if name == "model.onnx":
        (path / "personal" / "current").unlink()  # that version is another model's


def instead(path, name, make):
    (path / name).unlink()
    make(path / name)


def sparse(target):
    target.touch()
    os.truncate(target, 1 << 40)


def flipped(data, rng, n=1):
    data = bytearray(data)
    for _ in range(n):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def raw_cases(whole):
    """Bits, lengths and kinds of file, without touching the manifest."""
    rng = random.Random(1)
    for name in (*FILES, "manifest.json", *PERSONAL):
        data = whole[name]
        soft = "refused" if name in FILES or name.endswith("tensors") else "any"
        for i in range(6):
            spoilt = flipped(data, rng)
            yield f"{name} bit {i}", lambda p, n=name, d=spoilt: put(p, n, d), soft
        for size in (0, 1, len(data) // 2, len(data) - 1):
            yield f"{name} cut to {size}", lambda p, n=name, d=data[:size]: put(p, n, d), soft
        yield f"{name} longer", lambda p, n=name, d=data: put(p, n, d + b"\0"), soft
        for what, make in (
            ("a folder", lambda t: t.mkdir()),
            ("a pipe", os.mkfifo),
            ("a dangling link", lambda t: t.symlink_to("nowhere")),
            ("a link to itself", lambda t: t.symlink_to(t.name)),
            ("a link to a device", lambda t: t.symlink_to("/dev/zero")),
            ("a link to a secret", lambda t: t.symlink_to("/etc/passwd")),
            ("a terabyte", sparse),
        ):
            how = "any" if (name, what) == ("personal/current", "a dangling link") else "refused"
            yield f"{name} is {what}", lambda p, n=name, m=make: instead(p, n, m), how


def places(document, above=()):
    for key in document if isinstance(document, dict) else range(len(document)):
        yield (*above, key)
        if isinstance(document[key], dict | list):
            yield from places(document[key], (*above, key))


def set_at(document, place, value):
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


def manifest_cases(whole, n):
    rng = random.Random(2)
    text = whole["manifest.json"].decode()
    spots = [place for place in places(json.loads(text)) if place[0] != "tensors" or rng.random() < 0.1]
    for i in range(n):
        place, value = rng.choice(spots), rng.choice(STRANGE)
        name = f"manifest {'.'.join(map(str, place))} = {str(value)[:20]!r} ({i})"
        yield name, lambda p, at=place, v=value: edit(p, lambda m: set_at(m, at, v)), "any"
    for what, new, how in (
        ("twice the same key", '{"schema": 1, ' + text[1:], "refused"),
        ("a key twice, deeper", text.replace('"hop_samples"', '"hop_samples": 1, "hop_samples"', 1), "refused"),
        ("not UTF-8", text.encode().replace(b"random", b"r\xff\xfedom"), "refused"),
        ("UTF-16", text.encode("utf-16"), "refused"),
        ("a BOM", "\ufeff" + text, "refused"),
        ("half a surrogate pair", text.replace("sitting", r"sit\ud800"), "refused"),
        ("three megabytes", text + " " * (3 << 20), "refused"),
        ("deep nesting", "[" * 100_000, "refused"),
        ("deep objects", '{"a":' * 100_000, "refused"),
        ("a number of a million digits", text.replace('"schema": 1', '"schema": ' + "1" * 1_000_000), "refused"),
        ("a million brackets", text.replace('"schema": 1', '"schema": [' + "[]," * 300_000 + "1]"), "refused"),
        ("a label of a megabyte", text.replace("sitting", "s" * 1_000_000), "same"),
        ("a field of a megabyte", text.replace('"name"', '"' + "n" * 1_000_000 + '"'), "refused"),
        ("NaN", text.replace('"schema": 1', '"schema": NaN'), "refused"),
        ("schema 2", text.replace('"schema": 1', '"schema": 2'), "refused"),
        ("schema 1.0", text.replace('"schema": 1', '"schema": 1.0'), "refused"),
        ("schema true", text.replace('"schema": 1', '"schema": true'), "refused"),
        ("nothing", "", "refused"),
        ("null", "null", "refused"),
        ("provenance 50 deep", text.replace('"random weights"', "[" * 50 + "]" * 50), "same"),
        ("provenance 900 deep", text.replace('"random weights"', "[" * 900 + "]" * 900), "refused"),
        ("names in other letters", text.replace("walking", "ходьба 歩く 🚶"), "same"),
    ):
        yield f"manifest: {what}", lambda p, t=new: put(p, "manifest.json", t), how
    for name in (
        "../model.onnx",
        "/etc/passwd",
        "train/../model.onnx",
        "Model.onnx",
        "model.onnx\0",
        "modèl.onnx",
        "..\\model.onnx",
        "./model.onnx",
        "model.onnx/",
        "personal/current",
    ):
        yield (
            f"manifest: the file {name!r}",
            lambda p, n=name: edit(p, lambda m: m["files"].update({n: m["files"].pop("model.onnx")})),
            "refused",
        )
    for name in ("../../x.onnx", "/etc/passwd", "train/4.onnx", "train/04.onnx/../../../x"):
        yield (
            f"manifest: the training graph {name!r}",
            lambda p, n=name: edit(p, lambda m: m["training"][0].update(file=n)),
            "refused",
        )
    yield (
        "manifest: sizes that are not the tensors'",
        lambda p: edit(p, lambda m: m["training"][0].update(sizes=[1, 1])),
        "refused",
    )
    yield "manifest: a tensor twice", lambda p: edit(p, lambda m: m["tensors"].append(m["tensors"][0])), "refused"


def header_of(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(header, values):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def tensor_cases(whole):
    header, values = header_of(whole["weights.safetensors"])
    name = "head.bias"
    begin, end = header[name]["data_offsets"]
    text = json.dumps(header)

    def entry(**changes):
        return with_header({**header, name: {**header[name], **changes}}, values)

    for what, data, how in (
        ("header longer than the file", (1 << 62).to_bytes(8, "little") + b"{}", "refused"),
        ("header of all bytes", (len(values)).to_bytes(8, "little") + values, "refused"),
        ("deep header", with_header(b"[" * 100_000, values), "refused"),
        ("large header", with_header(text.encode() + b" " * (2 << 20), values), "refused"),
        ("a number of a million digits", with_header(b'{"a":' + b"9" * 1_000_000 + b"}", values), "refused"),
        ("offsets outside", entry(data_offsets=[len(values), len(values) + 12]), "refused"),
        ("offsets below 0", entry(data_offsets=[-12, 0]), "refused"),
        ("offsets the wrong way", entry(data_offsets=[end, begin]), "refused"),
        ("offsets of huge numbers", entry(data_offsets=[1 << 80, (1 << 80) + 12]), "refused"),
        ("offsets that are floats", entry(data_offsets=[float(begin), float(end)]), "refused"),
        ("an overlap", entry(data_offsets=[0, end - begin]), "refused"),
        ("a hole", with_header(header, values + b"\0" * 8), "refused"),
        (
            "all tensors in one place",
            with_header(
                {
                    f"t{i}": {"dtype": "F32", "shape": [len(values) // 4], "data_offsets": [0, len(values)]}
                    for i in range(5000)
                },
                values,
            ),
            "refused",
        ),
        ("half precision", entry(dtype="F16"), "refused"),
        ("integers", entry(dtype="I32"), "refused"),
        ("a type that is a list", entry(dtype=["F32"]), "refused"),
        ("a shape below 0", entry(shape=[-1, -3]), "refused"),
        ("a huge shape", entry(shape=[1 << 62, 1 << 62]), "refused"),
        ("a huge shape of nothing", entry(shape=[0, 1 << 80], data_offsets=[begin, begin]), "refused"),
        ("a shape of many sides", entry(shape=[1] * 5000 + [3]), "refused"),
        ("a shape of booleans", entry(shape=[True, 3]), "refused"),
        ("a shape that is text", entry(shape="3"), "refused"),
        ("a name twice", with_header(text.replace("{", '{"head.bias": 1, ', 1).encode(), values), "refused"),
        (
            "a name in half a surrogate pair",
            with_header(text.replace("head.bias", r"head.\ud800").encode(), values),
            "refused",
        ),
        ("a tensor less", with_header({k: v for k, v in header.items() if k != name}, values), "refused"),
        (
            "a tensor more, of nothing",
            with_header({**header, "é\u202e": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}, values),
            "same",
        ),
        ("NaN", with_header(header, b"\xff" * 4 + values[4:]), "refused"),
        ("other values than the graph", with_header(header, b"\0" * len(values)), "refused"),
    ):
        yield f"weights: {what}", lambda p, d=data: seal(p, "weights.safetensors", d), how


def npy(shape, data, descr="<f4", order=False):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": order, "shape": shape})
    return file.getvalue() + data


def zipped(entries, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def golden_cases(whole):
    with np.load(io.BytesIO(whole["golden.npz"])) as file:
        arrays = {name: file[name] for name in file.files}
    parts = {f"{name}.npy": npy(array.shape, array.tobytes()) for name, array in arrays.items()}
    windows, logits = arrays["windows"], arrays["logits"]

    def swap(data, name="logits.npy"):
        return zipped({**parts, name: data}.items())

    nan = logits.copy()
    nan[0, 0] = np.nan
    expression = npy(logits.shape, logits.tobytes()).replace(b"<f4", b"+f4")
    fortran = npy(logits.shape, logits.T.tobytes(), order=True)
    encrypted = zipped(parts.items())
    start = encrypted.index(b"PK\x01\x02") + 8
    encrypted = encrypted[:start] + b"\x01" + encrypted[start + 1 :]
    many = [*parts.items(), *((f"{i}.npy", parts["logits.npy"]) for i in range(50))]
    for what, data, how in (
        ("as it was", zipped(parts.items()), "same"),
        ("columns first", swap(fortran), "same"),
        ("packed", zipped(parts.items(), zipfile.ZIP_DEFLATED), "refused"),
        ("a bomb", zipped([*parts.items(), ("x.npy", bytes(64 << 20))], zipfile.ZIP_DEFLATED), "refused"),
        ("a huge shape", swap(npy((1 << 40, 3), b"")), "refused"),
        ("a shape beyond numbers", swap(npy((1 << 200,), b"")), "refused"),
        ("a shape below 0", swap(npy((-4, -3), logits.tobytes())), "refused"),
        ("objects", swap(npy(logits.shape, b"cos\nsystem\n(S'true'\ntR.", "|O")), "refused"),
        ("doubles", swap(npy(logits.shape, logits.astype("<f8").tobytes(), "<f8")), "refused"),
        ("big endian", swap(npy(logits.shape, logits.astype(">f4").tobytes(), ">f4")), "refused"),
        ("no type", swap(expression), "refused"),
        ("NaN", swap(npy(logits.shape, nan.tobytes())), "refused"),
        ("an array less", zipped(list(parts.items())[:2]), "refused"),
        ("an array more", zipped([*parts.items(), ("x.npy", parts["logits.npy"])]), "refused"),
        ("many arrays", zipped(many), "refused"),
        ("no arrays", zipped([]), "refused"),
        ("a row less", swap(npy((len(logits) - 1, 3), logits[1:].tobytes())), "refused"),
        (
            "no rows",
            zipped((n, npy((0, *a.shape[1:]), b"")) for n, a in ((f"{k}.npy", v) for k, v in arrays.items())),
            "refused",
        ),
        (
            "windows of another length",
            swap(npy((len(windows), 33, 3), bytes(len(windows) * 396)), "windows.npy"),
            "refused",
        ),
        (
            "a name outside",
            zipped([("../logits.npy" if n == "logits.npy" else n, d) for n, d in parts.items()]),
            "refused",
        ),
        ("a pickle", swap(b"cos\nsystem\n(S'true'\ntR."), "refused"),
        ("no zip", b"PK", "refused"),
        ("encrypted", encrypted, "refused"),  # found by fuzzing
        ("numbers", np.zeros(3).tobytes(), "refused"),
    ):
        yield f"golden: {what}", lambda p, d=data: seal(p, "golden.npz", d), how


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value):
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def graph_cases(whole, n):
    """onnx.proto3: graph 7, initializer 5, node 1, attribute 5, t 5, g 6, external_data 13, data_location 14."""
    model = whole["model.onnx"]
    rng = random.Random(3)

    def outside(location):
        entry = field(1, b"location") + field(2, location)
        return field(8, b"x") + b"\x08\x04\x10\x01" + field(13, entry) + b"\x70\x01"

    for location in (b"/etc/passwd", b"../../../etc/passwd", b"weights.safetensors", b"*/_ORT_MEM_ADDR_/*", b""):
        tensor = outside(location)
        attribute = field(1, b"value") + field(5, tensor)
        node = field(2, b"x") + field(4, b"Constant") + field(5, attribute)
        inner = field(1, b"else_branch") + field(6, field(1, node))
        for what, more in (
            ("initializer", field(7, field(5, tensor))),
            ("constant", field(7, field(1, node))),
            ("branch", field(7, field(1, field(4, b"If") + field(5, inner)))),
            ("sparse", field(7, field(15, field(1, tensor)))),
            ("function", field(25, field(7, node))),
            ("training", field(20, field(1, field(5, tensor)))),
        ):
            yield f"graph: {what} at {location.decode()}", lambda p, d=model + more: seal(p, "model.onnx", d), "refused"
    deep = b"location"
    for _ in range(3000):
        deep = field(6, field(1, field(5, deep)))
    for what, data, how in (
        ("deep branches", model + field(7, field(1, field(5, deep))), "refused"),
        ("cut inside", model + field(7, field(5, b"location"))[:-1], "refused"),
        ("a number without end", model + b"location" + b"\xff" * 20, "refused"),
        ("a group", model + b"\x3b" + b"location", "refused"),
        ("a compiled engine", model + field(7, field(1, field(4, b"EPContext"))), "refused"),
        ("nothing", b"", "refused"),
        ("zeros", bytes(1000), "refused"),
        ("only the tensors", bytes(len(model)), "refused"),
        ("the word in a comment", model + field(6, b"a location"), "same"),
        (
            "an initializer of a petabyte",
            model + field(7, field(5, field(8, b"x") + b"\x08" + varint(1 << 50) + b"\x10\x01" + field(9, b"1234"))),
            "any",
        ),
    ):
        yield f"graph: {what}", lambda p, d=data: seal(p, "model.onnx", d), how
    for i in range(n):
        spoilt = flipped(model, rng, 3)
        yield f"graph: bits {i}", lambda p, d=spoilt: seal(p, "model.onnx", d), "other"
        train = flipped(whole["train/04.onnx"], rng, 3)
        yield f"training graph: bits {i}", lambda p, d=train: seal(p, "train/04.onnx", d), "any"


def personal_cases(whole):
    record = json.loads(whole["personal/0001/record.json"])
    deep = json.dumps(record)[:-1] + ', "x": ' + "[" * 200 + "]" * 200 + "}"
    for what, text in (
        ("twice the same key", '{"weights_sha256": "0", ' + json.dumps(record)[1:]),
        ("deep", deep),
        ("not finite", json.dumps({**record, "x": float("nan")})),
        ("a hash that is a number", json.dumps({**record, "weights_sha256": 0})),
        ("a hash that is null", json.dumps({**record, "weights_sha256": None})),
    ):
        yield f"record: {what}", lambda p, t=text: put(p, "personal/0001/record.json", t), "refused"
    for text in ("../0001", "/etc", "0001/../0001", "0001\0", "٠٠٠١", "0002", "9" * 4000, "\n\n0001\n"):
        how = "same" if text.strip() == "0001" else "refused"
        yield f"current: {text[:20]!r}", lambda p, t=text: put(p, "personal/current", t), how


def zip_cases(whole, n):
    """`make` returns the zip's bytes."""
    rng = random.Random(4)
    names = ("manifest.json", *sorted(FILES))
    parts = [(name, whole[name]) for name in names]
    good = zipped(parts)
    link = zipfile.ZipInfo("model.onnx")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    first = parts[1:2] * 2
    for evil in (
        "../evil",
        "/tmp/evil",
        "train/../../evil",
        "C:\\evil",
        "..\\evil",
        "evil",
        "train/",
        "personal/current",
        "manifest.json/x",
        "\u202eevil",
        "e\u0301vil",
        "model.onnx\0.txt",
    ):
        place = evil.replace("\0", "?")  # zipfile itself would not write it
        for what, entries in (
            ("more", [*parts, (place, b"evil")]),
            ("instead", [(place if name == "model.onnx" else name, data) for name, data in parts]),
        ):
            data = zipped(entries).replace(place.encode(), evil.encode())
            yield f"zip: {what}: {evil!r}", lambda d=data: d, "refused"
    twice = zipped([*parts, ("model.onny", whole["model.onnx"])]).replace(b"model.onny", b"model.onnx")
    central = good.rindex(b"PK\x05\x06")
    start = int.from_bytes(good[central + 16 : central + 20], "little")
    for what, data, how in (
        ("good", good, "same"),
        ("packed", zipped(parts, zipfile.ZIP_DEFLATED), "refused"),
        ("a bomb", zipped([*parts, ("x", bytes(64 << 20))], zipfile.ZIP_DEFLATED), "refused"),
        (
            "a bomb as a manifest",
            zipped([("manifest.json", b" " * (64 << 20)), *parts[1:]], zipfile.ZIP_DEFLATED),
            "refused",
        ),
        ("a manifest of three megabytes", zipped([("manifest.json", b" " * (3 << 20)), *parts[1:]]), "refused"),
        ("a link", zipped([*(p for p in parts if p[0] != "model.onnx"), (link, b"/etc/passwd")]), "refused"),
        ("a name twice", twice, "refused"),
        ("a file less", zipped(parts[:-1]), "refused"),
        ("no manifest", zipped(parts[1:]), "refused"),
        ("a file of another size", zipped([*parts[:-1], (names[-1], b"x")]), "refused"),
        ("other bytes of the same size", zipped([*parts[:-1], (names[-1], bytes(len(parts[-1][1])))]), "refused"),
        ("something behind", good + b"#!/bin/sh", "refused"),
        ("a comment", good[:-2] + b"\x02\x00hi", "refused"),
        ("many files", zipped([*parts, *((str(i), b"") for i in range(1100))]), "refused"),
        ("a lying count", good[: central + 8] + struct.pack("<HH", 9, 9) + good[central + 12 :], "any"),
        ("a lying place", good[: central + 16] + struct.pack("<I", 1 << 31) + good[central + 20 :], "refused"),
        ("a lying length", good[: central + 12] + struct.pack("<I", 1 << 30) + good[central + 16 :], "refused"),
        ("zip64", good[:central] + b"PK\x06\x07" + bytes(16) + good[central:], "refused"),
        ("encrypted", good[: start + 8] + b"\x01" + good[start + 9 :], "refused"),
        ("nothing", b"", "refused"),
        ("nested", zipped([("a.zip", good)]), "refused"),
        ("one file twice in the list", zipped(first), "refused"),
    ):
        yield f"zip: {what}", lambda d=data: d, how
    for i in range(n):
        spoilt = flipped(good, rng, 4)
        yield f"zip: bits {i}", lambda d=spoilt: d, "any"
        tail = good[:start] + flipped(good[start:], rng, 2)
        yield f"zip: list bits {i}", lambda d=tail: d, "any"
    for size in (10, len(good) // 2, start, central, len(good) - 1):
        yield f"zip: cut to {size}", lambda d=good[:size]: d, "refused"


def bundle_cases(whole, n):
    yield from raw_cases(whole)
    yield from manifest_cases(whole, 4 * n)
    yield from tensor_cases(whole)
    yield from golden_cases(whole)
    yield from graph_cases(whole, n)
    yield from personal_cases(whole)
