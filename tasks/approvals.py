"""What people signed about a version, read out of its evidence and the problem's journal."""

from datetime import UTC, datetime

from tasks import evidence, journal, register
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.approvals import Approval, Concern, Rejection, Standing
from tasks.domain.approvals import standing as counted
from tasks.domain.people import APART, conflicts
from tasks.home import sha256
from tasks.journal import Event

DECIDED = f"{names.DECIDE}/{names.DECISION}"


def standing(found: Candidate) -> Standing:
    """Where a decided version stands with its approvers now.

    Raises:
        VerificationFailed: a link or the journal is not whole.
        UsageError: its tier is never approved.
    """
    known = register.load()
    return counted(
        known.now.people.approvals.needed(found.decision().get("tier", "full")),
        approvals(found),
        rejections(found),
        concerns(found),
        evidence.read_statement(found.folder, names.DECIDE).products[DECIDED],
        datetime.now(UTC),
        known.now.people.valid_days,
        released(found),
    )


def about(found: Candidate, *kinds: str) -> list[Event]:
    """Events of some kinds that are about a version, oldest first."""
    return [
        event
        for event in journal.read(found.model, *kinds)
        if found.id in (event.content.get("candidate"), event.content.get("folder"))
    ]


def approvals(found: Candidate) -> list[Approval]:
    """Those whose links lie there as the journal has them."""
    given = []
    for event in about(found, names.APPROVE):
        path = found.folder / str(event.content["link"])
        if path.exists() and sha256(path.read_bytes()) == event.content["link_sha256"]:
            decision = evidence.statement_of(path).materials.get(DECIDED, "")
            given.append(Approval(event.number, event.by, event.at, decision))
    return given


def rejections(found: Candidate) -> list[Rejection]:
    said = about(found, journal.REJECTION)
    return [Rejection(event.number, event.by, event.at, str(event.content["comment"])) for event in said]


def concerns(found: Candidate) -> list[Concern]:
    """All concerns about a version, each with its last answer."""
    answers = {int(event.content["concern"]): event for event in about(found, journal.ANSWER)}
    raised = []
    for event in about(found, journal.CONCERN):
        answer = answers.get(event.number)
        told = (str(answer.content["comment"]), answer.by) if answer else (None, None)
        raised.append(Concern(event.number, event.by, str(event.content["role"]), str(event.content["comment"]), *told))
    return raised


def released(found: Candidate) -> datetime | None:
    """When a version was made champion first, by the journal."""
    live = names.live(found.model)
    moved = (
        event.at
        for event in about(found, journal.ALIAS)
        if (event.content["model"], event.content["alias"]) == (live, names.CHAMPION)
    )
    return next(moved, None)


def signed_by(found: Candidate) -> dict[str, set[str]]:
    """Who filled which role for a version: role → people, those whose key it was then and those whose it is now."""
    known = register.load()
    roles: dict[str, set[str]] = {}
    for event in about(found, *names.SIGNERS):
        now = known.now.people.owner_of(event.entry.public)
        roles.setdefault(names.SIGNERS[event.kind], set()).update({event.by, *([now[0].name] if now else [])})
    return roles


def link_faults(found: Candidate) -> list[str]:
    """Links of a version against the journal: each that it tells of must be there, and none besides."""
    own = [event for event in journal.whole(found.model) if event.kind in names.SIGNERS and is_about(found, event)]
    last = {(event.kind, str(event.content["link"])): event for event in own}
    faults = []
    for (step, name), event in last.items():
        path = found.folder / name
        if event.void and step != names.APPROVE:
            faults.append(f"link {step}: entry {event.number} of the journal does not count: {event.void}")
        if not path.exists() and evidence.aside(found.folder, step, str(event.content["link_sha256"])).exists():
            continue  # it was void when others approved
        if not path.exists():
            faults.append(f"link {step}: missing; entry {event.number} of the journal says that {event.by} signed it")
        elif sha256(path.read_bytes()) != event.content["link_sha256"]:
            faults.append(f"link {step}: {name} is not the one that entry {event.number} of the journal tells of")
    for step in names.SIGNERS:
        for path in evidence.links(found.folder, step):
            if (step, path.name) not in last:
                faults.append(f"link {step}: {path.name} is not in the journal; nothing tells when it was signed")
    return faults


def is_about(found: Candidate, event: Event) -> bool:
    collection = found.id.split("-")[0]
    return event.content.get("folder") in (found.id, f"snapshots/{collection}")


def role_faults(found: Candidate) -> list[str]:
    """Whoever filled two roles for a version that are to be kept apart."""
    roles = signed_by(found)
    said = (conflicts(roles, person, role) for role in APART for person in sorted(roles.get(role, set())))
    return [f"roles: {each}" for each in said if each][:1]


def lacking(found: Candidate) -> list[str]:
    """Approvals that a version was made champion without, or that were made void since and not given anew."""
    given, needed = {each.person for each in approvals(found)}, evidence.threshold(found.folder)
    if len(given) >= needed:
        return []
    own = [event for event in journal.whole(found.model) if event.kind == names.APPROVE and is_about(found, event)]
    why = "".join(f"; {event.by}'s does not count: {event.void}" for event in own if event.void)
    return [f"approvals: {needed} people are needed, {', '.join(sorted(given)) or 'nobody'} approved{why}"]
