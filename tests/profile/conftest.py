"""Meters whose thread may come late, as on a busy machine, without that their windows count as incomplete."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def late_threads():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sdk.meters.sampling.GAP_PERIODS", 10_000)
        yield
