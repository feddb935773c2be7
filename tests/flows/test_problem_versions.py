"""A criterion changed after trials were seen: the chain goes on, and everything that speaks of the verdict says so."""

from pathlib import Path
from typing import Any

from tasks import candidates, freeze, journal, ledger, verification
from tasks.domain import names
from tests.support.command import Countersign
from tests.support.market import market


def success(rank_ic: float) -> dict[str, Any]:
    criterion = {"figure": "lockbox.rank_ic", "at_least": rank_ic, "why": "less is not worth the turnover"}
    return {"sentence": "a rank IC that pays for the turnover", "criteria": [criterion]}


CONSTRAINTS = {"score_latency_ms": 60_000.0, "instruments": 24}


def problem(folder: Path, rank_ic: float) -> Path:
    return market(folder, "changed", signal=0.0, success=success(rank_ic), constraints=CONSTRAINTS)


def test_a_criterion_changed_after_trials_is_told(home: Path, tmp_path: Path, prefect: str) -> None:
    countersign = Countersign(home, prefect)
    first = countersign.json("retrain", problem(tmp_path, 0.02))
    assert first["verdict"]["summary"].endswith("problem version 1")
    assert first["verdict"]["changed_criteria"] == []
    own = {f["figure"]: f for f in first["verdict"]["findings"] if f["source"] == "problem"}
    assert own["lockbox.rank_ic"]["threshold"] == "≥ 0.02"
    assert own["probe.score_latency_ms"]["outcome"] == "pass"
    assert own["lockbox.instruments"]["value"] == 24
    assert own["probe.score_latency_ms"]["value"] > 0

    second = countersign.json("retrain", problem(tmp_path, 0.01))
    model = second["trained"]["model"]
    words = (
        "since version 1 (after 2 trials had been seen) success.lockbox.rank_ic was changed from at least 0.02 to "
        "at least 0.01"
    )
    assert model == "changed/2"
    assert second["verdict"]["summary"].endswith(f"problem version 2; {words}")
    assert second["verdict"]["changed_criteria"] == [words]
    assert (second["verdict"]["problem_version"], second["verdict"]["trials_before_version"]) == (2, 2)
    trials = candidates.candidate("changed", 2).figures(names.VALIDATE)["lockbox.trials"]
    assert trials == 4, "those of version 1 count too"

    checked = countersign.json("verify", model)
    assert (checked["faults"], checked["warnings"]) == ([], [f"criteria changed: {words}"])
    assert verification.verify("changed/1").warnings == []
    version = ledger.get_version("changed", 2)
    assert words in version.description
    assert version.tags["countersign.problem_version"] == "2"
    [decided] = ledger.client().search_runs(
        [ledger.experiment_id("changed", "decide")], f"tags.`countersign.changed_criteria` = '{words}'"
    )
    assert words in decided.data.tags[ledger.NOTE]

    last = freeze.entries("changed")[-1].number
    newest = journal.folder("changed") / f"{last:06d}.json"
    before = newest.read_bytes()
    newest.write_bytes(before.replace(b"payload", b"Payload"))
    altered = f"journal: entry {newest.name} is altered"
    assert all(altered in verification.verify(each).faults[0] for each in (model, "changed/1"))
    said = countersign("train", problem(tmp_path, 0.005), code=5)
    assert altered in said
    newest.write_bytes(before)
    assert verification.verify(model).faults == []
