"""``edgedet-models``: look at packages, check them, and write their tails for other inference servers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgedet_runtime.errors import PhotoRefused, RuntimeFault
from edgedet_runtime.package import Package, load_package, scan_packages
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.repository_export import export_repository
from edgedet_runtime.verification import verify_package

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at packages, check them, export them.")
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True, markup=False)

Models = Annotated[Path, typer.Option(help="Folder of packages.", envvar="EDGEDET_MODELS")]


@app.command("list")
def list_packages(models: Models = Path("models")) -> None:
    """List packages, their boundaries and their measured figures.

    Example: edgedet-models list --models models
    """
    packages, refusals = scan_packages(models)
    for package in packages:
        out.print(_description(package))
        out.print(_boundary_table(package))
    for refusal in refusals:
        err.print(f"refused: {refusal.reason}", style="red", highlight=False)
    if not packages and not refusals:
        err.print(f"no packages below {models}: a package is a folder NAME/VERSION/ with a manifest.json")
    raise typer.Exit(1 if refusals or not packages else 0)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A package: models/NAME/VERSION.")],
    photos: Annotated[list[Path] | None, typer.Argument(help="Photos to run; default: noise.")] = None,
) -> None:
    """Check a package: hashes, tables, segments, and that the numpy reference gives the same codes at every boundary.

    Example: edgedet-models verify models/yolov3-tiny-coco/1 photo.jpg
    """
    try:
        package = load_package(folder)
        compared = verify_package(package, [_photo_bytes(photo) for photo in photos or []])
    except (RuntimeFault, OSError) as error:
        err.print(f"{error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    out.print(f"{package.reference}  digest {package.digest[:16]}…  {compared} tensors compared, all codes equal")


@app.command("export-repository")
def export(
    folder: Annotated[Path, typer.Argument(help="A package: models/NAME/VERSION.")],
    target: Annotated[Path, typer.Argument(help="The model repository to write into.")],
) -> None:
    """Write the tail behind every boundary as a model repository for Triton, KServe or OpenVINO Model Server.

    Example: edgedet-models export-repository models/yolov3-tiny-coco/1 repository
    """
    try:
        names = export_repository(load_package(folder), target)
    except (RuntimeFault, OSError) as error:
        err.print(f"{error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    for name in names:
        out.print(str(target / name), markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point."""
    app()


def _photo_bytes(file: Path) -> bytes:
    data = file.read_bytes()
    try:
        decode_photo(data)
    except PhotoRefused as refusal:
        raise type(refusal)(f"{file}: {refusal}") from refusal
    return data


def _description(package: Package) -> str:
    manifest = package.manifest
    nbytes = sum(package.path(file).stat().st_size for file in manifest.files)
    size = f"{nbytes / 1e6:.1f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:.1f} kB"
    million_macs = manifest.macs / 1e6
    macs = f"{million_macs:,.0f}" if million_macs >= 10 else f"{million_macs:.2g}"
    figures = escape("".join(f"\n  {m.name} {m.value:g}{m.unit}: {m.dataset}, n = {m.n}" for m in manifest.metrics))
    return (
        f"[bold]{package.reference}[/bold]  {manifest.task}, {len(manifest.labels)} labels, {size}, "
        f"{macs} million MACs, {manifest.segment_count} segments\n"
        f"digest {package.digest}{figures}"
    )


def _boundary_table(package: Package) -> Table:
    table = Table("k", "live tensors", "bytes", "head share")
    for boundary in package.manifest.boundaries:
        tensors = ", ".join(f"{t.name} {'×'.join(map(str, t.shape[1:]))}" for t in boundary.tensors)
        share = f"{boundary.head_macs / package.manifest.macs:.1%}"
        table.add_row(str(boundary.k), escape(tensors), f"{boundary.nbytes:,}", share)
    return table
