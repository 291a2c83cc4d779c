"""A problem of seconds: people who move slowly or fast."""

import dataclasses

import numpy as np
import torch

from runtime.recording import Recording
from runtime.specs import Modality, Signal, WindowSpec
from runtime.window import LabelledWindows
from sdk.pretrain import PretrainPlan, StudyTask, create_method, fit, method_info
from sdk.pretrain.probe import classifier_of, predict
from sdk.pretrain.views import batch_of, normalised, statistics

SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 20.0),))
TASK = StudyTask(SIGNAL, WindowSpec(32, 32), ("slow", "fast"))
# the same columns, two of one sensor and one of another
TWO_SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), 20.0), Modality("gyro", "rad/s", ("z",), 20.0)))
TWO_TASK = StudyTask(TWO_SIGNAL, WindowSpec(32, 32), ("slow", "fast"))
PLAN = PretrainPlan(epochs=4, batch=16, seed=5)


def waves(label, n, rng):
    """Samples of one person who moves slowly or fast: the frequency is the label, phase and offset are not."""
    t = np.arange(n) / 20
    hz = (0.8, 4.0)[label]
    columns = [np.sin(2 * np.pi * (hz * t + rng.random())) for _ in range(3)]
    return (np.stack(columns, 1) + rng.normal(0, 0.1, (n, 3))).astype(np.float32)


def people(n, samples=320):
    rng = np.random.default_rng(n)
    return [
        Recording(
            waves(label, samples, rng),
            SIGNAL.channel_names,
            20.0,
            labels=np.full(samples, label, np.int16),
            label_names=("slow", "fast"),
            subject=str(person),
        )
        for person in range(1, n + 1)
        for label in (0, 1)
    ]


def data(n=48):
    rng = np.random.default_rng(n)
    labels = np.arange(n) % 2
    samples = np.stack([waves(label, 32, rng) for label in labels])
    return LabelledWindows(samples, labels, np.zeros(n), np.zeros(n, np.int64))


IMAGES = method_info("img2imu").plan.settings | {"queue": 16, "maps": 8, "n_fft": 16, "hop": 2, "momentum": 0.9}
IMAGES |= {"height_px": 32, "width_px": 32}
SMALL = {
    "cmc": {"epochs": 10, "encoder": "fcn"},
    "cosmo": {"epochs": 10, "encoder": "fcn"},
    "graph": {"epochs": 8, "encoder": "fcn-stride4", "learning_rate": 5e-3},
    "img2imu": {"epochs": 12, "learning_rate": 1e-2, "settings": IMAGES},
    "maskcae": {"epochs": 20, "batch": 8, "learning_rate": 5e-3},
    "mesen": {"epochs": 10, "encoder": "fcn"},
    "simclr": {"epochs": 10, "settings": method_info("simclr").plan.settings | {"rotate": 0.0}},
    "supervised": {"epochs": 4},
}  # enough to see that it learns
NARROW = (32, 16, 16, 8, 8)  # of MaskCAE's decoder; it has 3.6 million weights, and a hundredth of the time


def plan_of(name, **changes):
    return dataclasses.replace(method_info(name).plan, **({"batch": 16, "seed": 5} | SMALL[name] | changes))


def task_of(plan):
    """The task that the plan's method can do."""
    return TASK if method_info(plan.method).needs.modalities == 1 else TWO_TASK


def photos(n=48):
    """Stripes, wide or narrow, of any colour, as bytes of shape (n, 3, 32, 32)."""
    rng = np.random.default_rng(n)
    turns = np.array([(2, 9)[i % 2] for i in range(n)])[:, None] * np.arange(32) / 32 + rng.random((n, 1))
    colour = rng.uniform(0.2, 1, (n, 3, 1, 1))
    stripes = colour * (0.5 + 0.5 * np.sin(2 * np.pi * turns))[:, None, :, None]
    return torch.from_numpy((255 * np.broadcast_to(stripes, (n, 3, 32, 32))).astype(np.uint8))


def batch(windows, plan=PLAN, task=None):
    """The tensors of all windows that the plan's method takes; photographs for a method of those."""
    if method_info(plan.method).needs.pictures:
        return (photos(),)
    task = task or task_of(plan)
    samples = normalised(windows.samples, statistics(windows.samples))
    return batch_of(method_info(plan.method).needs, task, samples, torch.from_numpy(windows.labels))


def train(plan=PLAN, **options):
    """A method trained on `data()`, and its losses."""
    method = create_method(plan, task_of(plan))
    return method, fit(method, batch(data(), plan), plan, **options)


def predicted(method, samples, task=TASK):
    """Classes of windows that a method trained on `data()` has not seen, in the units of the signal."""
    windows = data()
    normalise = statistics(windows.samples)
    classifier = classifier_of(method, task, normalised(windows.samples, normalise), windows.labels)
    return predict(classifier, normalised(samples, normalise)[:, :, task.kept_columns])


def state(method):
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
