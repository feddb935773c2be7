"""Cleansing rules: what is certainly wrong is corrected or set aside, never invented, always recorded.

Every delivered row ends in exactly one of three places: clean, quarantined, or dropped as an exact duplicate.
A rule corrects a value only where the right one is certain; otherwise the row goes to quarantine.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.domain.bars import KEY, VALUES

ROW = "row"
CORRECTION_COLUMNS = [ROW, "instrument", "timestamp", "column", "before", "after", "rule", "version"]
PRICES = ["open", "high", "low", "close"]


class Cleansed(NamedTuple):
    """`clean` bars; `quarantine` (the rows as delivered, with `row`, `rule`, `version`, `reason`);
    `corrections` (one line per changed or dropped value)."""

    clean: pd.DataFrame
    quarantine: pd.DataFrame
    corrections: pd.DataFrame

    @property
    def exact_duplicates(self) -> int:
        return int((self.corrections["rule"] == "exact_duplicate").sum())


class Rule(NamedTuple):
    """`find` returns a boolean mask of the rows that the rule sets aside, over the rows still clean."""

    id: str
    version: int
    reason: str
    find: Callable[[pd.DataFrame], pd.Series]


def missing_field(bars: pd.DataFrame) -> pd.Series:
    """A bar without one of its fields: the value can't be known from the bar itself."""
    fields = [name for name in ["timestamp", "instrument", *VALUES] if name in bars]
    return bars[fields].isna().any(axis=1) | (bars["instrument"].str.strip() == "")


def impossible_price(bars: pd.DataFrame) -> pd.Series:
    """A price at or below zero, or infinite: none of the instruments handled here can trade there."""
    prices = bars[[name for name in PRICES if name in bars]]
    return ((prices <= 0) | ~np.isfinite(prices)).any(axis=1)


def impossible_volume(bars: pd.DataFrame) -> pd.Series:
    """A negative or infinite volume. Zero is left: a quiet session is possible."""
    if "volume" not in bars:
        return nowhere(bars)
    return pd.Series((bars["volume"] < 0) | ~np.isfinite(bars["volume"]))


def inconsistent_range(bars: pd.DataFrame) -> pd.Series:
    """Open or close outside low–high by more than rounding: one of the four is wrong, which is unknown."""
    if not set(PRICES) <= set(bars.columns):
        return nowhere(bars)
    slack = 1e-4 * bars["close"]
    body = bars[["open", "close"]]
    outside = (bars["high"] + slack < body.max(axis=1)) | (bars["low"] - slack > body.min(axis=1))
    return outside | (bars["high"] + slack < bars["low"])


def conflicting_duplicate(bars: pd.DataFrame) -> pd.Series:
    """Two different bars for one instrument and time: nothing says which is true, so both are set aside."""
    return bars.duplicated(KEY, keep=False)


def reverting_spike(bars: pd.DataFrame) -> pd.Series:
    """One close far off both neighbours that agree with each other: a misprint, not a move.

    A true large move rarely comes back whole on the next session, but banks in January 2009 did by a quarter
    (JPM -21 %, +25 %). "Far" is therefore 8 of the instrument's own median absolute log returns and at least
    half as much again (or a third lost); "come back" is within a fifth of the jump.
    """
    ordered = bars.sort_values(KEY, kind="stable")
    log_price = np.log(ordered["close"])
    groups = log_price.groupby(ordered["instrument"], sort=False)
    jump, back = groups.diff(), -groups.diff(-1)
    usual = jump.abs().groupby(ordered["instrument"], sort=False).transform("median")
    far = np.maximum(8 * usual, np.log(1.5))
    spike = (jump.abs() > far) & (back.abs() > far) & ((jump + back).abs() < 0.2 * jump.abs())
    return pd.Series(spike.reindex(bars.index))


def nowhere(bars: pd.DataFrame) -> pd.Series:
    return pd.Series(False, index=bars.index)


