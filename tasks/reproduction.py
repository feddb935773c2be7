"""Reproduce: a registered version made anew from its signed evidence, and compared byte by byte and score by score.

The functions that trained it do the work. What they are given was signed: the frozen problem, the development part, the
trials, the problem's own features as the model holds them. Nothing is recorded, no trial and no run; what is written
goes to a folder of its own. The lockbox is read when the model has been rebuilt, to compare scores; no label is made.
"""

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tasks import evidence, lake, ledger, machine, models, searching, training, verification
from tasks.candidates import Candidate
from tasks.domain import names, reproduction
from tasks.domain.errors import CountersignError, ModelFault, UsageError, VerificationFailed
from tasks.domain.evaluation import Panel
from tasks.domain.families.trial import Trial
from tasks.domain.reproduction import Difference, Gap
from tasks.evidence import Statement
from tasks.home import as_json, code_sha256, home, lock_sha256, sha256
from tasks.progress import step
from tasks.searching import SECONDS, Judged, Outcome, Trials
from tasks.training import Commission

LAST = 250  # sessions of the development part that are scored, about a year
OWN = f"{names.MODEL}/artifacts/own.py"


class Version(NamedTuple):
    """A registered version, perhaps the released copy of a candidate, and what was signed about it.

    `folder`: where its files lie; `signed`: digests of those that the trainer signed; `faults`: what is not so.
    """

    found: Candidate
    model: str
    number: int
    folder: Path
    signed: dict[str, str]
    faults: list[str]

    @property
    def reference(self) -> str:
        return f"{self.model}/{self.number}"

    def content(self, name: str) -> bytes | None:
        """A file as it was signed; None if it is not there, or not so."""
        path = self.folder / name.removeprefix(f"{names.MODEL}/")
        content = path.read_bytes() if path.is_file() else None
        return content if content is not None and sha256(content) == self.signed.get(name) else None


class Rebuilt(NamedTuple):
    """`repeated`: what was done again, and from what, in words; `faults`: what of it is not as it was signed."""

    repeated: dict[str, str]
    faults: list[str]


def reproduce(reference: str, keep: Path | None = None, search: bool = False) -> dict[str, Any]:
    """Make a version's model anew and compare.

    Args:
        keep: a folder for the rebuilt model, new or empty; by default it is deleted.
        search: run all trials again as well.

    Raises:
        UsageError: there is no such version, or what it needs is not installed, or `keep` cannot be used.
        VerificationFailed: what it was made from is not what was signed.
    """
    step("checking signatures and files")
    version = opened(*names.split_reference(reference))
    trained = evidence.read_statement(version.found.folder, names.TRAIN)
    sources = sources_apart(trained)
    with workplace(keep) as folder, told_at_a_fault(sources):
        order = ordered(version, trained)
        rebuilt = rebuild(version, order, search, folder / names.MODEL)
        step("comparing files")
        held = ledger.digests_below(folder / names.MODEL)
        differing = differing_files(version, folder, held)
        step("comparing scores")
        gaps, unknown = score_gaps(version, order, folder, held)
    faults = version.faults + rebuilt.faults
    return {
        "model": version.reference,
        "candidate": version.found.id,
        "verdict": reproduction.verdict(faults, differing, None if gaps is None else gaps.values()),
        "repeated": rebuilt.repeated,
        "faults": faults,
        "files": {
            name: {"signed": version.signed.get(name), "rebuilt": held.get(name)}
            for name in sorted(version.signed | held)
        },
        "differing": [each._asdict() for each in differing],
        "scores": None if gaps is None else {part: each._asdict() for part, each in gaps.items()},
        "scores_unknown": unknown,
        "surroundings": sources + surroundings_apart(version.found, trained),
        "kept": str(folder) if keep else None,
    }


# --- what was signed ----------------------------------------------------------------------------------------


def opened(name: str, number: int) -> Version:
    found = verification.source_candidate(name, number)
    signed, folder = found.signed_model(), ledger.model_folder(name, number)
    if name == found.model:
        faults = verification.registry_faults(found)
    else:
        faults = verification.copy_faults(found, name, number)
    return Version(found, name, number, folder, signed, faults)


