"""Decide and release: the pure gate function over signed evidence, and what follows from its verdict."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import aliases, configuration, evidence, ledger, verdict_page, waivers
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.gates import Finding, Policy, Verdict
from tasks.home import as_json, sha256, write_whole
from tasks.recording import Record, attest, prefect_page

NOTE_CHARACTERS = 8000  # of a tag that MLflow keeps


def is_due(found: Candidate) -> bool:
    """Whether a candidate is to be decided on: for the first time, or anew because a refused one was given a waiver
    since."""
    if not found.is_done(names.DECIDE):
        return True
    decision = found.decision()
    return not decision["accepted"] and waivers.given_since(found, decision)


@task(cache_policy=NO_CACHE)
def judge(found: Candidate, record: Record) -> None:
    """Apply the problem's gates to the signed figures; writes the gates used, the decision and the page for people."""
    policy = configuration.policy_of(found.problem())
    standing = waivers.standing(found, datetime.now(UTC).date())
    verdict = found.verdict(policy, standing.waived)
    gates = as_json(policy.model_dump(mode="json"))
    decided = content(found, policy, sha256(gates), verdict) | standing.told
    decided["in_plain_words"] = verdict_page.plain(found, decided)._asdict()
    write_whole(record.folder / names.POLICY, gates)
    write_whole(record.folder / names.DECISION, as_json(decided))
    write_whole(
        record.folder / names.VERDICT_PAGE, verdict_page.page(found, decided, record.run.id, is_signed=True).encode()
    )
    record.run.figures({"decision.accepted": float(verdict.accepted), "decision.waivers": float(len(verdict.waived))})
    record.run.tags(
        {
            names.TAG_POLICY_SHA256: sha256(gates),
            names.TAG_DECISION: verdict.word,
            names.TAG_PROBLEM_VERSION: str(found.versions()[-1].number),
            names.TAG_CHANGED_CRITERIA: "; ".join(found.changed_criteria(policy)) or "none",
            ledger.NOTE: as_markdown(verdict, verdict_page.run_links(found) | {"Prefect": prefect_page()}),
        }
    )


def content(found: Candidate, policy: Policy, policy_sha256: str, verdict: Verdict) -> dict[str, Any]:
    who = {"model": found.reference, "candidate": found.id, "policy": policy.name, "tier": policy.tier}
    version = found.versions()[-1]
    told = {
        "objective": policy.objective,
        "data_warnings": found.snapshot().manifest["warnings"],
        "problem_version": version.number,
        "trials_before_version": version.trials,
        "changed_criteria": found.changed_criteria(policy),
        "supersedes": evidence.link_digest(found.folder, names.DECIDE),
    }
    return who | {"policy_sha256": policy_sha256} | verdict.model_dump(mode="json") | told


def as_markdown(verdict: Verdict, links: Mapping[str, str]) -> str:
    """The verdict as a table for MLflow's and Prefect's pages; `links`: of the runs of stages, as MLflow's pages
    understand them. All of it is ours; none comes from data.

    MLflow cuts a note after NOTE_CHARACTERS, and no gate may be cut off: reasons are told of what did not pass; if that
    is too long, of what blocks; else of nothing.
    """
    evidence = ", ".join(f"[{stage}]({link})" for stage, link in links.items() if link)
    head = f"{verdict.summary}. In words and pictures: `{names.VERDICT_PAGE}` among the artifacts."
    lines = [head, *(["", f"Evidence: {evidence}."] if evidence else []), ""]
    lines += ["| gate | set by | figure | threshold | outcome | why |", "|---|---|---|---|---|---|"]
    amiss = [f for f in verdict.findings if f.outcome != "pass"]
    blocking = [f for f in amiss if f.severity == "block"]
    notes = ("\n".join([*lines, *rows(verdict, told)]) for told in (amiss, blocking))
    return next((note for note in notes if len(note) <= NOTE_CHARACTERS), "\n".join([*lines, *rows(verdict, [])]))


def rows(verdict: Verdict, told: Sequence[Finding]) -> list[str]:
    """A line for each finding, with its reason where it is among those `told`."""
    found = []
    for f in verdict.findings:
        value = "missing" if f.value is None else f"{f.value:.4g}"
        outcome = f"{f.outcome}, waived until {f.waived.until}" if f.waived else f.outcome
        reason = unmarked(f.reason) if f in told else ""
        found.append(f"| {f.figure} | {f.source} | {value} | {f.threshold} | {outcome} | {reason} |")
    return found


def unmarked(words: str) -> str:
    return " ".join(words.replace("|", "\\|").split())


@task(cache_policy=NO_CACHE)
def complete(found: Candidate, record: Record) -> None:
    """Sign the decision link over the very files that were judged; an earlier one is kept beside it."""
    signed: dict[str, str] = {}
    for stage in (names.TRAIN, names.VALIDATE, names.BACKTEST):
        signed |= evidence.read_statement(found.folder, stage).products
    read = (
        f"{names.TRAIN}/{names.PROBLEM_FILE}",
        f"{names.TRAIN}/{names.PROBLEM_VERSION}",
        f"{names.VALIDATE}/{names.VALIDATION}",
        f"{names.BACKTEST}/{names.BACKTEST_REPORT}",
    )
    evidence.set_aside(found.folder, names.DECIDE)
    attest(record, found.folder, found.signed_model() | {name: signed[name] for name in read}, model=found.reference)


@task(cache_policy=NO_CACHE)
def release(found: Candidate) -> int:
    """Copy an accepted candidate to the released versions and point `shadow` at it; returns its version there."""
    live = names.live(found.model)
    version = ledger.release_copy(found.model, found.version, live, found.id)
    aliases.point(found.model, live, names.SHADOW, version, found.id)
    return version
