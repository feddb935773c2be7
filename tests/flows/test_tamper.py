"""Whatever is changed by hand, `verify` names it. The attacker owns MLflow's database and files, not the keys."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import evidence
from tasks.domain import names
from tests.support.command import Countersign
from tests.support.market import market


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, prefect: str) -> Countersign:
    """A refused version 1 and, forced, a version 2."""
    folder = tmp_path_factory.mktemp("tamper")
    countersign, problem = Countersign(folder / "state", prefect), market(folder, "target", signal=0.0)
    countersign("retrain", problem)
    countersign("retrain", problem, "--force")
    return countersign


def one(folder: Path, pattern: str) -> Path:
    """The oldest file that matches: version 1's."""
    return min(folder.rglob(pattern), key=lambda path: path.stat().st_mtime)


def model_byte(home: Path) -> Callable[[], None]:
    return edited(one(home / "artifacts", "parameters.txt"), lambda content: content[:-3] + b"0" + content[-2:])


def report_metric(home: Path) -> Callable[[], None]:
    return edited(
        one(home / "artifacts", "validation.json"),
        lambda c: c.replace(b'"lockbox.rank_ic": -0', b'"lockbox.rank_ic": 0').replace(
            b'"lockbox.rank_ic": 0.0', b'"lockbox.rank_ic": 0.1'
        ),
    )


def mlflow_metric(home: Path) -> Callable[[], None]:
    database = home / "mlflow.db"
    change = "update {} set value = value + 0.1 where key = 'lockbox.rank_ic'"
    before = database.read_bytes()
    with sqlite3.connect(database) as connection:
        for table in ("latest_metrics", "metrics"):
            connection.execute(change.format(table))
    return lambda: restore_database(database, before)


def resigned_by_trainer(home: Path) -> Callable[[], None]:
    path = one(home / "evidence" / "target", "validate.*.link")
    before = path.read_bytes()
    envelope = evidence.load_envelope(path)
    assert envelope is not None
    envelope.signatures.clear()
    envelope.create_signature(evidence.signer_from(home / "keys" / "trainer.pem"))
    path.write_text(json.dumps(envelope.to_dict()))
    return lambda: put_back(path, before)


def removed_link(home: Path) -> Callable[[], None]:
    path = one(home / "evidence" / "target", "backtest.*.link")
    before = path.read_bytes()
    path.unlink()
    return lambda: put_back(path, before)


def edited_layout(home: Path) -> Callable[[], None]:
    path = one(home / "evidence" / "target", evidence.CANDIDATE_LAYOUT)

    def drop_the_backtest(content: bytes) -> bytes:
        from in_toto.models.metadata import Envelope, Metadata

        envelope = Metadata.from_dict(json.loads(content))
        layout = envelope.get_payload()
        layout.steps = [step for step in layout.steps if step.name != names.BACKTEST]
        forged = Envelope.from_signable(layout)
        forged.signatures.update(envelope.signatures)
        return json.dumps(forged.to_dict()).encode()

    return edited(path, drop_the_backtest)


def moved_alias(home: Path) -> Callable[[], None]:
    database = home / "mlflow.db"
    before = database.read_bytes()
    with sqlite3.connect(database) as connection:
        connection.execute("update registered_model_aliases set version = 1 where alias = 'challenger'")
    return lambda: restore_database(database, before)


def edited_lockbox(home: Path) -> Callable[[], None]:
    path = one(home / "lake" / "target" / "lockbox", "*.parquet")
    import pandas as pd

    def better(content: bytes) -> bytes:
        import io

        bars = pd.read_parquet(io.BytesIO(content))
        bars.loc[5, "close"] *= 1.01
        out = io.BytesIO()
        bars.to_parquet(out, index=False)
        return out.getvalue()

    return edited(path, better)


def edited_decision(home: Path) -> Callable[[], None]:
    return edited(
        one(home / "artifacts", "decision.json"), lambda c: c.replace(b'"accepted": false', b'"accepted": true')
    )


def other_source(home: Path) -> Callable[[], None]:
    database = home / "mlflow.db"
    before = database.read_bytes()
    with sqlite3.connect(database) as connection:
        connection.execute(
            "update model_versions set source = (select source from model_versions where version = 2) where version = 1"
        )
    return lambda: restore_database(database, before)


def edited(path: Path, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    before = path.read_bytes()
    after = change(before)
    assert after != before
    path.write_bytes(after)
    return lambda: put_back(path, before)


def put_back(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def restore_database(path: Path, content: bytes) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(content)


CHANGES: list[tuple[Callable[[Path], Callable[[], None]], str]] = [
    (model_byte, "file model/artifacts/parameters.txt: altered"),
    (report_metric, "file validate/validation.json: altered"),
    (mlflow_metric, "metric lockbox.rank_ic: MLflow shows"),
    (resigned_by_trainer, "link validate: signed by the trainer's key; only the validator's is allowed"),
    (removed_link, "link backtest: missing"),
    (edited_layout, "layout candidate.layout: altered, or not signed by the owner's key"),
    (moved_alias, "alias target@challenger: points to version 1, not authorised; the signed log says version 2"),
    (edited_lockbox, "snapshot lockbox: version 0"),
    (edited_decision, "file decide/decision.json: altered"),
    (other_source, "version target/1: registered from models:/"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_every_change_is_named_and_undoing_it_verifies_again(
    refused: Countersign, change: Callable[[Path], Callable[[], None]], named: str
) -> None:
    undo = change(refused.home)
    try:
        faults = verdict(refused, code=5)["faults"]
        assert any(named in fault for fault in faults), faults
    finally:
        undo()


def test_untouched_versions_verify(refused: Countersign) -> None:
    for version in (1, 2):
        assert refused.json("verify", f"target/{version}")["faults"] == []


def verdict(countersign: Countersign, code: int) -> dict[str, Any]:
    return countersign.json("verify", "target/1", code=code)
