"""What an exception of a reconcile says: whose fault it is, and how to put it."""

from fastcore.controller.context import ReconcileTimeout
from fastcore.controller.errors import ApiError
from fastcore.errors import FastcoreError

# What Go would panic about: these say that the program is wrong, not that the world is.
_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, NotImplementedError, TypeError)


def is_bug(error: BaseException) -> bool:
    """Whether an error says that the reconciler is wrong. What the API answers is no bug, whatever it inherits."""
    return isinstance(error, _BUGS) and not isinstance(error, FastcoreError | OSError)


def in_words(error: BaseException) -> str:
    """What the error says, and what those in a group say, since a group itself only counts them."""
    text = str(error) or type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        text += ": " + "; ".join(in_words(inner) for inner in error.exceptions)
    return text


def says_it_all(error: BaseException) -> bool:
    """Whether a traceback would tell nothing that the message does not."""
    if isinstance(error, BaseExceptionGroup):
        return all(says_it_all(inner) for inner in error.exceptions)
    return isinstance(error, ApiError | ReconcileTimeout)
