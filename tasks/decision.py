"""Decide and release: the pure gate function over signed evidence, and what follows from its verdict."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import aliases, configuration, evidence, ledger
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.gates import Policy, Verdict
from tasks.home import as_json, sha256, write_whole
from tasks.recording import Record, attest


@task(cache_policy=NO_CACHE)
def judge(found: Candidate, record: Record) -> Verdict:
    """Apply the problem's gates to the signed figures; writes the gates used and the decision."""
    policy = configuration.load_policy(found.problem().policy)
    verdict = found.verdict(policy)
    gates = as_json(policy.model_dump(mode="json"))
    write_whole(record.folder / names.POLICY, gates)
    write_whole(record.folder / names.DECISION, as_json(content(found, policy, sha256(gates), verdict)))
    record.run.figures({"decision.accepted": float(verdict.accepted)})
    record.run.tags(
        {
            names.TAG_POLICY_SHA256: sha256(gates),
            names.TAG_DECISION: "accepted" if verdict.accepted else "refused",
            names.TAG_PROBLEM_VERSION: str(found.versions()[-1].number),
            names.TAG_CHANGED_CRITERIA: "; ".join(found.changed_criteria(policy)) or "none",
            ledger.NOTE: as_markdown(verdict),
        }
    )
    return verdict


def content(found: Candidate, policy: Policy, policy_sha256: str, verdict: Verdict) -> dict[str, Any]:
    who = {"model": found.reference, "candidate": found.id, "policy": policy.name}
    version = found.versions()[-1]
    told = {
        "data_warnings": found.snapshot().manifest["warnings"],
        "problem_version": version.number,
        "trials_before_version": version.trials,
        "changed_criteria": found.changed_criteria(policy),
    }
    return who | {"policy_sha256": policy_sha256} | verdict.model_dump(mode="json") | told


def as_markdown(verdict: Verdict) -> str:
    """The verdict as a table for MLflow's and Prefect's pages. All of it is ours; none comes from data."""
    lines = [verdict.summary, "", "| gate | set by | figure | threshold | outcome | why |", "|---|---|---|---|---|---|"]
    for f in verdict.findings:
        value = "missing" if f.value is None else f"{f.value:.4g}"
        reason = " ".join(f.reason.replace("|", "\\|").split())
        lines.append(f"| {f.figure} | {f.source} | {value} | {f.threshold} | {f.outcome} | {reason} |")
    return "\n".join(lines)


@task(cache_policy=NO_CACHE)
def complete(found: Candidate, record: Record) -> None:
    """Sign the decision link over the very files that were judged."""
    signed: dict[str, str] = {}
    for stage in (names.TRAIN, names.VALIDATE, names.BACKTEST):
        signed |= evidence.read_statement(found.folder, stage).products
    read = (
        f"{names.TRAIN}/{names.PROBLEM_FILE}",
        f"{names.TRAIN}/{names.PROBLEM_VERSION}",
        f"{names.VALIDATE}/{names.VALIDATION}",
        f"{names.BACKTEST}/{names.BACKTEST_REPORT}",
    )
    attest(record, found.folder, found.signed_model() | {name: signed[name] for name in read}, model=found.reference)


@task(cache_policy=NO_CACHE)
def release(found: Candidate) -> int:
    """Copy an accepted candidate to the released versions and point `shadow` at it; returns its version there."""
    live = names.live(found.model)
    version = ledger.release_copy(found.model, found.version, live, found.id)
    aliases.point(found.model, live, names.SHADOW, version, found.id)
    return version
