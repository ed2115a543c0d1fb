"""Numbers as the texts of a report."""

from __future__ import annotations

_NONE = "–"


def fixed(value: float | None, digits: int = 3) -> str:
    """So many decimals, thousands apart; a dash for what is not known.

    Examples
    --------
    >>> fixed(0.78349), fixed(-0.0001), fixed(None)
    ('0.783', '0.000', '–')
    """
    return (
        _NONE if value is None else f"{round(value, digits) + 0.0:,.{digits}f}".replace(",", "\u202f").replace("-", "−")
    )


def signed(value: float | None, digits: int = 3) -> str:
    """The same with its sign, of differences.

    Examples
    --------
    >>> signed(0.02), signed(-0.02), signed(0.0)
    ('+0.020', '−0.020', '0.000')
    """
    text = fixed(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def brief(value: float | None) -> str:
    """As many digits as the size asks for; whole numbers as they are.

    Examples
    --------
    >>> brief(0.2), brief(20.6943), brief(1.9933), brief(6208), brief(None)
    ('0.2', '20.7', '1.99', '6\u202f208', '–')
    """
    if value is None:
        return _NONE
    if float(value).is_integer() or abs(value) >= 100:
        return whole(value)
    return f"{value:.3g}".replace("-", "−")


def whole(value: float | None) -> str:
    """A count, thousands apart.

    Examples
    --------
    >>> whole(234940)
    '234\u202f940'
    """
    return _NONE if value is None else f"{round(value):,}".replace(",", "\u202f").replace("-", "−")


def percent(value: float | None) -> str:
    """A share in percent."""
    return _NONE if value is None else f"{100 * value:.0f} %"


def counted(count: int, noun: str) -> str:
    """A count and what it is of.

    Examples
    --------
    >>> counted(1, "problem"), counted(2, "problem")
    ('1 problem', '2 problems')
    """
    return f"{whole(count)} {noun}{'' if count == 1 else 's'}"
