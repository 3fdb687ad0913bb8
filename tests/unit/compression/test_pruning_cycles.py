import pytest
import torch
from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.pruning.criteria import cubic_sparsity, equal_percentage, one_threshold
from edgedet_compression.pruning.cycles import ROUNDS, CyclePlan, Round, next_round, prune_in_cycles, read_rounds
from edgedet_compression.pruning.masks import apply_masks, prunable_weights, sparsity
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.compression.prunable_networks import small_vgg

pytestmark = pytest.mark.needs_torch

PLAN = CyclePlan(sparsity=0.9, rounds=5, reference=0.9, tolerance=0.01)


def _no_training(network, masks, number):
    pass


def _of(network):
    return sparsity(prunable_weights(network)).total


def test_rounds_that_hold_follow_the_cubic_schedule(tmp_path):
    network = small_vgg()
    rounds = prune_in_cycles(network, PLAN, _no_training, lambda _: 0.9, tmp_path)
    assert [done.sparsity for done in rounds] == pytest.approx([cubic_sparsity(step, 5, 0.9) for step in range(1, 6)])
    assert all(done.kept for done in rounds)
    assert _of(network) == pytest.approx(0.9, abs=1e-3)


def test_a_round_that_lets_the_figure_drop_is_taken_back_and_the_percentage_shrinks(tmp_path):
    network = small_vgg()
    plan = CyclePlan(sparsity=0.9, rounds=3, reference=0.9, tolerance=0.01, most_rounds=10)

    def validate(pruned):
        return 0.9 if _of(pruned) < 0.75 else 0.8

    rounds = prune_in_cycles(network, plan, _no_training, validate, tmp_path)
    dropped = [place for place, done in enumerate(rounds) if not done.kept]
    first = dropped[0]
    assert rounds[first + 1].percentage == pytest.approx(rounds[first].percentage / 2)
    assert len(rounds) == 10
    assert _of(network) == pytest.approx(max(done.sparsity for done in rounds if done.kept), abs=1e-3)
    assert 0.6 < _of(network) < 0.75


