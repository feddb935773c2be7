"""The fifteen questions that an auditor asks of a version, each answered from what was signed and told where it stands.

Nothing is computed anew and nothing is guessed: what was not recorded is said to be unknown.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from tasks import approvals, evidence, journal, register, reigns
from tasks.audit_case import Case, at, gather, number, percent, plain, when
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.figure_words import written
from tasks.domain.people import conflicts
from tasks.domain.verdict_words import reason
from tasks.verification import Verification

MOST_SCENARIOS = 8


class Answer(NamedTuple):
    """`said`: sentences; `head`, `rows`: a table; `evidence`: where it stands and what checks it; `picture`: a stage
    and its file."""

    question: str
    said: Sequence[str]
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    evidence: str = ""
    picture: tuple[str, str] | None = None


class Audit(NamedTuple):
    """`checked`: the verification that it rests on; `head`: of the journal, when it was made."""

    found: Candidate
    title: str
    made: datetime
    checked: Verification
    head: str
    answers: Sequence[Answer]

    def picture(self, answer: Answer) -> bytes | None:
        """The picture of an answer, if its stage signed one."""
        if answer.picture is None:
            return None
        stage, name = answer.picture
        if f"{stage}/{name}" not in evidence.read_statement(self.found.folder, stage).products:
            return None
        return self.found.file(stage, name)


def audit(found: Candidate, checked: Verification, now: datetime) -> Audit:
    """Answer every question about a decided version whose evidence is whole.

    Raises:
        VerificationFailed: a file is not what was signed.
    """
    case = gather(found, checked, now)
    answers = [ask(case) for ask in QUESTIONS]
    title = f"Audit of {found.reference}: {found.problem().title}"
    return Audit(found, title, now, checked, journal.head(found.model), answers)


# --- the questions ------------------------------------------------------------------------------------------


def purpose(case: Case) -> Answer:
    problem, decision = case.found.problem(), case.decision
    limits = problem.strategy
    costs = limits.costs
    return Answer(
        "What is it for, of which tier, and whose is it?",
        [
            f"{problem.title}. {plain(case).does}",
            f"It is meant for {problem.universe}, with {limits.capital:,.0f} of capital, gross exposure up to "
            f"{limits.gross_limit:g} times equity and {limits.name_limit:.0%} in one name, at costs of "
            f"{costs.commission_bp + costs.half_spread_bp:g} bp of what is traded.",
            f"Success was said to be: {problem.success.sentence}.",
            f"Tier: {decision.get('tier', 'full')} (gates {decision['policy']}). Owner: {problem.owner}. Reviewer: "
            f"{problem.reviewer or 'nobody is named'}.",
        ],
        evidence=at(case, names.TRAIN, names.PROBLEM_FILE),
    )


def criteria(case: Case) -> Answer:
    version = case.decision["problem_version"]
    frozen = [event for event in case.all if event.kind == journal.PROBLEM and not event.void][version - 1]
    trained = case.last(names.TRAIN)
    before = "before" if frozen.number < trained.number else "AFTER"
    changed = case.decision["changed_criteria"]
    rows = [
        [each.figure, each.threshold, each.why]
        for each in sorted(case.found.problem().criteria(), key=lambda c: c.figure)
    ]
    said = [
        f"Version {version} of the problem, with its criteria and {len(case.decision['findings'])} gates, was frozen "
        f"by {frozen.by} on {when(frozen.at)}, {before} the model was signed ({when(trained.at)}); "
        f"{case.decision['trials_before_version']} trials of the problem had been seen until then.",
        f"Changed after trials had been seen: {'; '.join(changed)}." if changed else "No criterion was changed since.",
    ]
    return Answer(
        "Were the criteria fixed before training?",
        said,
        ["the problem's own criteria", "must be", "why"],
        rows,
        f"journal entry {frozen.number}; gates SHA-256 {case.decision['policy_sha256']}",
    )


def data(case: Case) -> Answer:
    manifest = case.manifest
    counts, rules = manifest["accounting"], manifest["quarantined_by_rule"] | manifest["corrected_by_rule"]
    borne = [
        f"{each['figure']} until {each['until']} by {each['by']}: {each['reason']}" for each in case.found.waivers()
    ]
    decided = [event for event in case.all if event.kind == journal.QUARANTINE]
    warnings = case.decision.get("data_warnings", [])
    said = [
        f"{counts['collected']:,} rows of {manifest['delivery']['name']} came: {counts['clean']:,} clean, "
        f"{counts['quarantined']:,} set aside, {counts['exact_duplicates']:,} exact duplicates, "
        f"{counts['corrections']:,} corrections; {manifest['instruments']} names, {manifest['sessions']:,} sessions "
        f"up to {manifest['as_of']}.",
        f"The lockbox starts on {manifest['lockbox_starts']}; it is none of the materials that the trainer signed.",
        f"{len(manifest['rules'])} rules were in force; rows by rule: "
        + (", ".join(f"{rule} {count:,}" for rule, count in sorted(rules.items())) or "none broken")
        + ".",
        f"Warnings: {'; '.join(warnings)}." if warnings else "No warnings.",
        f"Rows that a steward decided about: {len(decided)}.",
        f"Waivers: {'; '.join(borne)}." if borne else "No waiver was needed or given.",
    ]
    rows = [
        [name, f"{table['rows']:,}", str(table["version"]), table["sha256"]]
        for name, table in manifest["tables"].items()
    ]
    rows += [[f"delivered: {part['name']}", "", "", part["sha256"]] for part in manifest["parts"]]
    return Answer(
        "Which data, by which rules, with what set aside, and which waivers?",
        said,
        ["table", "rows", "version", "SHA-256"],
        rows,
        f"{at(case, names.COLLECT, names.MANIFEST)}; countersign lineage {case.found.reference}",
    )


def code(case: Case) -> Answer:
    run = json.loads(case.found.file(names.TRAIN, names.RUN))
    materials, tags = case.materials(names.TRAIN), run["tag"]
    surroundings = json.loads(case.found.file(names.TRAIN, "environment.json"))
    rows = [[name, str(value)] for name, value in surroundings.items() if not isinstance(value, dict | list)]
    said = [
        f"Commit {tags.get(names.TAG_GIT, 'unknown')}, code SHA-256 {materials.get('code', 'unknown')}, lock SHA-256 "
        f"{materials.get('requirements.lock', 'unknown')}, seed {case.found.problem().seed}.",
        f"“countersign reproduce {case.found.reference}” makes the model anew and compares every byte.",
    ]
    return Answer(
        "Which code, environment and seed?", said, ["training ran on", ""], rows, at(case, names.TRAIN, names.RUN)
    )


def trials(case: Case) -> Answer:
    tried, ever = case.trials["trials"], case.figures.get("lockbox.trials")
    looks = case.figures.get("lockbox.looks")
    said = [
        f"{len(tried)} for this version"
        + (f", {ever:,.0f} for the problem in all; the hurdles of luck are set by all of them." if ever else "."),
        f"Looks at the unseen sessions, this one included: {looks:,.0f}." if looks else "",
    ]
    rows = [
        [
            each["family"],
            ", ".join(f"{name} {value}" for name, value in each["parameters"].items()),
            number(each.get("train.rank_ic")),
            number(each.get("train.rank_ic_standard_error")),
            "chosen" if place == case.trials["chosen"] else "",
        ]
        for place, each in enumerate(tried)
    ]
    head = ["family", "parameters", "rank IC in training", "its standard error", ""]
    return Answer("How many trials were there?", present(said), head, rows, at(case, names.TRAIN, names.TRIALS))


def complexity(case: Case) -> Answer:
    told = case.validation.get("robustness", {}).get("complexity")
    said = [
        f"The trainer chose by a rule: {case.trials.get('reason') or 'no reason was recorded'}.",
        f"The validator found: {told}." if told else "",
        *(
            f"Gate {each['figure']}: {state(each)}; {reason(each)}"
            for each in case.decision["findings"]
            if each["figure"] == "robustness.complexity_justified"
        ),
    ]
    return Answer("Why is it as complex as it is?", present(said), evidence=at(case, names.VALIDATE, names.VALIDATION))


def independence(case: Case) -> Answer:
    signed = approvals.signed_by(case.found)
    judges, makers = (sorted(signed.get(role, set())) for role in (names.VALIDATOR, names.TRAINER))
    known = register.load()
    clash = [said for person in judges if (said := conflicts(signed, person, names.VALIDATOR))]
    listed = {each.name for each in known.now.people.people for held in each.roles if held.role == names.TRAINER}
    could = sorted(listed & set(judges))
    said = [
        f"Validated, backtested and decided on by {', '.join(judges)}; trained by {', '.join(makers)}.",
        f"CONFLICT: {'; '.join(clash)}." if clash else "Nobody did both.",
        f"{', '.join(could)} may train, too, but did not train this version."
        if could
        else "None of the validators is listed as a trainer.",
    ]
    if case.checked.development:
        said.append(f"{register.DEVELOPMENT_KEYS} Whoever validated could have trained it.")
    rows = [
        [event.kind, event.by, when(event.at), event.entry.public[:16], str(event.number)]
        for event in case.of(*names.STAGES)
    ]
    return Answer(
        "Who validated it, and could they have trained it?",
        said,
        ["stage", "signed by", "when (UTC)", "key", "journal entry"],
        rows,
        f"register version {known.number}; countersign verify {case.found.reference}",
    )


def gates(case: Case) -> Answer:
    found = case.decision["findings"]
    counted = {
        name: [each for each in found if state(each) == name] for name in ("passed", "failed", "waived", "warned")
    }
    said = [
        f"{case.decision['summary']}.",
        f"{len(found)} gates and criteria: {len(counted['passed'])} passed, {len(counted['failed'])} failed, "
        f"{len(counted['waived'])} failed and were waived, {len(counted['warned'])} warned, "
        f"{sum(each['outcome'] == 'not applicable' for each in found)} did not apply.",
    ]
    rows = [
        [each["figure"], state(each), written(each["figure"], each["value"]), each["threshold"], reason(each)]
        for name in ("failed", "waived", "warned", "passed")
        for each in counted[name]
    ]
    head = ["gate", "outcome", "figure", "must be", "in words"]
    return Answer("Which gates ran, failed, were waived?", said, head, rows, at(case, names.DECIDE, names.DECISION))


def scenarios(case: Case) -> Answer:
    told = case.validation.get("scenarios", {})
    falls = {name: each.get("figures", {}).get("max_drawdown") for name, each in told.items()}
    worst = sorted((name for name, fall in falls.items() if fall is not None), key=lambda name: -falls[name])
    rows = [
        [
            name.replace("_", " "),
            percent(falls[name]),
            percent(told[name]["limits"].get("max_drawdown")),
            broken(told[name]),
        ]
        for name in worst[:MOST_SCENARIOS]
    ]
    rows += [
        [
            f"had it been: {name}",
            percent(each.get("max_drawdown")),
            "",
            f"total return {percent(each.get('total_return'))}",
        ]
        for name, each in case.backtest.get("sensitivity", {}).items()
    ]
    said = [*plain(case).hurts] or ["Not known: no scenario was recorded."]
    head = ["scenario, worst first, then costs and delay", "deepest fall", "limit", ""]
    evidence_at = f"{at(case, names.VALIDATE, names.VALIDATION)}; {at(case, names.BACKTEST, names.BACKTEST_REPORT)}"
    return Answer(
        "What are the worst scenarios, and what if it cost more?",
        said,
        head,
        rows,
        evidence_at,
        (names.BACKTEST, "equity.png"),
    )


def better(case: Case) -> Answer:
    told = case.validation.get("champion")
    question = "Is it better than the champion beyond noise?"
    if not told:
        said = ["There was no champion to compare it with: it was judged on its own."]
        return Answer(question, said, evidence=at(case, names.VALIDATE, names.VALIDATION))
    rows = [[name, f"{value:.4g}"] for name, value in sorted(case.figures.items()) if name.startswith("champion.")]
    said = [f"Compared with {told['model']} on the same sessions at the same costs, in pairs."]
    said += [f"{name.replace('_', ' ')}: {words}." for name, words in told["answers"].items()]
    return Answer(question, said, ["figure", "value"], rows, at(case, names.VALIDATE, names.VALIDATION))


def explanation(case: Case) -> Answer:
    robustness = case.validation.get("robustness", {})
    raised = approvals.concerns(case.found)
    rows = [
        [str(each.number), each.person, each.role, each.text, each.answer or "OPEN", each.answered_by or ""]
        for each in raised
    ]
    said = [
        str(robustness.get("in_words") or "The validator recorded no explanation."),
        f"Concerns raised: {len(raised)}, of them open: {sum(each.answer is None for each in raised)}."
        if raised
        else "Nobody raised a concern.",
    ]
    head = ["entry", "raised by", "as", "concern", "answer", "answered by"]
    return Answer(
        "What explains it, and what did people ask and hear?",
        said,
        head,
        rows,
        f"{at(case, names.VALIDATE, names.VALIDATION)}; journal; model_card.html of the training run",
        (names.TRAIN, "importance.png"),
    )


def approved(case: Case) -> Answer:
    given = case.of(names.APPROVE)
    page = case.products(names.DECIDE).get(f"{names.DECIDE}/{names.VERDICT_PAGE}")
    rows = [
        [event.by, when(event.at), str(event.content.get("comment", "")), event.void or "counts", str(event.number)]
        for event in given
    ]
    rejected = [
        f"{each.by} rejected it on {when(each.at)}: {each.content['comment']}." for each in case.of(journal.REJECTION)
    ]
    said = [
        f"Where it stands: {case.checked.standing}.",
        f"Each saw the decision with SHA-256 {case.products(names.DECIDE)[approvals.DECIDED]} and the page "
        f"{names.VERDICT_PAGE} with SHA-256 {page or 'that was not signed then'}, and signed both by digest."
        if given
        else "",
        *rejected,
    ]
    head = ["approved by", "when (UTC)", "saying", "counts", "journal entry"]
    return Answer(
        "Who approved it, when, seeing what?", present(said), head, rows, f"countersign history {case.found.model}"
    )


def live(case: Case) -> Answer:
    rows = [
        [
            when(each.since),
            when(each.until) if each.until else "now",
            f"{names.live(case.found.model)}/{each.version}",
            each.candidate,
            each.bytes_now,
        ]
        for each in case.reigns
    ]
    said = [] if rows else ["No version of this problem was ever made champion."]
    now = [each for each in case.reigns if each.until is None and each.candidate == case.found.id]
    said += ["This version is champion now."] if now else ["This version is not champion now."]
    head = ["from (UTC)", "until", "version", "candidate", "its bytes are those that were approved"]
    command = f"countersign history {case.found.model} --at TIME"
    return Answer("What was live at a time, and was it the approved bytes?", said, head, rows, f"journal; {command}")


def changes(case: Case) -> Answer:
    told = case.validation.get("champion")
    question = "What changed since the last full validation, in all?"
    if not told:
        said = ["Nothing came before: this version was validated in full itself, as every one is."]
        return Answer(question, said, evidence=at(case, names.VALIDATE, names.VALIDATION))
    figures, since = case.figures, told.get("champions_since_reference", [])
    said = [
        f"The last champion that passed everything is {told['reference']}; {len(since)} champions came since"
        + (f" ({', '.join(since)})." if since else "."),
        f"Distance (1 less rank correlation of scores): {number(figures.get('champion.distance'))} from the champion, "
        f"from that version directly {number(figures.get('champion.distance_from_reference'))}, step by step in all "
        f"{number(figures.get('champion.cumulative_distance'))}.",
    ]
    return Answer(question, said, evidence=at(case, names.VALIDATE, names.VALIDATION))


def incidents(case: Case) -> Answer:
    kinds = (journal.DIFFERENCE, journal.REFUSAL)
    rows = [
        [when(event.at), event.kind, str(event.content.get("what", event.content.get("why", ""))), str(event.number)]
        for event in case.all
        if event.kind in kinds
    ]
    rows += [
        [when(each.since), "rollback", f"champion went back to {each.candidate}", str(each.entry)]
        for each in reigns.rollbacks(case.reigns)
    ]
    revoked = register.load().now.people.revocations()
    rows += [[str(how.since), "key revoked", f"{name}: {how.why}", ""] for name, how in revoked]
    said = [
        f"{len(rows)} incidents of the problem are on record." if rows else "No incident of the problem is on record.",
        f"Next review: {next_review(case)}.",
    ]
    head = ["when (UTC)", "what", "details", "journal entry"]
    return Answer("Incidents, rollbacks, next review?", said, head, rows, f"countersign history {case.found.model}")


QUESTIONS: tuple[Callable[[Case], Answer], ...] = (
    purpose, criteria, data, code, trials, complexity, independence, gates, scenarios, better, explanation, approved,
    live, changes, incidents,
)  # fmt: skip


# --- words --------------------------------------------------------------------------------------------------


def present(said: Sequence[str]) -> list[str]:
    return [each for each in said if each]


def state(finding: Mapping[str, Any]) -> str:
    """Of a gate, in a word."""
    if finding["outcome"] != "fail":
        return "passed" if finding["outcome"] == "pass" else "did not apply"
    if finding.get("waived"):
        return "waived"
    return "failed" if finding["severity"] == "block" else "warned"


def broken(scenario: Mapping[str, Any]) -> str:
    limits = scenario.get("breaches", [])
    return f"breaks {', '.join(map(str, limits))}" if limits else "within its limits"


def next_review(case: Case) -> str:
    """When people are to look at it anew, and why then."""
    ends = [date.fromisoformat(each["until"]) for each in case.found.waivers()]
    since = next((each.since for each in reversed(case.reigns) if each.candidate == case.found.id), None)
    if since is None:
        return "when it is to become champion; it never was"
    days = register.load().now.people.review_days
    due = since.date() + timedelta(days=days)
    if ends and min(ends) < due:
        return f"{min(ends)}, when a waiver ends that it rests on"
    return f"{due}{' (OVERDUE)' if due < case.now.date() else ''}, {days} days after it became champion"
