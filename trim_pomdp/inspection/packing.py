"""How a page carries its data: numbers to a few digits, JSON that cannot end a script, details packed until opened."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping
from typing import Any

DIGITS = 4


def compact(value: Any, digits: int = DIGITS) -> Any:
    """The same JSON values, numbers to so many significant digits.

    Probabilities near 1 keep as many digits of their distance from it, since that is what is looked at.

    Examples
    --------
    >>> compact({"q": 0.999987654321, "gain": 12.345678, "steps": [3, None, "a"], "sure": 1.0})
    {'q': 0.99998765, 'gain': 12.35, 'steps': [3, None, 'a'], 'sure': 1}
    """
    if isinstance(value, float):
        return _compact_number(value, digits)
    if isinstance(value, Mapping):
        return {key: compact(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [compact(item, digits) for item in value]
    return value


def _compact_number(value: float, digits: int) -> float | int | None:
    if not math.isfinite(value):
        return None
    rest = 1.0 - value if 0.5 < value < 1.0 else value
    rounded = float(f"{rest:.{digits}g}")
    if rest is not value:
        rounded = float(f"{1.0 - rounded:.12g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def script_json(value: Any) -> str:
    r"""JSON for a ``<script>`` of a page: no text in it can end the script or begin markup, and it is ASCII.

    Examples
    --------
    >>> print(script_json(["</script><b>&", "\u2028"]))
    ["\u003c/script\u003e\u003cb\u003e\u0026","\u2028"]
    """
    text = _json(value)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def packed(value: Any) -> str:
    """JSON, compressed (gzip) and in base64: letters, digits and ``+/=`` only."""
    return base64.b64encode(gzip.compress(_json(value).encode(), compresslevel=6, mtime=0)).decode()


def unpacked(text: str) -> Any:
    """What `packed` was given."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
