"""What a bundle is, for people and for programs: signal, window, layers, memory, files, where it comes from.

    describe(path) -> dict of plain JSON        text(dict) -> a page for a terminal        svg(dict) -> a picture

It needs the package onnx, not torch. What a bundle does not have is not in the dict, or None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from runtime.bundle import Bundle
from runtime.command import table
from runtime.errors import MissingError
from runtime.specs import BASE

_WIDTH = 78  # of the page
_BAR = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"


def describe(path: str | Path | Bundle, version: str | None = None) -> dict[str, Any]:
    """Everything that the page shows.

    Args:
        path: of the bundle; or the bundle.
        version: of a path: "base", "0001", ... or None for the one in use.

    Raises:
        BundleError: the bundle is broken.
        MissingError: the package onnx is not here.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "inspect", expected="the package onnx", got="none", fix='Install it: pip install "sensedge[graphs]"'
        ) from error
    from exporters.costs import graph_cost

    bundle = path if isinstance(path, Bundle) else Bundle.open(path, version)
    manifest = bundle.manifest
    stored = json.loads(manifest.to_json())
    facts = {
        key: stored.get(key)
        for key in ("name", "schema", "signal", "window", "labels", "normalise", "spectrogram", "events", "provenance")
    }
    cost = asdict(graph_cost(bundle.model(), manifest))
    graph = {
        "input": [manifest.input_name, *manifest.input_shape],
        "features": manifest.features,
        "bytes": stored["files"]["model.onnx"]["bytes"],
        **cost,
    }
    training = [
        {"layer": t.layer, "fixed_bytes": t.fixed_bytes, "bytes_per_window": t.bytes_per_window, "cut": t.cut}
        for t in manifest.training
    ]
    return {
        **facts,
        "window_s": manifest.window_s,
        "hop_s": manifest.hop_s,
        "graph": graph,
        "training": training,
        "variants": [_variant(raw, stored["files"]) for raw in stored.get("variants", ())],
        "signature": (bundle.path / "manifest.sig").is_file(),
        "files": {name: spec["bytes"] for name, spec in sorted(stored["files"].items())},
        "versions": {"in_use": bundle.version, "personal": bundle.versions(), "record": _record(bundle)},
    }


def _record(bundle: Bundle) -> dict[str, Any] | None:
    """What the version in use is said to have gained; None for the base, whose figures are in its provenance."""
    if bundle.version == BASE:
        return None
    record = bundle.record(bundle.version)
    return {key: record.get(key) for key in ("parent", "before", "after", "windows_per_label")}


def _variant(raw: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, Any]:
    file = str(raw.get("file"))
    return {"precision": raw.get("precision"), "file": file, "bytes": files.get(file, {}).get("bytes")}


