"""Errors of compression, one tree:

CompressionFault
├── SourceMissing     weights, data or a file that the build needs is not there; the message says how to get it
├── ChecksumMismatch  a file is there, but its content is not the one expected
├── SourceUnreadable  weights or a description that cannot be read as the format they are said to have
├── BuildRefused      a wish that cannot be met: an unknown name, a version that exists, options that do not fit
├── VerificationFailed  the built package does not do what a package promises
├── TrainingInterrupted  the user asked to stop; the same command goes on from the checkpoint
└── TrainingDiverged  the loss is no number any more

An operator that stands in the way of quantization is `edgedet_runtime.errors.GraphUnsupported`.
"""


class CompressionFault(Exception):
    """Base of all errors that `edgedet_compression` raises on purpose."""


class SourceMissing(CompressionFault):
    """Weights, data or a file that the build needs is not there."""


class ChecksumMismatch(CompressionFault):
    """A file's content is not the one expected."""


class SourceUnreadable(CompressionFault):
    """A file cannot be read as the format it is said to have."""


class BuildRefused(CompressionFault):
    """A wish that cannot be met as it stands (exit code 2); the message names the option and the fix."""


class VerificationFailed(CompressionFault):
    """A built package does not do what a package promises."""


class TrainingInterrupted(CompressionFault):
    """The user asked to stop; a checkpoint is there, and the same command goes on from it."""


class TrainingDiverged(CompressionFault):
    """The loss is no number any more."""
