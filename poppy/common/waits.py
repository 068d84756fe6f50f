# SPDX-License-Identifier: Apache-2.0
"""Parse and bound the waits that vendors and drivers ask for.

A vendor's response or a third-party driver may contain any number. An absurd one, stored as the
time of an operation's next attempt, would park it for years. So each wait is bounded before use.
"""

import datetime
import email.utils
import math
import re

#: Maximum seconds of a wait that comes from outside, regardless of the options.
LONGEST = 86_400.0
#: RFC 9110, section 10.2.3: delay-seconds is 1*DIGIT. ``str.isdigit`` accepts any script's digits.
_DIGITS = re.compile("[0-9]+")
#: Numbers with more digits exceed every bound and need no conversion.
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
    """Return a driver's number of seconds, capped at ``most``.

    None for an invalid value: text, NaN, infinity, a negative number or a boolean.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    # An integer may be larger than any float: compare before converting.
    return None if value < 0 else float(min(value, most))


def retry_after(text: str, now: datetime.datetime) -> float | None:
    """Return the seconds of a ``Retry-After`` field: digits or an HTTP-date.

    See RFC 9110, section 10.2.3. The result is between 0 and :data:`LONGEST`; None if the field
    is invalid.
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
    """Parse ASCII digits; None for anything else. Very large numbers are capped."""
    if not _DIGITS.fullmatch(text):
        return None
    significant = text.lstrip("0")
    return int(significant or "0") if len(significant) <= _MOST_DIGITS else 10**_MOST_DIGITS


def until(moment: datetime.datetime, now: datetime.datetime) -> float:
    """Return the seconds until a time, between 0 and :data:`LONGEST`. Naive times are UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return min(LONGEST, max(0.0, (moment - now).total_seconds()))
