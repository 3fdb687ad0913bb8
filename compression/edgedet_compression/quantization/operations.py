"""A torch classifier as a list of operations between tensors: what quantizers are put between.

BatchNorm and ReLU belong to the layer (or the addition) before them: its integers compute all three at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from edgedet_runtime.errors import GraphUnsupported
from torch import fx, nn

IMAGE = "image"

Kind = Literal["layer", "choose", "add", "max pool", "average", "flatten", "narrow"]


@dataclass(frozen=True)
class Operation:
    """Makes the tensor `name` out of `sources`.

    A layer multiplies by learned weights, `choose` by zeros and ones that are no weights (a shortcut's selection of
    pixels), `average` is over whole maps; `narrow` gives a wide tensor fewer codes, see `insertion`.
    """

    kind: Kind
    name: str
    sources: tuple[str, ...]
    module: str = ""
    """Of a layer the name of its Conv2d or Linear, of a choice that of its weight."""
    norm: str = ""
    """Name of the BatchNorm behind a layer."""
    rectified: bool = False
    """A ReLU is behind it."""
    size: int = 1
    """Of a pooling's window."""
    stride: int = 1
    padding: int = 0


def trace_operations(network: nn.Module) -> tuple[Operation, ...]:
    """The operations in running order; the last one makes the logits.

    Raises:
        GraphUnsupported: an operation that a low-bit network does not know, by name.
    """
    return _Trace(fx.symbolic_trace(network)).operations()


class _Trace:
    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.tensors: dict[fx.Node, str] = {}
        """What the tensors of nodes are called."""
        self.found: dict[str, Operation] = {}

    def operations(self) -> tuple[Operation, ...]:
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                self.tensors[node] = IMAGE
            elif node.op in {"call_module", "call_function", "call_method"}:
                self._add(node)
        return tuple(self.found.values())

    def module(self, node: fx.Node) -> nn.Module:
        return self.traced.get_submodule(str(node.target))

    def make(self, node: fx.Node, kind: Kind, count: int = 1, **about: Any) -> None:
        """A new operation on the node's first `count` arguments."""
        sources = tuple(self.tensors[source] for source in node.all_input_nodes[:count])
        self.tensors[node] = node.name
        self.found[node.name] = Operation(kind, node.name, sources, **about)

    def join(self, node: fx.Node, what: str, **about: Any) -> None:
        """A node that belongs to the operation before it, which nothing else may read."""
        (source,) = node.all_input_nodes
        before = self.found.get(self.tensors[source])
        fits = before is not None and before.kind in {"layer", "add"} and not before.rectified
        if before is None or not fits or len(source.users) != 1:
            raise GraphUnsupported(f"{node.name}: {what} must stand right behind a convolution or linear layer")
        if "norm" in about and (before.norm or before.kind == "add"):
            raise GraphUnsupported(f"{node.name}: a second {what}, or one behind an addition")
        self.tensors[node] = before.name
        self.found[before.name] = replace(before, **about)

    def _add(self, node: fx.Node) -> None:
        called: Any = type(self.module(node)) if node.op == "call_module" else node.target
        what = called if isinstance(called, str) else str(called.__name__)
        if what not in _OPERATIONS:
            known = ", ".join(_OPERATIONS)
            raise GraphUnsupported(f"{node.name}: {what} has no low-bit form; replace it by one of {known}")
        _OPERATIONS[what](self, node)


def _layer(trace: _Trace, node: fx.Node) -> None:
    layer = trace.module(node)
    if isinstance(layer, nn.Conv2d) and (isinstance(layer.padding, str) or layer.padding_mode != "zeros"):
        raise GraphUnsupported(f"{node.name}: padding must be zeros, so many on each side")
    trace.make(node, "layer", module=str(node.target))


def _choose(trace: _Trace, node: fx.Node) -> None:
    weight = node.args[1]
    if (
        not isinstance(weight, fx.Node)
        or weight.op != "get_attr"
        or len(node.args) > 2
        or node.kwargs.keys() - {"stride"}
    ):
        raise GraphUnsupported(
            f"{node.name}: a convolution that is no layer must have a buffer of zeros and ones, "
            "and nothing else but a stride"
        )
    name = str(weight.target)
    values: torch.Tensor = trace.traced.get_buffer(name)
    if not bool(((values == 0) | (values == 1)).all()):
        raise GraphUnsupported(f"{node.name}: {name} must hold zeros and ones, it is no layer's weight")
    trace.make(node, "choose", module=name, stride=_one(node, node.kwargs.get("stride", 1)))


def _norm(trace: _Trace, node: fx.Node) -> None:
    trace.join(node, "BatchNorm", norm=str(node.target))


def _relu(trace: _Trace, node: fx.Node) -> None:
    trace.join(node, "ReLU", rectified=True)


def _add(trace: _Trace, node: fx.Node) -> None:
    if len(node.all_input_nodes) != 2 or node.kwargs:
        raise GraphUnsupported(f"{node.name}: only two computed tensors can be added, as they are")
    trace.make(node, "add", count=2)


def _max_pool(trace: _Trace, node: fx.Node) -> None:
    if node.op == "call_module":
        about: dict[str, Any] = vars(trace.module(node))
    else:
        if len(node.args) > 2:
            raise GraphUnsupported(f"{node.name}: take torch.nn.functional.max_pool2d, or name the arguments")
        about = {"kernel_size": node.args[1], **node.kwargs}
    if about.get("ceil_mode") or about.get("dilation", 1) != 1:
        raise GraphUnsupported(f"{node.name}: a maximum with dilation, or that rounds its size up")
    size, padding = (_one(node, about.get(name, 0)) for name in ("kernel_size", "padding"))
    trace.make(node, "max pool", size=size, stride=_one(node, about.get("stride") or size), padding=padding)


def _average(trace: _Trace, node: fx.Node) -> None:
    size: Any = trace.module(node).output_size if node.op == "call_module" else node.args[1]
    if _one(node, size) != 1:
        raise GraphUnsupported(f"{node.name}: an adaptive average to {size}; only 1 is known")
    trace.make(node, "average")


def _flatten(trace: _Trace, node: fx.Node) -> None:
    if (*node.args[1:], *node.kwargs.values()) not in {(1,), (1, -1)}:
        raise GraphUnsupported(f"{node.name}: flatten must keep the batch and nothing else: flatten(x, 1)")
    trace.make(node, "flatten")


def _one(node: fx.Node, numbers: Any) -> int:
    """A size that is the same in both directions."""
    found = set(numbers) if isinstance(numbers, list | tuple) else {numbers}
    if len(found) != 1:
        raise GraphUnsupported(f"{node.name}: {numbers}: only one size for both directions is known")
    return int(found.pop())


_OPERATIONS: dict[str, Callable[[_Trace, fx.Node], None]] = {
    "Conv2d": _layer,
    "Linear": _layer,
    "BatchNorm1d": _norm,
    "BatchNorm2d": _norm,
    "ReLU": _relu,
    "relu": _relu,
    "MaxPool2d": _max_pool,
    "max_pool2d": _max_pool,
    "AdaptiveAvgPool2d": _average,
    "adaptive_avg_pool2d": _average,
    "flatten": _flatten,
    "add": _add,
    "conv2d": _choose,
}
