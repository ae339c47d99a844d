"""What a source's door does with a fault: raise it at once, or tell it and look on.

A run stops at the first fault, a check wants to see all of them. Both go through the same doors:
these hand each error to ``tell``, which by default raises it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[Exception], None]
FAULTS = (ValueError, FileNotFoundError, ModuleNotFoundError)


def stop(error: Exception) -> None:
    """Raise an error: what a run does with the first one."""
    raise error


@contextmanager
def told(tell: Tell) -> Iterator[None]:
    """Tell what is wrong with a file, and go on with the next one if ``tell`` returns."""
    try:
        yield
    except FAULTS as error:
        tell(error)
