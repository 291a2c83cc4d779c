"""The turning of `runtime.window.frame` inside the graph, so that every engine and every precision has it.

    windows -> rows of three -> mean acceleration m -> g = m / |m| -> v = g + up -> 2 v v' / v'v - 1 -> rows turned

Half a turn about v, which lies half-way between m and up, takes one to the other; half a turn about up behind it makes
the two together the shortest way. Both leave lengths and handedness as they are, whatever rounding did to v. A dozen
small nodes, no branch: about 7 us in onnxruntime on one core of a workstation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runtime.specs import FrameSpec, Signal
from runtime.window.frame import ASIDE, columns_of

_UP = (0.0, 0.0, 1.0)
_HALF_TURN = (-1.0, -1.0, 1.0)  # about up


class Frame(nn.Module):
    """Windows (n, length_samples, n_channels) to windows of the same shape, their axes turned.

    Args:
        frame: which sensors, and by which.
        signal: whose columns the windows have, all of one rate.
        length_samples: rows of a window.

    Raises:
        InputError: a sensor of `frame` that the signal does not have with three channels.
    """

    mean: Tensor
    up: Tensor
    twice: Tensor
    half_turn: Tensor
    columns: Tensor
    back: Tensor

    def __init__(self, frame: FrameSpec, signal: Signal, length_samples: int) -> None:
        super().__init__()
        columns, n = columns_of(frame, signal), len(signal.channel_names)
        rest = [i for i in range(n) if i not in columns]
        order = [*columns, *rest]
        self.n_turned, self.length = len(columns), length_samples
        self.in_place = order == list(range(n)) and not rest
        weights = torch.zeros(length_samples, len(frame.turned))
        weights[:, frame.turned.index(frame.up)] = 1 / length_samples
        for name, values in {
            "mean": weights.reshape(1, -1),
            "up": torch.tensor(_UP) + torch.tensor((ASIDE, 0.0, 0.0)),
            "twice": 2 * torch.tensor(_HALF_TURN),
            "half_turn": torch.diag(torch.tensor(_HALF_TURN)),
            "columns": torch.tensor(order),
            "back": torch.tensor([order.index(i) for i in range(n)]),
        }.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Turn windows (n, length_samples, n_channels)."""
        if self.in_place:
            return self._turned(windows)
        sorted_ = windows.index_select(2, self.columns)
        turned, rest = sorted_[:, :, : self.n_turned], sorted_[:, :, self.n_turned :]
        return torch.cat([self._turned(turned), rest], 2).index_select(2, self.back)

    def _turned(self, windows: Tensor) -> Tensor:
        rows = windows.reshape(-1, self.length * self.n_turned // 3, 3)
        axis = _unit(_unit(self.mean @ rows) + self.up)
        turn = axis.reshape(-1, 3, 1) * (axis * self.twice) - self.half_turn
        return (rows @ turn).reshape(-1, self.length, self.n_turned)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (n, 1, 3) of length 1, in one node of the graph; zeros stay zeros."""
    if torch.onnx.is_in_onnx_export():
        made = torch.onnx.ops.symbolic(
            "LpNormalization", [vectors], {"axis": 2, "p": 2}, dtype=vectors.dtype, shape=vectors.shape, version=1
        )
        assert isinstance(made, Tensor)
        return made
    return nn.functional.normalize(vectors, dim=2, eps=1e-30)
