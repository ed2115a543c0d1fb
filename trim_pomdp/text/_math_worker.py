"""Process that compares expressions with math-verify; run as a script by `trim_pomdp.text.mathematics`.

It imports math-verify once and leaves the work to a child, which the kernel ends when a request takes too much processor
time (no Python code would be asked: one huge power is one call of C). The parent then replies "not equal" and starts
the next child, which is a fork and costs milliseconds. A request is a line of JSON, a reply another.
"""

import json
import os
import resource
import signal
import sys
from typing import Any

MEMORY = 1 << 30
REQUESTS_PER_CHILD = 2000  # caches of sympy and of the parser grow
_WARM_UP = (r"\frac{x}{2}+3^{2}", r"2\sqrt{7}\pi", r"a_{1}(b-1)")


def main() -> None:
    """Serve until the other side closes the pipe."""
    import logging

    logging.disable(logging.CRITICAL)
    for text in _WARM_UP:  # the parser learns its tables from its first texts; forks share them
        compare(text, f"({text})/2", complex_numbers=False)
    print("ready", flush=True)
    while True:
        child = os.fork()
        if child == 0:
            serve()
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return
        if os.WIFSIGNALED(status):
            print(json.dumps({"equal": False, "seconds": None}), flush=True)


def serve() -> None:
    """Answer requests as a child; exit code 0: nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    code = 0
    try:
        for _ in range(REQUESTS_PER_CHILD):
            line = sys.stdin.readline()
            if not line:
                break
            reply = answer(json.loads(line))
            print(json.dumps(reply), flush=True)
        else:
            code = 1
    finally:
        os._exit(code)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Reply to a request: whether the two are equal, and the processor time it took."""
    signal.setitimer(signal.ITIMER_PROF, request["seconds"])
    try:
        equal = compare(request["a"], request["b"], complex_numbers=request["complex"])
    except (Exception, RecursionError):  # no mathematics, or none that math-verify knows
        equal = False
    left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
    return {"equal": equal, "seconds": request["seconds"] - left}


def compare(a: str, b: str, *, complex_numbers: bool) -> bool:
    """Whether math-verify says that two expressions are equal, and numbers are so to twelve digits."""
    from latex2sympy2_extended import latex2sympy
    from math_verify import verify

    first, second = (
        latex2sympy(text, is_real=not complex_numbers, normalization_config=None) for text in (a, b)
    )
    # Without its time limit, which is an alarm of the process; with digits that tell numbers apart.
    if not verify(first, second, float_rounding=12, timeout_seconds=None):
        return False
    return numbers_agree(first, second)


def numbers_agree(first: Any, second: Any) -> bool:
    """False for two numbers that differ: math-verify takes small ones for zero."""
    if not (getattr(first, "is_number", False) and getattr(second, "is_number", False)):
        return True
    difference, size = abs((first - second).evalf(30)), abs(first.evalf(30))
    return bool(difference <= 1e-12 * size)


if __name__ == "__main__":
    main()
