"""`edgedet-compress run` and its kin on a few photos: done once, stopped, gone on with, exported, reported."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort
import pytest
from click.testing import Result
from edgedet_compression.recipe import load_recipe, recipe_text
from edgedet_compression.run_commands import app
from edgedet_compression.runner import Workplace, folders_of
from edgedet_runtime.package import load_package
from typer.testing import CliRunner

from tests.unit.compression.toy_photos import write_shapes

pytestmark = [pytest.mark.needs_torch, pytest.mark.usefixtures("one_thread")]

DATA = """
name = "NAME"
description = "Squares and stripes."
[data]
format = "folders"
folder = "photos"
size = 32
hold_out = 8
"""
TOY = (
    DATA.replace("NAME", "toy")
    + """
[[stages]]
name = "dense"
kind = "train"
network = { family = "resnet20" }
schedule = { epochs = 2, batch = 8, lr = 0.05, precision = "fp32" }
[[stages]]
name = "sparse"
kind = "prune-weights"
start = "dense"
sparsity = 0.5
tolerance = 1.0
schedule = { epochs = 1, batch = 8, lr = 0.01, precision = "fp32" }
[[stages]]
name = "unseen"
kind = "prune-weights"
start = "dense"
sparsity = 0.5
all_data = true
schedule = { epochs = 1, batch = 8, lr = 0.01, precision = "fp32" }
[[stages]]
name = "thin"
kind = "prune-channels"
start = "dense"
parameters = 200_000
[[stages]]
name = "package"
kind = "export"
start = "thin"
package = "toy-shapes"
description = "Squares or stripes."
license = "Apache-2.0"
[[stages]]
name = "test"
kind = "evaluate"
baseline = "dense"
networks = ["sparse", "thin"]
packages = ["package"]
"""
)
COMMAND = "from edgedet_compression.cli import main; main()"
LONG_EPOCHS = 5
LONG = (
    DATA.replace("NAME", "long")
    + f"""
