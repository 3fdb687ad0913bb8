"""Errors of the accelerator, one tree below the runtime's, since a caller of the backend need not know of arrays:

NvmFault
├── PresetRefused     a preset that is not there, not TOML, or holds a value that does not fit
├── LevelsRefused     a file of measured levels with a hole, a duplicate or nonsense; the message names the line
├── ResultsRefused    a file of results that belongs to another sweep, or is none
├── MappingRefused    a network, or arrays, whose weights cannot be laid into cells
└── OutOfRange        a circuit or a condition outside of what the model holds for
"""

from edgedet_runtime.errors import RuntimeFault


class NvmFault(RuntimeFault):
    """Base of all errors that `edgedet_nvm` raises on purpose."""


class PresetRefused(NvmFault):
    """A preset cannot be read, or a field of it does not fit; the message names the field."""


class LevelsRefused(NvmFault):
    """A file of measured levels has a hole, a duplicate or nonsense; the message names the line and the fix."""


class ResultsRefused(NvmFault):
    """A file of results belongs to another sweep, or is none; the message names what differs."""


class MappingRefused(NvmFault):
    """Weights cannot be laid into these cells; the message names the layer or the field, and the fix."""


class OutOfRange(NvmFault):
    """A value lies outside of the range that the model was made or measured for."""