def test_cycles_that_were_cut_off_go_on_to_the_same_end(tmp_path):
    def fine_tune(network, masks, number):
        with torch.no_grad():
            for name, mask in masks.items():
                network.get_parameter(name).add_(0.01 * number * mask)

    def interrupted(network, masks, number):
        fine_tune(network, masks, number)
        if number == 3:
            raise KeyboardInterrupt

    def validate(network):
        return 1 + _of(network) if _of(network) < 0.75 else 0.0

    straight, resumed = small_vgg(), small_vgg()
    expected = prune_in_cycles(straight, PLAN, fine_tune, validate, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        prune_in_cycles(resumed, PLAN, interrupted, validate, tmp_path / "b")
    assert [done.kept for done in read_rounds(tmp_path / "b")] == [True, True]
    assert not expected[2].kept
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == ["kept-2.pt", "rounds.json"]
    rounds = prune_in_cycles(small_vgg(seed=9), PLAN, fine_tune, validate, tmp_path / "b")
    assert rounds == expected
    again = small_vgg(seed=8)
    assert prune_in_cycles(again, PLAN, fine_tune, validate, tmp_path / "b") == expected
    assert all(
        torch.equal(a, b) for a, b in zip(straight.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_fine_tuning_gets_masks_that_are_in_force_and_the_number_of_the_round(tmp_path):
    seen = []

    def fine_tune(network, masks, number):
        weights = prunable_weights(network)
        assert all(not weights[name][~mask].any() for name, mask in masks.items())
        seen.append(number)

    prune_in_cycles(small_vgg(), PLAN, fine_tune, lambda _: 1.0, tmp_path)
    assert seen == [1, 2, 3, 4, 5]


def test_a_criterion_with_a_threshold_per_layer_prunes_every_layer_alike(tmp_path):
    network = small_vgg()
    prune_in_cycles(network, PLAN, _no_training, lambda _: 1.0, tmp_path, equal_percentage)
    assert all(share == pytest.approx(0.9, abs=0.01) for share in sparsity(prunable_weights(network)).layers.values())


def test_a_network_that_has_zeros_already_is_pruned_from_there_in_as_many_rounds(tmp_path):
    network = small_vgg()
    apply_masks(network, one_threshold(prunable_weights(network), 0.6))
    plan = CyclePlan(sparsity=0.9, rounds=3, reference=0.9, tolerance=0.01, begun=_of(network))
    rounds = prune_in_cycles(network, plan, _no_training, lambda _: 0.9, tmp_path)
    wanted = [0.6 + 0.3 * (1 - (1 - step / 3) ** 3) for step in (1, 2, 3)]
    assert [done.sparsity for done in rounds] == pytest.approx(wanted, abs=1e-3)
    assert rounds[0].percentage == pytest.approx(1 - (1 - wanted[0]) / 0.4, abs=1e-2)
    assert _of(network) == pytest.approx(0.9, abs=1e-3)


def test_damaged_weights_between_rounds_are_named_and_the_rounds_go_by_again_without_them(tmp_path):
    def validate(network):
        return 1 + _of(network) if _of(network) < 0.75 else 0.0

    straight, resumed = small_vgg(), small_vgg()
    expected = prune_in_cycles(straight, PLAN, _no_training, validate, tmp_path)
    (kept,) = tmp_path.glob("kept-*.pt")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(SourceUnreadable, match=rf"{kept.name} is damaged: remove it, and run again"):
        prune_in_cycles(resumed, PLAN, _no_training, validate, tmp_path)
    kept.unlink()
    resumed = small_vgg()
    assert prune_in_cycles(resumed, PLAN, _no_training, validate, tmp_path) == expected
    assert all(
        torch.equal(a, b) for a, b in zip(straight.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("content", ["", "[{", '[{"sparsity": 0.5}]', "7"])
def test_rounds_that_are_damaged_are_named(tmp_path, content):
    (tmp_path / ROUNDS).write_text(content)
    with pytest.raises(SourceUnreadable, match=rf"{ROUNDS} is damaged: remove it, and run again"):
        read_rounds(tmp_path)


def test_as_many_rounds_are_done_as_are_planned():
    plan = CyclePlan(sparsity=0.9, rounds=40, reference=0, tolerance=0)
    done: list[Round] = []
    while (wish := next_round(plan, done)) is not None:
        done.append(Round(*wish, figure=0.0, kept=True))
    assert len(done) == 40
    assert done[-1].sparsity == pytest.approx(0.9)


def test_where_nothing_is_validated_every_round_is_kept_and_there_is_no_figure(tmp_path):
    network = small_vgg()
    plan = CyclePlan(sparsity=0.9, rounds=2, reference=None, tolerance=0)
    rounds = prune_in_cycles(network, plan, _no_training, lambda _: None, tmp_path)
    assert [(done.kept, done.figure) for done in rounds] == [(True, None)] * 2
    assert read_rounds(tmp_path) == rounds


@settings(max_examples=50)
@given(outcomes=st.lists(st.booleans(), max_size=30), rounds=st.integers(1, 12), final=st.floats(0.1, 0.99))
def test_whatever_validation_says_sparsity_stays_below_the_aim_and_the_cycles_end(outcomes, rounds, final):
    plan = CyclePlan(sparsity=final, rounds=rounds, reference=0, tolerance=0)
    done: list[Round] = []
    for kept in [*outcomes, *[True] * 30]:
        wish = next_round(plan, done)
        if wish is None:
            break
        percentage, reached = wish
        assert 0 < percentage <= 1
        assert max((each.sparsity for each in done if each.kept), default=0) < reached <= final + 1e-9
        done.append(Round(percentage, reached, 0.0, kept))
    assert len(done) <= plan.most_rounds
    assert next_round(plan, done) is None