def ordered(version: Version, trained: Statement) -> Commission:
    """The order that was trained, from signed files alone.

    Raises:
        VerificationFailed: one of them is not as it was signed, or they do not belong together.
    """
    found = version.found
    problem, snapshot, own = found.problem(), found.snapshot(), None
    if trained.materials.get(names.DEVELOPMENT) != snapshot.digest(lake.DEVELOPMENT):
        raise VerificationFailed(f"link train: names another development part than snapshot {snapshot.key} holds")
    found.versions()
    if problem.feature_file is not None and (own := version.content(OWN)) is None:
        raise VerificationFailed(f"file {OWN}: missing or altered; features cannot be computed without it")
    return Commission(problem, snapshot, found.id, own)


def sources_apart(trained: Statement) -> list[str]:
    """Where code and lock are not those that trained, in words, and how to get at those."""
    here = {"code": code_sha256(), "requirements.lock": lock_sha256()}
    then = {name: trained.materials.get(name, "") for name in here}
    apart = [
        f"{name}: {then[name][:16]} was signed, {here[name][:16]} here" for name in here if then[name] != here[name]
    ]
    return [*apart, where_to_find(ledger.run_tag(trained.run_id, names.TAG_GIT))] if apart else []


def where_to_find(commit: str) -> str:
    """A run's tag is not signed: the digest tells whether it was the right commit."""
    if commit in ("", "none"):
        return "the training run names no commit to check out"
    changed = ", which had changes that were not committed" if commit.endswith("-dirty") else ""
    return f"to have what trained it: git checkout {commit.removesuffix('-dirty')} (so its run is tagged{changed})"


def surroundings_apart(found: Candidate, trained: Statement) -> list[str]:
    if f"{names.TRAIN}/{names.ENVIRONMENT}" not in trained.products:
        return ["the evidence does not tell on what machine and with which packages the model was trained"]
    then = json.loads(found.file(names.TRAIN, names.ENVIRONMENT))
    return reproduction.surroundings(then, machine.described())


@contextmanager
def told_at_a_fault(sources: list[str]) -> Iterator[None]:
    """Other code may not be able to rebuild at all: then its fault says that it is other code."""
    try:
        yield
    except CountersignError as fault:
        if not sources:
            raise
        raise type(fault)("; ".join([str(fault), *sources])) from None


# --- making it anew -----------------------------------------------------------------------------------------


def rebuild(version: Version, order: Commission, search: bool, folder: Path) -> Rebuilt:
    """Features, choice and fit again, and with `search` the trials; the artifact goes to `folder`."""
    content = version.found.file(names.TRAIN, names.TRIALS)
    told = json.loads(content)
    rows, chosen = told["trials"], told["chosen"]
    context = sha256(version.found.file(names.TRAIN, names.PROBLEM_FILE)), order.snapshot.digest(lake.DEVELOPMENT)
    step("computing features")
    known = training.known_panel(order)
    trials = [Trial(row["family"], row["parameters"]) for row in rows]
    faults = [
        f"trial {number}: is not about this problem and data"
        for number, (trial, row) in enumerate(zip(trials, rows, strict=True))
        if trial.key(*context) != row["key"]
    ]
    repeated = {"trials": f"not run again; the {len(rows)} that were signed are believed (--search runs them)"}
    if search:
        apart = searched_again(version.found, order, known, context, rows)
        faults += apart
        said = f"{len(apart)} differences" if apart else "same configurations, figures and returns"
        repeated["trials"] = f"all {len(rows)} run again and compared with what was signed: {said}"
    step("choosing among the signed trials")
    choice = searching.choose_among(order.problem, known, [judged(*each) for each in zip(trials, rows, strict=True)])
    repeated["choice"] = f"derived again from the signed figures of {len(rows)} trials: {choice.reason}"
    if choice.number != chosen:
        faults.append(f"choice: trial {chosen} was signed; by the signed figures it is trial {choice.number}")
    step("fitting the chosen configuration")
    files = searching.fit_whole(order.problem, known, trials[chosen])
    training.write_model(order, known, trials[chosen], files, folder)
    said = ", ".join(f"{name}={value}" for name, value in trials[chosen].parameters.items())
    repeated["fit"] = (
        f"{trials[chosen].family} ({said}), seed {order.problem.seed}, fitted anew on all {len(known.y):,} rows of the "
        f"development part, {known.sessions[0].date()} to {known.sessions[-1].date()}"
    )
    return Rebuilt(repeated, faults)


