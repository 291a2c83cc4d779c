"""LSTM and GRU: the engine's operator forward, and backwards as few operators per step as there can be.

The operator gives the hidden states h of all steps. Given them, the gates of all steps are one product of matrices, and
all that the way back multiplies by is known before it begins. Only what passes from step to step is unrolled:

    LSTM    c = f c_before + i g    h = o tanh(c)                 the cell's state is unrolled forward, two operators
            back   dh = dy + da R    dc = dh o (1 - tanh(c)^2) + dc_after f    da = (dc, dh, dc, dc) * factors
    GRU     n = tanh(x W + b + r q)    q = h_before R + b'    h = (1 - z) n + z h_before
            back   dh = dy + dh_after z + da R    da = (dh, dh, dh) * factors

with da the gradients before the gates' functions. Those of the weights are one product over all steps in the end.
Gates lie in the order of the operator: i, o, f, g in the LSTM and z, r, n in the GRU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exporters.training.differentiate import Case, Pullback, refuse, rule
from exporters.training.elementwise import one_minus
from exporters.training.graph import Graph, Laid, Tensor, plainly

_DIRECTIONS = {b"forward": (False,), b"reverse": (True,), b"bidirectional": (False, True)}
_KNOWN = ("hidden_size", "direction", "linear_before_reset", "layout")


@dataclass(frozen=True)
class _Layer:
    """One direction of a recurrent layer, with what both directions share."""

    graph: Graph
    x: Tensor  # (steps, batch, inputs)
    w: Tensor  # (gates * units, inputs)
    r: Tensor  # (gates * units, units)
    bias_w: Tensor  # (gates * units,)
    bias_r: Tensor
    before: Tensor  # hidden states before each step, (steps, batch, units)
    backward: bool  # whether time runs from the last step to the first

    @property
    def units(self) -> int:
        return self.r.shape[1]

    def order(self) -> list[int]:
        """The steps in the order in which they are run."""
        steps = range(self.x.shape[0])
        return [*reversed(steps)] if self.backward else [*steps]

    def flat(self, tensor: Tensor) -> Tensor:
        """(steps, batch, n) as rows."""
        return self.graph.reshape(tensor, (math.prod(tensor.shape[:2]), tensor.shape[2]))

    def stacked(self, rows: Tensor) -> Tensor:
        """Rows as (steps, batch, n)."""
        return self.graph.reshape(rows, (*self.x.shape[:2], rows.shape[1]))

    def steps(self, tensor: Tensor) -> list[Tensor]:
        """(steps, batch, n) as (1, batch, n) for each step."""
        return self.graph.split(tensor, 0, [1] * tensor.shape[0])

    def gates(self, tensor: Tensor) -> list[Tensor]:
        """(steps, batch, gates * units) gate by gate."""
        return self.graph.split(tensor, 2, [self.units] * (tensor.shape[2] // self.units))

    def input_part(self) -> Tensor:
        """What the inputs add to the gates, (steps, batch, gates * units)."""
        return self.stacked(self.graph.gemm(self.flat(self.x), self.w, self.bias_w, tb=True))

    def state_part(self) -> Tensor:
        """What the states before add to them."""
        return self.stacked(self.graph.gemm(self.flat(self.before), self.r, self.bias_r, tb=True))


@dataclass(frozen=True)
class _Gradients:
    x: Tensor
    w: Tensor
    r: Tensor
    bias: Tensor  # (2 * gates * units,)


WayBack = Callable[[Tensor], _Gradients]  # back, from the gradient of all hidden states


@rule("LSTM")
def _lstm(case: Case) -> tuple[Laid, Pullback]:
    return _recurrent(case, _lstm_way)


@rule("GRU")
def _gru(case: Case) -> tuple[Laid, Pullback]:
    if not case.attributes.get("linear_before_reset", 0):
        raise refuse(case, "linear_before_reset", 0)
    return _recurrent(case, _gru_way)


def _recurrent(case: Case, way: Callable[[_Layer], WayBack]) -> tuple[Laid, Pullback]:
    """What both have in common: the operator itself, one direction after the other."""
    graph = case.graph
    _check(case)
    x, w, r, bias = (graph.arrange(case.given(i)) for i in range(4))
    directions = _DIRECTIONS[case.attributes.get("direction", b"forward")]
    steps, batch, _ = x.shape
    units = r.shape[2]
    kept = {name: case.attributes[name] for name in _KNOWN if name in case.attributes}
    y = graph.emit(case.op, x, w, r, bias, shape=(steps, len(directions), batch, units), **kept)
    layers = [_direction(graph, (x, w, r, bias, y), i, backward) for i, backward in enumerate(directions)]
    ways = [way(layer) for layer in layers]

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy)
        found = [way(graph.reshape(graph.slice(d, 1, i, 1), (steps, batch, units))) for i, way in enumerate(ways)]
        dx = graph.total([gradients.x for gradients in found])
        stacks = [
            graph.concat([graph.reshape(part, (1, *part.shape)) for part in parts], 0)
            for parts in zip(*((g.w, g.r, g.bias) for g in found), strict=True)
        ]
        return [plainly(part) if case.wanted(i) else None for i, part in enumerate([dx, *stacks])]

    return plainly(y), pull


def _check(case: Case) -> None:
    unknown = {name for name, value in case.attributes.items() if value and name not in _KNOWN}
    if unknown or case.attributes.get("layout", 0):
        raise refuse(case, "the default functions and layout", sorted(unknown) or "layout 1")
    for i, name in ((4, "sequence lengths"), (5, "first state"), (6, "first cell"), (7, "peepholes")):
        value = case.optional(i)
        if value is not None and (value.tensor.value is None or value.tensor.value.any()):
            raise refuse(case, f"no {name}", "some")


def _direction(graph: Graph, tensors: tuple[Tensor, ...], i: int, backward: bool) -> _Layer:
    x, w, r, bias, y = tensors
    w, r, bias, y = (graph.slice(tensor, axis, i, 1) for tensor, axis in ((w, 0), (r, 0), (bias, 0), (y, 1)))
    rows, units = r.shape[1:]
    states = graph.reshape(y, (x.shape[0], x.shape[1], units))
    inner = graph.slice(states, 0, 1 if backward else 0, x.shape[0] - 1)
    bias_w, bias_r = graph.split(graph.reshape(bias, (2 * rows,)), 0, [rows, rows])
    return _Layer(
        graph,
        x,
        graph.reshape(w, w.shape[1:]),
        graph.reshape(r, (rows, units)),
        bias_w,
        bias_r,
        graph.pad(inner, 0, 0 if backward else 1, 1 if backward else 0),
        backward,
    )


def _lstm_way(layer: _Layer) -> WayBack:
    """Everything that the way back multiplies by; then, given dy, the way back."""
    graph = layer.graph
    i, o, f, g = layer.gates(graph.add(layer.input_part(), layer.state_part()))
    i, o, f = (graph.unary("Sigmoid", gate) for gate in (i, o, f))
    g = graph.unary("Tanh", g)
    cells, cells_before = _cells(layer, f, graph.multiply(i, g))
    t = graph.unary("Tanh", cells)
    to_cell = graph.multiply(o, one_minus(graph, graph.multiply(t, t)))
    factors = graph.concat(
        [
            graph.multiply(g, _sigmoid_slope(graph, i)),
            graph.multiply(t, _sigmoid_slope(graph, o)),
            graph.multiply(cells_before, _sigmoid_slope(graph, f)),
            graph.multiply(i, one_minus(graph, graph.multiply(g, g))),
        ],
        2,
    )

    def back(dy: Tensor) -> _Gradients:
        every_dy, every_to_cell, every_factor, every_f = map(layer.steps, (dy, to_cell, factors, f))
        found: dict[int, Tensor] = {}
        from_state = from_cell = None
        for step in reversed(layer.order()):
            dh = every_dy[step] if from_state is None else graph.add(every_dy[step], from_state)
            dc = graph.multiply(dh, every_to_cell[step])
            dc = dc if from_cell is None else graph.add(dc, from_cell)
            da = graph.multiply(graph.concat([dc, dh, dc, dc], 2), every_factor[step])
            from_state, from_cell = graph.matmul(da, layer.r), graph.multiply(dc, every_f[step])
            found[step] = da
        da = graph.concat([found[step] for step in range(len(found))], 0)
        return _weights(layer, da, da)

    return back


def _cells(layer: _Layer, f: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """The cell's state after and before each step: c = f c_before + added."""
    graph = layer.graph
    every_f, every_added = layer.steps(f), layer.steps(added)
    found: dict[int, Tensor] = {}
    cell = None
    for step in layer.order():
        cell = every_added[step] if cell is None else graph.add(graph.multiply(every_f[step], cell), every_added[step])
        found[step] = cell
    cells = graph.concat([found[step] for step in range(len(found))], 0)
    inner = graph.slice(cells, 0, 1 if layer.backward else 0, len(found) - 1)
    return cells, graph.pad(inner, 0, 0 if layer.backward else 1, 1 if layer.backward else 0)


