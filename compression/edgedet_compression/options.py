"""Options of ``edgedet-compress build`` as values; what cannot be meant is refused by the option's name."""

import math
from pathlib import Path

from edgedet_compression.errors import BuildRefused
from edgedet_compression.float_baseline import Anchors
from edgedet_compression.quantization.input_stem import MAX_CODE, Normalization


def read_labels(file: Path | None) -> tuple[str, ...]:
    """The labels of a UTF-8 text file, one a line; empty lines do not count.

    Raises:
        BuildRefused: no file, none that can be read, or none with a label.
    """
    if file is None:
        raise BuildRefused("--onnx needs --labels FILE: what the network's classes are called, one a line, in order")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # Windows editors begin a file with a mark
    except OSError as error:
        raise BuildRefused(f"--labels {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BuildRefused(f"--labels {file} is no text: it must hold one label per line, in UTF-8") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise BuildRefused(f"--labels {file} is empty: it must hold one label per line, in UTF-8")
    return labels


def parse_anchors(text: str) -> Anchors:
    """'w,h w,h; w,h …' to pairs per output map, in input pixels.

    Raises:
        BuildRefused: a pair that is not two numbers above 0.
    """
    return tuple(tuple(_pair(pair) for pair in part.split()) for part in text.split(";") if part.strip())


def parse_normalization(mean: str, std: str) -> Normalization:
    """One or three numbers each, in units of pixel/255.

    Values of pixel/255 lie between 0 and 1, and so does their mean; no network divides by more than that whole range.

    Raises:
        BuildRefused: numbers of pixels, or others that cannot be meant.
    """
    found = Normalization(_numbers("--mean", mean), _numbers("--std", std))
    if {len(found.mean), len(found.std)} - {1, 3}:
        raise BuildRefused(f"--mean {mean} --std {std}: one number for gray photos, three (R,G,B) for color")
    wrong = [] if _mean_fits(found) else [f"--mean {mean}"]
    wrong += [] if _std_fits(found) else [f"--std {std}"]
    if wrong:
        rule = "the mean (0 to 1) and the standard deviation (above 0, up to 1) are in units of pixel/255"
        raise BuildRefused(f"{' '.join(wrong)}: {rule}{_advice(found)}")
    return found


def one_of(option: str, value: str, choices: tuple[str, ...]) -> str:
    """The value.

    Raises:
        BuildRefused: it is none of the choices.
    """
    if value not in choices:
        raise BuildRefused(f"{option}: {value!r} is none of {', '.join(choices)}")
    return value


def _pair(text: str) -> tuple[float, float]:
    numbers = _numbers("--anchors", text)
    if len(numbers) != 2 or not all(0 < number < math.inf for number in numbers):
        raise BuildRefused(f"--anchors: {text!r} is not WIDTH,HEIGHT in pixels; write '10,14 23,27; 81,82 135,169'")
    return numbers[0], numbers[1]


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BuildRefused(f"{option}: {text!r} is not a list of numbers apart by commas") from error


def _mean_fits(given: Normalization) -> bool:
    return all(0 <= part <= 1 for part in given.mean)


def _std_fits(given: Normalization) -> bool:
    return all(0 < part <= 1 for part in given.std)


def _advice(given: Normalization) -> str:
    """The options to write instead, where dividing by 255 mends them."""
    # Beside a mean of 123 a standard deviation of 1 is one of pixels, too.
    divided = Normalization(
        _divided(given.mean) if max(given.mean) > 1 else given.mean,
        _divided(given.std) if max(given.std) >= 1 else given.std,
    )
    if not (_mean_fits(divided) and _std_fits(divided)):
        return ""
    mean, std = (",".join(f"{part:.4g}" for part in parts) for parts in (divided.mean, divided.std))
    return f": divide by {MAX_CODE}, which makes --mean {mean} --std {std}"


def _divided(parts: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(part / MAX_CODE for part in parts)
