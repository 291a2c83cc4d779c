"""The learning rate against a plain transcription, number for number."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sdk.schedule import learning_rate


def plain(peak, n_steps, warm_up, cosine):
    rates = []
    for step in range(n_steps):
        if step < warm_up:
            rates.append(peak * (step + 1) / warm_up)
        elif cosine:
            rates.append(peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (n_steps - warm_up))))
        else:
            rates.append(peak)
    return rates


@given(
    peak=st.floats(1e-8, 10),
    n_steps=st.integers(1, 60),
    share=st.floats(0, 1),
    cosine=st.booleans(),
)
def test_every_step_has_the_rate_of_the_transcription(peak, n_steps, share, cosine):
    warm_up = round(share * n_steps)
    found = [learning_rate(peak, step, n_steps, warm_up=warm_up, cosine=cosine) for step in range(n_steps)]
    assert found == plain(peak, n_steps, warm_up, cosine)
    assert 0 < min(found) <= max(found) <= peak * (1 + 1e-15)


def test_by_hand():
    assert [learning_rate(1.0, step, 4, warm_up=2) for step in range(4)] == [0.5, 1.0, 1.0, 0.5]
    assert [learning_rate(2.0, step, 3, cosine=False) for step in range(3)] == [2.0, 2.0, 2.0]
    assert learning_rate(1.0, 0, 1) == 1.0
    assert learning_rate(1.0, 1, 1, warm_up=1) == 1.0  # asked beyond the end, nothing is divided by zero
