"""Values as known: oracles to check by hand, and no session ever changed by what came later."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import UsageError
from tasks.domain.known import SERIES_SCHEMA, as_known

Row = tuple[str, datetime | None, datetime | None, float | None]
DAY = timedelta(days=1)
START = datetime(2020, 1, 1)


def table(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SERIES_SCHEMA, orient="row")


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2020, 1, day, hour)


def test_a_value_is_used_from_the_session_after_its_publication() -> None:
    cpi = table(("cpi", at(1), at(13, 8), 2.5))
    known = as_known(cpi, [at(12), at(13), at(14), at(15)], ["cpi"])
    assert known["cpi"].to_list() == [None, None, 2.5, 2.5]
    assert known["session"].to_list() == [at(12), at(13), at(14), at(15)]


def test_midnight_of_the_session_itself_is_not_before_it() -> None:
    assert as_known(table(("x", at(1), at(2), 1.0)), [at(2), at(3)], ["x"])["x"].to_list() == [None, 1.0]


def test_revisions_replace_what_they_revise_when_they_are_known_and_not_sooner() -> None:
    gdp = table(
        ("gdp", at(1), at(10), 1.0),
        ("gdp", at(1), at(12), 1.1),  # revision while it is still the newest
        ("gdp", at(5), at(14), 2.0),
        ("gdp", at(1), at(16), 1.2),  # revision of an older date: the newest value stays
        ("gdp", at(5), at(18), 2.1),
    )
    sessions = [at(day) for day in (10, 11, 13, 15, 17, 19)]
    assert as_known(gdp.reverse(), sessions, ["gdp"])["gdp"].to_list() == [None, 1.0, 1.1, 2.0, 2.0, 2.1]


def test_an_intraday_session_counts_by_its_date_and_sessions_come_back_sorted_once() -> None:
    known = as_known(table(("x", at(1), at(2, 9), 1.0)), [at(3, 15), at(2, 16), at(3, 9)], ["x"])
    assert known.rows() == [(at(2), None), (at(3), 1.0)]
    assert as_known(table(("x", at(1), at(2, 9), 1.0)), [date(2020, 1, 3)], ["x"]).rows() == [(at(3), 1.0)]


def test_several_series_side_by_side_and_rows_that_tell_nothing() -> None:
    both = table(("a", at(1), at(2), 1.0), ("b", at(1), at(3), 5.0), ("a", at(2), at(3), None), ("a", None, at(3), 9.0))
    assert as_known(both, [at(3), at(4)], ["b", "a"]).rows() == [(at(3), None, 1.0), (at(4), 5.0, 1.0)]


def test_an_unknown_series_is_named() -> None:
    with pytest.raises(UsageError, match=r"series \['y'\]: not delivered; known are \['x'\]"):
        as_known(table(("x", at(1), at(2), 1.0)), [at(3)], ["y"])


moments = st.integers(0, 40).map(lambda hours: START + timedelta(hours=12 * hours))
rows = st.tuples(st.sampled_from(["a", "b"]), moments, moments, st.floats(-1e6, 1e6))


def by_hand(series: list[Row], session: datetime, name: str) -> float | None:
    known = [(day, moment, value) for n, day, moment, value in series if n == name and moment < session]  # type: ignore[operator]
    return max(known)[2] if known else None


@given(st.lists(rows, max_size=30), st.lists(rows, max_size=30), st.integers(1, 20))
def test_what_is_known_later_never_changes_an_earlier_session(before: list[Row], later: list[Row], cut: int) -> None:
    horizon = START + cut * DAY
    anchors = [("a", START, START - DAY, 0.0), ("b", START, START - DAY, 0.0)]
    sessions = [START + day * DAY for day in range(cut + 1)]
    first = as_known(table(*anchors, *before), sessions, ["a", "b"])
    late = [(name, day, max(moment, horizon), value) for name, day, moment, value in later]
    assert as_known(table(*anchors, *before, *late), sessions, ["a", "b"]).equals(first)
    for session, a, b in first.rows():
        assert a == by_hand([*anchors, *before], session, "a")
        assert b == by_hand([*anchors, *before], session, "b")
