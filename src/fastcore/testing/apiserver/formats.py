"""The string formats that schemas may ask for; others are not checked, as the real server ignores unknown ones."""

import base64
import datetime
import ipaddress
import re
import uuid
from collections.abc import Callable

# A time zone and seconds are required, fractions may have any length: more and less than fromisoformat wants.
_DATE_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2})(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII)


def _date_time(text: str) -> None:
    match = _DATE_TIME.match(text)
    if match is None:
        raise ValueError(text)
    datetime.datetime.fromisoformat(match[1].upper())


def _base64(text: str) -> None:
    base64.b64decode(text, validate=True)


FORMATS: dict[str, Callable[[str], object]] = {
    "date-time": _date_time,
    "datetime": _date_time,
    "date": datetime.date.fromisoformat,
    "byte": _base64,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": lambda text: ipaddress.ip_network(text, strict=False),
    "uuid": uuid.UUID,
}


def fits(text: str, name: str) -> bool:
    """Whether a string has a format; an unknown format fits everything.

    Example:
        >>> fits("2026-11-23T15:36:32Z", "date-time"), fits("yesterday", "date-time"), fits("x", "colour")
        (True, False, True)
    """
    check = FORMATS.get(name)
    if check is None:
        return True
    try:
        check(text)
    except ValueError:
        return False
    return True
