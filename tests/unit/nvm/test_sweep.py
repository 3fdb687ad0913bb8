"""Monte Carlo over chips: a sweep that was cut off goes on, chips stay chips, CSV and plots say what was measured."""

import csv
import io
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgedet_nvm.chip_evaluation import evaluate_chip
from edgedet_nvm.cli import app
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.preset import AdcCircuit, load_preset
from edgedet_nvm.errors import OutOfRange, ResultsRefused
from edgedet_nvm.evaluation_set import folder_photos, own_set
from edgedet_nvm.monte_carlo.grid import Grid, make_grid
from edgedet_nvm.monte_carlo.plots import error_bars, plots
from edgedet_nvm.monte_carlo.results_file import ResultsFile
from edgedet_nvm.monte_carlo.summary import as_csv, summarize
from edgedet_nvm.monte_carlo.sweep import Outcome, Sweep, run_sweep
from edgedet_nvm.sidecar import compile_package
from edgedet_nvm.terminal import told
from edgedet_runtime.letterbox import to_input
from typer.testing import CliRunner

from tests.unit.nvm.small_packages import labeled_photos, small_package

NOR = "nor-flash-65nm"
GRID = Grid(chips=2, sigma_scales=(0.0, 20.0), hours=(0.0, 1000.0))


@contextmanager
def no_bar(step: str, total: int) -> Iterator[Callable[[], None]]:
    assert step
    assert total >= 0
    yield lambda: None


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("sweep")
    package, photos = small_package(folder / "models"), labeled_photos(folder / "photos", 3)
    calibration = [to_input(photo, package.manifest.input)[0] for photo in folder_photos(photos / "a")]
    return Sweep(package, load_preset(NOR), GRID, own_set(package, photos, None), calibration)