# Order matters: a later rule may rely on what an earlier one has set aside.
RULES = (
    Rule("missing_field", 1, "a field is missing", missing_field),
    Rule("impossible_price", 1, "a price is not above zero", impossible_price),
    Rule("impossible_volume", 1, "the volume is below zero", impossible_volume),
    Rule("conflicting_duplicate", 1, "another bar with the same key differs", conflicting_duplicate),
    Rule("inconsistent_range", 1, "open or close lies outside low to high", inconsistent_range),
    Rule("reverting_spike", 1, "one close far off two neighbours that agree", reverting_spike),
)
CORRECTIONS = (("instrument_spelling", 1), ("swapped_high_low", 1), ("exact_duplicate", 1))


def cleanse(raw: pd.DataFrame) -> Cleansed:
    """Apply all corrections, then all rules, to delivered bars (columns of `BAR_COLUMNS`, any order).

    Rows are numbered by their place in the delivery. len(raw) == clean + quarantine + exact duplicates.
    """
    bars = raw.reset_index(drop=True)
    corrections: list[pd.DataFrame] = []
    for correct in (correct_spelling, correct_swapped_range, drop_exact_duplicates):
        bars, ledger = correct(bars)
        corrections.append(ledger)
    quarantine: list[pd.DataFrame] = []
    for rule in RULES:
        found = rule.find(bars)
        aside = raw.reset_index(drop=True).loc[bars.index[found]]
        quarantine.append(aside.assign(rule=rule.id, version=rule.version, reason=rule.reason))
        bars = bars[~found]
    set_aside = pd.concat(quarantine).rename_axis(ROW).reset_index()
    changed = pd.concat(corrections, ignore_index=True).reindex(columns=CORRECTION_COLUMNS)
    return Cleansed(bars.reset_index(drop=True), set_aside, changed)


def correct_spelling(bars: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Surrounding space and case in an instrument's name carry no meaning in the universes handled here."""
    plain = bars["instrument"].str.strip().str.upper()
    changed = bars["instrument"].notna() & (plain != bars["instrument"])
    ledger = entries(bars[changed], "instrument", plain[changed], *CORRECTIONS[0])
    return bars.assign(instrument=plain), ledger


def correct_swapped_range(bars: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """High below low, and exchanging the two makes the whole bar consistent: the columns were swapped."""
    if not set(PRICES) <= set(bars.columns):
        return bars, entries(bars[:0], "high", bars["close"][:0], *CORRECTIONS[1])
    body = bars[["open", "close"]]
    fits = (bars["low"] >= body.max(axis=1)) & (bars["high"] <= body.min(axis=1))
    swapped = (bars["high"] < bars["low"]) & fits
    rows = bars[swapped]
    ledger = pd.concat(
        [
            entries(rows, "high", rows["low"], *CORRECTIONS[1]),
            entries(rows, "low", rows["high"], *CORRECTIONS[1]),
        ]
    )
    mended = bars.copy()
    mended.loc[swapped, ["high", "low"]] = rows[["low", "high"]].to_numpy()
    return mended, ledger


def drop_exact_duplicates(bars: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same bar delivered twice: one is enough, and nothing is lost."""
    repeated = bars.duplicated(keep="first")
    rows = bars[repeated]
    ledger = entries(rows, "*", pd.Series("dropped", index=rows.index), *CORRECTIONS[2])
    return bars[~repeated], ledger.assign(before="repeated")


def entries(rows: pd.DataFrame, column: str, after: pd.Series, rule: str, version: int) -> pd.DataFrame:
    """Lines of the corrections ledger; `before` and `after` as text, since columns differ in type."""
    before = rows[column].astype("str") if column in rows else pd.Series("", index=rows.index, dtype="str")
    return pd.DataFrame(
        {
            ROW: rows.index.to_numpy("int64"),
            "instrument": rows["instrument"].astype("str").to_numpy(),
            "timestamp": rows["timestamp"].to_numpy("datetime64[us]"),
            "column": pd.array([column] * len(rows), dtype="str"),
            "before": before.to_numpy(),
            "after": after.astype("str").to_numpy(),
            "rule": pd.array([rule] * len(rows), dtype="str"),
            "version": np.full(len(rows), version, dtype="int64"),
        }
    )
