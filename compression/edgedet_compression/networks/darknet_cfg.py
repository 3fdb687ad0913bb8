"""Reads Darknet's description of a network: a .cfg file of sections with options."""

from dataclasses import dataclass, field
from pathlib import Path

from edgedet_compression.errors import SourceMissing, SourceUnreadable


@dataclass(frozen=True)
class Section:
    """One `[kind]` of a .cfg file; its options are read by type."""

    kind: str
    index: int
    options: dict[str, str] = field(default_factory=dict)

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer option."""
        return int(self._text(name, None if default is None else str(default)))

    def word(self, name: str, default: str) -> str:
        """An option that is a word."""
        return self.options.get(name, default)

    def integers(self, name: str) -> tuple[int, ...]:
        """A comma-separated list of integers."""
        return tuple(int(part) for part in self._text(name, None).split(","))

    def numbers(self, name: str) -> tuple[float, ...]:
        """A comma-separated list of numbers."""
        return tuple(float(part) for part in self._text(name, None).split(","))

    def sources(self) -> tuple[int, ...]:
        """Layers that a [route] or [shortcut] names, counted from 0; others read the layer before them alone."""
        option = {"route": "layers", "shortcut": "from"}.get(self.kind)
        named = self.integers(option) if option else ()
        return tuple(layer if layer >= 0 else self.index + layer for layer in named)

    def _text(self, name: str, default: str | None) -> str:
        value = self.options.get(name, default)
        if value is None:
            raise SourceUnreadable(f"section {self.index} [{self.kind}] of the .cfg lacks {name!r}")
        return value


@dataclass(frozen=True)
class Description:
    """A whole .cfg: the options of `[net]` and the layers, counted from 0."""

    net: Section
    layers: tuple[Section, ...]

    def text(self) -> str:
        """As a .cfg file."""
        return "\n".join(_section_text(section) for section in (self.net, *self.layers))


def parse_cfg(path: Path) -> Description:
    """Read a .cfg file.

    Raises:
        SourceMissing: no such file.
        SourceUnreadable: not a Darknet description; the message names the line.
    """
    if not path.is_file():
        raise SourceMissing(f"no network description at {path}")
    return parse_cfg_text(path.read_text(encoding="utf-8"), name=path.name)


def parse_cfg_text(text: str, name: str = "cfg") -> Description:
    """Read a .cfg's text; `name` stands in errors."""
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line or line.startswith(";"):
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1].strip(), len(sections) - 1))
        elif "=" in line and sections:
            key, value = line.split("=", 1)
            sections[-1].options[key.strip()] = value.strip()
        else:
            raise SourceUnreadable(f"{name} line {number}: neither [section] nor key=value: {line!r}")
    if not sections or sections[0].kind not in {"net", "network"}:
        raise SourceUnreadable(f"{name}: the first section must be [net]")
    return Description(net=sections[0], layers=tuple(sections[1:]))


def _section_text(section: Section) -> str:
    return "\n".join([f"[{section.kind}]", *(f"{key}={value}" for key, value in section.options.items()), ""])