@pytest.fixture(scope="module")
def whole_file(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("whole") / "sweep.jsonl"
    run_sweep(sweep, file, no_bar)
    return file


@pytest.fixture(scope="module")
def whole(sweep: Sweep, whole_file: Path) -> Outcome:
    return run_sweep(sweep, whole_file, no_bar)


def test_a_sweep_that_was_cut_off_goes_on_and_ends_as_if_it_had_not(
    sweep: Sweep, whole: Outcome, whole_file: Path, tmp_path: Path
):
    text = whole_file.read_text()
    assert len(whole.results) == 8
    assert text.count("\n") == 9
    file = tmp_path / "cut.jsonl"
    file.write_text("".join(text.splitlines(keepends=True)[:8]) + text.splitlines()[8][:30])  # amid the last line
    assert run_sweep(sweep, file, no_bar) == whole
    assert file.read_text() == text


def test_an_interrupt_leaves_whole_lines_alone(sweep: Sweep, tmp_path: Path):
    file, seen = tmp_path / "sweep.jsonl", 0

    @contextmanager
    def impatient(step: str, total: int) -> Iterator[Callable[[], None]]:
        def advance() -> None:
            nonlocal seen
            seen += 1
            if seen == 40:  # 15 photos of the digital network, 15 of the first chip, 10 of the second
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        run_sweep(replace(sweep, grid=Grid(chips=2)), file, impatient)
    assert file.read_text().count("\n") == 2
    assert len(run_sweep(replace(sweep, grid=Grid(chips=1)), file, no_bar).results) == 1


def test_nothing_is_done_twice_and_a_grid_may_grow(sweep: Sweep, tmp_path: Path):
    totals: list[int] = []

    @contextmanager
    def counting(step: str, total: int) -> Iterator[Callable[[], None]]:
        totals.append(total)
        yield lambda: None

    file = tmp_path / "sweep.jsonl"
    small = replace(sweep, grid=Grid(chips=1))
    first = run_sweep(small, file, counting)
    grown = run_sweep(replace(sweep, grid=Grid(chips=2)), file, counting)
    again = run_sweep(small, file, counting)
    assert totals == [15, 15, 15, 0]
    assert grown.results[0] == first.results[0]
    assert again == first


def test_a_file_of_another_sweep_is_refused_by_what_differs(sweep: Sweep, whole_file: Path, tmp_path: Path):
    with pytest.raises(ResultsRefused, match="of another set of calibration photos; give another --to"):
        run_sweep(replace(sweep, calibration=sweep.calibration[:1]), whole_file, no_bar)
    quiet = load_preset("nor-flash-65nm").model_copy(update={"noise": None})
    with pytest.raises(ResultsRefused, match=r"of another preset of that name \(was its file edited\?\); give another"):
        run_sweep(replace(sweep, preset=quiet), whole_file, no_bar)
    with pytest.raises(ResultsRefused, match="another preset, 'nor-flash-65nm' instead of 'nor-flash-40nm'"):
        run_sweep(replace(sweep, preset=load_preset("nor-flash-40nm")), whole_file, no_bar)
    file = tmp_path / "sweep.jsonl"
    file.write_text("no results\n")
    with pytest.raises(ResultsRefused, match="line 1 is not of a sweep's results; give another --to"):
        run_sweep(sweep, file, no_bar)


def test_a_figure_that_is_no_share_is_refused(sweep: Sweep, whole_file: Path, tmp_path: Path):
    file, lines = tmp_path / "sweep.jsonl", whole_file.read_text().splitlines()
    edited = json.loads(lines[1]) | {"value": 7.5}
    file.write_text("\n".join([lines[0], json.dumps(edited), *lines[2:]]) + "\n")
    with pytest.raises(ResultsRefused, match="line 2 is not of a sweep's results"):
        run_sweep(sweep, file, no_bar)


def test_a_whole_last_line_without_its_end_is_kept(sweep: Sweep, whole: Outcome, whole_file: Path, tmp_path: Path):
    text, totals = whole_file.read_text(), []

    @contextmanager
    def counting(step: str, total: int) -> Iterator[Callable[[], None]]:
        totals.append(total)
        yield lambda: None

    file = tmp_path / "sweep.jsonl"
    file.write_text(text[:-1])
    assert run_sweep(sweep, file, counting) == whole
    assert totals == [0]
    assert file.read_text() == text


@pytest.mark.parametrize("content", ['{"mine": 1}', "notes\nof mine"])
def test_a_file_that_is_not_of_a_sweep_stays_as_it_is(sweep: Sweep, tmp_path: Path, content: str):
    file = tmp_path / "sweep.jsonl"
    file.write_text(content)
    with pytest.raises(ResultsRefused, match="line 1 is not of a sweep's results; give another --to"):
        run_sweep(sweep, file, no_bar)
    assert file.read_text() == content


def test_a_line_that_was_cut_off_is_taken_away_where_nothing_can_be_written(
    whole: Outcome, whole_file: Path, tmp_path: Path
):
    lines, file = whole_file.read_text().splitlines(keepends=True), tmp_path / "sweep.jsonl"
    file.write_text("".join(lines[:2]) + lines[2][:30])
    handled, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        with ResultsFile.at_work(file, whole.header.measured, lambda: 0.0) as kept:
            assert len(kept.results) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handled)
    assert file.read_text() == "".join(lines[:2])


def test_two_sweeps_do_not_write_into_one_file(sweep: Sweep, tmp_path: Path):
    file, refusals = tmp_path / "sweep.jsonl", []

    @contextmanager
    def crowded(step: str, total: int) -> Iterator[Callable[[], None]]:
        with pytest.raises(ResultsRefused, match="another sweep writes into"):
            run_sweep(sweep, file, no_bar)
        refusals.append(step)
        yield lambda: None

    run_sweep(replace(sweep, grid=Grid(chips=1)), file, crowded)
    assert len(refusals) == 2  # while the digital network was measured, and while chips were
    assert file.read_text().count("\n") == 2


def test_a_presets_own_scale_of_errors_is_kept_and_told(sweep: Sweep, tmp_path: Path):
    programming = sweep.preset.programming.model_copy(update={"error_scale": 2.0})
    twice = sweep.preset.model_copy(update={"programming": programming})
    chips = [condition.chip(twice, 0) for condition in Grid(chips=1, sigma_scales=(1.0, 1.5)).conditions(twice)]
    levels = np.full(100, 9)
    assert (chips[0].effective_levels(levels, "k") == Chip(twice, 0).effective_levels(levels, "k")).all()
    assert chips[1].preset.programming.error_scale == 3
    outcome = run_sweep(replace(sweep, preset=twice, grid=Grid(chips=1)), tmp_path / "sweep.jsonl", no_bar)
    assert outcome.header.measured.sigma_of == "2 × 1 % of the cell's own current"


