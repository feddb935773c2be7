"""What a supervisor asks to see of a trading model, and which evidence answers it today (docs/controls.md).

The list tells what to be able to evidence; what applies to a firm, its counsel says. Sources: RTS 6 is Commission
Delegated Regulation (EU) 2017/589, SS5/18 and SS1/23 are supervisory statements of the PRA, SR 26-2 is a letter of the
Federal Reserve (2026), 15c3-5 the SEC's market access rule, 15-09 a notice of FINRA, AI Act Regulation (EU) 2024/1689.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from tasks import audit, candidates, ledger, register, reigns, verification
from tasks.audit_case import Case, gather, number, when
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed

State = Literal["yes", "partly", "no"]


class Found(NamedTuple):
    """Whether a control has evidence today. `where`: what holds it, or what is missing."""

    state: State
    where: str


class Control(NamedTuple):
    """`asks`: what must be evidenced; `source`: who asks; `here`: what answers it in this system, in general."""

    id: str
    asks: str
    source: str
    here: str
    check: Callable[[Case], Found]


def controls(problem: str) -> dict[str, Any]:
    """Which controls have evidence today, for a problem's champion or else for its newest decided version.

    Returns:
        model, controls (id, asks, state, where), counts by state.

    Raises:
        UsageError: nothing was decided of the problem yet.
        VerificationFailed: the version does not verify; then nothing is evidence.
    """
    reference = subject(problem)
    found = candidates.candidate(*names.split_reference(reference))
    checked = verification.verify(reference)
    if checked.faults:
        raise VerificationFailed(f"{reference}: {'; '.join(checked.faults)}; no control has evidence")
    case = gather(found, checked, datetime.now(UTC))
    rows = [{"id": each.id, "asks": each.asks} | each.check(case)._asdict() for each in CONTROLS]
    counts = {state: sum(row["state"] == state for row in rows) for state in ("yes", "partly", "no")}
    return {"model": reference, "controls": rows, "counts": counts}


def subject(problem: str) -> str:
    """The version that a problem's controls are checked on."""
    champion = reigns.during(reigns.reigns(problem), datetime.now(UTC))
    if champion is not None and (version := ledger.version_of_candidate(problem, champion.candidate)):
        return f"{problem}/{version}"
    for version in reversed(ledger.versions(problem)):
        tag = version.tags.get(names.TAG_CANDIDATE)
        if tag and candidates.Candidate(problem, int(version.version), tag).is_done(names.DECIDE):
            return f"{problem}/{version.version}"
    raise UsageError(f"problem {problem!r}: nothing was decided yet; run `countersign retrain {problem}` first")


def unless_development(case: Case, where: str) -> Found:
    """Keys that lie beside the data separate nobody from anybody."""
    if case.checked.development:
        return Found("partly", f"{where.rstrip('.')}; but all keys are development keys, kept beside the data")
    return Found("yes", where)


def inventory(case: Case) -> Found:
    problem = case.found.problem()
    people = len(register.load().now.people.people)
    where = f"{problem.title}, owner {problem.owner}, scope {problem.universe}; {people} people in the register"
    return unless_development(case, where)


def limits(case: Case) -> Found:
    strategy = case.found.problem().strategy
    where = f"gross {strategy.gross_limit:g} ×, one name {strategy.name_limit:.0%}, in the signed problem"
    return Found("partly", f"{where}; no alerts, no recipients, no limits of orders")


def tier(case: Case) -> Found:
    tier = case.decision.get("tier", "full")
    needed = register.load().now.people.approvals.needed(tier) if tier in ("pilot", "full") else 0
    return Found("yes", f"tier {tier}: gates {case.decision['policy']}, approvals needed: {needed}")


def methodology(case: Case) -> Found:
    answer = audit.criteria(case)
    changed = case.decision["changed_criteria"]
    return Found("partly" if changed else "yes", answer.said[0] if not changed else answer.said[1])


def data(case: Case) -> Found:
    suites = case.manifest["checks"]
    if not suites:
        return Found("no", "no suite was run")
    counts = case.manifest["accounting"]
    return Found(
        "yes", f"suites {', '.join(sorted(suites))}; {counts['quarantined']:,} rows in quarantine, digests signed"
    )


def access(case: Case) -> Found:
    return unless_development(case, "register of keys; countersign access show, countersign roles permissions")


def disclosed(case: Case) -> Found:
    ever = case.figures.get("lockbox.trials")
    if ever is None:
        return Found("no", "the validation did not count the trials")
    return Found("yes", f"{ever:,.0f} trials counted and deflated for; each is a run of its own")


def apart(case: Case) -> Found:
    walls = case.validation.get("walls") or []
    if not walls:
        return Found("no", "the model was not asked in a process of its own")
    return Found("partly", f"asked behind walls ({', '.join(map(str, walls))}); no production environment is known")


def stress(case: Case) -> Found:
    run = case.validation.get("scenarios", {})
    if not run:
        return Found("no", "no scenario was run")
    return Found("partly", f"{len(run)} scenarios and {len(case.validation.get('probes', {}))} probes; no kill drill")


def independent(case: Case) -> Found:
    answer = audit.independence(case)
    if answer.said[1].startswith("CONFLICT"):
        return Found("no", answer.said[1])
    return unless_development(case, answer.said[0])


