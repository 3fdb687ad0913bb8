"""What channel pruning may leave, and what a network costs at given widths of its channel groups, unbuilt."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from edgedet_compression.pruning.channel_groups import ChannelGroup
from edgedet_compression.pruning.cost import Cost, count_cost


@dataclass(frozen=True)
class Budget:
    """At most so much is left; None: no limit."""

    parameters: int | None = None
    """BatchNorm and biases counted."""
    macs: int | None = None
    """Of one image of the size that they are counted at."""

    def exceeded_by(self, cost: Cost) -> list[tuple[str, int, int]]:
        """Each limit that does not hold: its name, the limit, and what the network has."""
        limits = (("parameters", self.parameters, cost.parameters), ("macs", self.macs, cost.macs))
        return [(name, limit, has) for name, limit, has in limits if limit is not None and has > limit]


@dataclass(frozen=True)
class _Layer:
    outputs: int
    inputs: int
    kernel: int
    """Weights between one input and one output."""
    bias: int
    positions: int
    """Numbers that one output channel computes of one image."""


class WidthCost:
    """What a network costs when its groups are narrower, without building it."""

    def __init__(self, network: nn.Module, groups: Sequence[ChannelGroup], image_shape: Sequence[int]) -> None:
        self._groups = groups
        whole = count_cost(network, image_shape)
        self._layers: dict[str, _Layer] = {}
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                outputs, inputs = layer.weight.shape[:2]
                kernel, bias = layer.weight[0, 0].numel(), int(layer.bias is not None)
                positions = whole.macs_by_layer.get(name, 0) // layer.weight.numel()
                self._layers[name] = _Layer(outputs, inputs, kernel, bias, positions)
        in_layers = sum(each.outputs * (each.inputs * each.kernel + each.bias) for each in self._layers.values())
        self._rest = whole.parameters - in_layers

    def at(self, widths: Sequence[int]) -> Cost:
        """When every group, in the order given, has so many channels."""
        outputs = {name: layer.outputs for name, layer in self._layers.items()}
        inputs = {name: layer.inputs for name, layer in self._layers.items()}
        parameters = self._rest
        for group, width in zip(self._groups, widths, strict=True):
            gone = group.channels - width
            for name in group.layers:
                outputs[name] -= gone
            for name, each in group.readers.items():
                inputs[name] -= gone * each
            parameters -= 2 * gone * sum(group.norms.values())
        macs = {}
        for name, layer in self._layers.items():
            weights = outputs[name] * inputs[name] * layer.kernel
            parameters += weights + outputs[name] * layer.bias
            macs[name] = weights * layer.positions
        return Cost(parameters, sum(macs.values()), macs)

    def savings_of_a_channel(self) -> list[tuple[int, int]]:
        """Of each group: the parameters and the MACs that the whole network saves without one of its channels."""
        widths = [group.channels for group in self._groups]
        whole = self.at(widths)
        without = [self.at([*widths[:place], widths[place] - 1, *widths[place + 1 :]]) for place in range(len(widths))]
        return [(whole.parameters - cost.parameters, whole.macs - cost.macs) for cost in without]
