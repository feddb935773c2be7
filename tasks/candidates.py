"""Candidates: what a registered version was made from, and the pages a person can go to from there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks import evidence, freeze, ledger, snapshots
from tasks.domain import history, names
from tasks.domain.errors import VerificationFailed
from tasks.domain.gates import Policy, Verdict, Waived, decide, parse_policy, word
from tasks.domain.history import Version
from tasks.domain.problem import Problem, parse_problem
from tasks.home import as_json, digests_apart, folder_digests, sha256
from tasks.recording import signed_file
from tasks.snapshots import Snapshot


class Candidate(NamedTuple):
    """A registered version together with its evidence folder."""

    model: str
    version: int
    id: str

    @property
    def reference(self) -> str:
        return f"{self.model}/{self.version}"

    @property
    def folder(self) -> Path:
        return evidence.candidate_folder(self.model, self.id)

    def file(self, stage: str, name: str) -> bytes:
        """A file of a completed stage, compared with the stage's signed link."""
        return signed_file(self.folder, stage, name)

    def problem(self) -> Problem:
        """The problem as it was frozen with the model."""
        content = self.file(names.TRAIN, names.PROBLEM_FILE)
        return parse_problem(json.loads(content), f"{self.reference}: {names.PROBLEM_FILE}")

    def versions(self) -> list[Version]:
        """The frozen versions of the problem up to the one that this candidate was trained under.

        Raises:
            VerificationFailed: the log of versions is not whole, or doesn't fit the frozen problem.
        """
        problem, entry = (self.file(names.TRAIN, name) for name in (names.PROBLEM_FILE, names.PROBLEM_VERSION))
        return freeze.versions_until(self.model, entry, problem)

    def verdict(self, policy: Policy, waived: Waived) -> Verdict:
        """What follows from the signed figures, the frozen problem and how it came about, under these gates and
        waivers."""
        figures = self.figures(names.VALIDATE) | self.figures(names.BACKTEST)
        told = [*self.faults(), history.told(self.versions(), self.judging(policy))]
        return decide(policy, figures, self.problem().criteria(), "; ".join(told), waived)

    def faults(self) -> list[str]:
        """What the model did that no model may, in the words of the validation and the backtest; each once."""
        reports = (json.loads(self.file(stage, name)) for stage, name in names.REPORTS.items())
        return list(dict.fromkeys(report[names.FAULT] for report in reports if names.FAULT in report))

    def judging(self, policy: Policy) -> history.Layout:
        """All that judges this candidate, where these are the gates."""
        fields = json.loads(self.file(names.TRAIN, names.PROBLEM_FILE))
        return history.judged(history.layout(fields) | history.gates(policy.model_dump(mode="json")))

    def changed_criteria(self, policy: Policy | None = None) -> list[str]:
        """Criteria changed after trials had been seen, in words; `policy` are the gates that decided, if any did."""
        versions = self.versions()
        return history.warnings(versions, versions[-1].judged if policy is None else self.judging(policy))

    def gates(self) -> Policy | None:
        """The gates that decided; None where nothing was decided yet."""
        if not self.is_done(names.DECIDE):
            return None
        return parse_policy(json.loads(self.file(names.DECIDE, names.POLICY)), f"{self.reference}: {names.POLICY}")

    def figures(self, stage: str) -> dict[str, float]:
        """The signed figures of the validation or the backtest."""
        return dict(json.loads(self.file(stage, names.REPORTS[stage]))["figures"])

    def decision(self) -> dict[str, Any]:
        """The signed decision."""
        return dict(json.loads(self.file(names.DECIDE, names.DECISION)))

    def decisions(self) -> Iterator[dict[str, Any]]:
        """Every decision that was signed, the present one first.

        Raises:
            VerificationFailed: an earlier one, which the one after it names, is not there as it was signed.
        """
        decision = self.decision()
        yield decision
        while digest := decision.get("supersedes"):
            statement = evidence.superseded(self.folder, names.DECIDE, digest)
            folder, prefix = ledger.run_folder(statement.run_id), f"{names.DECIDE}/"
            signed = {name: value for name, value in statement.products.items() if name.startswith(prefix)}
            for fault in digests_apart(signed, folder_digests(folder, prefix)):
                raise VerificationFailed(f"earlier decision {self.reference}: {fault}")
            decision = dict(json.loads((folder / names.DECISION).read_bytes()))
            yield decision

    def told(self) -> dict[str, str]:
        """What training says of the model that came out."""
        bytes_of = sha256(as_json(self.signed_model()))
        return {"model": self.reference, "candidate": self.id, "model_sha256": bytes_of}

    def outcome(self) -> str:
        """The signed decision in a word or three."""
        decision = self.decision()
        return word(decision["accepted"], decision.get("waived", []))

    def waivers(self) -> list[dict[str, Any]]:
        """Those that the signed decision rests on."""
        return [each["waived"] for each in self.decision()["findings"] if each.get("waived")]

    def signed_model(self) -> dict[str, str]:
        """Digests of the model files that the trainer signed."""
        products = evidence.read_statement(self.folder, names.TRAIN).products
        return {name: value for name, value in products.items() if name.startswith(f"{names.MODEL}/")}

    def snapshot(self) -> Snapshot:
        """The snapshot whose digests the steward signed for this candidate."""
        return snapshots.current(self.model, self.id.split("-")[0])

    def is_done(self, stage: str) -> bool:
        return evidence.is_signed(self.folder, stage)


def candidate(model: str, version: int) -> Candidate:
    """Find a candidate by its registered version.

    Raises:
        UsageError: no such version.
        VerificationFailed: the version was not registered by this system.
    """
    tag = ledger.get_version(model, version).tags.get(names.TAG_CANDIDATE)
    if not tag or not evidence.candidate_folder(model, tag).is_dir():
        raise VerificationFailed(f"{model}/{version}: no evidence; it was not registered by a signed training step")
    return Candidate(model, version, tag)


def before(found: Candidate) -> list[Candidate]:
    """Candidates of the same problem that were registered earlier, oldest first."""
    tagged = [(int(each.version), each.tags.get(names.TAG_CANDIDATE)) for each in ledger.versions(found.model)]
    return [Candidate(found.model, version, tag) for version, tag in tagged if tag and version < found.version]


class Page(NamedTuple):
    """What a version's page in MLflow says: its description, and tags."""

    text: str
    tags: dict[str, str]


def described(found: Candidate) -> Page:
    """A version's page as it follows from the evidence: links to every run behind it, the decision, warnings, tags."""
    labels = {
        names.COLLECT: "snapshot (collect run)",
        names.TRAIN: "training run, its trials are the child runs",
        names.VALIDATE: "validation run",
        names.BACKTEST: "backtest run, with plots",
        names.DECIDE: "decision run",
        names.APPROVE: "approval run",
    }
    lines = [f"Candidate `{found.id}`. Verify with `countersign verify {found.reference}`.", ""]
    for stage, label in labels.items():
        if found.is_done(stage):
            run_id = evidence.read_statement(found.folder, stage).run_id
            lines.append(f"- [{label}]({ledger.run_link(run_id)})")
    tags = {}
    if found.is_done(names.DECIDE):
        decision = found.decision()
        tags = {names.TAG_DECISION: found.outcome()}
        lines += ["", decision["summary"]]
    for said in found.changed_criteria(found.gates()):
        lines += ["", f"**Warning.** Criteria of the problem were changed: {said}."]
    return Page("\n".join(lines), tags)


def describe(found: Candidate) -> None:
    """Write the version's page, for a person in MLflow."""
    page = described(found)
    ledger.describe_version(found.model, found.version, page.text, page.tags)
