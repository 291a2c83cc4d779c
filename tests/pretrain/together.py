"""Trains every method of the battery, in as many processes as it is started in; the first writes losses and weights.

python tests/pretrain/together.py OUT, or torchrun --nproc-per-node 2 tests/pretrain/together.py OUT
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from sdk.pretrain import create_method, fit, list_methods, maskcae, start
from tests.pretrain.small import NARROW, batch, data, plan_of, task_of


def main(out):
    torch.set_num_threads(1)
    maskcae._DECODER_WIDTHS = NARROW
    fabric, losses = start(), {}
    for name in list_methods():
        plan = plan_of(name, epochs=2, learning_rate=1e-3)
        method = create_method(plan, task_of(plan))
        tensors = tuple(tensor[:47] for tensor in batch(data(), plan))  # shares of several sizes
        losses[name] = fit(method, tensors, plan, fabric=fabric)
        if fabric.is_global_zero:
            save_file({n: t.contiguous().clone() for n, t in method.state_dict().items()}, out / f"{name}.safetensors")
    if fabric.is_global_zero:
        (out / "losses.json").write_text(json.dumps({"processes": fabric.world_size, "losses": losses}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