def test_a_chip_keeps_its_programming_errors_under_every_condition():
    preset = load_preset(NOR)
    conditions = Grid(chips=1, sigma_scales=(1.0, 2.0), temperatures_c=(25.0, 85.0)).conditions(preset)
    chips = [condition.chip(preset, 7) for condition in conditions]
    assert [(chip.preset.programming.error_scale, chip.temperature_c) for chip in chips] == [
        (1.0, 25.0), (1.0, 85.0), (2.0, 25.0), (2.0, 85.0)
    ]  # fmt: skip
    levels = np.full(2000, 8)
    errors = {
        (chip.preset.programming.error_scale, chip.temperature_c): chip.effective_levels(levels, "layer") - 8.0
        for chip in chips
    }
    for temperature_c in (25.0, 85.0):  # the same draws, twice as large
        once, twice = errors[1.0, temperature_c], errors[2.0, temperature_c]
        assert np.corrcoef(once, twice)[0, 1] > 0.98
        assert twice.std() == pytest.approx(2 * once.std(), rel=0.05)
    assert np.corrcoef(errors[1.0, 25.0], errors[1.0, 85.0])[0, 1] > 0.98
    other = conditions[0].chip(preset, 8).effective_levels(levels, "layer") - 8.0
    assert abs(np.corrcoef(errors[1.0, 25.0], other)[0, 1]) < 0.1


def test_the_csv_has_the_mean_over_chips_and_its_interval(whole: Outcome):
    summaries = summarize(whole)
    rows = list(csv.DictReader(io.StringIO(as_csv(summaries, whole))))
    assert [(row["sigma_scale"], row["hours"]) for row in rows] == [
        ("0.0", "0.0"), ("0.0", "1000.0"), ("20.0", "0.0"), ("20.0", "1000.0")
    ]  # fmt: skip
    for row, entry in zip(rows, summaries, strict=True):
        assert row["sigma_of"] == "1 % of the cell's own current"
        assert (row["chips"], row["adc_bits"], row["rows"], row["corner"]) == ("2", "8", "576", "tt")
        assert float(row["mean"]) == pytest.approx(sum(entry.values) / 2, abs=1e-4)
        assert float(row["low"]) <= float(row["worst_chip"]) <= float(row["best_chip"]) <= float(row["high"])
        assert float(row["mean_minus_digital"]) == pytest.approx(float(row["mean"]) - float(row["digital"]), abs=2e-4)


def test_the_interval_of_one_chip_is_left_empty(whole: Outcome):
    outcome = replace(whole, results=whole.results[:1])
    (row,) = csv.DictReader(io.StringIO(as_csv(summarize(outcome), outcome)))
    assert (row["low"], row["high"]) == ("", "")
    assert told(summarize(outcome)[0].mean) == row["mean"]
    assert plots(summarize(outcome), outcome) == {}


@pytest.mark.parametrize(("values", "reaches"), [((1.0, 0.9), (0.3147, 1.0)), ((0.0, 0.1), (0.0, 0.6853))])
def test_the_interval_of_a_share_is_one_of_shares(
    whole: Outcome, values: tuple[float, ...], reaches: tuple[float, float]
):
    found = replace(summarize(whole)[0], values=values).mean
    assert (found.low, found.high) == pytest.approx(reaches, abs=1e-4)
    assert error_bars([found]).ravel() == pytest.approx([found.value - reaches[0], reaches[1] - found.value], abs=1e-4)


def test_there_is_a_plot_for_every_axis_of_several_values(whole: Outcome):
    drawn = plots(summarize(whole), whole)
    assert sorted(drawn) == ["accuracy-against-hours.svg", "accuracy-against-sigma.svg"]
    assert all(content.startswith(b"<?xml") for content in drawn.values())
    assert drawn == plots(summarize(whole), whole)


