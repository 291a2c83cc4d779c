"""What a fine-tuning run is asked to do: which layers move, how they are held back, for how long.

layer      0      1      2      3    head        gamma: how tightly a layer is held; inf: it does not move
head       inf    inf    inf    inf  moves       convex, solved exactly
layers     inf    inf    inf    1    moves       from_layer=3; everything below is run once and kept
full       1      1      1      1    moves
iterative  <- turn_epochs ->  <- turn_epochs ->  encoder and head take turns (Cosmo, section 5.2.2)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from runtime.errors import InputError, OneLine, require
from sdk.augment import AUGMENTATIONS

FinetuneMethod = Literal["head", "layers", "full", "iterative"]
METHODS: tuple[str, ...] = get_args(FinetuneMethod)
# Lambda of MESEN's eq. 10 where none is given. Five people of MotionSense, unseen by the encoder, gained most from a
# strong pull to the pretrained weights with one label per class, and as much as with any other with five.
L2 = {"pretrained": 1.0, "zero": 1e-3}
HEAD_FIELDS = ("method", "anchor", "l2", "folds", "sure", "merge", "drop", "null", "space")
ONLY_HEAD = ("merge", "drop", "null")


@dataclass(frozen=True, repr=False)
class Budget(OneLine):
    """What a run may use; None: no limit."""

    seconds: float | None = None  # of wall time until the new version is judged; split evenly among the trainings
    joules: float | None = None  # needs a meter
    megabytes: float | None = None  # of resident memory above the start (1 MB = 10^6 bytes); the batch shrinks to fit


@dataclass(frozen=True, repr=False)
class FinetunePlan(OneLine):
    """What is trained and how.

    The first four fields, the budget and `sure` belong to every method, the three behind it to head, the others to
    those that take gradient steps: layers, full, iterative.

    Raises:
        InputError: names the first field that is outside its range.
    """

    method: FinetuneMethod = "head"  # head: the encoder stays as it is
    anchor: Literal["pretrained", "zero"] = "pretrained"  # what tensors are pulled to; zero is MESEN's eq. 9
    l2: float | None = None  # strength of that pull; None: chosen on held-out blocks (head), `L2` (the others)
    folds: int = 5  # held-out blocks per class; fewer where a class has fewer windows

    from_layer: int | None = None  # first that moves; None: the last of the encoder (layers), 0 (full, iterative)
    gamma: float | tuple[float, ...] = 1.0  # of eq. 9, for each layer of the encoder or one for all; inf: frozen
    gamma_ratio: float = 1.0  # one gamma for all: each layer has so many times the gamma of the next deeper one
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0  # the optimiser's own, beside the pull of `l2`
    momentum: float = 0.9  # of sgd
    schedule: Literal["constant", "cosine"] = "constant"  # cosine: to zero at the last step
    warmup: float = 0.0  # share of the steps in which the rate rises from zero
    epochs: int = 30
    batch: int = 16
    balanced: bool = True  # each class is drawn equally often, however many windows it has
    augment: tuple[str, ...] = ()  # names of `AUGMENTATIONS`; the frozen layers then run in every step
    replay: float = 0.0  # weight of the shipped golden windows in the loss, 1: as much as the wearer's own
    turn_epochs: int = 5  # Cosmo's T_iter
    judge: Literal["folds", "one"] = "folds"  # hold back every block in turn, or only the first of each class
    keep: float = 0.5  # least agreement with the base on its golden windows, see `golden_agreement`
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    sure: bool = False  # the labels are right where they contradict what the model is sure of
    merge: tuple[tuple[str, str], ...] = ()  # of head: activities of the model, each with the name that it gets
    drop: tuple[str, ...] = ()  # of head: activities of the model that the new version does not have
    null: str = ""  # of head: name of one more, for windows without labels of which the model is not sure; empty: none
    space: Literal["hand", "encoder", "both"] = "hand"  # features by which windows without labels are near each other

    def __post_init__(self) -> None:
        rules = (
            ("method", f"one of {', '.join(METHODS)}", self.method in METHODS),
            ("anchor", "pretrained or zero", self.anchor in ("pretrained", "zero")),
            ("l2", f"a finite number {'above' if self.method == 'head' else 'of at least'} 0", self._l2_is_good()),
            ("folds", "at least 2", self.folds >= 2),
            ("space", "hand, encoder or both", self.space in ("hand", "encoder", "both")),
            *((name, "nothing, unless the method is head", not getattr(self, name)) for name in self._foreign()),
            ("gamma", "numbers of at least 0", all(value >= 0 for value in self._gammas())),
            ("gamma_ratio", "a finite number above 0", 0 < self.gamma_ratio < math.inf),
            ("optimiser", "adamw or sgd", self.optimiser in ("adamw", "sgd")),
            ("learning_rate", "a finite number above 0", 0 < self.learning_rate < math.inf),
            ("weight_decay", "a finite number of at least 0", 0 <= self.weight_decay < math.inf),
            ("momentum", "at least 0 and below 1", 0 <= self.momentum < 1),
            ("schedule", "constant or cosine", self.schedule in ("constant", "cosine")),
            ("warmup", "a share from 0 to 1", 0 <= self.warmup <= 1),
            ("epochs", "at least 1", self.epochs >= 1),
            ("batch", "at least 1", self.batch >= 1),
            ("augment", f"names among {', '.join(AUGMENTATIONS)}", set(self.augment) <= AUGMENTATIONS.keys()),
            ("replay", "a finite number of at least 0", 0 <= self.replay < math.inf),
            ("turn_epochs", "at least 1", self.turn_epochs >= 1),
            ("judge", "folds or one", self.judge in ("folds", "one")),
            ("keep", "a share from 0 to 1", 0 <= self.keep <= 1),
            ("seed", "at least 0", self.seed >= 0),
            *((f"budget.{name}", "a number above 0", value is None or value > 0) for name, value in self._limits()),
        )
        require(InputError, *((name, self._found(name), *rule) for name, *rule in rules), fix="Correct the plan.")

    def _l2_is_good(self) -> bool:
        return self.l2 is None or 0 < self.l2 < math.inf or (self.l2 == 0 and self.method != "head")

    def _foreign(self) -> tuple[str, ...]:
        return () if self.method == "head" else ONLY_HEAD

    def _gammas(self) -> tuple[float, ...]:
        return self.gamma if isinstance(self.gamma, tuple) else (self.gamma,)

    def _limits(self) -> list[tuple[str, float | None]]:
        return list(asdict(self.budget).items())

    def _found(self, name: str) -> Any:
        return dict(self._limits())[name.split(".")[1]] if "." in name else getattr(self, name)

    @property
    def pull(self) -> float:
        """Lambda of eq. 10 for the methods that take gradient steps."""
        return L2[self.anchor] if self.l2 is None else self.l2

    def layer_gammas(self, head: int) -> tuple[float, ...]:
        """Gamma of each layer, from the first to the head, whose own is 1 (eq. 9); inf: the layer does not move.

        Args:
            head: number of the head's layer, which is how many layers the encoder has.

        Raises:
            InputError: `from_layer` or the list of gammas does not fit so many layers.
        """
        start = {"head": head, "layers": head - 1}.get(self.method, 0) if self.from_layer is None else self.from_layer
        if not 0 <= start <= head:
            raise InputError(
                "from_layer", expected=f"0 to {head}, the head's", got=start, fix="See `tensors` in the manifest."
            )
        if isinstance(self.gamma, tuple) and len(self.gamma) != head:
            raise InputError(
                "gamma",
                expected=f"one number, or {head}: one per layer of the encoder",
                got=len(self.gamma),
                fix="Count the layers of `tensors` in the manifest, without the head.",
            )
        if isinstance(self.gamma, tuple):
            gammas = self.gamma
        else:
            gammas = tuple(self.gamma * self.gamma_ratio ** (head - 1 - layer) for layer in range(head))
        return (*(gamma if layer >= start else math.inf for layer, gamma in enumerate(gammas)), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields that the method uses; an infinite gamma as the word."""
        plain = asdict(self)
        if self.method == "head":
            own = {name: plain[name] for name in HEAD_FIELDS}
            return own | {"merge": [list(pair) for pair in self.merge], "drop": list(self.drop)}
        gammas = [gamma if math.isfinite(gamma) else "inf" for gamma in self._gammas()]
        return plain | {
            "gamma": gammas if isinstance(self.gamma, tuple) else gammas[0],
            "augment": list(self.augment),
            "merge": [],
            "drop": [],
        }
