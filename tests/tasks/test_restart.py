"""The backtest's process gets the scores that the validation's process signed, or says so."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd
import pytest

from tasks import backtesting, evidence
from tasks.cases import Case
from tasks.domain import names
from tasks.domain.accuracy import Lockbox

SCORES = pd.DataFrame(
    [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]], pd.bdate_range("2020-01-01", periods=2, name="timestamp"), list("ABC")
)


class Validated(NamedTuple):
    """As much of a candidate as the comparison needs. `done`: has it been validated."""

    done: bool
    folder: Path = Path()

    def is_done(self, stage: str) -> bool:
        return self.done

    def file(self, stage: str, name: str) -> bytes:
        return bytes(SCORES.to_parquet())


class Judged(NamedTuple):
    candidate: Validated
    lockbox: Lockbox


def figures(scores: pd.DataFrame, signed: dict[str, str], monkeypatch: pytest.MonkeyPatch, done: bool = True) -> Any:
    statement = evidence.Statement({}, signed, "run", None)
    monkeypatch.setattr(evidence, "read_statement", lambda folder, stage: statement)
    case = Judged(Validated(done), Lockbox(scores, scores, scores.notna()))
    return backtesting.started_anew.fn(cast("Case", case))


SIGNED = {f"{names.VALIDATE}/{names.LOCKBOX_SCORES}": "digest"}


def test_the_same_scores_are_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    found = figures(SCORES, SIGNED, monkeypatch)
    assert found == {"backtest.restarted": 1.0, "backtest.restart_gap": 0.0, "backtest.restart_order": 0.0}


def test_scores_that_hang_on_the_process_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = figures(SCORES[["B", "A", "C"]].set_axis(list("ABC"), axis=1), SIGNED, monkeypatch)
    assert (found["backtest.restart_gap"], found["backtest.restart_order"]) == (2.0, pytest.approx(2 / 3))


@pytest.mark.parametrize(("signed", "done"), [(SIGNED, False), ({}, True)])
def test_without_signed_scores_there_is_nothing_to_compare(
    signed: dict[str, str], done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert figures(SCORES, signed, monkeypatch, done) == {"backtest.restarted": 0.0}
