"""Errors of the runtime, one tree:

RuntimeFault
├── PackageRefused        a package folder that cannot be trusted or read; the reason is the message
├── UnknownModel          no package of that name, version or task
├── PhotoRefused          a photo that cannot be taken
│   ├── PhotoUndecodable      broken, empty or not an image
│   ├── PhotoTypeUnsupported  an image, but neither JPEG nor PNG
│   └── PhotoTooLarge         more pixels than the limit
├── GraphUnsupported      a network that cannot be read, cut or run; the message names the operator
└── TensorMismatch        tensors that do not fit a boundary
"""


class RuntimeFault(Exception):
    """Base of all errors that `edgedet_runtime` raises on purpose."""


class PackageRefused(RuntimeFault):
    """A package folder lacks a file, has a wrong hash, or a manifest that this version cannot read."""


class UnknownModel(RuntimeFault):
    """No loaded package has the wanted name, version or task."""


class PhotoRefused(RuntimeFault):
    """Base of the reasons to refuse a photo."""


class PhotoUndecodable(PhotoRefused):
    """The bytes are empty, truncated, damaged, or not an image."""


class PhotoTypeUnsupported(PhotoRefused):
    """The bytes are an image of a format other than JPEG or PNG."""


class PhotoTooLarge(PhotoRefused):
    """The header announces more pixels than the limit allows."""


class GraphUnsupported(RuntimeFault):
    """A network holds an operator or a form that the runtime cannot read, cut or run."""


class TensorMismatch(RuntimeFault):
    """Tensors whose names, shapes or types are not those of the boundary they are said to belong to."""
