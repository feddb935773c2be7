"""Bundles: a version's whole evidence in a folder that can be carried away and checked anywhere.

A bundle is a small state folder: the register, the problem's journal, the version's links and layouts, the files of
every run behind it and the model. Tables of data are not in it, their signed digests are. It is checked with nothing
but itself and the owner's public key; its links also by in-toto's own program.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks import (
    aliases,
    approvals,
    evidence,
    journal,
    keys,
    ledger,
    logins,
    proof,
    register,
    stamps,
    verification,
)
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import BUNDLE, HOME_VARIABLE, RUNS, as_json, digests_apart, home, write_whole
from tasks.verification import Verification

README = "README.md"


def export(reference: str, out: Path) -> dict[str, Any]:
    """Verify a version and put its evidence into a new folder, whole or not at all.

    Returns:
        model, folder, files (how many), bytes, head (of the journal), commands (which check it, by name).

    Raises:
        UsageError: no such version, or the folder is there already or cannot be made.
        VerificationFailed: the version does not verify; what is broken is not carried away as whole.
    """
    name, number = names.split_reference(reference)
    if out.exists():
        raise UsageError(f"--out {out}: is there already; give a new folder")
    checked = verification.verify(reference)
    if checked.faults:
        raise VerificationFailed(f"{reference}: {'; '.join(checked.faults)}; no bundle was made")
    found = verification.source_candidate(name, number)
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        fill(draft, found)
        draft.rename(out)
    except OSError as fault:
        raise UsageError(f"--out {out}: cannot be written ({fault.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    files = [path for path in out.rglob("*") if path.is_file()]
    return {
        "model": found.reference,
        "folder": str(out.resolve()),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "head": journal.head(found.model),
        "commands": commands(found, out),
    }


def fill(folder: Path, found: Candidate) -> None:
    """Copy what a version's evidence is made of."""
    stamped = [stamps.folder(found.model)] if stamps.folder(found.model).exists() else []
    for part in (found.folder, journal.folder(found.model), register.folder(), *stamped):
        shutil.copytree(part, folder / part.relative_to(home()))
    for run_id in sorted({evidence.statement_of(path).run_id for path in found.folder.rglob("*.link")}):
        shutil.copytree(ledger.run_folder(run_id), folder / RUNS / run_id)
    model = shutil.ignore_patterns(ledger.WRITTEN_ON_LOAD)
    shutil.copytree(ledger.model_folder(found.model, found.version), folder / names.MODEL, ignore=model)
    about = {"model": found.model, "version": found.version, "candidate": found.id, "head": journal.head(found.model)}
    write_whole(folder / BUNDLE, as_json(about))
    told = "\n".join(f"    {command}" for command in commands(found, Path()).values())
    write_whole(folder / README, f"The evidence of {found.reference}. Check it from here:\n\n{told}\n".encode())


def commands(found: Candidate, folder: Path) -> dict[str, str]:
    """What checks a bundle: this program all of it, in-toto's the links and layouts."""
    links = folder / "evidence" / found.model / found.id
    layout = evidence.RELEASE_LAYOUT if approvals.released(found) else evidence.CANDIDATE_LAYOUT
    return {
        "countersign": f"countersign verify --bundle {folder} --owner-key OWNER.pub",
        "in-toto": f"in-toto-verify --layout {links / layout} --verification-keys OWNER.pub --link-dir {links}",
    }


def verify(folder: Path, owner_key: Path | None) -> Verification:
    """Check a bundle with nothing but itself and the owner's public key, which must come from elsewhere.

    Raises:
        UsageError: no such bundle, or no key.
    """
    try:
        about = json.loads((folder / BUNDLE).read_bytes())
        name, version, candidate = str(about["model"]), int(about["version"]), str(about["candidate"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"--bundle {folder}: expected a folder that `countersign bundle` made") from None
    if owner_key is None:
        raise UsageError("--owner-key: give the owner's public key (PEM), and not one that came with the bundle")
    with at(folder, owner_key):
        found = Candidate(name, version, candidate)
        faults = proof.guarded(inspect, found, str(about.get("head")))
        return verification.concluded(found.reference, found, faults, {} if faults else pointing(found))


@contextmanager
def at(folder: Path, owner_key: Path) -> Iterator[None]:
    """A bundle is the state folder while the block runs, and one key is the owner's."""
    wanted = {HOME_VARIABLE: str(folder.resolve()), keys.OWNER_VARIABLE: str(owner_key.resolve())}
    before = {name: os.environ.get(name) for name in wanted}
    logins.put(wanted)
    try:
        yield
    finally:
        logins.put(before)


def inspect(found: Candidate, head: str) -> list[str]:
    """All that can be wrong with a bundle."""
    if journal.head(found.model) != head:
        return ["journal: its head is not the one that the bundle was made with"]
    faults = proof.signatures(found, approvals.released(found) is not None)
    faults += proof.guarded(model_faults, found)
    for stage in names.STAGES:
        if evidence.is_signed(found.folder, stage):
            faults += proof.guarded(proof.stage_files, found, stage)
    for link in evidence.links(found.folder, names.APPROVE):
        faults += proof.guarded(proof.approval_files, found, link)
    return faults or proof.consequences(found)


def model_faults(found: Candidate) -> list[str]:
    return digests_apart(found.signed_model(), ledger.digests_below(home() / names.MODEL))


def pointing(found: Candidate) -> dict[str, int]:
    """Where aliases should point to this version, by the journal."""
    moves = aliases.authorised(found.model).items()
    return {f"{model}@{alias}": move.version for (model, alias), move in moves if move.candidate == found.id}