def text(facts: Mapping[str, Any]) -> str:
    """The facts of a bundle as a page for a terminal."""
    versions = facts["versions"]
    signed = "signed" if facts["signature"] else "not signed"
    title = f"{facts['name']}  ·  version {versions['in_use']} of {1 + len(versions['personal'])}  ·  {signed}"
    parts = [
        ("signal", _signal(facts)),
        ("window", _window(facts)),
        ("labels", [f"{len(facts['labels'])}: {', '.join(facts['labels'])}"]),
        ("graph", _graph(facts)),
        ("layers", _layers(facts["graph"]["layers"])),
        ("memory", _memory(facts)),
        ("files", _files(facts["files"])),
        *([("in use", _in_use(versions, len(facts["labels"])))] if versions["record"] is not None else []),
        ("comes from", _provenance(facts["provenance"], personal=versions["record"] is not None)),
    ]
    lines = [title, "═" * min(max(len(title), 40), _WIDTH)]
    for name, content in parts:
        lines += ["", *(f"{name if i == 0 else '':<11}{line}".rstrip() for i, line in enumerate(_wrapped(content)))]
    return "\n".join(lines)


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Long lines of words broken; tables stay."""
    import textwrap

    wrapped: list[str] = []
    for line in lines:
        fits = len(line) <= _WIDTH - 11 or "  " in line.strip()
        wrapped += [line] if fits else textwrap.wrap(line, _WIDTH - 11, subsequent_indent="  ")
    return wrapped or ["none"]


def _signal(facts: Mapping[str, Any]) -> list[str]:
    rows = [
        [m["name"], " ".join(m["channels"]), m["unit"], f"{m['rate_hz']:g} Hz"] for m in facts["signal"]["modalities"]
    ]
    return table(rows, ("modality", "channels", "unit", "rate")).splitlines()


def _window(facts: Mapping[str, Any]) -> list[str]:
    """Three windows as they follow one another, to scale."""
    window = facts["window"]
    length, hop = window["length_samples"], window["hop_samples"]
    shown = 1 + 2 * hop / length
    cells = (_WIDTH - 30) / shown
    lines = []
    for i in range(3):
        begin, end = round(i * hop / length * cells), round((i * hop / length + 1) * cells)
        lines.append(f"{' ' * begin}▕{'█░▒'[i] * max(end - begin - 2, 1)}▏ {i * facts['hop_s']:g} s")
    said = f"{length} samples = {facts['window_s']:g} s, a new one every {hop} = {facts['hop_s']:g} s"
    spec = facts["spectrogram"]
    if spec is None:
        front = "front-end: mean and deviation per channel, in the graph"
    else:
        where = "in the graph" if spec["in_graph"] else "drawn by the runtime"
        front = (
            f"front-end: spectrogram of {', '.join(spec['channels'])}, {spec['n_fft']} rows per column, "
            f"{spec['hop_samples']} between columns, {spec['width_px']} x {spec['height_px']} px, {where}"
        )
    return [said, *lines, front]


def _graph(facts: Mapping[str, Any]) -> list[str]:
    graph = facts["graph"]
    name, *shape = graph["input"]
    counts = graph["operators"]
    return [
        f"{name} (n, {', '.join(map(str, shape))}) → features (n, {graph['features']}), "
        f"logits (n, {len(facts['labels'])})",
        f"opset {graph['opset']}, {sum(counts.values())} nodes: "
        + ", ".join(f"{count} {op}" for op, count in counts.items()),
        *(f"variant {v['precision']}: {_size(v['bytes'])}" for v in facts["variants"] if v["bytes"] is not None),
    ]


def _layers(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    most = max(layer["macs"] for layer in layers) or 1
    rows = [
        (
            f"{layer['layer'] if layer['layer'] >= 0 else '':>3} {_short(layer['name'])}",
            layer["nodes"],
            _count(layer["parameters"]),
            _count(layer["macs"]),
            _size(layer["activation_bytes"]),
        )
        for layer in layers
    ]
    total = {key: sum(layer[key] for layer in layers) for key in ("nodes", "parameters", "macs", "activation_bytes")}
    rows.append(
        (
            "    all",
            total["nodes"],
            _count(total["parameters"]),
            _count(total["macs"]),
            _size(total["activation_bytes"]),
        )
    )
    lines = table(rows, ("layer", "nodes", "parameters", "MACs", "written")).splitlines()
    bars = ["", "", *(_bar(layer["macs"] / most, 14) for layer in layers), ""]
    return [f"{line}  {bar}" for line, bar in zip(lines, bars, strict=True)]


def _memory(facts: Mapping[str, Any]) -> list[str]:
    """Bars for what fills memory; training is for a batch of 16, as sdk.finetune has it."""
    graph = facts["graph"]
    rows = [("weights", graph["weight_bytes"]), ("activations, peak, one window", graph["peak_activation_bytes"])]
    rows += [
        (f"training from layer {t['layer']}, 16 windows", t["fixed_bytes"] + 16 * t["bytes_per_window"])
        for t in facts["training"]
    ]
    most = max(size for _, size in rows) or 1
    lines = [f"{name:<34}{_size(size):>9}  {_bar(size / most, _BAR - 6)}" for name, size in rows]
    return lines if facts["training"] else [*lines, "no training graphs: python -m exporters train BUNDLE"]


def _files(files: Mapping[str, int]) -> list[str]:
    most = max(files.values())
    return [f"{name:<34}{_size(size):>9}  {_bar(size / most, _BAR - 6)}" for name, size in files.items()]


def _in_use(versions: Mapping[str, Any], n_classes: int) -> list[str]:
    """What a version that was trained on this device is, with its own figures."""
    record = versions["record"]
    lines = [f"version {versions['in_use']}, trained on this device from {record['parent'] or 'an unknown version'}"]
    before, after = record["before"], record["after"]
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        classes = after.get("macro_f1_classes")
        over = f" over {classes} of {n_classes} classes" if classes is not None else ""
        lines.append(
            f"held-out labels: macro-F1 {_said(before.get('macro_f1'))} -> {_said(after.get('macro_f1'))}{over}"
        )
    if isinstance(record["windows_per_label"], Mapping):
        lines.append(f"labelled windows: {_said({k: n for k, n in record['windows_per_label'].items() if n})}")
    return lines


def _provenance(raw: Mapping[str, Any], *, personal: bool) -> list[str]:
    """How the base came to be; where another version is in use, its scores are said to be the base's."""
    names = {"unseen_people": "unseen_people (of the base, not of the version in use)"} if personal else {}
    return [f"{names.get(key, key)}: {_said(value)}" for key, value in raw.items() if key != "no_training_from"]


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(item)}" for key, item in value.items() if key != "operators")
    if isinstance(value, list):
        return " ".join(map(_said, value))
    return f"{value:.3g}" if isinstance(value, float) else " ".join(str(value).split())


