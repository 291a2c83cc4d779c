"""Bundles of strangers: the demo's, unsigned, with something else behind its logits."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np

WALK = Path(__file__).parents[2] / "sdk" / "demo" / "data" / "walk.bundle"


def with_tail(folder, tail):
    """A copy of the demo's bundle whose logits are what `tail(logits, classes)` makes of them: nodes of onnx.

    The last of the nodes gives "logits". The manifest is made to fit, as whoever made such a bundle would.
    """
    import onnx

    shutil.copytree(WALK, folder)
    model = onnx.load(folder / "model.onnx")
    (last,) = [node for node in model.graph.node if "logits" in node.output]
    last.output[list(last.output).index("logits")] = "honest"
    model.graph.node.extend(tail("honest"))
    data = model.SerializeToString()
    _manifest_for(folder, data)
    return folder


def _manifest_for(folder, data):
    """Sizes, hashes and offsets of the graph's tensors, in the manifest."""
    old, told = (folder / "model.onnx").read_bytes(), json.loads((folder / "manifest.json").read_text())
    for tensor in told["tensors"]:
        n_bytes = 4 * math.prod(tensor["shape"])
        content = old[tensor["offset"] : tensor["offset"] + n_bytes]
        tensor["offset"] = data.index(content)
    (folder / "model.onnx").write_bytes(data)
    told["files"]["model.onnx"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    told["variants"] = []
    (folder / "manifest.json").write_text(json.dumps(told))


def adding(*values):
    """A tail that adds a number to each of the six logits; None: this one stays as it is."""
    import onnx

    added = np.array([0 if value is None else value for value in values], np.float32)
    constant = onnx.numpy_helper.from_array(added, "added_value")
    return lambda logits: [
        onnx.helper.make_node("Constant", [], ["added"], value=constant),
        onnx.helper.make_node("Add", [logits, "added"], ["logits"]),
    ]


def endless(turns=2**62):
    """A tail with a loop of so many turns."""
    from onnx import TensorProto, helper, numpy_helper

    def tail(logits):
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 6]) for name in ("before", "after")]
        body = helper.make_graph(
            [helper.make_node("Identity", ["go_on"], ["goes_on"]), helper.make_node("Sin", ["before"], ["after"])],
            "body",
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
                values[0],
            ],
            [helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []), values[1]],
        )
        return [
            helper.make_node("Constant", [], ["turns"], value=numpy_helper.from_array(np.int64(turns), "turns_value")),
            helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True), "yes_value")),
            helper.make_node("Loop", ["turns", "yes", logits], ["logits"], body=body),
        ]

    return tail


def endless_above(limit):
    """A tail that never ends for windows in which a sample is above a limit, and changes nothing for the others."""
    from onnx import helper, numpy_helper

    def tail(logits):
        loop = endless()(logits)[2:]  # without the number of turns, and without its end
        constants = {"limit": np.float32(limit), "most": np.int64(2**62), "no": np.int64(0), "yes": np.array(True)}
        nodes = [
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value), f"{name}_value"))
            for name, value in constants.items()
        ]
        return [
            *nodes,
            helper.make_node("ReduceMax", ["windows"], ["highest"], keepdims=0),
            helper.make_node("Greater", ["highest", "limit"], ["above"]),
            helper.make_node("Where", ["above", "most", "no"], ["turns"]),
            *loop,
        ]

    return tail


def huge(n_values):
    """A tail that makes room for so many float32 before it answers."""
    from onnx import helper, numpy_helper

    def tail(logits):
        shape = numpy_helper.from_array(np.array([n_values], np.int64), "shape_value")
        return [
            helper.make_node("Constant", [], ["shape"], value=shape),
            helper.make_node("ConstantOfShape", ["shape"], ["much"]),
            helper.make_node("ReduceMax", ["much"], ["most"], keepdims=0),
            helper.make_node("Add", [logits, "most"], ["logits"]),
        ]

    return tail
