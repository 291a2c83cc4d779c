"""Hand-made features: every number computed a second time, one window and one column at a time."""

import itertools

import numpy as np
import pytest
import torch

from exporters import export_bundle
from runtime import Stream
from runtime.engine import open_engine
from runtime.errors import InputError
from sdk.encoders import Beside, Classifier, Hand, create_encoder
from sdk.encoders.untrained import blank_manifest
from sdk.features import hand_features

NORMALISED = 1 / np.sqrt(1 + 1e-5)  # what a batch normalisation that has seen nothing does
LAGS = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 1 / 2)


def log(value):
    return np.log(value + 1e-3)


def of_signal(x):
    """Mean, logs, quantiles, autocorrelation of one column; float64, sums written out."""
    n, mean = len(x), x.sum() / len(x)
    x = x - mean
    hann = np.array([np.sin(np.pi * (i + 0.5) / n) ** 2 for i in range(n)])
    power = np.abs(np.fft.rfft(x * hann / hann.sum())[1 : n // 2 + 1]) ** 2
    bands = [log(np.sqrt(power[k - 1 : 2 * k - 1].sum())) for k in (2**i for i in range(20)) if k <= n // 2]
    quantiles = np.quantile(x, (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1))
    quantiles = np.sign(quantiles) * np.log1p(np.abs(quantiles) / 0.1)
    full = np.concatenate([[0], power])
    again = [
        sum(full[k] * np.cos(2 * np.pi * k * max(1, round(lag * n)) / n) for k in range(len(full)))
        / (power.sum() + 1e-6)
        for lag in LAGS
    ]
    step = np.mean([abs(b - a) for a, b in itertools.pairwise(x)])
    return [mean, log(np.sqrt(np.mean(x**2))), log(step), *bands, *quantiles, *again]


def of_window(window):
    features = []
    for first in range(0, window.shape[1], 3):
        columns = list(window[:, first : first + 3].T.astype(np.float64))
        if len(columns) > 1:
            columns.append(np.sqrt(sum(column**2 for column in columns)))
        for column in columns:
            features += of_signal(column)
        for a, b in itertools.combinations([column - column.mean() for column in columns], 2):
            features.append((a * b).mean() / (a.std() * b.std() + 1e-6))
    return features


def windows(length=128, channels=6):
    """Noise, a tone, rest with a sway of 0.01, a table, and a jump."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, length, channels))
    x[1] = np.sin(np.arange(length) * 0.3)[:, None] + 0.01 * x[1]
    x[2] = 1 + 0.01 * x[2]
    x[3] = 0.25
    x[4, length // 2 :] += 30
    return x.astype(np.float32)


@pytest.mark.parametrize(("length", "channels"), [(128, 6), (16, 4), (33, 1), (8, 2)])
def test_every_feature_is_what_textbooks_say(length, channels):
    x = windows(length, channels)
    truth = np.array([of_window(window) for window in x])
    encoder = create_encoder("hand", length, channels).eval()
    assert encoder.n_features == truth.shape[1]
    with torch.inference_mode():
        ours = encoder(torch.from_numpy(x)).numpy()
    largest = np.abs(truth).max()
    assert np.abs(hand_features(x) - truth).max() <= 1e-5 * largest
    assert np.abs(ours - truth * NORMALISED).max() <= 1e-5 * largest


def test_as_a_graph_it_is_the_same_one_window_or_many(tmp_path):
    """From export through the engine and a stream; a head is all that the bundle can train."""
    encoder, x = create_encoder("hand"), windows()
    manifest = blank_manifest("hand", encoder, (128, 6))
    bundle = export_bundle(tmp_path / "hand.bundle", encoder, Classifier(encoder, 3).head, manifest, x)
    assert [spec.name for spec in bundle.manifest.tensors] == ["head.weight", "head.bias"]
    truth = np.array([of_window(window) for window in x]) * NORMALISED
    engine = open_engine(bundle)
    for n in (1, 5):
        assert np.abs(engine.run(x[:n], "features") - truth[:n]).max() <= 1e-5 * np.abs(truth).max()
    engine.close()
    predictions = Stream(bundle).push(x.reshape(-1, 6))
    assert len(predictions) == len(x)
    with torch.inference_mode():
        logits = bundle.golden().logits.astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([p.probabilities for p in predictions], expected, atol=1e-4)


def test_a_body_that_stands_still_is_told_from_a_table():
    """A sway of 0.01 rad/s, of a gyroscope whose spread in training was 1 rad/s."""
    rng = np.random.default_rng(1)
    table = 0.0005 * rng.normal(size=(20, 128, 3))
    sway = table + 0.01 * np.sin(np.arange(128) * 0.05 + rng.uniform(0, 6, (20, 1)))[..., None]
    features = [hand_features(x.astype(np.float32)) for x in (table, sway)]
    apart = np.abs(features[0].mean(axis=0) - features[1].mean(axis=0))
    assert (apart > 5 * (features[0].std(axis=0) + features[1].std(axis=0))).sum() >= 8


def test_beside_a_net_the_features_are_both():
    torch.manual_seed(0)
    encoder, x = create_encoder("hand+fcn", 32, 3).eval(), torch.randn(4, 32, 3)
    assert isinstance(encoder, Beside)
    assert isinstance(encoder.hand, Hand)
    assert not list(encoder.hand.parameters())
    together = torch.cat([encoder.hand(x), encoder.net(x)], dim=1)
    assert torch.equal(encoder(x), together)
    assert encoder.n_features == together.shape[1]


def test_windows_that_are_too_short_are_refused():
    with pytest.raises(InputError, match=r"^encoder hand: expected windows of at least 8 rows and one column, got 7"):
        create_encoder("hand", 7, 3)