def _bar(share: float, width: int) -> str:
    """A bar with eighths of a cell; what is not 0 is seen."""
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"…{name[-23:]}"


def _count(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} B"


def svg(facts: Mapping[str, Any]) -> str:
    """The layers as a picture: products to the right, parameters to the left, memory below the names."""
    layers = facts["graph"]["layers"]
    row, top, middle, span = 26, 64, 380, 250
    most_macs = max(layer["macs"] for layer in layers) or 1
    most_parameters = max(layer["parameters"] for layer in layers) or 1
    height = top + row * len(layers) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" viewBox="0 0 760 {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">',
        f'<rect width="760" height="{height}" fill="#fff"/>',
        f'<text x="20" y="26" font-size="16" font-weight="600">{escape(facts["name"])}</text>',
        f'<text x="20" y="48" fill="#666">{_count(facts["graph"]["parameters"])} parameters, '
        f"{_count(facts['graph']['macs'])} MACs per window of {facts['window_s']:g} s</text>",
        f'<text x="{middle - 90}" y="48" text-anchor="end" fill="#b35c00">parameters</text>',
        f'<text x="{middle + 90}" y="48" fill="#1f5fa8">MACs</text>',
    ]
    for i, layer in enumerate(layers):
        y = top + row * i
        left, right = (
            (span - 90) * layer["parameters"] / most_parameters,
            (span - 20) * layer["macs"] / most_macs,
        )
        parts += [
            f'<text x="{middle}" y="{y + 13}" text-anchor="middle">{escape(_short(layer["name"]))}</text>',
            f'<rect x="{middle - 90 - left:.1f}" y="{y + 2}" width="{left:.1f}" height="14" rx="2" fill="#f0a050"/>',
            f'<rect x="{middle + 90}" y="{y + 2}" width="{right:.1f}" height="14" rx="2" fill="#6aa5e0"/>',
            f'<text x="{middle - 94 - left:.1f}" y="{y + 13}" text-anchor="end" fill="#666">'
            f"{_count(layer['parameters'])}</text>",
            f'<text x="{middle + 94 + right:.1f}" y="{y + 13}" fill="#666">{_count(layer["macs"])}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
