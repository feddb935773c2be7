"""Labels and sample weights: paths short enough to follow by hand, and no look beyond what each may see."""

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from tasks.domain.barriers import meta_label, session_volatility, triple_barrier
from tasks.domain.errors import UsageError
from tasks.domain.features.side import momentum_side
from tasks.domain.labelling import target
from tasks.domain.labels import forward_return, reach, session_rank
from tasks.domain.problem import Problem, parse_problem
from tasks.domain.targets import (
    Barriers,
    ForwardReturn,
    Label,
    MetaLabel,
    SessionRank,
    TripleBarrier,
)
from tasks.domain.uniqueness import average_uniqueness

# Returns of +1 %, −1 %, +1 %: a volatility of about 1 % at the decision (session 3), entry at 100 (session 4).
CALM = [100.0, 101.0, 99.99, 100.9899, 100.0]
DECISION = 3
WIDE = Barriers(profit_taking=3.0, stop_loss=2.0, volatility_sessions=2)
KINDS: list[Label] = [
    ForwardReturn(),
    SessionRank(),
    TripleBarrier(volatility_sessions=5),
    MetaLabel(volatility_sessions=5, momentum_sessions=5),
]


def path(*closes: float) -> pd.DataFrame:
    return pd.DataFrame({"A": [*CALM, *closes]})


def walk(sessions: int = 60, names: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=(sessions, names)), axis=0))
    close[rng.random(close.shape) < 0.05] = np.nan
    return pd.DataFrame(close, index=pd.bdate_range("2020-01-01", periods=sessions), columns=list("ABCDE")[:names])


@pytest.mark.parametrize(
    ("closes", "sign", "earned", "session"),
    [
        pytest.param([101.0, 104.0, 90.0, 100.0], 1, 0.04, 6, id="gain first"),
        pytest.param([99.0, 97.0, 110.0, 100.0], -1, -0.03, 6, id="loss first"),
        pytest.param([101.0, 100.5, 102.0, 80.0], 1, 0.02, 7, id="horizon first, with a gain"),
        pytest.param([101.0, 100.5, 99.0, 180.0], -1, -0.01, 7, id="horizon first, with a loss"),
        pytest.param([101.0, 100.5, 100.0, 180.0], 0, 0.0, 7, id="horizon first, with nothing"),
        pytest.param([np.nan, 104.0, 90.0, 100.0], 1, 0.04, 6, id="a missing bar touches nothing"),
        pytest.param([104.0, 101.0, np.nan, 100.0], 1, 0.04, 5, id="touched before the missing bar"),
        pytest.param([101.0, 100.5, np.nan, 100.0], np.nan, np.nan, -1, id="no bar at the horizon"),
    ],
)
def test_the_first_barrier_touched_decides(closes: list[float], sign: float, earned: float, session: int) -> None:
    """Horizon 3: bought at 100 at session 4, barriers near +3 % and −2 %, closed at session 7 at the latest."""
    close = path(*closes)
    assert 0.01 < session_volatility(close, 2)["A"][DECISION] < 0.0133
    touch = triple_barrier(close, 3, WIDE)
    assert touch.sign["A"][DECISION] == pytest.approx(sign, nan_ok=True)
    assert touch.earned["A"][DECISION] == pytest.approx(earned, nan_ok=True)
    assert touch.session["A"][DECISION] == session


def test_no_entry_no_side_or_no_volatility_is_no_bet() -> None:
    unfilled = path(101.0, 104.0, 90.0, 100.0)
    unfilled.loc[DECISION + 1] = np.nan
    flat = pd.DataFrame({"A": [100.0] * 9})
    fine = path(101.0, 104.0, 90.0, 100.0)
    for touch in (triple_barrier(unfilled, 3, WIDE), triple_barrier(flat, 3, WIDE), triple_barrier(fine, 3, WIDE, 0.0)):
        assert np.isnan(touch.sign["A"][DECISION])
        assert touch.session["A"][DECISION] == -1
    assert triple_barrier(fine, 3, WIDE).sign["A"].notna().tolist() == [False, False, *[True] * 3, *[False] * 4]
    assert triple_barrier(fine.head(2), 3, WIDE).sign["A"].isna().all()


def test_a_short_position_gains_where_prices_fall() -> None:
    """Short at 100: 97 is a gain of 3 %, inside the barrier of nearly 4 %; 96 is beyond it."""
    touch = triple_barrier(path(97.0, 96.0, 110.0, 100.0), 3, WIDE, side=-1.0)
    assert (touch.sign["A"][DECISION], touch.session["A"][DECISION]) == (1, 6)
    assert touch.earned["A"][DECISION] == pytest.approx(0.04)


def test_volatility_by_hand_uses_the_past_only() -> None:
    """Span 2 weights returns by 1/3: with returns 0.1 (older) and 0.2, the unbiased deviation is 0.1 / √2."""
    close = pd.DataFrame({"A": [100.0, 110.0, 132.0, 132.0]})
    assert session_volatility(close, 2)["A"].tolist()[:3] == pytest.approx([np.nan, np.nan, 0.1 / 2**0.5], nan_ok=True)
    whole = walk()
    for cut in (20, 40):
        pd.testing.assert_frame_equal(session_volatility(whole[:cut], 5), session_volatility(whole, 5)[:cut])


