"""Sources and sinks may take their time: what is closed is waited for, however slow this machine is."""

import pytest

from runtime.sources import base
from tests.waiting import PATIENCE_S

LONG_S = 30 * PATIENCE_S  # a test that waited for so long would not end by itself


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """No wait ends because time is up. Closing may take a second where nothing else runs: `test_limits.py`."""
    monkeypatch.setattr(base, "_JOIN_S", LONG_S)
    monkeypatch.setattr("runtime.sinks.mqtt._DRAIN_S", LONG_S)
    monkeypatch.setattr("runtime.sinks.mqtt._JOIN_S", 2 * LONG_S)
    for module in ("runtime.wire.mqtt", "runtime.sources.mqtt"):
        monkeypatch.setattr(f"{module}.CONNECT_S", PATIENCE_S)
