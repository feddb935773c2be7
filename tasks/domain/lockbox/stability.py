"""Where and when the rank IC comes from: calendar years, states of the market, sectors, large and small names."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tasks.domain import accuracy, metrics
from tasks.domain.accuracy import Figures, Lockbox
from tasks.domain.analysis.stretches import FEWEST, ORDER, means_by_state
from tasks.domain.states import QUARTER, market_states
from tasks.domain.statistics import mean_error

COLUMNS = ["kind", "state", "sessions", "rank_ic", "standard_error"]
OTHERS = "in none"
FIFTHS = 5


def table(
    box: Lockbox,
    close: pd.DataFrame,
    volume: pd.DataFrame | None,
    sectors: Mapping[str, Sequence[str]],
    horizon: int,
) -> pd.DataFrame:
    """`kind`, `state`, `sessions`, `rank_ic` (mean) and its `standard_error`, which allows for labels that overlap.

    Kinds: year, volatility and market (`states.market_states`), sector, size. States of fewer than 20 sessions are
    left out.

    Args:
        close, volume: sessions × instruments, with the history before the lockbox; volume None where there is none.
        sectors: names by sector, none where the problem names none.
    """
    series, lags = accuracy.rank_ic(box), horizon
    by_state = means_by_state(series, market_states(close).reindex(series.index), lags)
    by_state = in_order(by_state.rename(columns={"count": "sessions", "mean": "rank_ic"})[COLUMNS])
    parts = {("sector", name): part for name, part in by_sector(box, sectors).items()}
    if volume is not None:
        fifths = size_fifths(close * volume, box.scores.index)
        parts |= {("size", size_name(fifth)): within(box, fifths == fifth) for fifth in range(1, FIFTHS + 1)}
    lines = [
        (*state, len(part), *mean_and_error(part, box.scores.index, lags))
        for state, part in parts.items()
        if len(part) >= FEWEST
    ]
    return pd.concat([by_state, pd.DataFrame(lines, columns=COLUMNS)], ignore_index=True) if lines else by_state


def in_order(found: pd.DataFrame) -> pd.DataFrame:
    """Kinds as they stand; in each, years as they passed and low before high."""
    kinds = {kind: number for number, kind in enumerate(found["kind"].unique())}
    by_state = found.sort_values("state", key=lambda part: part.replace(ORDER))
    return by_state.sort_values("kind", key=lambda part: part.map(kinds), kind="stable", ignore_index=True)


def mean_and_error(series: pd.Series, sessions: pd.Index, lags: int) -> tuple[float, float]:
    """Mean of a series and its standard error where values depend on those of `lags` sessions more; NaN without any."""
    values, places = series.to_numpy(dtype=float), sessions.get_indexer(series.index)
    return (float(values.mean()) if len(values) else math.nan), mean_error(values, places, lags)


def by_sector(box: Lockbox, sectors: Mapping[str, Sequence[str]]) -> dict[str, pd.Series]:
    """Rank IC among the names of each sector; names in none are one sector more, as for the strategy's limits."""
    if not sectors:
        return {}
    columns = box.scores.columns
    named = {name for members in sectors.values() for name in members}
    groups = {name: columns.isin(members) for name, members in sectors.items()} | {OTHERS: ~columns.isin(named)}
    whole = np.ones((len(box.scores), 1), dtype=bool)
    return {name: within(box, whole & held) for name, held in groups.items()}


def within(box: Lockbox, held: np.ndarray) -> pd.Series:
    """Rank IC among the names that a mask (sessions × instruments) holds."""
    return metrics.rank_ic_series(box.scores.where(held), box.labels)


def size_fifths(traded: pd.DataFrame, sessions: pd.Index) -> np.ndarray:
    """The fifth of its session, 1 (smallest) to 5, that each name's dollar volume is in; 0 where it is unknown.

    Args:
        traded: close × volume, sessions × instruments. Its median over the quarter up to the session counts, of which
            a third at least must be known.
        sessions: those that are asked for.
    """
    first = max(int(traded.index.get_indexer(sessions[:1])[0]) - QUARTER + 1, 0)
    usual = traded.iloc[first:].rolling(QUARTER, min_periods=QUARTER // 3).median().reindex(sessions)
    return np.ceil(usual.rank(axis=1, pct=True).fillna(0.0).to_numpy() * FIFTHS - 1e-9).astype(int)


def size_name(fifth: int) -> str:
    return {1: "smallest fifth", FIFTHS: "largest fifth"}.get(fifth, f"fifth {fifth}")


def figures(box: Lockbox, found: pd.DataFrame, horizon: int) -> Figures:
    """Shares of years and half years with a positive mean, the worst year, and the first half less the second.

    Years and half years of fewer than 20 sessions do not count; NaN where none is left.
    """
    series = accuracy.rank_ic(box)
    years = found.loc[found["kind"] == "year", "rank_ic"].astype(float)
    half_years = means_of_half_years(series)
    middle = box.scores.index[len(box.scores) // 2]
    halves = [series[series.index < middle], series[series.index >= middle]]
    (first, first_error), (second, second_error) = (mean_and_error(half, box.scores.index, horizon) for half in halves)
    return {
        "lockbox.positive_years_share": float((years > 0).mean()) if len(years) else math.nan,
        "lockbox.positive_half_years_share": float((half_years > 0).mean()) if len(half_years) else math.nan,
        "lockbox.worst_year_rank_ic": float(years.min()) if len(years) else math.nan,
        "lockbox.half_difference": first - second,
        # The halves share at most the labels at their seam.
        "lockbox.half_difference_error": math.hypot(first_error, second_error),
    }


def means_of_half_years(series: pd.Series) -> pd.Series:
    days = pd.DatetimeIndex(series.index)
    grouped = series.groupby([days.year, (days.month - 1) // 6])
    return grouped.mean()[grouped.size() >= FEWEST]
