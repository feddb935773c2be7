"""What is done to bars is what is said; planted faults are caught with their name and date; honest models pass."""

import numpy as np
import pandas as pd
import pytest

from tasks.domain import blame, mishaps, probes
from tasks.domain.bars import wide
from tasks.domain.errors import ModelFault
from tests.support.market import bars as market_bars
from tests.support.market import canonical

NAMES, SESSIONS = 9, 170


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    made = market_bars(0.0, names=NAMES, sessions=SESSIONS)
    return canonical(made.rename(columns={"date": "timestamp", "symbol": "instrument"}))


def honest(bars: pd.DataFrame) -> pd.DataFrame:
    """The last ten sessions' return, as a rank; a gap of up to five is bridged."""
    close = wide(bars, "close")
    moved = np.log(close.ffill(limit=5)).diff(10).where(close.notna())
    return moved.rank(axis=1, pct=True)


def silent_without_volume(bars: pd.DataFrame) -> pd.DataFrame:
    return honest(bars).where(wide(bars, "volume") > 0)


def divides_by_moves(bars: pd.DataFrame) -> pd.DataFrame:
    daily = wide(bars, "close").ffill().pct_change(fill_method=None)
    return 1.0 / daily.abs().rolling(5).sum()


def counts_names(bars: pd.DataFrame) -> pd.DataFrame:
    if bars["instrument"].nunique() < NAMES:
        raise ValueError(f"expected {NAMES} names")
    return honest(bars)


def one_for_all(bars: pd.DataFrame) -> pd.DataFrame:
    """A session in which anything is missing is not scored."""
    return honest(bars).where(wide(bars, "close").notna().all(axis=1), axis=0)


def wild(bars: pd.DataFrame) -> pd.DataFrame:
    return np.exp(20 * wide(bars, "close").ffill().pct_change(fill_method=None).abs().rolling(3).sum())


def asked(model: mishaps.Model, bars: pd.DataFrame) -> dict[str, mishaps.Answer]:
    return mishaps.every(model, mishaps.panel(model, bars, model(bars)))


def about(model: mishaps.Model, bars: pd.DataFrame, question: str) -> mishaps.Answer:
    return mishaps.questions(model, mishaps.panel(model, bars, model(bars)))[question]()


def test_an_honest_model_keeps_its_scores(bars: pd.DataFrame) -> None:
    for answer in asked(honest, bars).values():
        assert answer.kept == 1.0
        assert answer.agreement > 0.9
        assert answer.outside == 0.0
        assert answer.words == ""


@pytest.mark.slow
def test_each_fault_is_named_with_its_name_date_and_cause(bars: pd.DataFrame) -> None:
    found = about(silent_without_volume, bars, "extreme_bars")
    assert found.kept == 0.0, "of the name without volume, though it is a small part of all scores"
    assert "a month without volume" in found.words
    assert "N00 has no finite score on 2015-" in found.words

    found = about(divides_by_moves, bars, "extreme_bars")
    assert found.kept < 0.95
    assert "a month of flat prices" in found.words

    found = about(counts_names, bars, "missing_names")
    assert (found.kept, found.words) == (
        0.0,
        "the model fails where 3 of 9 names are left out (ValueError: expected 9 names)",
    )

    found = about(one_for_all, bars, "missing_fields")
    assert found.kept < 0.95
    assert "a fortnight without close" in found.words

    assert about(wild, bars, "extreme_bars").outside > 0.01


def test_mishaps_do_what_they_say(bars: pd.DataFrame) -> None:
    told = mishaps.panel(honest, bars, honest(bars))
    before = wide(told.bars, "close")
    for placed in mishaps.place(told, mishaps.extremes(told.bars)):
        after = mishaps.altered(told.bars, [placed])
        close, at = wide(after, "close")[placed.name], before.index.get_loc(placed.start)
        moved = (close / before[placed.name]).iloc[at:]
        others = after["instrument"] != placed.name
        assert after[others].equals(told.bars[told.bars["instrument"] != placed.name].set_axis(after[others].index))
        assert close.iloc[:at].equals(before[placed.name].iloc[:at])
        if placed.mishap.title == "a fall of 50 % in a session":
            assert moved.tolist() == pytest.approx([0.5] * len(moved))
        elif placed.mishap.title == "a week of limit moves of 20 % down":
            assert moved.iloc[:6].tolist() == pytest.approx([0.8, 0.64, 0.512, 0.4096, 0.32768, 0.32768])
        elif placed.mishap.title == "a month of flat prices":
            assert close.iloc[at : at + 21].tolist() == [before[placed.name].iloc[at - 1]] * 21
            assert moved.iloc[21:].tolist() == [1.0] * len(moved[21:])
        elif placed.mishap.title == "a halt of a month":
            assert moved.isna().sum() == 21
        elif placed.mishap.title == "a month without volume":
            assert (wide(after, "volume")[placed.name] == 0).sum() == 21