def measured_alone(sweep: Sweep, rows: int, bits: int) -> float:
    """The figure of chip 0 of a preset that has those rows and bits itself."""
    tile, adc = sweep.preset.tile, AdcCircuit(bits=bits)
    preset = sweep.preset.model_copy(update={"tile": tile.model_copy(update={"rows": rows}), "adc": adc})
    sidecar = compile_package(sweep.package, preset, NOR, 0, "channels", "mse", sweep.calibration)
    (figure,) = evaluate_chip(sweep.package, sidecar, Chip(preset, 0), sweep.photos, lambda: None).figures
    return figure.chip.value


def test_rows_and_bits_are_mapped_and_calibrated_anew(sweep: Sweep, tmp_path: Path):
    grid = Grid(chips=1, adc_bits=(3, 8), rows=(36, 576))
    outcome = run_sweep(replace(sweep, grid=grid), tmp_path / "sweep.jsonl", no_bar)
    found = {(result.condition.rows, result.condition.adc_bits): result.value for result in outcome.results}
    assert len(found) == 4
    for (rows, bits), value in found.items():
        assert value == pytest.approx(measured_alone(sweep, rows, bits)), (rows, bits)
    assert found[36, 8] != found[36, 3] != found[576, 3]
    assert sorted(plots(summarize(outcome), outcome)) == ["accuracy-against-adc-bits.svg", "accuracy-against-rows.svg"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"chips": "0"}, "--chips: '0': Input should be greater than or equal to 1"),
        ({"corners": ["tt", "xx"]}, "--corners: 'xx': Input should be 'tt', 'ff', 'ss', 'fs' or 'sf'"),
        ({"hours": ["-1"]}, "--hours: '-1'"),
        ({"hours": []}, "--hours: is empty; give one value or more"),
        ({"adc_bits": ["0"]}, "--adc-bits: '0'"),
        ({"rows": ["many"]}, "--rows: 'many'"),
    ],
)
def test_a_grid_names_the_option_that_does_not_fit(fields: dict[str, object], told: str):
    with pytest.raises(OutOfRange, match=told):
        make_grid(**({"chips": 1} | fields))


@pytest.mark.parametrize(
    ("preset", "grid", "told"),
    [
        ("ideal", Grid(chips=1, sigma_scales=(2.0,)), "sigma_scales: ideal has no programming error to scale"),
        ("ideal", Grid(chips=1, adc_bits=(8,)), "adc_bits: ideal reads currents exactly"),
        ("ideal", Grid(chips=1, temperatures_c=(25.0, 85.0)), "ideal is known at 25 °C, tt only"),
        (NOR, Grid(chips=1, temperatures_c=(25.0, 300.0)), "temperature_c: 300 is outside"),
        ("sonos-40nm", Grid(chips=1, corners=("ff",)), "sonos-40nm is known at 25 °C, tt only"),
    ],
)
def test_conditions_that_a_preset_does_not_hold_for_are_refused_before_anything_runs(
    preset: str, grid: Grid, told: str
):
    with pytest.raises(OutOfRange, match=told):
        grid.conditions(load_preset(preset))


def test_the_command_writes_results_csv_and_plots(sweep: Sweep, tmp_path: Path):
    photos = sweep.photos.dataset.files[0].parent.parent
    arguments = ["sweep", sweep.package.folder, "--to", tmp_path, "--photos", photos, "--calibrate", photos / "a"]
    told = CliRunner().invoke(app, [*map(str, arguments), "--chips", "2", "--sigma-scales", "0, 5"])
    assert told.exit_code == 0, told.output
    assert {file.name for file in tmp_path.iterdir()} == {"sweep.jsonl", "sweep.csv", "accuracy-against-sigma.svg"}
    assert "σ scale 1 is 1 % of the cell's own current" in told.output
    taken = CliRunner().invoke(app, ["sweep", str(arguments[1]), "--to", str(tmp_path / "sweep.csv")])
    assert taken.exit_code == 1
    assert "sweep.csv is no folder: name one" in taken.output
    wrong = CliRunner().invoke(app, [*map(str, arguments), "--chips", "0"])
    assert wrong.exit_code == 1
    assert wrong.output.strip() == "--chips: 0: Input should be greater than or equal to 1"
