"""Presets: all load, every constant has its source beside it, and values that do not fit are refused by name."""

import re
from pathlib import Path

import edgedet_nvm.device.preset as module
import pytest
from edgedet_nvm.device.preset import load_preset, preset_names
from edgedet_nvm.errors import LevelsRefused, PresetRefused

FOLDER = Path(module.__file__).parent / "presets"


def changed(folder: Path, name: str, old: str, new: str) -> str:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert old in text
    file = folder / "changed.toml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return str(file)


def test_the_presets_of_the_issue_are_there():
    assert preset_names() == ["ideal", "nor-flash-40nm", "nor-flash-65nm", "sonos-40nm"]
    assert [load_preset(name).name for name in preset_names()] == preset_names()


@pytest.mark.parametrize("name", ["nor-flash-40nm", "nor-flash-65nm", "sonos-40nm"])
def test_every_constant_has_its_source_beside_it(name: str):
    explained = False
    for line in (FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("["):
            explained = False
        elif line.startswith("#"):
            explained = True
        elif re.match(r"\w+ = [-\d\[{]", line) and not line.startswith("bits"):
            assert explained, f"{name}: {line}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bits = 8", "bits = 0", r"adc\.bits: .*0 bits .* give 1…16, or leave the \[adc\] section out"),
        ("bits = 8", "bits = 17", r"adc\.bits: .*17 bits"),
        ("rows = 576", "rows = 0", r"tile\.rows: .*greater than or equal to 1"),
        ("rows = 576", "rows = true", r"tile\.rows: .*valid integer"),
        ("rows = 576", 'rows = "576"', r"tile\.rows: .*valid integer"),
        ("rows = 576", "rows = 576.0", r"tile\.rows: .*valid integer"),
        ("rows = 576", "rows = 2026-11-27", r"tile\.rows: .*valid integer"),
        ("read_v = 0.6", "read_v = true", r"cell\.read_v: .*valid number"),
        ("read_v = 0.6", "read_v = inf", r"cell\.read_v: "),
        ("min_c = -40.0", "min_c = 30.0", r"environment: min_c, max_c: 25 °C, at which converters are calibrated"),
        ('law = "charge-loss"\n', "", r"retention: the field 'law' is missing"),
        ("bits = 8", "bits = 7", r"changed\.toml: name: 'nor-flash-65nm' comes with EdgeDet; give yours another name"),
        ("share = 0.01", "share = 0.7", r"programming\.error\.relative\.share"),
        ('of = "own"', 'of = "both"', r"programming\.error\.relative\.of"),
        ('law = "relative"\nshare = 0.003\nof = "g_max"', 'law = "measured"', r"noise: .*'measured'.*'saturating'"),
        ("stuck_on = 1e-5", "stuck_on = 1.5", r"programming\.stuck_on"),
        ("stuck_on = 1e-5", "stuck_on = 1.0", r"programming: .*stuck_on and stuck_off: together they may not exceed 1"),
        (
            "t0_h = 1.0",
            "t0_h = 1e-99",
            r"retention.*share_per_decade: after max_hours 10\d% of the charge would be lost",
        ),
        ("min_c = -40.0", "min_c = -300.0", r"environment\.min_c"),
        ("slope_factor = 1.4", "slope_factor = 0.5", r"transistor\.slope_factor"),
        ("threshold_tracking = 0.99", "threshold_tracking = 1.1", r"environment\.threshold_tracking"),
        ("bit_line_ohm = 1.2", "bit_line_ohm = -1", r"wires\.bit_line_ohm"),
        ("adc_msps = 100.0", "adc_msps = 0", r"costs\.adc_msps"),
        ("off_na = 1.0", "off_na = 200.0", r"cell: off_na: must be less than the current of level 1"),
        ("bits_per_cell = 4", "bits_per_cell = 5", r"slices\.bits_per_cell: 5 bits need 32 levels; .* is 16"),
        ("read_v = 0.6", "read_volts = 0.6", r"cell\.read"),
        ('law = "charge-loss"', 'law = "none"', r"retention: .*charge-loss"),
        ("[transistor]", "[cell]", "is not TOML: "),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_field(tmp_path: Path, old: str, new: str, message: str):
    with pytest.raises(PresetRefused, match=message):
        load_preset(changed(tmp_path, "nor-flash-65nm", old, new))


@pytest.mark.parametrize(
    ("i_max_na", "message"),
    [("1800.0", "1800 nA exceeds the 1700 nA up to which the law of retention was measured"),
     ("4000.0", "4000 nA exceeds the 3200 nA up to which the law of programming.error was measured")],
)  # fmt: skip
def test_a_current_beyond_what_was_measured_is_refused(tmp_path: Path, i_max_na: str, message: str):
    with pytest.raises(PresetRefused, match=f"cell.i_max_na: {message}; lower it or take another law"):
        load_preset(changed(tmp_path, "sonos-40nm", "i_max_na = 1600.0", f"i_max_na = {i_max_na}"))


def test_a_copy_that_says_the_same_may_keep_its_name(tmp_path: Path):
    text = (FOLDER / "sonos-40nm.toml").read_text(encoding="utf-8")
    (tmp_path / "copy.toml").write_text(text, encoding="utf-8")
    assert load_preset(str(tmp_path / "copy.toml")) == load_preset("sonos-40nm")


def test_physics_without_a_transistor_is_refused(tmp_path: Path):
    text = (FOLDER / "nor-flash-65nm.toml").read_text(encoding="utf-8")
    file = tmp_path / "changed.toml"
    file.write_text(re.sub(r"\[transistor\].*?\n\n", "", text, flags=re.DOTALL), encoding="utf-8")
    with pytest.raises(PresetRefused, match="transistor: needed by environment and by charge loss") as refused:
        load_preset(str(file))
    assert ": : " not in str(refused.value)  # a fault of the whole preset has no field


def test_a_measured_law_without_measured_levels_is_refused(tmp_path: Path):
    old = 'law = "relative", share = 0.01, of = "own"'
    with pytest.raises(PresetRefused, match=r"law = measured: needs cell\.measured"):
        load_preset(changed(tmp_path, "nor-flash-65nm", old, 'law = "measured"'))


def test_a_measured_cell_leaves_no_second_word_on_its_levels(tmp_path: Path):
    with pytest.raises(LevelsRefused, match="has the fields measured and read_v"):
        load_preset(changed(tmp_path, "nor-flash-65nm", "level_count = 16", 'measured = "levels.csv"'))


@pytest.mark.parametrize("name", ["nor-flash-55nm", "nowhere/mine.toml"])
def test_an_unknown_preset_is_refused_with_those_that_there_are(name: str):
    with pytest.raises(PresetRefused, match="there are: ideal, nor-flash-40nm, nor-flash-65nm, sonos-40nm"):
        load_preset(name)
