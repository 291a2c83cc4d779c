"""Several data sets as one: labels by the shipped table, signs of axes, people by their set."""

from pathlib import Path

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.recording import UNLABELLED
from sdk.datasets import dataset_info, list_datasets, load_dataset, split_by_subject, subject_of
from sdk.datasets._pool import TABLE, label_table, parts_of, pool_info, pooled, set_of
from tests.datasets.own_files import TOML, write_set

PEOPLE = '[people]\npattern = "{subject}_{session}"\n'


def two(folder, **other):
    toml = TOML.replace("ward", "home")
    for old, new in other.items():
        toml = toml.replace(*{"signs": ("[signal.acc]", f'[signal.acc]\nsigns = "{new}"'), "hz": ("50", new)}[old])
    write_set(folder / "ward")
    write_set(folder / "home", toml + PEOPLE, ("anna", "cleo"))
    return f"{folder / 'ward'}+{folder / 'home'}"


def test_a_pool_of_ones_own(tmp_path):
    name = two(tmp_path)
    info = dataset_info(name)
    assert (info.name, info.labels, info.signal.rate_hz) == ("ward+home", ("sitting", "walking"), 50)
    found = load_dataset(name)
    assert [subject_of(r) for r in found] == ["ward:anna", "ward:ben", "home:anna", "home:cleo"]
    assert [set_of(r) for r in found] == ["ward", "ward", "home", "home"]
    _, test = split_by_subject(found, ["home:anna"])
    assert [r.name for r in test] == ["own/home/anna_1"]
    with pytest.raises(InputError, match="expected one of home:anna, ward:anna, got anna, which is each of them"):
        split_by_subject(found, ["anna"])


def test_signs_of_axes_are_brought_together(tmp_path):
    """iOS reads -g face up: alone such a set stays as it is, in a pool its acceleration is turned."""
    name = two(tmp_path, signs="ios")
    [alone, *_] = load_dataset(str(tmp_path / "home"))
    found = {r.name: r for r in load_dataset(name)}
    turned, as_it_was = found["own/home/anna_1"], found["own/ward/anna_1"]
    assert (turned.samples[:, :3] == -alone.samples[:, :3]).all()
    assert (turned.samples[:, 3:] == alone.samples[:, 3:]).all()
    assert as_it_was.samples[:, 2].mean() > 9


def test_the_convention_of_each_public_set_is_stated():
    assert {name for name in list_datasets() if dataset_info(name).acc_sign < 0} == {"motionsense"}


def test_public_sets_have_one_space_of_labels():
    info = dataset_info("hapt+usc_had+wisdm_2019+realworld")
    assert info.labels[:7] == ("walking", "upstairs", "downstairs", "sitting", "standing", "laying", "jogging")
    assert not {"stairs", "running", "stand_to_sit", "walking_left", "sleeping"} & {*info.labels}
    assert info.signal.channel_names == dataset_info("hapt").signal.channel_names
    assert info.signal.rate_hz == 50
    assert info.positions[:2] == ("phone", "watch")
    assert info.n_subjects == 30 + 14 + 51 + 15
    assert not info.commercial_use
    assert dataset_info("capture24+usc_had").signal.channel_names == ("acc_x", "acc_y", "acc_z")


def test_a_set_keeps_its_other_columns_and_turns_all_accelerations():
    info = dataset_info("motionsense")
    recording = info.recording("dws_1/sub_1", np.ones((4, 15)), [0, 1, 3, UNLABELLED], "1")
    found = pooled(recording, info, ("walking", "jogging", "downstairs"))
    assert found.channels == recording.channels
    units = np.array(info.signal.units)
    assert (found.samples[0] == np.where(units == "m/s^2", -1, 1)).all()
    assert found.label_names == ("walking", "jogging", "downstairs", "stairs")
    assert found.labels.tolist() == [2, UNLABELLED, 1, UNLABELLED]


def test_a_label_that_means_two_is_kept_apart():
    info = dataset_info("wisdm_2019")
    stairs = info.labels.index("stairs")
    recording = info.recording("1600_C/phone", np.ones((2, 6)), stairs, "1600")
    found = pooled(recording, info, ("upstairs", "downstairs"))
    assert found.labels.tolist() == [2, 2]
    assert label_table().either["stairs"] == ("upstairs", "downstairs")


def test_the_table_names_labels_that_there_are():
    known = {label for name in list_datasets() for label in dataset_info(name).labels}
    table = label_table()
    assert set(table.rename) <= known | {"biking", "lying"}
    assert set(table.rename.values()) | {one for some in table.either.values() for one in some} <= known
    assert set(table.leave_out) <= known
    for name, rename in table.rename_in.items():
        assert set(rename) <= set(dataset_info(name).labels)
    comments = [line for line in Path(TABLE).read_text().splitlines() if "#" in line]
    assert len(comments) >= 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hapt+hapt", "expected each data set once, got hapt"),
        ("hapt+pamap2_heart_rate", "expected a sensor that all have, got hapt: acc, gyro; pamap2_heart_rate: heart"),
        ("hapt+motionsens", r"expected one of .*got 'motionsens'. Did you mean motionsense"),
    ],
)
def test_pools_that_cannot_be(name, message):
    with pytest.raises(InputError, match=message):
        dataset_info(name)


def test_a_path_with_a_plus_is_a_path(tmp_path):
    folder = write_set(tmp_path / "a+b")
    assert parts_of(str(folder)) == [str(folder)]
    assert dataset_info(str(folder)).name == "ward"
    assert parts_of("hapt+motionsense") == ["hapt", "motionsense"]


def test_the_sets_of_a_pool_are_called_differently(tmp_path):
    write_set(tmp_path / "a")
    write_set(tmp_path / "b")
    with pytest.raises(InputError, match="expected each data set once, got ward"):
        dataset_info(f"{tmp_path / 'a'}+{tmp_path / 'b'}")


def test_rest_is_rest_only_where_no_set_moves_in_it():
    infos = [dataset_info("hapt"), dataset_info("basicmotions")]
    assert pool_info(infos).resting == ("sitting", "laying")  # basicmotions does not say that standing is rest
