"""Say that Numba compiles, while it does: once per installation, as long as its cache can be written."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

MESSAGE = "compiling the solver, once per installation, 10 to 60 s …"


@contextmanager
def compilation_told(report: Callable[[str], None], packages: Sequence[str] = ("solvers",)) -> Iterator[None]:
    """Within the context, call `report` with one line when the first function of the packages is compiled.

    Nothing is reported if everything comes from Numba's cache.
    """
    from numba.core import event

    told = False

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            nonlocal told
            if not told and event.data["dispatcher"].py_func.__module__.partition(".")[0] in packages:
                told = True
                report(MESSAGE)

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield
