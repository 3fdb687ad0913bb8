"""What no server can beat: decode, letterbox, chain, suppression in one process, one thread, one photo after another.

``python -m benchmarks.bare_pipeline PHOTO… --seconds S`` prints one JSON object (`Bare`).
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import load_backend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.malloc import keep_freed_memory
from edgedet_runtime.package import load_package
from edgedet_runtime.photo import decode_photo

_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Bare:
    """A run of the loop."""

    photos: int
    seconds: float
    cpu_ms: float


def run(package_folder: Path, photos: Sequence[bytes], seconds: float) -> Bare:
    """Answer `photos` in rotation for `seconds`."""
    keep_freed_memory()
    package = load_package(package_folder)
    chain = prepare_chain(package, load_backend("onnxruntime"))
    finisher = Finisher.load(package)
    choices, spec = finisher.default_choices(), package.manifest.input

    def answer(photo: bytes) -> None:
        tensor, geometry = to_input(decode_photo(photo), spec)
        finisher.finish(chain.run_input(tensor), geometry, choices)

    for index in range(_WARM_UP):
        answer(photos[index % len(photos)])
    done, start_s, cpu_s = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start_s < seconds:
        answer(photos[done % len(photos)])
        done += 1
    return Bare(done, time.perf_counter() - start_s, (time.process_time() - cpu_s) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    photos = [photo.read_bytes() for photo in arguments.photos]
    json.dump(asdict(run(arguments.package, photos, arguments.seconds)), sys.stdout)


if __name__ == "__main__":
    main()
