"""A network whose weights and activations have 4 bits: learned with rounded floats, answering in integers.

While training every quantizer rounds and lets gradients through. In evaluation mode the network computes on codes, as
its package will (`integer_arithmetic`), so that an accuracy measured here is the package's.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict

import torch
from edgedet_runtime.errors import GraphUnsupported
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.networks.specification import Specification, Specified
from edgedet_compression.quantization.image_codes import ImageCodes
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.insertion import Scheme, insert
from edgedet_compression.quantization.integer_arithmetic import (
    IntegerLayer,
    added,
    averaged,
    integer_layer,
    layer_sums,
    narrowed,
    requantized,
    weighted,
)
from edgedet_compression.quantization.operations import IMAGE, Operation, trace_operations
from edgedet_compression.quantization.quantizer import Grid, Quantizer


class LowBitNetwork(nn.Module):
    """Normalized images [n, C, H, W] to logits [n, classes], by the layers of `network` with quantizers between them.

    Raises:
        GraphUnsupported: the network has an operation without a low-bit form, by name.
    """

    def __init__(self, network: nn.Module, scheme: Scheme, normalization: Normalization) -> None:
        super().__init__()
        inserted = insert(trace_operations(network))
        self.network = network
        self.scheme = scheme
        self.normalization = normalization
        self.operations = inserted.operations
        self.image = ImageCodes(normalization.mean, normalization.std)
        layers = [operation for operation in self.operations if operation.kind == "layer"]
        self.weights = nn.ModuleDict(
            {each.name: scheme.weight_quantizer(len(self.layer(each).weight)) for each in layers}
        )
        self.activations = nn.ModuleDict(
            {name: scheme.activation_quantizer(grid) for name, grid in inserted.grids.items()}
        )
        self._origins = inserted.origins
        self._last_readers = {source: each.name for each in self.operations for source in each.sources}

    def specification(self) -> Specification:
        """Family "low-bit": that of the float network, and the quantizers."""
        assert isinstance(self.network, Specified)
        inner = self.network.specification()
        network = {"family": inner.family, "arguments": dict(inner.arguments)}
        return Specification(
            "low-bit", {"network": network, "scheme": asdict(self.scheme), "normalization": asdict(self.normalization)}
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits; in evaluation mode those of the package, whatever autocast says."""
        if self.training:
            return self._learned(images)
        logits = images
        with torch.autocast("cpu", enabled=False):
            for _, codes in self._integers(self.image(images)):
                logits = codes
        return logits

    def codes(self, pixels: Tensor) -> dict[str, Tensor]:
        """Every tensor's stored codes (uint8) for pixels 0…255 [n, C, H, W], and the logits (float32), by name."""
        found = dict(self._integers(pixels.float() - self.image.zero_point))
        logits = found.pop(self.operations[-1].name)
        return {name: (codes + self.grid(name).zero_point).byte() for name, codes in found.items()} | {"logits": logits}

    def layer(self, operation: Operation) -> nn.Conv2d | nn.Linear:
        """The weights of an operation of kind `layer`."""
        layer = self.network.get_submodule(operation.module)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        return layer

    def norm(self, operation: Operation) -> nn.BatchNorm2d | nn.BatchNorm1d | None:
        """The BatchNorm behind it."""
        if not operation.norm:
            return None
        norm = self.network.get_submodule(operation.norm)
        assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
        return norm

    def integer_layer(self, operation: Operation) -> IntegerLayer:
        """A layer as the package has it."""
        scale = self.scale(operation.sources[0])
        with torch.no_grad():
            return integer_layer(self.layer(operation), self.norm(operation), self._of_weights(operation), scale)

    def scale(self, tensor: str) -> Tensor:
        """Float32 [1] of a tensor's codes."""
        if self._origins[tensor] == IMAGE:
            return torch.tensor([self.image.scale])
        return self._quantizer(tensor).scale.detach()

    def grid(self, tensor: str) -> Grid:
        """Of a tensor's codes."""
        if self._origins[tensor] == IMAGE:
            return Grid(-self.image.zero_point, 255 - self.image.zero_point)
        return self._quantizer(tensor).grid

    def start(self, images: Tensor) -> None:
        """Begin with scales that lose least of the weights, and of the activations of normalized images."""
        self.eval()
        known = {IMAGE: self.image(images) * self.image.scale}
        with torch.no_grad():
            for operation in self.operations:
                if operation.kind == "layer":
                    self._of_weights(operation).start(self.layer(operation).weight)
                value = self._value(operation, known)
                if operation.name in self.activations:
                    self._quantizer(operation.name).start(value)
                self._remember(known, operation, self._rounded(operation, value))

    def _of_weights(self, operation: Operation) -> Quantizer:
        quantizer = self.weights[operation.name]
        assert isinstance(quantizer, Quantizer)
        return quantizer

    def _quantizer(self, tensor: str) -> Quantizer:
        quantizer = self.activations[self._origins[tensor]]
        assert isinstance(quantizer, Quantizer)
        return quantizer

    def _learned(self, images: Tensor) -> Tensor:
        known: dict[str, Tensor] = {IMAGE: self.image(images) * self.image.scale}
        for operation in self.operations:
            self._remember(known, operation, self._rounded(operation, self._value(operation, known)))
        return known[self.operations[-1].name]

    def _remember(self, known: dict[str, Tensor], operation: Operation, value: Tensor) -> None:
        """Keep a value as long as something will read it."""
        known[operation.name] = value
        for source in operation.sources:
            if self._last_readers[source] == operation.name:
                known.pop(source, None)

    def _rounded(self, operation: Operation, value: Tensor) -> Tensor:
        learned = operation.name in self.activations
        return self._quantizer(operation.name).fake_quantize(value) if learned else value

    def _value(self, operation: Operation, known: dict[str, Tensor]) -> Tensor:
        """What an operation makes of values, before it is rounded."""
        source = known[operation.sources[0]]
        if operation.kind == "layer":
            source = self._layer_value(operation, source)
        elif operation.kind == "add":
            source = source + known[operation.sources[1]]
        elif operation.kind == "average":
            source = functional.adaptive_avg_pool2d(source, 1)
        elif operation.kind != "narrow":
            source = self._moved(operation, source)
        return functional.relu(source) if operation.rectified else source

    def _layer_value(self, operation: Operation, source: Tensor) -> Tensor:
        layer, norm = self.layer(operation), self.norm(operation)
        weight = self._of_weights(operation).fake_quantize(layer.weight)
        value = weighted(layer, source, weight, layer.bias)
        return value if norm is None else norm(value)

    def _moved(self, operation: Operation, source: Tensor) -> Tensor:
        """Values or codes at other places."""
        if operation.kind == "flatten":
            return torch.flatten(source, 1)
        if operation.kind == "choose":
            return functional.conv2d(source, self.selection(operation).to(source.dtype), stride=operation.stride)
        return functional.max_pool2d(source, operation.size, operation.stride, operation.padding)

    def selection(self, operation: Operation) -> Tensor:
        """The zeros and ones of a choice."""
        return self.network.get_buffer(operation.module)

    def _integers(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every tensor's centered codes, the logits last; out of the image's."""
        known = {IMAGE: image}
        for operation in self.operations:
            with torch.no_grad():
                codes = self._codes(operation, known)
            self._remember(known, operation, codes)
            yield operation.name, codes

    def _codes(self, operation: Operation, known: dict[str, Tensor]) -> Tensor:
        name, (source, *_) = operation.name, operation.sources
        codes, scale = known[source], self.scale(source)
        if operation.kind == "layer":
            integers = self.integer_layer(operation)
            sums = layer_sums(self.layer(operation), integers, codes)
            if name not in self.activations:
                return sums * (scale * integers.scales)
            multiplier = scale * integers.scales / self.scale(name)
            return requantized(sums, multiplier, self.grid(name))
        if operation.kind == "add":
            other = operation.sources[1]
            ratios = (scale / self.scale(name), self.scale(other) / self.scale(name))
            return added(codes, known[other], ratios, (self.grid(source), self.grid(other)), self.grid(name))
        if operation.kind == "narrow":
            return narrowed(codes, scale, self.scale(name), self.grid(name))
        if operation.kind == "average":
            return averaged(codes, scale, self.scale(name), self.grid(name))
        return self._moved(operation, codes)


def low_bit(network: nn.Module, scheme: Scheme, normalization: Normalization, images: Tensor) -> LowBitNetwork:
    """A copy of a float network with quantizers in it that begin where they lose least of weights and of `images`.

    Args:
        network: in evaluation mode; it reads images normalized by `normalization`.
        scheme: which quantizers.
        normalization: moves into the first layer, which then reads pixels.
        images: normalized, [n, C, H, W].

    Raises:
        GraphUnsupported: as `LowBitNetwork` does.
    """
    found = LowBitNetwork(copy.deepcopy(network), scheme, normalization)
    first = next(operation for operation in found.operations if IMAGE in operation.sources)
    layer, norm = found.layer(first), found.norm(first)
    with torch.no_grad():
        weight, offset = found.image.take_in(layer.weight)
        layer.weight.copy_(weight)
        if norm is not None:
            assert norm.running_mean is not None
            norm.running_mean -= offset
        elif layer.bias is not None:
            layer.bias += offset
        else:
            raise GraphUnsupported(
                f"{first.module}: the first layer needs a bias or a BatchNorm: normalization moves there"
            )
    found.start(images)
    return found.eval()
