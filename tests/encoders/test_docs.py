"""docs/encoders.md lists every encoder, and what it says of sizes is true."""

from pathlib import Path

import pytest
import torch

from sdk.encoders import create_encoder, encoder_info, list_encoders, with_body
from sdk.encoders.untrained import count_macs

PAGE = (Path(__file__).parent.parent.parent / "docs" / "encoders.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
TABLE = {row[0].strip("`"): row[1:] for row in ROWS if len(row) == 10}
HEADS = {row[0].strip("`"): row[1:] for row in ROWS if len(row) == 3}
UNROLLED = ("deepconvlstm", "cnn-gru")  # their MACs take seconds to count; counted in test_more.py


def number(text):
    return float(text.replace(",", ""))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_encoder_is_listed_in_order():
    assert list(TABLE) == list_encoders()
    text = PAGE.partition("## Where each comes from")[2]
    assert not [name for name in list_encoders() if f"`{name}`" not in text]


@pytest.mark.parametrize("name", list_encoders())
def test_what_is_said_of_an_encoder_is_true(name):
    paper, window, features, parameters, macs, *measured = TABLE[name]
    info = encoder_info(name)
    assert paper == info.paper
    assert window == " x ".join(map(str, info.shape))
    with torch.device("meta"):
        encoder = create_encoder(name)
    assert number(features) == encoder.n_features
    assert number(parameters) == count(encoder)
    if name not in UNROLLED:
        assert number(macs) == round(count_macs(name) / 1e6, 2)
    ms, fastest, per_second, megabytes = map(number, measured)
    assert 0 < fastest <= ms
    assert ms * per_second == pytest.approx(1000, rel=0.02)
    assert megabytes > 2 * 4 * count(encoder) / 1e6  # every tensor twice


@pytest.mark.parametrize("kind", ["linear", "mlp", "gru", "lstm"])
def test_what_is_said_of_a_head_is_true(kind):
    with torch.device("meta"):
        encoder = create_encoder("cnn-transformer")
        bodied = with_body(encoder, kind)
    assert number(HEADS[kind][1]) == count(bodied) - count(encoder)
