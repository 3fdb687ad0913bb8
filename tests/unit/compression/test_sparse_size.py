import numpy as np
import pytest
import torch
from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.pruning.criteria import one_threshold
from edgedet_compression.pruning.masks import apply_masks, prunable_weights
from edgedet_compression.pruning.sparse_coding import decode, encode
from edgedet_compression.pruning.sparse_size import read_sparse, write_sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.compression.prunable_networks import small_vgg, small_yolo

pytestmark = pytest.mark.needs_torch


def _sparse(network, share):
    apply_masks(network, one_threshold(prunable_weights(network, "last"), share))
    return network


def _same_bits(first, second):
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


_arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float16, np.int8, np.int64]), hnp.array_shapes(min_dims=0, max_dims=4, max_side=9)
)


@settings(max_examples=50)
@given(array=_arrays)
def test_any_array_comes_back_bit_for_bit(array):
    coded = encode(array)
    assert _same_bits(decode(coded.positions, coded.streams, array.dtype.str, array.shape), array)


@settings(max_examples=50)
@given(places=st.sets(st.integers(0, 4999), max_size=40), seed=st.integers(0, 1000))
def test_sparse_arrays_with_gaps_of_any_length_come_back_bit_for_bit(places, seed):
    array = np.zeros(5000, np.float32)
    array[sorted(places)] = np.random.default_rng(seed).normal(size=len(places)) + 3
    coded = encode(array)
    assert coded.positions != "dense"
    assert _same_bits(decode(coded.positions, coded.streams, "<f4", (5000,)), array)
    assert coded.size < array.nbytes / 10


def test_each_way_to_store_positions_is_taken_where_it_is_shortest():
    generator = np.random.default_rng(0)
    values = generator.normal(size=40_000).astype(np.float32)
    draw = generator.random(40_000)
    assert encode(values).positions == "dense"
    assert encode(np.where(draw < 0.6, values, 0)).positions == "bitmask"
    assert encode(np.where(draw < 0.04, values, 0)).positions == "gaps"


@pytest.mark.parametrize("make", [small_vgg, small_yolo])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.96])
def test_a_network_comes_back_out_of_its_file_exactly(make, share, tmp_path):
    network = _sparse(make(), share)
    size = write_sparse(network, tmp_path / "net")
    assert size.total == (tmp_path / "net").stat().st_size
    assert sum(tensor.size for tensor in size.tensors.values()) < size.total
    read = read_sparse(tmp_path / "net")
    state = network.state_dict()
    assert list(state) == list(read.state_dict()) == list(size.tensors)
    assert all(_same_bits(value.numpy(), state[name].numpy()) for name, value in read.state_dict().items())


def test_zeros_with_a_sign_take_no_more_than_others(tmp_path):
    network = _sparse(small_vgg(), 0.9)
    size = write_sparse(network, tmp_path / "net").total
    with torch.no_grad():
        for name in prunable_weights(network):
            weight = network.get_parameter(name)
            weight[weight == 0] = -0.0
    assert write_sparse(network, tmp_path / "net").total == size


def test_positions_cost_bytes_but_a_sparse_file_is_smaller(tmp_path):
    network = small_vgg()
    dense = write_sparse(network, tmp_path / "dense").total
    count = sum(weight.numel() for weight in prunable_weights(network).values())
    sparse = write_sparse(_sparse(network, 0.95), tmp_path / "sparse").total
    assert 0.05 * count * 4 < sparse < 0.2 * dense


def test_a_missing_a_foreign_and_a_cut_off_file_are_refused_by_name(tmp_path):
    with pytest.raises(SourceMissing, match="nowhere"):
        read_sparse(tmp_path / "nowhere")
    (tmp_path / "foreign").write_bytes(b"something else")
    with pytest.raises(SourceUnreadable, match="foreign"):
        read_sparse(tmp_path / "foreign")
    write_sparse(small_vgg(), tmp_path / "net")
    content = (tmp_path / "net").read_bytes()
    for length in (18, 60, len(content) // 2, len(content) - 1):
        (tmp_path / "short").write_bytes(content[:length])
        with pytest.raises(SourceUnreadable, match="short"):
            read_sparse(tmp_path / "short")
