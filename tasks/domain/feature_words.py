"""What features are, in words for people who trade: by their names, without knowing how they are computed."""

import re

PRICE_ONLY = {
    "return_1": "return of the last session",
    "return_252_21": "12-month return without the last month",
    "gap_to_high_252": "nearness to the 12-month high",
    "gap_to_low_252": "height above the 12-month low",
}
BY_WINDOW = {
    "return": "{n}-session return",
    "volatility": "{n}-session volatility",
    "gap_to_mean": "price against its {n}-session mean",
    # Alpha158
    "ROC": "price {n} sessions ago over today's",
    "MA": "{n}-session mean price over today's",
    "STD": "{n}-session spread of the price",
    "BETA": "slope of the {n}-session price trend",
    "RSQR": "how straight the {n}-session price trend is",
    "RESI": "price above its {n}-session trend line",
    "MAX": "{n}-session high over today's price",
    "MIN": "{n}-session low over today's price",
    "QTLU": "upper fifth of {n}-session prices over today's",
    "QTLD": "lower fifth of {n}-session prices over today's",
    "RANK": "place of today's price among {n} sessions",
    "RSV": "place of today's price in its {n}-session range",
    "IMAX": "how recent the {n}-session high is",
    "IMIN": "how recent the {n}-session low is",
    "IMXD": "{n}-session high later than the low",
    "CORR": "{n}-session correlation of price and volume",
    "CORD": "{n}-session correlation of price and volume changes",
    "CNTP": "share of rising sessions in {n}",
    "CNTN": "share of falling sessions in {n}",
    "CNTD": "rising less falling sessions in {n}",
    "SUMP": "gains' share of all moves in {n} sessions",
    "SUMN": "losses' share of all moves in {n} sessions",
    "SUMD": "gains less losses over all moves in {n} sessions",
    "VMA": "{n}-session mean volume over today's",
    "VSTD": "{n}-session spread of volume over today's",
    "WVMA": "{n}-session unevenness of volume-weighted moves",
    "VSUMP": "volume rises' share of its changes in {n} sessions",
    "VSUMN": "volume falls' share of its changes in {n} sessions",
    "VSUMD": "volume rises less falls over its changes in {n} sessions",
}
OF_BAR = {
    "KMID": "move from open to close",
    "KLEN": "range of the session's bar",
    "KMID2": "move from open to close as a share of the range",
    "KUP": "upper shadow of the bar",
    "KUP2": "upper shadow as a share of the range",
    "KLOW": "lower shadow of the bar",
    "KLOW2": "lower shadow as a share of the range",
    "KSFT": "close against the middle of the range",
    "KSFT2": "close within the range",
    "OPEN0": "open over close",
    "HIGH0": "high over close",
    "LOW0": "low over close",
    "VWAP0": "average traded price over close",
}
EXACTLY = PRICE_ONLY | OF_BAR
WINDOWED = re.compile(r"([A-Z]+|[a-z_]+?)_?(\d+)")
# From which percentile within its session a value is said to stand where; the first that applies.
STANDINGS = (
    (0.1, "among the lowest tenth"),
    (1 / 3, "in the lowest third"),
    (2 / 3, "in the middle third"),
    (0.9, "in the highest third"),
    (1.0, "among the highest tenth"),
)


def describe(name: str) -> str:
    """A feature in words; its own name where it is a stranger's."""
    if name in EXACTLY:
        return EXACTLY[name]
    found = WINDOWED.fullmatch(name)
    if found and found[1] in BY_WINDOW:
        return BY_WINDOW[found[1]].format(n=found[2])
    return name


def standing(percentile: float) -> str:
    """Where a value stands among its session's, 0 lowest to 1 highest; NaN is a missing value."""
    return next((words for limit, words in STANDINGS if percentile <= limit), "unknown")
