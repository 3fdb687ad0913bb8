"""The profile: measured once, then followed."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import RunContext, RunResult, Tensor, load_backend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.package import Package
from edgedet_runtime.profile import Profile, made_up_tensors, measure_profile
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors


@pytest.fixture(scope="module")
def chain(package: Package) -> Chain:
    return prepare_chain(package, load_backend("onnxruntime"))


def test_every_stage_is_measured(package: Package, chain: Chain):
    profile = measure_profile(chain, Finisher.load(package))
    assert len(profile.segment_ms) == chain.segment_count == 7
    assert all(cost > 0 for cost in (profile.decode_ms, profile.postprocess_ms, *profile.segment_ms))
    assert [b.nbytes for b in profile.boundaries] == [b.nbytes for b in package.manifest.boundaries]
    assert all(0.2 < boundary.zstd_ratio < 0.9 for boundary in profile.boundaries)
    assert profile.total_ms == pytest.approx(profile.head_ms()[-1])


def test_a_segment_that_loads_but_does_not_run_is_named(package: Package, chain: Chain):
    class Failing:
        def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:
            raise ort_errors.Fail("no room")

    second = replace(chain.stages[1], runner=Failing())
    failing = replace(chain, stages=(chain.stages[0], second, *chain.stages[2:]))
    with pytest.raises(GraphUnsupported, match="segment 2: onnxruntime loads it, but cannot run it: no room"):
        measure_profile(failing, Finisher.load(package))


def test_head_costs_count_decoding_from_the_first_segment_and_postprocessing_at_the_end():
    profile = Profile(decode_ms=1.0, segment_ms=[10.0, 20.0], postprocess_ms=0.5, photo_bytes=100.0)
    assert profile.head_ms() == [0.0, 11.0, 31.5]


def test_measurements_move_the_profile_a_little():
    profile = Profile(decode_ms=1.0, segment_ms=[10.0, 20.0], postprocess_ms=0.5, photo_bytes=100.0)
    profile.observe_segment(2, 40.0)
    profile.observe_decode(3.0, 200)
    profile.observe_postprocess(0.7)
    assert profile.segment_ms == [10.0, 21.0]
    assert (profile.decode_ms, profile.photo_bytes) == (pytest.approx(1.1), pytest.approx(105.0))
    assert profile.postprocess_ms == pytest.approx(0.51)


def test_made_up_tensors_are_those_of_the_boundary(chain: Chain):
    for boundary in range(chain.segment_count + 1):
        made = made_up_tensors(chain, boundary)
        chain.check(boundary, [(name, str(tensor.dtype), tensor.shape) for name, tensor in made.items()])


def test_an_unknown_backend_names_those_that_are_installed():
    with pytest.raises(GraphUnsupported, match="nvm, onnxruntime, reference"):
        load_backend("abacus")


def test_a_backend_whose_library_is_missing_names_it_and_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "edgedet_nvm.registered_backend", None)
    told = r"'nvm' needs edgedet_nvm.registered_backend; of ours, in a clone of EdgeDet: pip install '\.\[nvm\]'"
    with pytest.raises(GraphUnsupported, match=told):
        load_backend("nvm")


def test_an_option_that_a_backend_does_not_have_is_refused_with_those_that_it_has():
    with pytest.raises(GraphUnsupported, match=r"'onnxruntime' has no option 'chip'; leave it out\. There are: none"):
        load_backend("onnxruntime", chip=3)
    with pytest.raises(GraphUnsupported, match=r"'nvm' has no option 'color'.*: preset, chip"):
        load_backend("nvm", color="red")