def test_a_meta_label_says_whether_the_side_paid() -> None:
    rising = path(101.0, 104.0, 90.0, 100.0)
    assert momentum_side(rising, 2)["A"].tolist()[2:5] == [-1, -1, 1]
    label = MetaLabel(**WIDE.model_dump(), momentum_sessions=3)
    learned = target(label, rising, 3)
    assert learned.side is not None
    assert learned.side["A"][DECISION] == 1
    assert learned.y["A"][DECISION] == 1
    falling = target(label, path(99.0, 97.0, 90.0, 100.0), 3)
    assert (falling.y["A"][DECISION], falling.end["A"][DECISION]) == (0, 6)
    assert meta_label(triple_barrier(rising, 3, WIDE, 0.0))["A"].isna().all()


def test_a_word_and_a_mapping_say_what_is_learned() -> None:
    close = walk()
    read = TypeAdapter(Label).validate_python
    ranks = session_rank(forward_return(close, 5))
    for word in ("forward_return", "session_rank", {"kind": "session_rank"}):
        pd.testing.assert_frame_equal(target(read(word), close, 5).y, ranks)
    pd.testing.assert_frame_equal(target(read({"kind": "forward_return"}), close, 5).y, forward_return(close, 5))
    assert read("triple_barrier") == TripleBarrier()


@pytest.mark.parametrize("label", KINDS, ids=lambda label: label.kind)
def test_no_label_looks_beyond_its_reach(label: Label) -> None:
    """Change every bar later than the reach after a decision: labels up to it stay, to the last bit."""
    close, horizon, decision = walk(), 4, 30
    other = close.copy()
    other.iloc[decision + reach(horizon) + 1 :] *= np.random.default_rng(0).uniform(0.5, 2, other.shape[1])
    before, after = target(label, close, horizon), target(label, other, horizon)
    pd.testing.assert_frame_equal(before.y[: decision + 1], after.y[: decision + 1], check_exact=True)
    pd.testing.assert_frame_equal(before.end[: decision + 1], after.end[: decision + 1])
    assert before.y.notna().equals(before.end >= 0)
    ahead = before.end.sub(np.arange(len(close)), axis=0).to_numpy()[before.end >= 0]
    assert 2 <= ahead.min() <= ahead.max() == reach(horizon)
    assert before.y[-reach(horizon) :].isna().all(axis=None)


def test_uniqueness_by_hand() -> None:
    """Horizon 3, labels decided at 0, 1, 2 and 6: returns 2-4, 3-5, 4-6 and 8-10.

    Sessions 2 to 6 are shared by 1, 2, 3, 2, 1 labels, 8 to 10 by one: (1 + 1/2 + 1/3) / 3 = 11/18 for the first and
    third, (1/2 + 1/3 + 1/2) / 3 = 8/18 for the second, 1 for the last; their mean is 48/72 = 2/3.
    """
    end = pd.DataFrame({"A": [4, 5, 6, -1, -1, -1, 10, -1, -1, -1, -1, -1], "B": [-1] * 12})
    weights = average_uniqueness(end)
    assert weights["B"].isna().all()
    assert weights["A"].dropna().tolist() == pytest.approx([11 / 12, 8 / 12, 11 / 12, 18 / 12])
    assert weights["A"].dropna().index.tolist() == [0, 1, 2, 6]


def test_labels_of_a_fixed_horizon_are_all_alike_but_for_the_ends() -> None:
    """Twelve sessions, horizon 3: eight labels, returns 2 to 11 shared by 1, 2, 3 ... 3, 2, 1 of them."""
    end = target(ForwardReturn(), walk(12, 1).fillna(100.0), 3).end
    unique = np.array([11 / 18, 7 / 18, *[1 / 3] * 4, 7 / 18, 11 / 18])
    assert average_uniqueness(end)["A"].dropna().tolist() == pytest.approx((unique / unique.mean()).tolist())


def test_an_early_touch_makes_a_label_more_unique() -> None:
    quick = average_uniqueness(pd.DataFrame({"A": [4, 3, -1, -1, -1]}))["A"]
    assert quick.tolist()[:2] == pytest.approx([(5 / 6) / (2 / 3), (1 / 2) / (2 / 3)])


def test_no_label_no_weight() -> None:
    assert average_uniqueness(pd.DataFrame({"A": [-1, -1, -1]})).isna().all(axis=None)


def test_short_forms_of_a_problem_file_go_on_working(shipped: Problem) -> None:
    fields = shipped.model_dump(mode="json")
    short = parse_problem(fields | {"label": "forward_return", "splits": {"folds": 5}}, "here")
    assert short.label == SessionRank()
    assert short == parse_problem(fields, "here") == shipped
    assert short.sha256 == shipped.sha256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "forward"}, "here: label: .*'forward_return', 'session_rank', 'triple_barrier', 'meta_label'"),
        ({"label": {"kind": "triple_barrier", "stop_loss": 0.0}}, "here: label.triple_barrier.stop_loss: .*found 0.0"),
        ({"label": {"kind": "session_rank", "n": 1}}, "here: label.session_rank.n: unknown key"),
        ({"weights": "unique"}, "here: weights: .*'equal' or 'uniqueness'"),
        ({"splits": {"folds": 1}}, "here: splits.walk_forward.folds: .*found 1"),
        ({"splits": {"kind": "combinatorial", "groups": 3, "test_groups": 3}}, "test_groups must be less than groups"),
    ],
)
def test_a_wrong_label_or_split_is_refused_in_words(shipped: Problem, change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_problem(shipped.model_dump(mode="json") | change, "here")
