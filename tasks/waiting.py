"""What waits for people: said in Prefect's words, so that a run can wait for it and a form can show it."""

from datetime import UTC, datetime
from typing import NamedTuple

from tasks import aliases, approvals, audit, candidates, evidence, journal, keys, ledger, verification
from tasks.audit_case import gather, plain
from tasks.candidates import Candidate
from tasks.domain import names


class Wait(NamedTuple):
    """`over`: nothing is awaited any more; `said`: where it stands, in a line."""

    model: str
    over: bool
    said: str


def wait(reference: str) -> Wait:
    """Where a decided version stands with its people.

    Raises:
        UsageError: no such version.
        VerificationFailed: its evidence cannot be read.
    """
    found = candidates.candidate(*names.split_reference(reference))
    decision = found.decision()
    if not decision["accepted"]:
        return Wait(reference, True, str(decision["summary"]))
    if is_outdone(found):
        return Wait(reference, True, f"a later version of {found.model} was made champion")
    stands = approvals.standing(found)
    return Wait(reference, stands.released or bool(stands.rejections), stands.said)


def is_outdone(found: Candidate) -> bool:
    """Whether a candidate that was registered later is champion, by the journal."""
    champion = aliases.authorised(found.model).get((names.live(found.model), names.CHAMPION))
    behind = ledger.version_of_candidate(found.model, champion.candidate) if champion else None
    return behind is not None and behind > found.version


def page(reference: str) -> str:
    """What an approver reads in the form: what is awaited, what it is for and within which limits, why it passed, what
    would hurt it, what changed since the champion, open concerns, and how to sign. Of a version that does not verify it
    says that and nothing else."""
    checked = verification.verify(reference)
    if checked.faults:
        broken = [f"- {each}" for each in checked.faults]
        return "\n".join([f"## {reference} does not verify: nobody can approve it", "", *broken])
    found = candidates.candidate(*names.split_reference(reference))
    case = gather(found, checked, datetime.now(UTC))
    told, stands = plain(case), approvals.standing(found)
    lists = {
        "What it is for, and the limits that would apply": audit.purpose(case).said,
        "Why it passed": [told.why, *told.reasons],
        "What would hurt it": told.hurts,
        "What changed": [*audit.better(case).said, *audit.changes(case).said],
        "Open concerns": [f"{each.number}, {each.person}: {each.text}" for each in stands.open_concerns] or ["None."],
    }
    lines = [f"## {found.reference}: {case.decision['summary']}", "", f"**{stands.said}**", ""]
    for title, points in lists.items():
        lines += [f"**{title}**", "", *(f"- {point}" for point in points), ""]
    lines += [
        "An answer given here has no identity. What counts is a signature:",
        "",
        "```",
        f"countersign report {found.reference}",
        f'countersign approve {found.reference} --role approver --key YOUR.pem --comment "…"',
        "```",
    ]
    return "\n".join(lines)


def due() -> list[str]:
    """Accepted versions that still wait for a signature, newest of each problem only."""
    found = []
    for problem in evidence.problems():
        versions = ledger.versions(problem)
        if versions and versions[-1].tags.get(names.TAG_CANDIDATE):
            newest = candidates.candidate(problem, int(versions[-1].version))
            if newest.is_done(names.DECIDE) and not wait(newest.reference).over:
                found.append(newest.reference)
    return found


def doubt(reference: str, form: str, person: str, comment: str) -> None:
    """Record a concern that was raised in a form, once for each form. Nobody signed it, so the validator's service does
    and says so.
    """
    found = candidates.candidate(*names.split_reference(reference))
    told = {"candidate": found.id, "model": reference, "role": "form", "person": person, "form": form}
    if any(event.content.get("form") == form for event in approvals.about(found, journal.CONCERN)):
        return
    comment = f"{person}, unsigned, in the form: {comment}"
    journal.append(found.model, journal.CONCERN, told | {"comment": comment}, keys.signer(names.VALIDATOR))
