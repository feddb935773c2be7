"""Links and layouts: what in-toto accepts, and what is refused in which words."""

import json
from pathlib import Path

import pytest

from tasks import evidence, keys
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.evidence import Statement

PARTS = {names.DEVELOPMENT: "d" * 64, names.LOCKBOX: "1" * 64}
MODEL = {"model/MLmodel": "a" * 64, "model/artifacts/parameters.txt": "b" * 64}
PROBLEM, TRIALS = {"train/problem.json": "e" * 64}, {"train/trials.json": "f" * 64}
VERSION = {"train/problem_version.json": "7" * 64}
REPORTS = {"validate/validation.json": "2" * 64, "backtest/backtest.json": "3" * 64}
DECISION = {"decide/decision.json": "4" * 64}
CHAIN = {
    names.COLLECT: ({"delivery": "9" * 64}, PARTS | {"collect/manifest.json": "8" * 64}),
    names.TRAIN: ({names.DEVELOPMENT: "d" * 64}, MODEL | PROBLEM | VERSION | TRIALS),
    names.VALIDATE: (MODEL | PARTS | PROBLEM | TRIALS, {"validate/validation.json": "2" * 64}),
    names.BACKTEST: (MODEL | PARTS | PROBLEM, {"backtest/backtest.json": "3" * 64}),
    names.DECIDE: (MODEL | PROBLEM | VERSION | REPORTS, DECISION | {"decide/policy.json": "5" * 64}),
    names.APPROVE: (MODEL | DECISION, {"approve/approval.json": "6" * 64}),
}


CHAIN = {step: (materials, products | {f"{step}/run.json": "a" * 64}) for step, (materials, products) in CHAIN.items()}


@pytest.fixture
def folder(state: Path) -> Path:
    """A candidate's folder with the whole chain signed, approval included."""
    made = evidence.candidate_folder("p", "c")
    evidence.open_candidate("p", "c", "none")
    evidence.open_release(made, "full")
    for step in CHAIN:
        sign(made, step)
    return made


def sign(folder: Path, step: str, role: str | None = None, **changed: dict[str, str]) -> None:
    materials, products = CHAIN[step]
    statement = Statement(materials | changed.get("materials", {}), products | changed.get("products", {}), "run", None)
    write_link(folder, step, statement, role or names.SIGNERS[step])


def write_link(folder: Path, step: str, statement: Statement, role: str) -> None:
    """As `sign_link` does, but whoever has a key can write a link; only the journal is more particular."""
    by = keys.signer(role)
    path = folder / f"{step}.{by.public_key.keyid[:8]}.link"
    path.write_text(json.dumps(evidence.signed(step, statement, "0", by).to_dict()))


def faults(folder: Path) -> list[str]:
    return evidence.chain_faults(folder, evidence.RELEASE_LAYOUT)


def test_whole_chain_verifies(folder: Path) -> None:
    assert faults(folder) == []
    assert evidence.chain_faults(folder, evidence.CANDIDATE_LAYOUT) == []


@pytest.mark.parametrize("step", CHAIN)
def test_each_missing_link_is_named(folder: Path, step: str) -> None:
    evidence.link_path(folder, step).unlink()
    assert faults(folder) == [f"link {step}: missing; the {names.SIGNERS[step]} must have signed it"]


def test_a_link_under_another_roles_key_is_named(folder: Path) -> None:
    evidence.link_path(folder, names.VALIDATE).unlink()
    sign(folder, names.VALIDATE, role=names.TRAINER)
    assert faults(folder) == ["link validate: signed by the trainer's key; only the validator's is allowed"]
    with pytest.raises(VerificationFailed, match="trainer's key"):
        evidence.read_statement(folder, names.VALIDATE)


def test_an_edited_link_is_named(folder: Path) -> None:
    path = evidence.link_path(folder, names.DECIDE)
    envelope = json.loads(path.read_text())
    envelope["payload"] = envelope["payload"][:-4] + "AAA="
    path.write_text(json.dumps(envelope))
    assert faults(folder) == ["link decide: altered after signing, or signed by an unknown key"]


@pytest.mark.parametrize(
    ("step", "materials"),
    [
        (names.TRAIN, {names.LOCKBOX: "1" * 64}),  # the trainer saw the lockbox
        (names.TRAIN, {names.DEVELOPMENT: "0" * 64}),  # other data than the steward signed
        (names.VALIDATE, {"model/MLmodel": "0" * 64}),  # another model under validation
        (names.BACKTEST, {names.LOCKBOX: "0" * 64}),  # another lockbox
        (names.DECIDE, {"validate/validation.json": "0" * 64}),  # another report was judged
        (names.DECIDE, {"train/problem_version.json": "0" * 64}),  # by another version of the problem
        (names.APPROVE, {"decide/decision.json": "0" * 64}),  # another decision was approved
        (names.APPROVE, {"model/artifacts/parameters.txt": "0" * 64}),  # another model was approved
    ],
)
def test_materials_must_be_what_the_step_before_signed(folder: Path, step: str, materials: dict[str, str]) -> None:
    sign(folder, step, materials=materials)
    [fault] = faults(folder)
    assert fault.startswith("chain: RuleVerificationError")


def test_a_layout_signed_by_anyone_but_the_owner_is_refused(folder: Path) -> None:
    path = folder / evidence.RELEASE_LAYOUT
    envelope = evidence.load_envelope(path)
    assert envelope is not None
    envelope.signatures.clear()
    envelope.create_signature(keys.signer(names.TRAINER))
    path.write_text(json.dumps(envelope.to_dict()))
    assert faults(folder) == ["layout release.layout: altered, or not signed by the owner's key"]


def test_private_keys_are_readable_by_their_owner_only(state: Path) -> None:
    for role in names.ROLES:
        assert (state / "keys" / f"{role}.pem").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_key_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nothing")
    with pytest.raises(UsageError, match="expected an unencrypted Ed25519 private key"):
        keys.signer_from(tmp_path / "key.pem")
