"""Small bundles of every encoder, exported once per session and copied for each test."""

import shutil

import pytest
from bundles_small import Exported, small_manifest, small_parts, small_windows


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """exported(name): the session's bundle of one encoder. Not to be written to: see `small_bundle`."""
    import torch

    from exporters import export_bundle

    done = {}

    def export(name):
        if name not in done:
            encoder, head = small_parts(name)
            manifest, windows = small_manifest(), small_windows(4)
            path = tmp_path_factory.mktemp(name) / "small.bundle"
            export_bundle(path, encoder, head, manifest, windows)
            mean, std = torch.tensor(manifest.normalise.mean), torch.tensor(manifest.normalise.std)

            @torch.inference_mode()
            def module(samples):
                features = encoder((torch.from_numpy(samples) - mean) / std)
                return features.numpy(), head(features).numpy()

            module.encoder, module.head = encoder, head
            done[name] = Exported(path, module, windows)
        return done[name]

    return export


@pytest.fixture
def small_bundle(exported, tmp_path):
    """The path of a small bundle that a test may spoil."""
    return shutil.copytree(exported("fcn").path, tmp_path / "small.bundle")