def judged(trial: Trial, row: Mapping[str, Any]) -> Judged:
    return Judged(trial, row["pruned"], row["train.rank_ic"], row["train.rank_ic_standard_error"])


def searched_again(
    found: Candidate, order: Commission, known: Panel, context: tuple[str, str], rows: list[dict[str, Any]]
) -> list[str]:
    """What differs between the trials run now and those signed: their configurations, figures and returns."""
    outcomes = Trials(order.problem, context, known).run()
    if len(outcomes) != len(rows):
        return [f"trials: {len(rows)} were signed, {len(outcomes)} are run now"]
    faults = [
        f"trial {number} ({row['family']}): {words}"
        for number, (outcome, row) in enumerate(zip(outcomes, rows, strict=True))
        if (words := figures_apart(row, outcome.row))
    ]
    signed = found.file(names.TRAIN, names.TRIAL_RETURNS)
    if not table(signed).equals(table(searching.returns_file(finished(outcomes)))):
        faults.append(f"{names.TRIAL_RETURNS}: the returns of trials are others")
    return faults


def finished(outcomes: list[Outcome]) -> list[Outcome]:
    return [each for each in outcomes if not each.ended.pruned]


def table(content: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content))


def figures_apart(signed: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Where two trials differ in more than the time they took; compared as written, so that NaN equals itself."""
    apart = [name for name in signed if name != SECONDS and as_json(signed[name]) != as_json(now.get(name))]
    return ", ".join(f"{name} {signed[name]} was signed, now {now.get(name)}" for name in apart)


# --- comparing ----------------------------------------------------------------------------------------------


def differing_files(version: Version, folder: Path, held: Mapping[str, str]) -> list[Difference]:
    """Files of the rebuilt artifact whose bytes are not those that the trainer signed."""
    return [
        reproduction.difference(
            name.removeprefix(f"{names.MODEL}/"),
            version.content(name),
            (folder / name).read_bytes() if name in held else None,
        )
        for name in sorted(version.signed | held)
        if version.signed.get(name) != held.get(name)
    ]


def score_gaps(
    version: Version, order: Commission, folder: Path, held: dict[str, str]
) -> tuple[dict[str, Gap] | None, str]:
    """Differences of scores on the development part's last sessions and on the lockbox; None, and why, where there is
    nothing to compare. Both models run in cells, and only after their files were hashed."""
    if version.faults:
        return None, "the registered model was not loaded, as it is not what was signed"
    development, lockbox = (order.snapshot.read(part) for part in (lake.DEVELOPMENT, lake.LOCKBOX))
    bars = pd.concat([development, lockbox], ignore_index=True)
    since = pd.Timestamp(development["timestamp"].drop_duplicates().nlargest(LAST).min())
    start = pd.Timestamp(lockbox["timestamp"].min())
    try:
        with (
            closing(models.load(version.model, version.number, version.signed)) as registered,
            closing(models.load_folder(folder / names.MODEL, held, "the rebuilt model")) as rebuilt,
        ):
            one, two = registered(bars, since), rebuilt(bars, since)
    except ModelFault as fault:
        return None, str(fault)
    before = (each[each.index < start] for each in (one, two))
    return {lake.DEVELOPMENT: reproduction.gap(*before, since), lake.LOCKBOX: reproduction.gap(one, two, start)}, ""


@contextmanager
def workplace(keep: Path | None) -> Iterator[Path]:
    """A folder to work in, deleted in the end unless it is to be kept.

    Raises:
        UsageError: the folder to keep lies in the state folder, holds something already or cannot be made.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="countersign-reproduce-") as scratch:
            yield Path(scratch)
        return
    place = keep.expanduser().resolve()
    if place.is_relative_to(home()):
        raise UsageError(f"--keep {keep}: lies in the state folder, where nothing is to be changed; give another one")
    try:
        place.mkdir(parents=True, exist_ok=True)
        filled = any(place.iterdir())
    except OSError as fault:
        raise UsageError(f"--keep {keep}: cannot be used ({fault.strerror}); give a new or empty folder") from None
    if filled:
        raise UsageError(f"--keep {keep}: is not empty; give a new or empty folder")
    yield place
