"""Files that torch wrote and something damaged: named with what to do, wherever they are read."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.networks.families import load_network, save_network
from edgedet_compression.networks.lenet import LeNet
from edgedet_compression.tensor_file import read_tensors, write_tensors

pytestmark = pytest.mark.needs_torch

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"no network at all\n",
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_network_is_named_with_what_to_do(tmp_path: Path, damage: str):
    file = tmp_path / "network.pt"
    save_network(LeNet(), file)
    load_network(file)
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    with pytest.raises(SourceUnreadable, match=r"network\.pt is damaged: remove it, and run again$"):
        load_network(file)


def test_a_full_disk_is_told_and_leaves_the_old_file_alone(tmp_path: Path):
    file = tmp_path / "network.pt"
    write_tensors({"step": 1}, file)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"network\.pt could not be written, is the disk full"):
            write_tensors({"weights": torch.rand(100_000)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_tensors(file) == {"step": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["network.pt"]


def test_a_file_that_is_whole_or_missing_is_not_called_damaged(tmp_path: Path):
    torch.save({"step": 3, "weights": torch.ones(2)}, tmp_path / "checkpoint.pt")
    assert read_tensors(tmp_path / "checkpoint.pt")["step"] == 3
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "elsewhere.pt")
