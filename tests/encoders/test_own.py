"""Encoders of one's own: found by name, tried, trained, exported; and what does not fit, in a line."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from exporters import export_bundle
from exporters.__main__ import main as exporters_main
from runtime import Recording, open_engine
from runtime.bundle import Bundle
from runtime.errors import InputError
from sdk.datasets import dataset_info
from sdk.encoders import Own, create_encoder, register_own, registry
from sdk.pretrain.__main__ import main
from tests.bundles_small import CHANNELS, LENGTH, small_manifest, small_windows

NETS = """
import torch
from torch import nn
import colorsys

class First(nn.Module):
    def __init__(self, length=0, channels=3):
        super().__init__()
        self.c = nn.Conv1d(channels, 5, 3)
    def forward(self, x):
        return self.c(x).mean(-1)

class Last(nn.Module):
    def __init__(self, length, channels):
        super().__init__()
        self.r, self.d = nn.GRU(channels, 4, batch_first=True), nn.Dropout(0.5)
    def forward(self, x):
        return self.d(self.r(x)[0][:, -1])

class Steps(Last):
    def forward(self, x):
        return self.r(x)[0]

class Pair(Last):
    def forward(self, x):
        return self.r(x)

class Liar(Last):
    n_features = 7

kept = First()
def same(): return kept
def nothing(): return First()
def both(length, channels): return First(length, channels), nn.Linear(5, 3)
def whole(): return nn.Sequential(First(), nn.Identity()), nn.Linear(5, 3)
def wide(): return First(0, 5)
def three(a, b, c): return First()
def no_module(): return 7
def fails(length, channels): return First(0, channels // 0)
def head_of_four(): return First(), nn.Linear(4, 3)
def head_of_two(): return First(), nn.Linear(5, 2)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """A folder with nets, and with a file that would hide one of Python's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('of the folder')")
    before = list(sys.path)
    yield
    assert sys.path == before
    for name in ("nets", "own_nets"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "n_features", "first"),
    [
        ("nets.py:First", 5, True),
        ("nets.py:Last", 4, False),
        ("nets.py:nothing", 5, True),
        ("nets.py:both", 5, True),
        ("nets:Last", 4, False),
    ],
)
def test_any_module_becomes_an_encoder(name, n_features, first):
    assert register_own(name) == name
    encoder = create_encoder(name, LENGTH, CHANNELS)
    assert (encoder.n_features, encoder.channels_first) == (n_features, first)
    assert encoder.training
    windows = torch.from_numpy(small_windows(3))
    encoder.eval()
    assert torch.equal(encoder(windows), encoder.module(windows.transpose(1, 2) if first else windows))


def test_one_that_it_keeps_is_not_trained_twice():
    register_own("nets.py:same")
    one, other = (create_encoder("nets.py:same", LENGTH, CHANNELS) for _ in range(2))
    assert {id(p) for p in one.parameters()}.isdisjoint({id(p) for p in other.parameters()})


def test_a_file_that_was_changed_is_read_again(tmp_path):
    register_own("nets.py:First")
    (tmp_path / "nets.py").write_text(NETS.replace("channels, 5, 3", "channels, 6, 3"))
    register_own("nets.py:First")
    assert create_encoder("nets.py:First", LENGTH, CHANNELS).n_features == 6


BOTH = r"expected a module from windows \(n, 32, 3\) or \(n, 3, 32\) to features \(n, k\), got "


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "wide",
            r"nets\.py:wide: " + BOTH + r"for \(2, 32, 3\) RuntimeError: .* 32 channels.*; for \(2, 3, 32\) RuntimeE",
        ),
        ("Steps", BOTH + r"for \(2, 32, 3\) \(2, 32, 4\)\. Let it give a row of features .* flatten\(1\), or a mean"),
        ("Pair", BOTH + r"for \(2, 32, 3\) a tuple, not a tensor; "),
        ("Liar", r"nets\.py:Liar: n_features: expected 4, as it gives, got 7\."),
        ("three", r"nets\.py:three: expected a function of \(length_samples, n_channels\), .* got \(a, b, c\)"),
        ("no_module", r"nets\.py:no_module: expected a torch\.nn\.Module, got int"),
        ("fails", r"nets\.py:fails: expected a module, got ZeroDivisionError: .*, at nets\.py line 39\."),
    ],
)
def test_what_does_not_fit_is_one_line(name, message):
    register_own(f"nets.py:{name}")
    with pytest.raises(InputError, match=message) as caught:
        create_encoder(f"nets.py:{name}", LENGTH, CHANNELS)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nets.py:gone", r"--encoder: expected MODULE:FUNCTION, got nets\.py:gone \(AttributeError"),
        ("other.py:make", r"got other\.py, which is no file\. Correct its path"),
        ("other:make", r"got other:make \(ModuleNotFoundError: No module named 'other'"),
        ("nets.py:", r"got nets\.py:\. Name the function"),
        ("broken.py:make", r"got broken\.py:make \(SyntaxError"),
        (
            "lacks.py:make",
            r"No module named 'beside'.*\)\. Install what is missing; of this folder lacks\.py alone is read\.",
        ),
    ],
)
def test_a_name_that_leads_nowhere(tmp_path, name, message):
    (tmp_path / "broken.py").write_text("def make(:")
    (tmp_path / "lacks.py").write_text("import beside")
    (tmp_path / "beside.py").write_text("")
    with pytest.raises(InputError, match=message):
        register_own(name)


def test_from_python_a_module_is_wrapped():
    encoder = Own(nn.Sequential(nn.Flatten(), nn.Linear(LENGTH * CHANNELS, 6)), (LENGTH, CHANNELS))
    assert (encoder.n_features, encoder.channels_first) == (6, False)
    with pytest.raises(InputError, match=r"encoder: expected a module from windows"):
        Own(nn.Linear(7, 2), (LENGTH, CHANNELS))


# ---- pretraining


def people(info):
    """Two activities of four people, slow and fast."""
    rng, t = np.random.default_rng(0), np.arange(400) / 50
    for person in range(1, 5):
        for label, hz in ((0, 0.8), (1, 4.0)):
            columns = [np.sin(2 * np.pi * (hz * t + rng.random())) for _ in range(6)]
            samples = (np.stack(columns, 1) + rng.normal(0, 0.1, (400, 6))).astype(np.float32)
            yield Recording(
                samples,
                tuple(f"{m}_{axis}" for m in ("acc", "gyro") for axis in "xyz"),
                50.0,
                labels=np.full(400, label, np.int16),
                label_names=info.labels[:2],
                subject=str(person),
            )


def test_the_command_trains_it_and_exports_it(monkeypatch, capsys):
    info = dataset_info("motionsense")
    monkeypatch.setattr("sdk.pretrain.__main__.load_dataset", lambda name, folder: list(people(info)))
    command = ["motionsense", "--out", "runs", "--test", "4", "--labels", ",".join(info.labels[:2]), "--length", "32"]
    command += ["--hop", "32", "--epochs", "2", "--threads", str(torch.get_num_threads())]
    assert main([*command, "--encoder", "nets.py:both", "--bundle", "own.bundle"]) == 0
    bundle = Bundle.open("own.bundle")
    assert bundle.manifest.provenance["plan"]["encoder"] == "nets.py:both"
    assert [spec.name for spec in bundle.manifest.tensors][:1] == ["encoder.module.c.weight"]
    assert len(bundle.manifest.training) == 2
    capsys.readouterr()
    assert main([*command, "--encoder", "nets.py:Steps"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: nets.py:Steps: expected a module from windows (n, 32, 6) or (n, 6, 32)")
    with pytest.raises(SystemExit):
        main([*command, "--encoder", "tcn"])
    assert "invalid choice: 'tcn' (choose from 1d-cnn, " in capsys.readouterr().err


# ---- exporting


def test_a_module_that_wants_its_channels_first_is_exported(tmp_path, capsys):
    (tmp_path / "m.json").write_text(small_manifest().to_json())
    np.savez("w.npz", windows=small_windows(4))
    files = ["--manifest", "m.json", "--windows", "w.npz"]
    assert exporters_main(["onnx", "o.bundle", "--module", "nets.py:whole", *files]) == 0
    said = capsys.readouterr().err
    assert "note: nets.py:whole takes (n, 3, 32): the graph turns windows (n, 32, 3)" in said
    bundle = Bundle.open("o.bundle")
    weight, bias = (bundle.tensor(f"encoder.0.c.{name}") for name in ("weight", "bias"))
    values = ((small_windows(2) - np.float32([0.5, -1, 9])) / np.float32([2, 3, 4])).transpose(0, 2, 1)
    features = (
        nn.functional.conv1d(*map(torch.from_numpy, (values.copy(), weight.copy(), bias.copy()))).mean(-1).numpy()
    )
    assert np.abs(open_engine(bundle).run(small_windows(2), "features") - features).max() < 1e-5
    for name, message in (
        ("wide", "expected (encoder, head)"),
        ("head_of_four", "head: expected a layer that takes the encoder's 5 features, got one of 4"),
        ("head_of_two", "m.json: labels: expected 2 names, one for each class of the model, got 3: sitting"),
    ):
        assert exporters_main(["onnx", "p.bundle", "--module", f"nets.py:{name}", *files]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert message in error[-1]
        assert sum(line.startswith("error") for line in error) == len(error) - ("head" in name) == 1


def test_export_bundle_says_what_does_not_fit(tmp_path):
    windows = small_windows(2)
    with pytest.raises(InputError, match=r"encoder: expected a module from windows \(n, 32, 3\) or \(n, 3, 32\)"):
        export_bundle(tmp_path / "b", nn.Conv1d(4, 5, 3), nn.Linear(5, 3), small_manifest(), windows)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(LENGTH * CHANNELS, 6))
    with pytest.raises(InputError, match=r"manifest: labels: expected 4 names"):
        export_bundle(tmp_path / "b", encoder, nn.Linear(6, 4), small_manifest(), windows)
