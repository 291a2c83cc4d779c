"""The small bundles, exported once per session: an export is the slow part of these tests."""

import pytest
from encoders_small import export_of


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory):
    """name -> (bundle, torch module from windows or images to logits, these)."""
    done = {}

    def export(name):
        if name not in done:
            done[name] = export_of(name, tmp_path_factory.mktemp(name) / "small.bundle")
        return done[name]

    return export
