"""The exceptions that chainrule raises for input it cannot use."""

from __future__ import annotations

__all__ = [
    "ChainruleError",
    "CheckpointWarning",
    "DataError",
    "FitInterrupted",
    "GroupError",
    "KindError",
    "MissingPackageError",
    "ParameterError",
    "QueryError",
    "StorageError",
    "ValueTypeError",
]


class ChainruleError(Exception):
    """Base of all errors of the library; the command line prints them as one line."""


class DataError(ChainruleError, ValueError):
    """Rows, columns or a data file that cannot be used as they are."""


class KindError(DataError):
    """A kind of variable that the chosen model cannot model."""


class ValueTypeError(DataError, TypeError):
    """Values of a type that no column can hold, such as a dict; a `TypeError`, as scikit-learn has it."""


class ParameterError(ChainruleError, ValueError):
    """A constructor argument that is out of its range or of the wrong type."""


class QueryError(DataError):
    """A question p(these | those) that the model's order cannot answer; the message says what can."""


class MissingPackageError(ChainruleError, ImportError):
    """An optional package that is not installed; the message says which one, and how to install it."""


class StorageError(ChainruleError, ValueError):
    """A folder that is not a saved model, or one that is damaged or too new."""


class GroupError(ChainruleError, RuntimeError):
    """Another process of a fit has ended; what this one did since the last checkpoint is lost."""


class CheckpointWarning(UserWarning):
    """The state of a fit could not be written, so that less could be gone on with; the fit itself goes on."""


class FitInterrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a fit; the estimator holds the best weights seen so far."""
