"""What a piece of text can mean as a number, under the conventions in which numbers are written.

A convention is a mark between groups of three digits (none, comma, point, space, apostrophe) and a decimal mark
(point or comma). A text that two conventions read differently has two readings: nothing in "1,234" itself says
whether it is more than a thousand or a little more than one.
"""

import math
import re
from typing import Final

SPACES: Final = " \u00a0\u202f\u2009"  # space, no-break space, narrow no-break space, thin space
APOSTROPHES: Final = "'\u2019"
# (marks between groups, decimal mark); conventions with groups come first, so that their readings do.
GROUPED: Final = tuple(
    (mark, decimal) for decimal in ".," for mark in (*",.", *SPACES, *APOSTROPHES) if mark != decimal
)


def plain_pattern(decimal: str) -> re.Pattern[str]:
    mark = re.escape(decimal)
    return re.compile(rf"([+-]?)([0-9]+(?:{mark}[0-9]*)?|{mark}[0-9]+)((?:[eE][+-]?[0-9]+)?)")


def grouped_pattern(group: str, decimal: str) -> re.Pattern[str]:
    # A first group of zero ("0,123") is no thousands group; nobody writes a hundred and twenty-three that way.
    return re.compile(rf"([+-]?)([1-9][0-9]{{0,2}}(?:{re.escape(group)}[0-9]{{3}})+(?:{re.escape(decimal)}[0-9]*)?)()")


PATTERNS: Final = (
    *((grouped_pattern(group, decimal), group, decimal) for group, decimal in GROUPED),
    *((plain_pattern(decimal), "", decimal) for decimal in ".,"),
)


def readings(text: str) -> tuple[float, ...]:
    """All finite numbers that `text` can mean, each once; none where it is no number in any convention.

    Blanks around the text don't count. Currency signs, percent signs, words and fractions are not read: what they
    mean for a price is a decision, not a spelling.
    """
    found: dict[float, None] = {}
    for pattern, group, decimal in PATTERNS:
        if match := pattern.fullmatch(text.strip()):
            sign, digits, exponent = match.groups()
            number = float(sign + digits.replace(group, "").replace(decimal, ".") + exponent)
            if math.isfinite(number):
                found[number] = None
    return tuple(found)
