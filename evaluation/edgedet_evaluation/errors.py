"""Errors of evaluation, one tree:

EvaluationFault
├── DataMissing     a data set's file or folder is not there
├── DataUnreadable  a file is there, but not in the format that it is said to have
└── DataMismatch    a data set that does not fit the package: other labels, another task
"""


class EvaluationFault(Exception):
    """Base of all errors that `edgedet_evaluation` raises on purpose."""


class DataMissing(EvaluationFault):
    """A data set's file or folder is not there; the message says which."""


class DataUnreadable(EvaluationFault):
    """A file cannot be read as the format that it is said to have."""


class DataMismatch(EvaluationFault):
    """The data set and the package do not fit each other."""
