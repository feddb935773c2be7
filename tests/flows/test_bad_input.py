"""Bad input: one clear line, the right exit code, nothing written to the clean tables, never a traceback."""

import socket
from pathlib import Path

import pandas as pd
import pytest

from tasks import journal
from tests.support.command import Countersign
from tests.support.market import bars, problem


def refuse(countersign: Countersign, code: int, *arguments: object) -> str:
    """Run, require the exit code, and return the one line of complaint."""
    process = countersign.start(*arguments)
    out, err = process.communicate(timeout=120)
    complaints = [line for line in err.splitlines() if line.startswith("countersign: ")]
    assert process.returncode == code, out + err
    assert len(complaints) == 1, err
    assert "Traceback" not in out + err
    assert not list(countersign.home.glob("lake/*/development")), "nothing reached the clean tables"
    return complaints[0]


USAGE = {
    "unknown key": ({"horizont": 5}, "horizont: unknown key"),
    "horizon of 0": ({"horizon": 0}, "horizon: Input should be greater than or equal to 1, found 0"),
    "gross limit below 0": (
        {"strategy": {"gross_limit": -1.0}},
        "strategy.gross_limit: Input should be greater than 0",
    ),
    "costs over 100 %": ({"strategy": {"costs": {"commission_bp": 20000.0}}}, "strategy.costs.commission_bp"),
    "unknown family": ({"families": [{"family": "oracle"}]}, "families.0"),
    "no families": ({"families": []}, "families: List should have at least 1 item"),
    "lockbox of everything": ({"lockbox_fraction": 1.0}, "lockbox_fraction"),
    "no close column": ({"columns": {"timestamp": ["date"], "instrument": ["name"]}}, "say how ['close'] are called"),
}


@pytest.mark.parametrize(("changes", "said"), USAGE.values(), ids=USAGE.keys())
def test_problem_files(countersign: Countersign, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    path = problem(tmp_path, "wrong", **changes)
    line = refuse(countersign, 2, "retrain", path)
    assert str(path) in line
    assert said in line


def test_no_such_problem(countersign: Countersign) -> None:
    assert "known are ['sp500_alpha']" in refuse(countersign, 2, "retrain", "nothing")


def test_not_yaml(countersign: Countersign, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: [unclosed")
    assert "is not YAML" in refuse(countersign, 2, "retrain", tmp_path / "broken.yaml")


def test_no_such_file(countersign: Countersign) -> None:
    assert "no such file" in refuse(countersign, 2, "retrain", "sp500_alpha", "--data", "nowhere.csv")


@pytest.mark.parametrize("date", ["1889-01-01", "tomorrow"])
def test_as_of_that_cannot_be(countersign: Countersign, date: str) -> None:
    line = refuse(countersign, 2, "collect", "sp500_alpha", "--as-of", date)
    assert "starts on 1990-01-02" in line or "expected a date" in line


def text_in_price(table: pd.DataFrame) -> str:
    table = table.astype({"close": "object"})
    table.loc[17, "close"] = "n/a?"
    return table.to_csv(index=False)


FILES = {
    "empty": (lambda table: "", "is empty"),
    "missing column": (lambda table: table.drop(columns="close").to_csv(index=False), "no column for close"),
    "text in a price": (text_in_price, "row 19, column close: expected a number, found 'n/a?'"),
    "all prices negative": (lambda table: table.assign(close=-1.0).to_csv(index=False), "data check bars_raw: close"),
}


@pytest.mark.parametrize(("make", "said"), FILES.values(), ids=FILES.keys())
def test_data_files(countersign: Countersign, home: Path, tmp_path: Path, make: object, said: str) -> None:
    assert callable(make)
    path = tmp_path / "delivered.csv"
    path.write_text(make(bars(0.0, names=3, sessions=100)))
    line = refuse(countersign, 4, "collect", problem(tmp_path, "wrong"), "--data", path)
    assert said in line
    [event] = journal.read("wrong")
    assert (event.kind, event.by) == (journal.REFUSAL, "development-steward")
    assert event.content["why"] in line


def test_unwritable_state_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refuse(Countersign(tmp_path / "file" / "state"), 2, "retrain", "sp500_alpha")
    assert "cannot be written" in line


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_port_in_use(countersign: Countersign, server: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = refuse(countersign, 2, "up", f"--{server}-port", taken.getsockname()[1])
    assert "in use" in line


@pytest.mark.parametrize("reference", ["sp500_alpha", "sp500_alpha/x", "sp500_alpha/7"])
def test_no_such_version(countersign: Countersign, reference: str) -> None:
    line = refuse(countersign, 2, "verify", reference)
    assert "expected MODEL/VERSION" in line or "no such model version" in line


def test_unknown_verb_and_option(countersign: Countersign) -> None:
    assert "No such command" in refuse(countersign, 2, "retrian")
    assert "No such option" in refuse(countersign, 2, "retrain", "sp500_alpha", "--froce")
