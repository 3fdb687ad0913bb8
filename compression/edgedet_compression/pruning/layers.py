"""Layer pruning: YOLO networks without one of their branches (S1.1), what is left taken over from the teacher (S1.2).

A head goes together with every layer that only it needs. The coarsest branch takes more along: what other branches
read from it through upsampling is cut off as well, and with it the deepest stage of the backbone. In YOLOv3 the head of
the 26 x 26 map then reads 512 channels instead of 768.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_cfg import Description, Section
from edgedet_compression.networks.darknet_module import DarknetModule


@dataclass(frozen=True)
class _Plan:
    """Sections that stay, as old indices, and of each what it still reads."""

    kept: tuple[int, ...]
    sources: dict[int, tuple[int, ...]]


def remove_coarse_branch(network: DarknetModule) -> DarknetModule:
    """The network without its coarsest branch (13 x 13 at 416 pixels); all weights that stay are taken over."""
    return remove_branch(network, max(head.stride for head in network.heads))


def remove_branch(network: DarknetModule, stride: int) -> DarknetModule:
    """The network without the head of this stride and all that only it needs.

    Raises:
        BuildRefused: there is no such head, or no other.
    """
    strides = [head.stride for head in network.heads]
    if stride not in strides or len(strides) == 1:
        raise BuildRefused(f"no branch of stride {stride} to remove: the network has heads of strides {strides}")
    plan = _plan(network, stride, cut=stride == max(strides))
    pruned = DarknetModule(_renumbered(network.description, plan))
    _take_over(network, pruned, plan)
    pruned.train(network.training)
    return pruned


def _plan(network: DarknetModule, stride: int, *, cut: bool) -> _Plan:
    layers = network.description.layers
    reads = {section.index: _reads(section) for section in layers}
    if cut:
        fed = _fed_by_stride(network, reads, stride)
        reads = {
            index: tuple(source for source in sources if source not in fed) or sources
            for index, sources in reads.items()
        }
    removed = {head.layer + 1 for head in network.heads if head.stride == stride}
    needed: set[int] = set()
    open_ends = [section.index for section in layers if section.kind == "yolo" and section.index not in removed]
    while open_ends:
        layer = open_ends.pop()
        if layer >= 0 and layer not in needed:
            needed.add(layer)
            open_ends += reads[layer]
    kept = tuple(sorted(needed))
    return _Plan(kept, {index: reads[index] for index in kept})


def _reads(section: Section) -> tuple[int, ...]:
    """All layers that a section reads; -1 is the image."""
    before = section.index - 1
    return section.sources() if section.kind == "route" else (before, *section.sources())


def _fed_by_stride(network: DarknetModule, reads: dict[int, tuple[int, ...]], stride: int) -> set[int]:
    """Layers that have nothing but what comes out of the maps of this stride."""
    fed: set[int] = set()
    strides = network.strides
    for section in network.description.layers:
        own = strides[section.index] == stride
        if own or all(source in fed for source in reads[section.index]):
            fed.add(section.index)
    return fed


def _renumbered(description: Description, plan: _Plan) -> Description:
    """The sections that stay, counted anew; routes and shortcuts name absolute layers."""
    place = {old: new for new, old in enumerate(plan.kept)}
    sections = []
    for old in plan.kept:
        section = description.layers[old]
        options = dict(section.options)
        if section.kind == "route":
            options["layers"] = ",".join(str(place[source]) for source in plan.sources[old])
        elif section.kind == "shortcut":
            options["from"] = str(place[section.sources()[0]])
        sections.append(replace(section, index=place[old], options=options))
    return Description(description.net, tuple(sections))


def _take_over(teacher: DarknetModule, student: DarknetModule, plan: _Plan) -> None:
    """Copy weights; of kernels whose input became narrower the channels that are still there."""
    came_from = _channels(teacher, plan)
    for new, old in enumerate(plan.kept):
        if teacher.description.layers[old].kind != "convolutional":
            continue
        (source,) = plan.sources[old]
        state = teacher.unit(old).state_dict()
        if source >= 0:
            state["0.weight"] = state["0.weight"][:, came_from[source]]
        student.unit(new).load_state_dict(state)


def _channels(teacher: DarknetModule, plan: _Plan) -> dict[int, Tensor]:
    """Layer → which of its old output channels are left."""
    left: dict[int, Tensor] = {}
    for old in plan.kept:
        section = teacher.description.layers[old]
        if section.kind == "convolutional":
            left[old] = torch.arange(section.integer("filters"))
        elif section.kind == "route":
            starts, start = {}, 0
            for source in section.sources():
                starts[source] = start
                start += teacher.widths[source]
            left[old] = torch.cat([left[source] + starts[source] for source in plan.sources[old]])
        else:
            left[old] = left[plan.sources[old][0]]
    return left
