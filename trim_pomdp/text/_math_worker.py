"""Process that compares expressions with math-verify; run as a script by `trim_pomdp.text.mathematics`.

It imports math-verify once and leaves the work to a child, which the kernel ends when a request takes too much
processor time (no Python code would be asked: one huge power is one call of C). The parent then replies "not equal" and
starts the next child, which is a fork and costs milliseconds. A request is a line of JSON, a reply another.
"""

import json
import os
import resource
import signal
import sys
import time
from typing import Any

MEMORY = 1 << 30
REQUESTS_PER_CHILD = 2000  # caches of sympy and of the parser grow
_WARM_UP = (
    (r"\frac{x}{2}+3^{2}", r"\frac{x+18}{2}"),
    (r"2\sqrt{7}\pi", r"\sqrt{28}\pi"),
    (r"a_{1}(b-1)", r"a_{1}b-a_{1}"),
)


def main() -> None:
    """Serve until the other side closes the pipe."""
    import logging

    logging.disable(logging.CRITICAL)
    for pair in _WARM_UP:  # the parser learns its tables from its first texts, sympy loads parts; forks share both
        compare(*pair)
    say("ready")
    while True:
        child = os.fork()
        if child == 0:
            serve()
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return
        if os.WIFSIGNALED(status):
            say(json.dumps({"equal": False, "seconds": None}))


def say(line: str) -> None:
    """Send a line to the other side."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


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
            say(json.dumps(answer(json.loads(line))))
        else:
            code = 1
    finally:
        os._exit(code)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Reply to a request: whether the two are equal, and the processor time it took."""
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, request["seconds"])
    try:
        equal = compare(request["a"], request["b"])
    except (Exception, RecursionError):  # no mathematics, or none that math-verify knows
        equal = False
    signal.setitimer(signal.ITIMER_PROF, 0)
    return {"equal": equal, "seconds": time.process_time() - start}


def compare(a: str, b: str) -> bool:
    """Whether two expressions are equal: numbers by forty digits, others as math-verify says.

    Others are tried at a point first: that is quicker, and math-verify takes what is small for zero.
    """
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from math_verify import verify
    from sympy import I, simplify

    first, second = (
        latex2sympy(
            text, is_real=True, normalization_config=None, conversion_config=ConversionConfig(lowercase_symbols=False)
        )
        for text in (a, b)
    )
    first, second = (
        side.subs({symbol: I for symbol in side.free_symbols if symbol.name == "i"}, evaluate=True)
        for side in (first, second)
    )
    verdict = agree(first, second)
    if verdict is False:
        return False
    if getattr(first, "is_number", False) and getattr(second, "is_number", False):
        return verdict is True or bool(simplify(first - second) == 0)
    # Without its time limit, which is an alarm of the process.
    return bool(verify(first, second, timeout_seconds=None))


def agree(first: Any, second: Any) -> bool | None:
    """Whether two expressions have one value at a point of their variables; None: they have no value, or a tiny one."""
    from sympy import Rational

    names = sorted({symbol.name for side in (first, second) for symbol in side.free_symbols})
    point = {name: Rational(3 * i + 23, 16) for i, name in enumerate(names)}
    values = []
    try:
        for side in (first, second):
            value = side.subs({symbol: point[symbol.name] for symbol in side.free_symbols}).doit().evalf(40)
            if not value.is_finite:
                return None
            values.append(value)
        size = max(map(abs, values))
        return None if size < 1e-10 else bool(abs(values[0] - values[1]) <= 1e-25 * size)
    except (TypeError, ValueError, AttributeError):  # an equation, an unknown function, a matrix
        return None


if __name__ == "__main__":
    main()
