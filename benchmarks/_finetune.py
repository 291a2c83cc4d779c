"""The two plans that bench_finetune compares, and one whole training of either, in a process without torch.

python -m benchmarks._finetune BUNDLE DATA.npz KIND     prints joules, seconds and the peak of memory as JSON
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # noqa: F401  (its own memory is no part of the training's)

from runtime import Bundle
from sdk.finetune import FinetunePlan, LabelledSet
from sdk.finetune.layers import LayerRun
from sdk.finetune.scratch import scratch_tensors
from sdk.meters import measure, open_meter

EPOCHS = 60
PLANS = {
    "labeltrain": FinetunePlan("full", "zero", 0.0, epochs=EPOCHS),
    "layerwise": FinetunePlan("layers", "pretrained", 0.001, epochs=EPOCHS),
}


def start(bundle: Bundle, data: LabelledSet, plan: FinetunePlan) -> LayerRun:
    """A run from random weights: of everything in `full`, otherwise of the head."""
    random = scratch_tensors(bundle.manifest, plan.seed)
    head = (bundle.manifest.head.weight, bundle.manifest.head.bias)
    fresh = {name: value for name, value in random.items() if plan.method == "full" or name in head}
    return LayerRun(replace(bundle, personal_tensors=fresh), data, plan)


def alone(path: Path, labelled: Path, kind: str) -> dict[str, Any]:
    """What one training costs from opening to end."""
    bundle = Bundle.open(path, "base")
    with np.load(labelled, allow_pickle=False) as file:
        data = LabelledSet(file["windows"], file["labels"], file["weights"])
    with measure(open_meter()) as measuring:
        start(bundle, data, PLANS[kind]).train(np.arange(len(data.labels)))
    cost = measuring.result
    return {
        "joules": cost.energy.joules,
        "peak_mb": cost.memory.above_baseline_bytes / 1e6,
        "whole_seconds": cost.seconds,
    }


if __name__ == "__main__":
    print(json.dumps(alone(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
