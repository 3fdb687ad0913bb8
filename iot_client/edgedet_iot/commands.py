"""The commands of ``edgedet-iot``: send photos to edges, or stream them."""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.live import Live

from edgedet_iot.answers import Classes, Detections
from edgedet_iot.client import DEADLINE_S, Client
from edgedet_iot.errors import IotFault, Unreachable
from edgedet_iot.stream import photos_in, stream
from edgedet_iot.stream_report import UNREACHABLE, StreamReport
from edgedet_iot.tables import answer_table, route_line, stream_line, stream_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Photos to EdgeDet edge nodes, answers back.")
out = Console()
err = Console(stderr=True)

DEFAULT_EDGE = "http://127.0.0.1:8080"
PLAIN_PROGRESS_S = 10

Edges = Annotated[
    list[str] | None,
    typer.Option(
        "--edge",
        envvar="EDGEDET_EDGES",
        show_default=DEFAULT_EDGE,
        help="URL of an edge; repeat it, or separate by commas, in the order of preference.",
    ),
]
ModelName = Annotated[str | None, typer.Option("--model", help="name[:version]; default: the edge's.")]
Classify = Annotated[bool, typer.Option("--classify", help="Classify instead of detecting objects.")]


class ArrivalChoice(StrEnum):
    """How photos follow one another."""

    POISSON = "poisson"
    REGULAR = "regular"


@app.command()
def send(
    photos: Annotated[list[Path], typer.Argument(help="JPEG or PNG files.")],
    edge: Edges = None,
    save: Annotated[Path | None, typer.Option(help="Folder for the photos with their boxes drawn.")] = None,
    model: ModelName = None,
    score_threshold: Annotated[float | None, typer.Option(help="Least score of an object.", min=0, max=1)] = None,
    classify: Classify = False,
    deadline_s: Annotated[float, typer.Option(help="Seconds for an answer, retries included.", min=0.001)] = DEADLINE_S,
) -> None:
    """Send photos one by one and print what is in them. Exit 1 if one was not answered.

    Examples:

      edgedet-iot send photo.jpg --save annotated

      edgedet-iot send *.jpg --edge http://192.168.0.20:8080 --edge http://192.168.0.21:8080
    """
    if classify and (save is not None or score_threshold is not None):
        raise typer.BadParameter("--classify finds no boxes: --save and --score-threshold do not go with it")
    _check_photos(photos)
    if save is not None:
        _check_writable(save, "--save")
        _check_targets(photos, save)
    failures = 0
    unreachable = ""
    with _client(edge, deadline_s) as client:
        for photo in photos:
            try:
                if classify:
                    _print_answer(photo, client.classify(photo, model=model))
                    continue
                _print_answer(photo, client.detect(photo, model=model, score_threshold=score_threshold))
                if save is not None:
                    drawn = client.annotate(photo, model=model, score_threshold=score_threshold)
                    out.print(f"{_saved(drawn, save, photo)}", highlight=False, markup=False, soft_wrap=True)
            except (IotFault, OSError) as error:
                failures += 1
                unreachable = error.edge if isinstance(error, Unreachable) else unreachable
                _complain(f"{photo}: {error.strerror if isinstance(error, OSError) else error}")
    if unreachable:
        _complain(_how_to_start(unreachable))
    raise typer.Exit(1 if failures else 0)


@app.command("stream")
def stream_folder(
    folder: Annotated[Path, typer.Argument(help="Folder with JPEG or PNG files.", exists=True, file_okay=False)],
    rate: Annotated[float, typer.Option(envvar="EDGEDET_RATE", help="Photos a second.", min=0.001)] = 1.0,
    seconds: Annotated[
        float | None, typer.Option(envvar="EDGEDET_SECONDS", help="Length; default: until Ctrl-C.", min=0.001)
    ] = None,
    edge: Edges = None,
    model: ModelName = None,
    classify: Classify = False,
    arrivals: Annotated[ArrivalChoice, typer.Option(help="Poisson process or equal gaps.")] = ArrivalChoice.POISSON,
    deadline_ms: Annotated[float, typer.Option(help="Deadline of each photo, from its intended time.", min=1)] = 1000,
    retries: Annotated[int, typer.Option(help="Repetitions of a refused photo.", min=0)] = 0,
    seed: Annotated[int | None, typer.Option(help="Makes the Poisson process repeatable.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the report.", dir_okay=False, writable=True)
    ] = None,
) -> None:
    """Stream a folder's photos at a rate, whether or not earlier ones are answered; latency counts from the intended
    send time. Ctrl-C ends the stream, waits for photos on their way and prints the table of what was done; a second one
    ends at once. Exit 1 if no photo was answered.

    Examples:

      edgedet-iot stream samples/photos --rate 40 --seconds 10

      EDGEDET_RATE=40 edgedet-iot stream samples/photos --json report.json
    """
    photos = _photos_of(folder)
    if json_file is not None:
        _check_writable(json_file.parent, "--json")
    display, progress = _progress()

    async def run() -> StreamReport:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            stop.set()
            loop.remove_signal_handler(number)  # photos on their way are waited for; a second one ends that as well

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        return await stream(
            _edges(edge),
            photos,
            rate=rate,
            seconds=seconds,
            model=model,
            classify=classify,
            arrivals=arrivals.value,
            deadline_s=deadline_ms / 1000,
            retries=retries,
            seed=seed,
            stop=stop,
            on_progress=progress,
        )

    try:
        with display:
            report = asyncio.run(run())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    out.print(stream_line(report), highlight=False, soft_wrap=True)
    out.print(stream_table(report))
    for refusal in report.refusals.values():
        _complain(refusal)
    if json_file is not None:
        _write_report(report, json_file)
    if not report.answered and UNREACHABLE in report.by_status:
        _complain(_how_to_start(_edges(edge)[0]))
    raise typer.Exit(0 if report.answered else 1)