def test_a_lone_name_can_have_mishaps_too(bars: pd.DataFrame) -> None:
    def momentum(table: pd.DataFrame) -> pd.DataFrame:
        return wide(table, "close").ffill(limit=5).pct_change(10, fill_method=None)

    alone = bars[bars["instrument"] == "N03"]
    found = asked(momentum, alone)
    assert {name: answer.kept for name, answer in found.items()} == dict.fromkeys(found, 1.0)


def test_more_of_the_future_changes_nothing_for_the_honest(bars: pd.DataFrame) -> None:
    def among_all_ever(table: pd.DataFrame) -> pd.DataFrame:
        return honest(table) / table["instrument"].nunique()

    told = mishaps.panel(honest, bars, honest(bars))
    assert mishaps.extra_rows(honest, told) == probes.Finding(0.0, None)
    assert mishaps.denser(honest, told, 7) == probes.Finding(0.0, None)

    def relative_to_the_newest(table: pd.DataFrame) -> pd.DataFrame:
        return wide(table, "close") / wide(table, "close").ffill().iloc[-1]

    for cheat in (among_all_ever, one_name_ahead, relative_to_the_newest):
        assert mishaps.extra_rows(cheat, mishaps.panel(cheat, bars, cheat(bars))).gap > 0.0


def test_a_model_that_fails_on_fewer_bars_is_an_answer_too(bars: pd.DataFrame) -> None:
    def spoilt(table: pd.DataFrame) -> pd.DataFrame:
        if table["timestamp"].nunique() < SESSIONS:
            raise MemoryError
        return honest(table)

    told = mishaps.panel(spoilt, bars, honest(bars))
    assert mishaps.denser(spoilt, told, 3).gap == np.inf
    late = told._replace(bars=mishaps.newest(bars, 150), scores=honest(bars).iloc[-126:])
    assert mishaps.extra_rows(spoilt, late).gap == np.inf
    assert {answer.kept for answer in mishaps.every(spoilt, late).values()} == {0.0}


def test_a_model_whose_process_has_ended_is_asked_no_more(bars: pd.DataFrame) -> None:
    def once(table: pd.DataFrame) -> pd.DataFrame:
        if (table["volume"] == 0).any():
            raise ModelFault("the model raised ZeroDivisionError")
        return honest(table)

    with pytest.raises(ModelFault, match=r"^the model raised ZeroDivisionError, where each of some names has one of"):
        asked(once, bars)


# --- what a score rests on ----------------------------------------------------------------------------------


def ahead(bars: pd.DataFrame) -> pd.DataFrame:
    return wide(bars, "volume").shift(-3)


def one_name_ahead(bars: pd.DataFrame) -> pd.DataFrame:
    close = wide(bars, "close")
    return honest(bars).add(close["N04"].pct_change(fill_method=None).shift(-1).fillna(0.0), axis=0)


def there_tomorrow(bars: pd.DataFrame) -> pd.DataFrame:
    close = wide(bars, "close")
    return honest(bars) + close.shift(-1).notna()


@pytest.mark.parametrize(
    ("cheat", "said"),
    [
        (ahead, "it rests on the volume of N00, the first time on that of {later}"),
        (one_name_ahead, "it rests on the close of N04, the first time on that of {next}"),
        (there_tomorrow, "no number of the bars after it does it alone: whether they follow at all does"),
    ],
)
def test_what_a_cheat_looks_at_is_found_by_halving(bars: pd.DataFrame, cheat: probes.Model, said: str) -> None:
    full, cuts = cheat(bars), [pd.Timestamp("2015-06-01"), pd.Timestamp("2015-07-01")]
    finding = probes.truncation(cheat, bars, full, cuts)
    words = blame.told(cheat, bars, full, finding, cuts)
    assert words.startswith(finding.words)
    # Three sessions ahead, the last score that the cut changes looks no further than one session after it.
    assert said.format(later="2015-06-02", next="2015-06-02") in words
    assert blame.told(honest, bars, honest(bars), probes.Finding(0.0, None), cuts) == "scores are the same"
