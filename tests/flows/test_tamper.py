"""Whatever is changed by hand, `verify` names it. The attacker owns MLflow's database and files, not the keys."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import evidence, keys
from tasks.domain import names
from tests.flows.conftest import History


def one(folder: Path, pattern: str) -> Path:
    """The oldest file that matches: version 1's."""
    return min(folder.rglob(pattern), key=lambda path: path.parent.stat().st_mtime)


def evidence_of_first(home: Path, pattern: str) -> Path:
    """A file in version 1's evidence folder; a candidate's name ends with its attempt."""
    [found] = (home / "evidence" / "planted").glob(f"*-1/{pattern}")
    return found


def model_byte(home: Path) -> Callable[[], None]:
    return edited(
        one(home / "artifacts", "parameters/parameters.json"), lambda content: content[:-3] + b"0" + content[-2:]
    )


def report_metric(home: Path) -> Callable[[], None]:
    def better(content: bytes) -> bytes:
        report = json.loads(content)
        report["figures"]["lockbox.rank_ic"] += 0.1
        return json.dumps(report).encode()

    return edited(one(home / "artifacts", "validation.json"), better)


def mlflow_metric(home: Path) -> Callable[[], None]:
    change = "update {} set value = value + 0.1 where key = 'lockbox.rank_ic'"
    return queried(home, *(change.format(table) for table in ("latest_metrics", "metrics")))


def trial_metric(home: Path) -> Callable[[], None]:
    """A figure of a trial that the choice among the trials does not look at."""
    change = "update {} set value = value + 0.1 where key = 'train.rank_ic_split_2'"
    return queried(home, *(change.format(table) for table in ("latest_metrics", "metrics")))


def trial_tag(home: Path) -> Callable[[], None]:
    of_first = "select run_uuid from tags where key = 'countersign.candidate' and value like '%-1'"
    trial = f"(select run_uuid from params where key = 'trial_key' and run_uuid in ({of_first}) limit 1)"
    return queried(home, f"insert into tags (key, value, run_uuid) values ('countersign.pruned', 'true', {trial})")


def dataset_digest(home: Path) -> Callable[[], None]:
    return queried(home, "update datasets set digest = '0000' where name = 'lockbox'")


def added_trial(home: Path) -> Callable[[], None]:
    """A run without figures or tags of ours, put among the trials of version 1."""
    first = "(select run_id from model_versions where name = 'planted' and version = 1)"
    columns = "name, source_type, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id"
    return queried(
        home,
        f"insert into runs (run_uuid, {columns}) select 'added', {columns} from runs where run_uuid = {first}",
        f"insert into tags (key, value, run_uuid) values ('mlflow.parentRunId', {first}, 'added')",
    )


def unreadable_run(home: Path) -> Callable[[], None]:
    """What MLflow itself cannot tell of ends in words, too."""
    first = "(select run_id from model_versions where name = 'planted' and version = 1)"
    return queried(home, f"update runs set user_id = null where run_uuid = {first}")


def given_stage(home: Path) -> Callable[[], None]:
    where = "where name = 'planted' and version = 1"
    return queried(home, f"update model_versions set current_stage = 'Production' {where}")


def resigned_by_trainer(home: Path) -> Callable[[], None]:
    path = evidence_of_first(home, "validate.*.link")
    before = path.read_bytes()
    envelope = evidence.load_envelope(path)
    assert envelope is not None
    envelope.signatures.clear()
    envelope.create_signature(keys.signer_from(home / "keys" / "trainer.pem"))
    path.write_text(json.dumps(envelope.to_dict()))
    return lambda: put_back(path, before)


def removed_link(home: Path) -> Callable[[], None]:
    path = evidence_of_first(home, "backtest.*.link")
    before = path.read_bytes()
    path.unlink()
    return lambda: put_back(path, before)


def forgotten_journal(home: Path) -> Callable[[], None]:
    """All events, as if the lockbox were fresh."""
    folder = home / "evidence" / "planted" / "journal"
    aside = folder.with_name("journal-aside")
    folder.rename(aside)
    return lambda: shutil.move(aside, folder)


def rewritten_event(home: Path) -> Callable[[], None]:
    def unsigned(content: bytes) -> bytes:
        return json.dumps(json.loads(content) | {"signatures": []}).encode()

    return edited(home / "evidence" / "planted" / "journal" / "000003.json", unsigned)


def removed_approval(home: Path) -> Callable[[], None]:
    path = evidence_of_first(home, "approve.*.link")
    before = path.read_bytes()
    path.unlink()
    return lambda: put_back(path, before)


def edited_layout(home: Path) -> Callable[[], None]:
    path = evidence_of_first(home, evidence.RELEASE_LAYOUT)

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
    return queried(home, "update registered_model_aliases set version = 2 where alias = 'champion'")


def edited_lockbox(home: Path) -> Callable[[], None]:
    path = one(home / "lake" / "planted" / "lockbox", "*.parquet")
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
        one(home / "artifacts", "decision.json"), lambda c: c.replace(b'"accepted": true', b'"accepted": false')
    )


def other_source(home: Path) -> Callable[[], None]:
    other = "(select source from model_versions where name = 'planted' and version = 2)"
    return queried(home, f"update model_versions set source = {other} where name = 'planted' and version = 1")


def queried(home: Path, *changes: str) -> Callable[[], None]:
    """Changes of MLflow's database."""
    database = home / "mlflow.db"
    before = database.read_bytes()
    with sqlite3.connect(database) as connection:
        for change in changes:
            assert connection.execute(change).rowcount > 0, change
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
    (model_byte, "file model/artifacts/parameters/parameters.json: altered"),
    (report_metric, "file validate/validation.json: altered"),
    (mlflow_metric, "metric lockbox.rank_ic: MLflow shows"),
    (trial_metric, "metric train.rank_ic_split_2: MLflow shows"),
    (trial_tag, "tag countersign.pruned: MLflow shows true, signed was None"),
    (dataset_digest, "dataset lockbox: MLflow shows 0000 lockbox@0, signed was"),
    (added_trial, "trial run added: MLflow shows it below run"),
    (unreadable_run, "MLflow: what it holds of planted/1 cannot be read: user_id cannot be None"),
    (given_stage, "version planted/1: its stage in MLflow is Production, signed was None"),
    (resigned_by_trainer, "link validate: signed by the trainer's key; only the validator's is allowed"),
    (removed_link, "link backtest: missing"),
    (removed_approval, "link approve: missing"),
    (edited_layout, "layout release.layout: altered, or not signed by the owner's key"),
    (moved_alias, "alias planted.live@champion: points to version 2, not authorised; the journal says version 1"),
    (edited_lockbox, "snapshot lockbox: version 0"),
    (edited_decision, "file decide/decision.json: altered"),
    (forgotten_journal, "is not in the journal; nothing tells when it was signed"),
    (rewritten_event, "journal: entry 000003.json is altered"),
    (other_source, "version planted/1: registered from models:/"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_every_change_is_named(history: History, change: Callable[[Path], Callable[[], None]], named: str) -> None:
    undo = change(history.countersign.home)
    try:
        faults = history.countersign.json("verify", "planted/1", code=5)["faults"]
        assert any(named in fault for fault in faults), faults
    finally:
        undo()


def test_what_was_undone_verifies_again(history: History) -> None:
    for version in (1, 2):
        assert history.countersign.json("verify", f"planted/{version}")["faults"] == []
