"""onnxruntime-training's side of `trainstep`: it runs in an environment of its own and is asked over a pipe.

python _trainstep_ort.py model.onnx data.npz folder NAME ...     the names are those of the trained tensors
a line in -> one step -> a line out with the loss before it
"""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def main(model_path: str, data: str, folder: str, *trained: str) -> None:
    """Make the artifacts, then step when asked."""
    import numpy as np
    import onnx
    import onnxruntime
    from onnxruntime.training import api, artifacts

    model = onnx.load(model_path)
    logits = next(output for output in model.graph.output if output.name == "logits")
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(logits)
    del model.graph.output[:]
    model.graph.output.append(kept)
    frozen = [tensor.name for tensor in model.graph.initializer if tensor.name not in trained]
    artifacts.generate_artifacts(
        model,
        requires_grad=list(trained),
        frozen_params=frozen,
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.AdamW,
        artifact_directory=folder,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    state = api.CheckpointState.load_checkpoint(f"{folder}/checkpoint")
    module = api.Module(f"{folder}/training_model.onnx", state, session_options=options)
    optimiser = api.Optimizer(f"{folder}/optimizer_model.onnx", module)
    optimiser.set_learning_rate(1e-3)
    module.train()
    with np.load(data) as file:
        windows, labels = file["windows"], file["labels"]
    print("ready", file=sys.stderr, flush=True)
    for _ in sys.stdin:
        loss = float(module(windows, labels))
        optimiser.step()
        module.lazy_reset_grad()
        print(loss, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
