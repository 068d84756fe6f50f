# SPDX-License-Identifier: Apache-2.0
"""Waits that somebody else asks for: what counts as one, and how long it may be.

A vendor's answer or a third-party driver may hold any number. One absurd number, stored as the
next attempt of an operation, would park it for years. So each is bounded before it is used.
"""

import datetime
import email.utils
import math
import re

#: Seconds: no wait that is asked for from outside is longer, whatever the options say.
LONGEST = 86_400.0
#: RFC 9110, section 10.2.3: delay-seconds is 1*DIGIT. ``str.isdigit`` takes digits of all scripts.
_DIGITS = re.compile("[0-9]+")
#: More digits than this are more than any bound, and need not be converted.
_MOST_DIGITS = 15
_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
#: The three forms of an HTTP-date (RFC 9110, section 5.6.7).
_HTTP_DATE = re.compile(
    f"{_DAY}, [0-9]{{2}} {_MONTH} [0-9]{{4}} {_TIME} GMT"
    f"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, [0-9]{{2}}-{_MONTH}-[0-9]{{2}} {_TIME} GMT"
    f"|{_DAY} {_MONTH} [ 0-9][0-9] {_TIME} [0-9]{{4}}"
)


def bounded(value: object, most: float = LONGEST) -> float | None:
    """A number of seconds that a driver gave, between 0 and ``most``.

    None for what is no number of seconds: text, NaN, infinity, a negative number, a boolean.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    # An integer may be larger than any float: compare before converting.
    return None if value < 0 else float(min(value, most))


def retry_after(text: str, now: datetime.datetime) -> float | None:
    """Seconds that a ``Retry-After`` field asks for: digits or an HTTP-date.

    See RFC 9110, section 10.2.3. Between 0 and :data:`LONGEST`; None for anything else.
    """
    text = text.strip(" \t")
    seconds = number(text)
    if seconds is not None:
        return bounded(seconds)
    if not _HTTP_DATE.fullmatch(text):
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return until(moment, now)


def number(text: str) -> int | None:
    """A number of ASCII digits; None for anything else. Absurd ones become merely large."""
    if not _DIGITS.fullmatch(text):
        return None
    significant = text.lstrip("0")
    return int(significant or "0") if len(significant) <= _MOST_DIGITS else 10**_MOST_DIGITS


def until(moment: datetime.datetime, now: datetime.datetime) -> float:
    """Seconds until a moment, between 0 and :data:`LONGEST`; without a zone it is in UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return min(LONGEST, max(0.0, (moment - now).total_seconds()))
