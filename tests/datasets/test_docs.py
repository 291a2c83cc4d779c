"""docs/datasets.md says of every data set what its reader says."""

from pathlib import Path

from sdk.datasets import dataset_info, list_datasets
from sdk.datasets._info import ASSUMED

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


def row(name):
    """One line of the table, out of the data set's INFO."""
    info = dataset_info(name)
    rate = f"{info.signal.rate_hz:g}"
    if info.rates_hz:
        rate = f"{min(info.rates_hz):g} to {max(info.rates_hz):g}"
    cells = (
        f"`{name}`",
        str(info.n_subjects),
        str(len(info.labels)),
        rate,
        channels(info),
        ("" if info.commercial_use else "not commercial; ") + info.licence,
        "by request or login" if info.access else "download",
        info.tested_on,
    )
    return f"| {' | '.join(cells)} |"


def channels(info):
    """Modalities with their number of channels and unit; places that are columns, and places that are recordings."""
    places = [p for p in info.positions if any(m.name.startswith(f"{p}_") for m in info.signal.modalities)]
    parts = {}
    for modality in info.signal.modalities:
        own = next((modality.name.removeprefix(f"{p}_") for p in places if modality.name.startswith(f"{p}_")), None)
        parts[own or modality.name] = f"{own or modality.name} {len(modality.channels)} ({modality.unit})"
    text = ", ".join(parts.values())
    if places:
        return f"{text}; each at {', '.join(places)}"
    return f"{text}; recordings for {', '.join(info.positions)}" if info.positions else text


def test_every_data_set_is_in_the_table():
    lines = PAGE.read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows == [row(name) for name in list_datasets()]


def test_readers_of_an_unestablished_layout_are_named():
    """Their docstrings say NOT ESTABLISHED; the page repeats it."""
    readers = Path(__file__).parents[2] / "sdk" / "datasets"
    unsure = {path.stem for path in readers.glob("[a-z]*.py") if "NOT ESTABLISHED" in path.read_text("utf-8")}
    assert unsure == {"cosmo_mhad", "goat", "mri"}
    assert {name for name in list_datasets() if dataset_info(name).tested_on == ASSUMED} == unsure | {"mri_radar"}
    section = PAGE.read_text("utf-8").partition("## What could not be established")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in unsure)


def test_everything_to_be_asked_for_is_explained():
    text = " ".join(PAGE.read_text("utf-8").split())
    for name in list_datasets():
        assert " ".join(dataset_info(name).access.split()) in text, name


if __name__ == "__main__":  # prints the table to paste
    print("\n".join(row(name) for name in list_datasets()))