def _write_report(report: StreamReport, file: Path) -> None:
    try:
        file.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    except OSError as error:
        _complain(f"--json: {file} cannot be written ({error.strerror}); the table above is all there is")
        raise typer.Exit(1) from error


def _print_answer(photo: Path, answer: Detections | Classes) -> None:
    out.print(f"{photo.name}: {route_line(answer)}", highlight=False, markup=False, soft_wrap=True)
    found = answer.detections if isinstance(answer, Detections) else answer.classes
    out.print(answer_table(answer) if found else "nothing found")


def _photos_of(folder: Path) -> list[Path]:
    try:
        photos = photos_in(folder)
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror}; let this user read and enter it") from error
    if not photos:
        raise typer.BadParameter(f"{folder} holds neither JPEG nor PNG files")
    return photos


def _check_photos(photos: list[Path]) -> None:
    for photo in photos:
        if os.path.isdir(photo):  # noqa: PTH112  (no error where none may look: reading it tells, photo by photo)
            raise typer.BadParameter(f"{photo} is a folder: give {photo}/*.jpg, or use edgedet-iot stream {photo}")


def _check_writable(folder: Path, option: str) -> None:
    """Tried before anything is sent, so that no answer is lost to a folder that takes no files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise typer.BadParameter(f"{option}: cannot write into {folder} ({reason}); give another folder") from error


def _check_targets(photos: list[Path], folder: Path) -> None:
    """No drawn photo may take the place of a photo that was sent, or of another drawn one."""
    originals = {photo.resolve() for photo in photos}
    taken: dict[Path, Path] = {}
    for photo in photos:
        target = _target(folder, photo)
        if target.resolve() in originals:
            raise typer.BadParameter(f"--save: {target} is one of the photos to send; give another folder")
        if target in taken and photo.resolve() != taken[target].resolve():
            raise typer.BadParameter(f"--save: {taken[target]} and {photo} would both become {target}; send them apart")
        taken[target] = photo


def _target(folder: Path, photo: Path) -> Path:
    return folder / f"{photo.stem}.jpg"


def _saved(drawn: bytes, folder: Path, photo: Path) -> Path:
    target = _target(folder, photo)
    try:
        target.write_bytes(drawn)
    except OSError as error:
        reason = f"answered, but {target} cannot be written ({error.strerror}); make room or give --save another folder"
        raise OSError(error.errno, reason) from error
    return target


def _complain(text: str) -> None:
    err.print(text, style="red", highlight=False, markup=False, soft_wrap=True)


def _how_to_start(edge: str) -> str:
    port = urlsplit(edge).port or 80
    return f"Is an edge running at {edge}? To start one on this machine: edgedet-edge serve --port {port}"


def _edges(given: list[str] | None) -> list[str]:
    return [edge.strip() for value in given or [DEFAULT_EDGE] for edge in value.split(",") if edge.strip()]


def _client(edge: list[str] | None, deadline_s: float) -> Client:
    try:
        return Client(_edges(edge), deadline_s=deadline_s)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _progress() -> tuple[AbstractContextManager[object], Callable[[StreamReport], None]]:
    """A table that follows the stream in a terminal; elsewhere a line now and then."""
    if out.is_terminal:
        live = Live(console=out, transient=True, auto_refresh=False)
        return live, lambda report: live.update(stream_table(report), refresh=True)
    told_s = 0.0

    def line(report: StreamReport) -> None:
        nonlocal told_s
        if report.seconds - told_s >= PLAIN_PROGRESS_S:
            told_s = report.seconds
            err.print(stream_line(report), highlight=False, soft_wrap=True)

    return nullcontext(), line
