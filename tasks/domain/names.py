"""Every name that leaves the program: experiments, tags, artifacts, steps, roles. Spelled here only."""

from typing import Final

from tasks.domain.errors import UsageError

COLLECT: Final = "collect"
TRAIN: Final = "train"
VALIDATE: Final = "validate"
BACKTEST: Final = "backtest"
DECIDE: Final = "decide"
APPROVE: Final = "approve"
STAGES: Final = (COLLECT, TRAIN, VALIDATE, BACKTEST, DECIDE)

OWNER: Final = "owner"
STEWARD: Final = "steward"
TRAINER: Final = "trainer"
VALIDATOR: Final = "validator"
APPROVER: Final = "approver"
TRADER: Final = "trader"
AUDITOR: Final = "auditor"
ROLES: Final = (OWNER, STEWARD, TRAINER, VALIDATOR, APPROVER, TRADER, AUDITOR)
SIGNERS: Final = {
    COLLECT: STEWARD,
    TRAIN: TRAINER,
    VALIDATE: VALIDATOR,
    BACKTEST: VALIDATOR,
    DECIDE: VALIDATOR,
    APPROVE: APPROVER,
}

CHALLENGER: Final = "challenger"
SHADOW: Final = "shadow"
CHAMPION: Final = "champion"
ALIAS_SIGNERS: Final = {CHALLENGER: TRAINER, SHADOW: VALIDATOR, CHAMPION: APPROVER}

TAG: Final = "countersign."
TAG_CANDIDATE: Final = TAG + "candidate"
TAG_KIND: Final = TAG + "kind"
TAG_PROBLEM: Final = TAG + "problem"
TAG_PROBLEM_SHA256: Final = TAG + "problem_sha256"
TAG_PROBLEM_VERSION: Final = TAG + "problem_version"
TAG_CHANGED_CRITERIA: Final = TAG + "changed_criteria"
TAG_SNAPSHOT: Final = TAG + "snapshot"
TAG_POLICY_SHA256: Final = TAG + "policy_sha256"
TAG_PRUNED: Final = TAG + "pruned"
TAG_RETRAIN: Final = TAG + "retrain_id"
TAG_ROLE: Final = TAG + "role"
TAG_PERSON: Final = TAG + "person"
TAG_CODE_SHA256: Final = TAG + "code_sha256"
TAG_LOCK_SHA256: Final = TAG + "lock_sha256"
TAG_GIT: Final = TAG + "git_commit"
TAG_DECISION: Final = TAG + "decision"
TAG_PREFECT_PAGE: Final = TAG + "prefect_page"
TAG_PREFECT: Final = TAG + "prefect_flow_run"

DEVELOPMENT: Final = "snapshot/development"
LOCKBOX: Final = "snapshot/lockbox"
MODEL: Final = "model"
MANIFEST: Final = "manifest.json"
PROFILE: Final = "profile.json"
RUN: Final = "run.json"
PROBLEM_FILE: Final = "problem.json"
PROBLEM_VERSION: Final = "problem_version.json"
TRIALS: Final = "trials.json"
TRIAL_RUNS: Final = "trial_runs.json"  # what MLflow shows of each trial's run
ENVIRONMENT: Final = "environment.json"
TRIAL_RETURNS: Final = "trial_returns.parquet"
WALK_FORWARD: Final = "walk_forward.json"
WALK_FORWARD_SCORES: Final = "walk_forward.parquet"
VALIDATION: Final = "validation.json"
LOCKBOX_SCORES: Final = "lockbox_scores.parquet"
BACKTEST_REPORT: Final = "backtest.json"
POLICY: Final = "policy.json"
DECISION: Final = "decision.json"
VERDICT_PAGE: Final = "verdict.html"
APPROVAL: Final = "approval.json"
# In these: what a model did that no model may, in words; and the count of it.
FAULT: Final = "fault"
FAULTS: Final = "model.faults"
REPORTS: Final = {VALIDATE: VALIDATION, BACKTEST: BACKTEST_REPORT}


def live(problem: str) -> str:
    """The registered model that holds released versions; the trainer has no right on it."""
    return f"{problem}.live"


def experiment(problem: str, stage: str) -> str:
    return f"{problem}/{stage}"


def run_name(stage: str, as_of: str, git: str, snapshot: str) -> str:
    return f"{stage}-{as_of}-{git[:7]}-{snapshot[:7]}"


def split_reference(reference: str) -> tuple[str, int]:
    """`name/version` → its two parts.

    Raises:
        UsageError: not of that form.
    """
    name, _, version = reference.rpartition("/")
    if not name or not version.isdigit():
        raise UsageError(f"{reference!r}: expected MODEL/VERSION, for example sp500_alpha/1")
    return name, int(version)