[[stages]]
name = "dense"
kind = "train"
network = {{ family = "resnet20" }}
schedule = {{ epochs = {LONG_EPOCHS}, batch = 4, lr = 0.05, precision = "fp32" }}
"""
)


class Bench:
    """A folder with photos and recipes, and the command in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.runs, self.models = root, root / "runs", root / "models"
        self.settings = {
            "EDGEDET_DATA": str(root / "data"), "EDGEDET_RUNS": str(self.runs), "EDGEDET_MODELS": str(self.models),
            "EDGEDET_CACHE": str(root / "cache"), "COLUMNS": "200", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.toy, self.long = self.recipe("toy", TOY), self.recipe("long", LONG)

    def recipe(self, name: str, text: str) -> Path:
        file = self.root / f"{name}.toml"
        file.write_text(text, encoding="utf-8")
        return file

    def __call__(self, *arguments: str | Path, **settings: str | None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env={**self.settings, **settings})

    def process(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **self.settings}
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Photos of two kinds that are easy to tell apart."""
    root = tmp_path_factory.mktemp("bench")
    write_shapes(root / "data" / "photos")
    return Bench(root)


@pytest.fixture(scope="module")
def log(bench: Bench) -> Iterator[list[str]]:
    """The toy recipe has been run by a process whose output is no terminal: its lines."""
    process = bench.process("run", bench.toy)
    _, lines = process.communicate()
    assert process.returncode == 0, lines
    return lines.splitlines()


def test_a_log_has_a_line_an_epoch_with_loss_and_validation_figure(log: list[str]) -> None:
    epochs = [line for line in log if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in epochs] == ["epoch 1 of 2", "epoch 2 of 2", "epoch 1 of 1", "epoch 1 of 1"]
    assert all(re.fullmatch(r"epoch \d of \d: loss \S+, top1 \S+ \(\d+ s\)", line) for line in epochs[:-1])
    assert re.fullmatch(r"epoch 1 of 1: loss \S+ \(\d+ s\)", epochs[-1]), "all photos are learned"
    assert [line for line in log if line.startswith("stage ")][:2] == [
        "stage dense (train)",
        "stage sparse (prune-weights)",
    ]


def test_runs_are_kept_where_edgedet_runs_says_and_are_not_done_again(bench: Bench, log: list[str]) -> None:
    for stage in ("dense", "sparse", "thin", "test", "package"):
        assert len(list(bench.runs.glob(f"toy*/{stage}*/result.json"))) == 1
    again = bench("run", bench.toy)
    assert again.exit_code == 0, again.stderr
    assert "epoch" not in again.stderr
    interval = r"\[\S+, \S+\]"
    for name in ("thin", "package"):
        assert re.search(rf"{name}: top1 [01]\.\d{{4}} {interval}", again.stdout)
        assert re.search(rf"{name} − dense: top1 [+-]\d\.\d{{4}} {interval}", again.stdout)
    assert "dense − dense" not in again.stdout
    assert "50.00% zeros in the layers pruned, wished 50.00%" in again.stdout


def test_export_names_the_package_and_a_stage_that_is_none(bench: Bench, log: list[str]) -> None:
    done = bench("export", bench.toy)
    assert done.exit_code == 0, done.stderr
    assert "toy-shapes" in done.stdout
    assert load_package(bench.models / "toy-shapes" / "1").manifest.labels == ("square", "stripes")
    refused = bench("export", bench.toy, "dense")
    assert (refused.exit_code, refused.stderr) == (2, "dense: no export stage; toy has: package\n")


def test_the_report_opens_offline_and_has_networks_packages_sizes_and_curves(bench: Bench, log: list[str]) -> None:
    file = bench.root / "toy.html"
    done = bench("report", bench.toy, "--to", file)
    assert done.exit_code == 0, done.stderr
    assert str(file) in done.stdout
    html = file.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)|url\(|@import|<script""", html)
    rows = re.findall(r"<tr><td>([^<]*)</td>", html)
    assert rows[:4] == ["dense", "sparse", "thin", "toy-shapes:1: thin as int8"]
    (sparse,) = bench.runs.glob("toy*/sparse*/network.sparse")
    package = bench.models / "toy-shapes" / "1" / "model.onnx"
    for size in (sparse.stat().st_size, package.stat().st_size):
        assert f"<td>{size / 1e3:.1f} kB</td>" in html
    assert html.count("images/s") == 4
    texts = ("Training loss", "Validation top-1", "Pruning of weights", "Channels kept", "photos/test, 12 photos")
    for text in (*texts, "Top-1 of each class, %", f"ONNX Runtime {ort.__version__}, "):
        assert text in html, text
    assert f"edgedet-compress run {bench.toy}" in html
    figures = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    assert figures["recipe"]["name"] == "toy"
    assert list(figures["stages"]) == ["dense", "sparse", "unseen", "thin", "package", "test"]
    unseen = figures["stages"]["unseen"]
    assert (unseen["reference"], [done["figure"] for done in unseen["rounds"]]) == (None, [None])
    assert set(figures["speed"]["32 x 32"]) == {"dense", "sparse", "thin", "package"}
    tested = figures["stages"]["test"]["packages"]["package"]["top1"]
    assert tested["n"] == 12
    assert [one["n"] for one in tested["classes"].values()] == [6, 6]
    assert sum(one["value"] for one in tested["classes"].values()) / 2 == pytest.approx(tested["value"], abs=1e-4)
    assert figures["speed measured"]["processor"]
    assert tested["minus baseline"]["low"] <= tested["minus baseline"]["value"] <= tested["minus baseline"]["high"]
    assert str(bench.root) not in json.dumps(figures)
    for place in (bench.root, bench.root / "nowhere" / "toy.html"):
        refused = bench("report", bench.toy, "--to", place)
        assert refused.exit_code == 2
        assert f"--to {place}: no file can be written there" in refused.stderr
    refused = bench("report", bench.toy, "--to", file.with_suffix(".json"))
    assert (refused.exit_code, "the figures are written there" in refused.stderr) == (2, True)