def functions(case: Case) -> Found:
    given = sorted({event.by for event in case.approved})
    if not given:
        return Found("no", "nobody approved it yet")
    return Found("partly", f"signed by {', '.join(given)}; not one signature for each function")


def authorised(case: Case) -> Found:
    if not case.approved:
        return Found("no", case.checked.standing)
    last = case.approved[-1]
    return unless_development(case, f"{last.by} on {when(last.at)}, checked against the register")


def changed(case: Case) -> Found:
    if not case.validation.get("champion"):
        return Found("yes", "the first champion or none before it: every change is new")
    return Found("partly", f"distance from the champion {number(case.figures.get('champion.distance'))}; no class")


def drift(case: Case) -> Found:
    return Found("yes", " ".join(audit.changes(case).said))


def told(case: Case) -> Found:
    raised = audit.explanation(case).said[-1].rstrip(".")
    return Found("partly", f"the page that waits in Prefect, concerns and answers ({raised}); no receipt of reading")


def assessed(case: Case) -> Found:
    return Found("partly", "countersign report and this list of gaps; three signatures a year are not asked for")


def card(case: Case) -> Found:
    digest = case.products(names.TRAIN).get(f"{names.TRAIN}/model_card.html")
    return (
        Found("yes", f"model_card.html SHA-256 {digest[:16]}…, signed") if digest else Found("no", "no card was signed")
    )


def logged(case: Case) -> Found:
    first, last = case.all[0], case.all[-1]
    return Found("yes", f"{len(case.all)} signed entries from {when(first.at)} to {when(last.at)}, none removed")


def records(case: Case) -> Found:
    return Found("partly", f"{len(case.all)} entries, nothing deletes any; no lock on the disk, no records of orders")


def missing(why: str) -> Callable[[Case], Found]:
    return lambda case: Found("no", why)


NO_ORDERS = "not built: this system sends no orders"
NO_SERVICE = "not built: nothing watches a model in service yet"

CONTROLS = (
    Control(
        "C01", "inventory of models", "PRA SS5/18 ch. 5", "problem file, register, `status`, model card", inventory
    ),
    Control("C02", "inventory of risk controls", "PRA SS5/18 ch. 5", "limits in the signed problem", limits),
    Control("C03", "tiers", "PRA SS1/23 P1; SR 26-2", "the tier picks gates and number of approvers", tier),
    Control(
        "C04",
        "methodology of development",
        "RTS 6 art. 5(1), (3)",
        "problem frozen before its first trial",
        methodology,
    ),
    Control("C05", "quality of data", "SS1/23 P3; AI Act art. 10", "snapshot digests, suites, quarantine", data),
    Control("C06", "security and limited access", "RTS 6 art. 18", "`access show`, `roles permissions`", access),
    Control(
        "C07",
        "all trials disclosed",
        "practice",
        "every trial is a run; the deflated Sharpe ratio counts all",
        disclosed,
    ),
    Control(
        "C08", "testing apart from production", "RTS 6 art. 7(1)", "models are asked in a cell of their own", apart
    ),
    Control("C09", "no unintended behaviour, works under stress", "RTS 6 art. 5(4)", "probes, scenarios", stress),
    Control("C10", "independent validation", "SS1/23 P4", "other keys, other people, other process", independent),
    Control("C11", "every function signs", "SS5/18 3.3(c)", "several approvers by tier", functions),
    Control(
        "C12", "a designated person authorises", "RTS 6 art. 5(2)", "signature checked against the register", authorised
    ),
    Control(
        "C13",
        "limits of instruments, orders, positions, venues",
        "RTS 6 art. 8",
        "gross and name limits, signed",
        limits,
    ),
    Control("C14", "material change reviewed in proportion", "RTS 6 art. 11(1)", "distance from the champion", changed),
    Control(
        "C15", "no splitting of changes", "SS5/18 3.2(c); ESMA", "cumulative distance since a full validation", drift
    ),
    Control("C16", "traders and risk told of change", "RTS 6 art. 11(2)", "the waiting page, concerns, answers", told),
    Control("C17", "kill any and all orders", "RTS 6 art. 12", "none", missing(NO_ORDERS)),
    Control("C18", "collars, message and value limits", "RTS 6 art. 15(1), (3)", "none", missing(NO_ORDERS)),
    Control("C19", "monitoring by trader and by risk", "RTS 6 art. 16(2)", "none", missing(NO_SERVICE)),
    Control("C20", "controls after the trade", "RTS 6 art. 17", "none", missing(NO_ORDERS)),
    Control("C21", "yearly self-assessment", "RTS 6 art. 9(1)-(4)", "audit report, list of gaps", assessed),
    Control("C22", "stress at twice the peak of messages", "RTS 6 art. 10", "none", missing(NO_ORDERS)),
    Control("C23", "analysis of outcomes in service", "SR 26-2", "none", missing(NO_SERVICE)),
    Control("C24", "blocks of credit and erroneous orders", "SEC 15c3-5", "none", missing(NO_ORDERS)),
    Control("C25", "strategy told without code", "FINRA 15-09", "model card, verdict in plain words", card),
    Control("C26", "automatic logs for six months", "AI Act art. 12, 19", "the problem's signed journal", logged),
    Control("C27", "records for five years", "RTS 6 art. 28", "nothing is deleted", records),
)
