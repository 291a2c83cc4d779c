"""IMG2IMU: what follows, what is kept, what is read, and what is refused."""

import dataclasses
import io
import tarfile

import numpy as np
import pytest
import torch

from runtime.errors import InputError
from runtime.specs import Modality, Signal, WindowSpec
from runtime.spectrogram import Spectrogram
from sdk.pretrain import Split, StudyTask, create_method, read_photos, run_study
from sdk.pretrain.__main__ import main
from sdk.pretrain.contrast import against_queue
from tests.pretrain.small import IMAGES, PLAN, TASK, data, people, photos, plan_of, same, state

Image = pytest.importorskip("PIL.Image")


def small(**settings):
    plan = plan_of("img2imu")
    return dataclasses.replace(plan, settings={**IMAGES, "queue": 64, **settings})


def test_a_step_is_its_equations():
    """No views, so q and k are of the same pictures: the loss, the weights that follow, the rows that are kept."""
    method = create_method(small(translate=0, permute=0, hue=0, jitter=0, momentum=0.75), TASK)
    with torch.no_grad():
        for parameter in method.net.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    before, queue = state(method), method.queue.clone()
    loss = method(*method.view(photos()[:16]))
    for name, own in method.key.named_parameters():
        expected = 0.75 * before[f"key.{name}"] + 0.25 * before[f"net.{name}"]
        torch.testing.assert_close(own, expected)
        assert not own.requires_grad
    assert torch.equal(method.queue[16:], queue[16:])
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(64))
    pictures = (photos()[:16] / 255.0 - method.mean) / method.std
    q = torch.nn.functional.normalize(method.net(pictures), dim=1)
    torch.testing.assert_close(loss, against_queue(q, method.queue[:16], queue, 0.07))
    # the oldest go first, and the place wraps
    for n in (40, 12):
        method(*method.view(photos()[:n]))
    assert int(method.place) == 4


def test_queue_place_and_followers_are_in_the_checkpoint():
    names = state(create_method(small(), TASK))
    assert {"queue", "place", "key.1.weight", "key.0.layer4.1.bn2.running_var"} <= names.keys()


def test_it_looks_at_what_the_runtime_draws():
    method = create_method(small(), TASK).eval()
    drawn, windows = method.encoders[0], data(4).samples
    images = Spectrogram.of(drawn.spec, TASK.signal, TASK.window).images(windows)
    torch.testing.assert_close(drawn(torch.from_numpy(windows)), drawn.net(torch.from_numpy(images)))


def test_folds_share_what_photographs_taught(tmp_path):
    plan = dataclasses.replace(small(), epochs=1)
    splits = [Split("a", ("1",)), Split("b", ("2",))]
    run_study(people(3), TASK, plan, splits, 1, tmp_path, photos=photos())
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "metrics.jsonl",
        "photos-seed0.safetensors",
        "report.json",
    ]
    with pytest.raises(InputError, match=r"expected windows as it was trained on"):
        run_study(people(3), TASK, plan, splits, 1, tmp_path, photos=photos(30))


TWO = StudyTask(Signal((Modality("acc", "m/s^2", ("x", "y"), 20.0),)), WindowSpec(32, 32), ("slow", "fast"))


@pytest.mark.parametrize(
    ("change", "task", "text"),
    [
        ({"encoder": "fcn"}, TASK, r"method img2imu: expected encoder resnet18, got fcn\. Leave"),
        ({"batch": 65}, TASK, r"queue: expected at least the 65 rows of a batch, got 64\. Raise it"),
        ({"few": 1, "naming": "both"}, TASK, r"expected windows as they come: .*, got naming by its features\. Leave"),
        ({"arcsinh": True, "frame": "gravity"}, TASK, r"expected windows as they come: .*, got frame, arcsinh\. Leave"),
        (
            {},
            TWO,
            r"expected three channels of one rate, and windows of n_fft = 16 .*, got acc_x, acc_y in windows of 32\. ",
        ),
        ({}, dataclasses.replace(TASK, window=WindowSpec(8, 8)), r"got acc_x, acc_y, acc_z in windows of 8\."),
    ],
)
def test_what_cannot_be_is_refused(change, task, text):
    with pytest.raises(InputError, match=text):
        create_method(dataclasses.replace(small(), **change), task)


def test_photographs_are_asked_for_and_nobody_else_takes_them(tmp_path):
    split = [Split("test", ("3",))]
    with pytest.raises(InputError, match=r"method img2imu: expected photographs, got none\. .*--images\."):
        run_study(people(3), TASK, small(), split, 1, tmp_path)
    with pytest.raises(InputError, match=r"method supervised: expected no photographs, got some\."):
        run_study(people(3), TASK, PLAN, split, 1, tmp_path, photos=photos())


# --- photographs


def jpeg(colour, size=(20, 10)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


FILES = {f"train/{name}/{i}.JPEG": jpeg((40 * i, 255 if name == "b" else 0, 9)) for name in "ab" for i in range(3)}
FILES["README.md"] = b"no image"


@pytest.fixture(params=["folder", "tar", "tar.xz"])
def album(request, tmp_path):
    path = tmp_path / request.param
    if request.param == "folder":
        for name, content in FILES.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path
    with tarfile.open(path, "w:xz" if "xz" in request.param else "w") as tar:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_photos_of_a_folder_and_of_a_tar_are_the_same(album):
    found = read_photos(album, 6, 8)
    assert (found.shape, found.dtype) == ((6, 3, 6, 8), torch.uint8)
    middle = found[:, :, 3, 4].numpy().astype(int)
    np.testing.assert_allclose(middle, [(40 * i, g, 9) for g in (0, 255) for i in range(3)], atol=4)
    few = read_photos(album, 6, 8, 2)  # one of each class
    assert torch.equal(few, found[[0, 3]])


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", jpeg((1, 2, 3))[:200]])
def test_a_damaged_photo_is_named(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(jpeg((1, 2, 3)))
    (tmp_path / "b.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"b\.jpg: expected an image, got .*Remove it"):
        read_photos(tmp_path, 6, 8)


def test_no_photos_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("no tar")
    for path, text in ((tmp_path, "two images or more"), (tmp_path / "a.txt", "a tar"), (tmp_path / "none", "a tar")):
        with pytest.raises(InputError, match=text):
            read_photos(path, 6, 8)


def test_the_command_reads_them(tmp_path, monkeypatch, capsys):
    asked = {}

    def study(*_, **more):
        asked.update(more)
        return {"runs": [], "summary": {}, "task": {"labels": []}}

    monkeypatch.setattr("sdk.pretrain.__main__.run_study", study)
    monkeypatch.setattr("sdk.pretrain.__main__.load_dataset", lambda name, folder: [])
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg((i, i, i)))
    base = ["motionsense", "--out", str(tmp_path), "--test", "1", "--images", str(tmp_path), "--json"]
    base += ["--threads", str(torch.get_num_threads())]
    sizes = ["--set", "height_px=8", "--set", "width_px=12"]
    assert main([*base, "--method", "img2imu", *sizes, "--most-images", "2"]) == 0
    assert asked["photos"].shape == (2, 3, 8, 12)
    capsys.readouterr()
    assert main(base) == 2
    assert "--images: expected a method of photographs, such as img2imu, got supervised" in capsys.readouterr().err


def test_the_state_of_two_runs_is_the_same():
    assert same(state(create_method(small(), TASK)), state(create_method(small(), TASK)))