def test_a_recipe_is_printed_into_a_file_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "mine.toml").open("wb") as file:
        command = [sys.executable, "-c", COMMAND, "recipes", "my-detector"]
        subprocess.run(command, stdout=file, env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": "80"}, check=True)
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8") == recipe_text("my-detector")


def test_the_stages_that_help_texts_name_are_there() -> None:
    known = {"mine.toml": "my-detector"}  # as the example of `recipes` makes it
    found = []
    for command in app.registered_commands:
        text = command.callback.__doc__ or "" if command.callback else ""
        found += re.findall(
            r"edgedet-compress (?:run|export) (\S+) (?:--until )?([a-z][a-z0-9-]*)$", text, re.MULTILINE
        )
    assert len(found) >= 2
    for name, stage in found:
        load_recipe(known.get(name, name)).stage(stage)


def test_the_report_has_the_rounds_of_a_pruning_that_has_not_ended(bench: Bench, log: list[str]) -> None:
    (sparse,) = re.findall(r'\[\[stages\]\]\nname = "sparse"\n[^[]*', TOY)
    recipe = bench.recipe("more", TOY + sparse.replace('"sparse"', '"sparser"').replace("0.5", "0.6"))
    place = Workplace(bench.root / "data", bench.runs, bench.models)
    begun = folders_of(load_recipe(str(recipe)), place)["sparser"].path
    for number in (1, 2, 10):
        (begun / f"round-{number}").mkdir(parents=True)
        (begun / f"round-{number}" / "log.jsonl").write_text(json.dumps({"epoch": 1, "loss": 1 / number}) + "\n")
    done = bench("report", recipe, "--to", bench.root / "more.html")
    assert done.exit_code == 0, done.stderr
    html = (bench.root / "more.html").read_text(encoding="utf-8")
    (losses,) = re.findall(r"<h3>Training loss</h3>.*?</figure>", html, re.DOTALL)
    assert "</i>sparser</span>" in losses
    heights = [float(point.split(",")[1]) for point in re.findall('points="([^"]*)"', losses)[-1].split()]
    assert len(heights) == 3
    assert heights == sorted(heights), "a falling loss, the rounds in order"


def test_the_rounds_of_a_network_that_was_pruned_before_begin_where_it_is(bench: Bench, log: list[str]) -> None:
    (sparse,) = re.findall(r'\[\[stages\]\]\nname = "sparse"\n[^[]*', TOY)
    twice = sparse.replace('"sparse"', '"again"').replace('"dense"', '"sparse"').replace("0.5", "0.8")
    recipe = bench.recipe("twice", TOY + twice)
    done = bench("run", recipe)
    assert done.exit_code == 0, done.stderr
    assert "80.00% zeros in the layers pruned, wished 80.00%" in done.stdout
    assert bench("report", recipe, "--to", bench.root / "twice.html").exit_code == 0
    html = (bench.root / "twice.html").read_text(encoding="utf-8")
    (rounds,) = re.findall(r"<h3>Pruning of weights</h3>.*?</figure>", html, re.DOTALL)
    lines = re.findall('points="(.*?)"', rounds)
    first, second = ([float(x) for x in re.findall(r"([\d.]+),", line)] for line in lines)
    assert second[0] == pytest.approx(first[-1], abs=1)


def test_the_report_has_the_layers_that_bear_pruning_least(bench: Bench, log: list[str]) -> None:
    scan = '\n[[stages]]\nname = "scan"\nkind = "sensitivity"\nstart = "dense"\nsparsities = [0.5, 0.9]\n'
    recipe = bench.recipe("scanned", TOY + scan)
    assert bench("run", recipe, "--until", "scan").exit_code == 0
    assert bench("report", recipe, "--to", bench.root / "scanned.html").exit_code == 0
    html = (bench.root / "scanned.html").read_text(encoding="utf-8")
    (chart,) = re.findall(r"<h3>scan: the weakest of 20 layers, dense [\d.]+</h3>.*?</figure>", html, re.DOTALL)
    assert len(re.findall('points="', chart)) == 6


def test_a_report_of_a_run_that_has_no_figures_yet_is_refused(bench: Bench) -> None:
    begun = bench.recipe("begun", TOY.replace('name = "toy"', 'name = "begun"'))
    for recipe, told in (
        (begun, f"begun: nothing is evaluated yet; edgedet-compress run {begun}\n"),
        (bench.long, "long has no stage of kind evaluate: add one\n"),
    ):
        refused = bench("report", recipe)
        assert (refused.exit_code, refused.stderr.endswith(told)) == (2, True), refused.stderr


def test_ctrl_c_stops_a_training_and_resume_goes_on(bench: Bench) -> None:
    refused = bench("resume", bench.long)
    assert refused.exit_code == 2
    assert f"was never begun below {bench.runs}: edgedet-compress run {bench.long}" in refused.stderr

    with bench.process("run", bench.long) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1 "):
                process.send_signal(signal.SIGINT)
                break
        told = process.stderr.read()
    assert process.returncode == 130
    assert re.search(r"stopped (in|after) epoch \d.*; the same command goes on from there\n$", told)
    assert "Traceback" not in told

    resumed = bench("resume", bench.long)
    assert resumed.exit_code == 0, resumed.stderr
    assert f"epoch {LONG_EPOCHS} of {LONG_EPOCHS}: loss" in resumed.stderr
    assert "epoch 1 of" not in resumed.stderr
    (file,) = bench.runs.glob("long*/dense*/log.jsonl")
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == list(range(1, LONG_EPOCHS + 1))


def test_recipes_are_listed_and_printed_as_a_start_for_ones_own(bench: Bench) -> None:
    listed = bench("recipes")
    assert listed.exit_code == 0
    for name in ("my-detector", "my-classifier", "yolov3-bccd"):
        assert name in listed.stdout
        printed = bench("recipes", name)
        own = bench.recipe("own", printed.stdout)
        assert printed.stdout.endswith("\n")
        assert not printed.stdout.endswith("\n\n")
        missing = bench("run", own, EDGEDET_DATA=str(bench.models.parent))
        assert missing.exit_code == 1, "the recipe itself is right"
        assert "correct EDGEDET_DATA, --data or data.folder" in missing.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 5", "epoch = 5", "stage dense: schedule.epoch: nothing is called that"),
        ('format = "folders"', 'format = "zip"', "data.format"),
        ('family = "resnet20"', 'family = "resnet21"', "stage dense: network.family"),
        ('family = "resnet20"', 'family = "yolov3"', "yolov3 needs boxes"),
        ("[data]", "[data", "is not TOML"),
    ],
)
def test_a_mistake_in_a_recipe_names_the_field(bench: Bench, old: str, new: str, message: str) -> None:
    assert old in LONG
    result = bench("run", bench.recipe("wrong", LONG.replace(old, new)))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_data_sets_are_found_in_the_data_folder_in_the_cache_and_in_the_working_directory(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = {"EDGEDET_DATA": None, "EDGEDET_CACHE": str(bench.root / "data"), "EDGEDET_RUNS": str(tmp_path)}
    assert "was never begun" in bench("resume", bench.long, **cached).stderr
    empty = bench("resume", bench.long, **(cached | {"EDGEDET_CACHE": str(tmp_path)}))
    assert empty.exit_code == 1
    assert f"no folder {tmp_path}/photos nor photos: correct EDGEDET_DATA" in empty.stderr
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(bench.root / "data")
        here = bench("resume", bench.long, **(cached | {"EDGEDET_CACHE": str(tmp_path)}))
    assert "was never begun" in here.stderr
    cifar = bench.recipe("cifar", LONG.replace('"folders"', '"cifar10"').replace('"photos"', '"cifar10"'))
    missing = bench("run", cifar)
    assert missing.exit_code == 1
    assert "`edgedet-compress fetch cifar10` downloads it; or correct EDGEDET_DATA" in missing.stderr


def test_fetch_tells_where_a_data_set_is_and_what_there_is(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "cifar10" / "cifar-10-batches-py").mkdir(parents=True)
    there = bench("fetch", "cifar10", EDGEDET_CACHE=str(tmp_path))
    assert (there.exit_code, there.stdout) == (0, f"{tmp_path}/cifar10\n")
    unknown = bench("fetch", "imagenet")
    assert unknown.exit_code == 2
    assert "no source 'imagenet'; there are: yolov3-tiny, cifar10, mnist" in unknown.stderr
    assert "too large to come unasked" in bench("fetch", "coco").stderr
