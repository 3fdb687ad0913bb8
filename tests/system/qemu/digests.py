"""Prints, as JSON, a digest of every boundary's codes and of the answer, for every package and some photos.

Run natively and on an emulated CPU; usage: python digests.py MODELS PHOTO…
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import load_backend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.detection import DetectThresholds
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package, scan_packages
from edgedet_runtime.photo import decode_photo


def digest(tensor: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(tensor).tobytes(), digest_size=16).hexdigest()


def package_digests(package: Package, photos: list[Path]) -> dict[str, str]:
    chain, finisher = prepare_chain(package, load_backend("onnxruntime")), Finisher.load(package)
    detects = package.manifest.task == "detect"
    choices = DetectThresholds(0.005, 0.45, 1000) if detects else len(package.manifest.labels)
    found = {}
    for photo in photos:
        tensor, geometry = to_input(decode_photo(photo.read_bytes()), package.manifest.input)
        live = {package.manifest.input.name: tensor}
        for boundary in range(chain.segment_count + 1):
            if boundary:
                live = chain.run(live, boundary - 1, boundary)
            for name, codes in live.items():
                found[f"{package.reference} {photo.name} boundary {boundary} {name}"] = digest(codes)
        rows = finisher.finish(live, geometry, choices).to_rows()
        found[f"{package.reference} {photo.name} answer ({len(rows)} rows)"] = digest(rows)
    return found


def main(models: Path, photos: list[Path]) -> None:
    found: dict[str, str] = {}
    for package in scan_packages(models)[0]:
        found |= package_digests(package, photos)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(photo) for photo in sys.argv[2:]])