def _gru_way(layer: _Layer) -> WayBack:
    """The same for a GRU, whose candidate n sees the state through the reset gate r."""
    graph = layer.graph
    z_in, r_in, n_in = layer.gates(layer.input_part())
    z_state, r_state, q = layer.gates(layer.state_part())
    z = graph.unary("Sigmoid", graph.add(z_in, z_state))
    r = graph.unary("Sigmoid", graph.add(r_in, r_state))
    n = graph.unary("Tanh", graph.add(n_in, graph.multiply(r, q)))
    to_n = graph.multiply(one_minus(graph, z), one_minus(graph, graph.multiply(n, n)))
    to_z = graph.multiply(graph.subtract(layer.before, n), _sigmoid_slope(graph, z))
    to_r = graph.multiply(graph.multiply(to_n, q), _sigmoid_slope(graph, r))
    factors = graph.concat([to_z, to_r, graph.multiply(to_n, r)], 2)

    def back(dy: Tensor) -> _Gradients:
        every_dy, every_factor, every_z = map(layer.steps, (dy, factors, z))
        states: dict[int, Tensor] = {}
        found: dict[int, Tensor] = {}
        after = None
        for step in reversed(layer.order()):
            dh = every_dy[step] if after is None else graph.add(every_dy[step], after)
            da = graph.multiply(graph.concat([dh, dh, dh], 2), every_factor[step])
            after = graph.add(graph.multiply(dh, every_z[step]), graph.matmul(da, layer.r))
            states[step], found[step] = dh, da
        dh, from_state = (graph.concat([part[i] for i in range(len(part))], 0) for part in (states, found))
        dz, dr, _ = layer.gates(from_state)
        return _weights(layer, graph.concat([dz, dr, graph.multiply(dh, to_n)], 2), from_state)

    return back


def _sigmoid_slope(graph: Graph, s: Tensor) -> Tensor:
    return graph.multiply(s, one_minus(graph, s))


def _weights(layer: _Layer, da_input: Tensor, da_state: Tensor) -> _Gradients:
    """One product each, over all steps; where both are the same, so are their sums."""
    graph = layer.graph
    from_input, from_state = layer.flat(da_input), layer.flat(da_state)
    return _Gradients(
        x=layer.stacked(graph.gemm(from_input, layer.w)),
        w=graph.gemm(from_input, layer.flat(layer.x), ta=True),
        r=graph.gemm(from_state, layer.flat(layer.before), ta=True),
        bias=graph.concat([graph.sum(from_input, [0]), graph.sum(from_state, [0])], 0),
    )
