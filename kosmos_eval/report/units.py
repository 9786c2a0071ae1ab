"""Values as reports show them: rounded to what their unit is worth, with their sign, as intervals, by name."""

from collections.abc import Callable, Mapping
from math import isnan


def bare(value: float, unit: str, sign: str = "") -> str:
    """Return a value without its unit; a ``sign`` of ``+`` marks differences.

    >>> bare(50.0, "%"), bare(0.5, ""), bare(0.5, "", "+"), bare(float("nan"), "%")
    ('50.00', '0.500', '+0.500', '–')
    """
    return "–" if isnan(value) else f"{value:{sign}.{2 if unit == '%' else 3}f}"


def shown(value: float, unit: str, sign: str = "") -> str:
    """Return a value with its unit, such as ``50.00 %``."""
    return bare(value, unit, sign) + (" %" if unit == "%" and not isnan(value) else "")


def interval(
    low: float | None, high: float | None, unit: str, *, last: Callable[[float, str], str] = bare, none: str = ""
) -> str:
    """Return the ends of an interval, the upper one as ``last`` says; ``none`` where there is no interval.

    >>> interval(25.0, 75.0, "%"), interval(25.0, 75.0, "%", last=shown), interval(None, None, "%", none="–")
    ('25.00 – 75.00', '25.00 – 75.00 %', '–')
    """
    return none if low is None or high is None or isnan(low) else f"{bare(low, unit)} – {last(high, unit)}"


def listed(values: Mapping[str, float]) -> str:
    """Return a sample's values by name, such as ``accuracy 1.00``."""
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())
