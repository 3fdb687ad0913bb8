"""Official downloads of data sets, checked by sha256."""

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgedet_compression.errors import BuildRefused, ChecksumMismatch, SourceMissing, SourceUnreadable
from edgedet_compression.progress import Progress, silent
from edgedet_compression.sources import SOURCES

_MEBIBYTE = 2**20
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class DataFile:
    """A file of a data set: its name, what it must contain, folders on the web that hold it, the first one preferred.

    `unpacked` names the one folder inside a .tar.gz that is kept instead of the archive.
    """

    name: str
    sha256: str
    sites: tuple[str, ...]
    unpacked: str | None = None

    @property
    def kept(self) -> str:
        """What lies in the data set's folder in the end."""
        return self.unpacked or self.name


@dataclass(frozen=True)
class DataSet:
    """Files in a folder of the data set's name."""

    name: str
    files: tuple[DataFile, ...]


_MNIST_SITES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CIFAR10 = DataSet(
    "cifar10",
    (
        DataFile(
            "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ("https://www.cs.toronto.edu/~kriz/",),
            unpacked="cifar-10-batches-py",
        ),
    ),
)
MNIST = DataSet(
    "mnist",
    (
        DataFile(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            _MNIST_SITES,
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            _MNIST_SITES,
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            _MNIST_SITES,
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            _MNIST_SITES,
        ),
    ),
)
DATA_SETS = (CIFAR10, MNIST)
_BY_HAND = {
    "coco": "get https://images.cocodataset.org/zips/val2017.zip and annotations/annotations_trainval2017.zip beside "
    "it (terms: https://cocodataset.org/#termsofuse) and give the JSON and the folder of photos",
    "voc": "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and give the folder "
    "VOCdevkit/VOC2012",
}


def data_set_named(name: str) -> DataSet:
    """What can be downloaded, by name.

    Raises:
        BuildRefused: no such data set; the message lists all that can be fetched, or tells how to get COCO and VOC.
    """
    if name in _BY_HAND:
        raise BuildRefused(f"{name} is too large to come unasked: {_BY_HAND[name]}")
    for data_set in DATA_SETS:
        if data_set.name == name:
            return data_set
    raise BuildRefused(f"no source {name!r}; there are: {', '.join(known.name for known in (*SOURCES, *DATA_SETS))}")


def download(data_set: DataSet, folder: Path, progress: Progress = silent) -> Path:
    """`folder`/NAME with all files of the data set; those that are there already are not fetched again.

    A file gets its name after its sha256 was found right, an archive's folder after all of it was unpacked: a download
    that was cut off starts again, and leaves nothing that looks whole.

    Raises:
        SourceMissing: no site gave the file.
        ChecksumMismatch: it came with another content.
        SourceUnreadable: an archive that cannot be unpacked.
    """
    target = folder / data_set.name
    target.mkdir(parents=True, exist_ok=True)
    for file in data_set.files:
        if file.unpacked is None:
            _fetch(file, target, progress)
        elif not (target / file.unpacked).is_dir():
            with tempfile.TemporaryDirectory(prefix=".download-", dir=target) as staging:
                archive = _fetch(file, Path(staging), progress)
                _unpack(archive, file.unpacked).replace(target / file.unpacked)
    return target


def _fetch(file: DataFile, folder: Path, progress: Progress) -> Path:
    import pooch  # noqa: PLC0415 - with the compression extra alone; the names above are listed without it
    import requests  # noqa: PLC0415

    pooch.get_logger().setLevel("WARNING")  # else it tells of every file
    failures = []
    for site in file.sites:
        bar = _Bar(f"downloading {file.name}", progress)
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=_MEBIBYTE, timeout=_TIMEOUT_S)
        try:
            return Path(pooch.retrieve(site + file.name, f"sha256:{file.sha256}", file.name, folder, downloader=get))
        except requests.RequestException as error:
            failures.append(f"{site}{file.name}: {error}")
        except ValueError as error:  # pooch's word for another hash
            raise ChecksumMismatch(
                f"{site}{file.name} is not the file expected (sha256 {file.sha256[:12]}…): {error}"
            ) from error
    raise SourceMissing("cannot download " + "; ".join(failures))


def _unpack(archive: Path, folder: str) -> Path:
    try:
        with tarfile.open(archive) as opened:
            members = [member for member in opened if member.name.split("/")[0] == folder]
            opened.extractall(archive.parent, members, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceUnreadable(f"{archive.name} cannot be unpacked: {error}") from error
    if not (archive.parent / folder).is_dir():
        raise SourceUnreadable(f"{archive.name} holds no folder {folder}")
    return archive.parent / folder


class _Bar:
    """Pooch's idea of a progress bar, in steps of a mebibyte."""

    def __init__(self, step: str, progress: Progress) -> None:
        self._step, self._progress = step, progress
        self._shown = self._bytes = 0

    @property
    def total(self) -> int:
        """Bytes that will come."""
        return self._total

    @total.setter
    def total(self, count: int) -> None:
        self._total = count
        self._advance = self._progress(self._step, count // _MEBIBYTE)

    def update(self, count: int) -> None:
        """That many bytes more."""
        self._bytes += count
        while self._shown < min(self._bytes, self._total) // _MEBIBYTE:
            self._shown += 1
            self._advance()

    def reset(self) -> None:
        """Before the last call, with all bytes."""
        self._bytes = 0

    def close(self) -> None:
        """Nothing is left to be done."""
