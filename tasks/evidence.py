"""The only door to in-toto: links and layouts.

Every step leaves a link (an in-toto statement in a DSSE envelope) signed by a key of its role. Layouts, signed by the
owner, say which links must exist and how one step's products become the next one's materials: `candidate` up to the
decision, `release` with the approvals that its tier needs. A folder per candidate holds copies of its layouts and the
links, so it can be checked by itself. That a link was signed is written into the problem's journal first.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from in_toto.models.layout import Layout, Step
from in_toto.models.link import FILENAME_FORMAT, Link
from in_toto.models.metadata import Envelope, Metadata
from in_toto.verifylib import in_toto_verify
from securesystemslib.signer import CryptoSigner, SSlibKey

from tasks import journal, keys, register
from tasks.domain import names
from tasks.domain.errors import VerificationFailed
from tasks.domain.people import People
from tasks.home import as_json, exclusive, home, sha256, write_whole
from tasks.keys import KeyDict

CANDIDATE_LAYOUT = "candidate.layout"
RELEASE_LAYOUT = "release.layout"
TIERS = ("pilot", "full")  # of gates whose versions can become champion
LAYOUT_YEARS = 5
SUPERSEDED = "superseded"  # folder of a candidate's earlier links
Digests = dict[str, str]


def problem_folder(problem: str) -> Path:
    return home() / "evidence" / problem


def problems() -> list[str]:
    """Problems that have any evidence."""
    folder = home() / "evidence"
    return sorted(path.name for path in folder.iterdir() if path.name != "layouts") if folder.exists() else []


def candidate_folder(problem: str, candidate: str) -> Path:
    return problem_folder(problem) / candidate


def snapshot_folder(problem: str, collection: str) -> Path:
    return problem_folder(problem) / "snapshots" / collection


def place_of(folder: Path) -> tuple[str, str]:
    """The problem that a folder of evidence belongs to, and its place there."""
    problem, *place = folder.relative_to(home() / "evidence").parts
    return problem, "/".join(place)


# --- layouts ------------------------------------------------------------------------------------------------


def layout_path(name: str) -> Path:
    return home() / "evidence" / "layouts" / name


def release_of(tier: str) -> str:
    return f"release-{tier}.layout"


def establish() -> None:
    """Make a register of development keys where there is none, and layouts that fit it; safe to call at any time."""
    register.establish()
    known = register.load()
    if is_laid_out(known.number):
        return
    with exclusive("layouts", wait=True):
        people, readme = known.now.people, about(known.number, known.now.development)
        write_layout(CANDIDATE_LAYOUT, build_layout(names.STAGES, people, 1, readme))
        for tier in TIERS:
            steps = (*names.STAGES, names.APPROVE)
            write_layout(release_of(tier), build_layout(steps, people, people.approvals.needed(tier), readme))


def is_laid_out(number: int) -> bool:
    """Whether the layouts are those of a version of the register; the last of them is written last."""
    written = load_envelope(layout_path(release_of(TIERS[-1])))
    return written is not None and written.get_payload().readme.startswith(about(number, False))


def about(number: int, development: bool) -> str:
    said = f"By version {number} of the register."
    return f"{said} {register.DEVELOPMENT_KEYS}" if development else said


def write_layout(name: str, layout: Layout) -> None:
    envelope = Envelope.from_signable(layout)
    envelope.create_signature(keys.signer(names.OWNER))
    write_whole(layout_path(name), as_json(envelope.to_dict()))


def build_layout(steps: Sequence[str], people: People, approvals: int, readme: str) -> Layout:
    """A layout of steps; a key that was revoked signs in none that is made from then on."""
    allowed = {step: [keys.from_public(each) for each in people.trusted(names.SIGNERS[step])] for step in steps}
    layout = Layout(
        steps=[
            build_step(step, [key.keyid for key in allowed[step]], approvals if step == names.APPROVE else 1)
            for step in steps
        ],
        inspect=[],
        keys={key.keyid: keys.as_dict(key) for step in steps for key in allowed[step]},
        readme=readme,
    )
    layout.set_relative_expiration(years=LAYOUT_YEARS)
    return layout


def build_step(step: str, keyids: list[str], threshold: int) -> Step:
    materials, products = RULES[step]
    closed = [["DISALLOW", "*"]]
    return Step(
        name=step,
        pubkeys=keyids,
        threshold=threshold,
        expected_command=["countersign", step],
        expected_materials=materials + closed,
        expected_products=products + closed,
    )


def match(pattern: str, step: str) -> list[str]:
    return ["MATCH", pattern, "WITH", "PRODUCTS", "FROM", step]


def required(pattern: str, step: str) -> list[list[str]]:
    return [["REQUIRE", pattern], match(pattern, step)]


def made(step: str, *files: str) -> list[list[str]]:
    return [*(["REQUIRE", file] for file in (*files, f"{step}/{names.RUN}")), ["ALLOW", f"{step}/*"]]


WHOLE_MODEL = [["REQUIRE", "model/MLmodel"], match("model/*", names.TRAIN)]
WHOLE_SNAPSHOT = required(names.DEVELOPMENT, names.COLLECT) + required(names.LOCKBOX, names.COLLECT)
FROZEN_PROBLEM = required(f"train/{names.PROBLEM_FILE}", names.TRAIN)
PROBLEM_VERSION = required(f"train/{names.PROBLEM_VERSION}", names.TRAIN)
SUITES = ["ALLOW", "suites/*"]
CODE = [["ALLOW", "code"], ["ALLOW", "requirements.lock"]]
# What each step may and must take in, and what it may and must put out. A thing matched must be the very bytes
# that the earlier step signed; the trainer's materials have no place for the lockbox.
RULES: dict[str, tuple[list[list[str]], list[list[str]]]] = {
    names.COLLECT: (
        [["REQUIRE", "delivery"], ["ALLOW", "delivery"], ["ALLOW", "collection.json"], SUITES, *CODE],
        [
            ["REQUIRE", names.DEVELOPMENT],
            ["REQUIRE", names.LOCKBOX],
            ["ALLOW", "snapshot/*"],
            *made(names.COLLECT, f"collect/{names.MANIFEST}"),
        ],
    ),
    names.TRAIN: (
        [*required(names.DEVELOPMENT, names.COLLECT), SUITES, *CODE],
        [
            ["REQUIRE", "model/MLmodel"],
            ["ALLOW", "model/*"],
            *made(
                names.TRAIN, *(f"train/{file}" for file in (names.PROBLEM_FILE, names.PROBLEM_VERSION, names.TRIALS))
            ),
        ],
    ),
    names.VALIDATE: (
        [
            *WHOLE_MODEL,
            *WHOLE_SNAPSHOT,
            *FROZEN_PROBLEM,
            *required(f"train/{names.TRIALS}", names.TRAIN),
            ["ALLOW", "champion/*"],
            SUITES,
            *CODE,
        ],
        made(names.VALIDATE, f"validate/{names.VALIDATION}"),
    ),
    names.BACKTEST: (
        [*WHOLE_MODEL, *WHOLE_SNAPSHOT, *FROZEN_PROBLEM, *CODE],
        made(names.BACKTEST, f"backtest/{names.BACKTEST_REPORT}"),
    ),
    names.DECIDE: (
        [
            *WHOLE_MODEL,
            *FROZEN_PROBLEM,
            *PROBLEM_VERSION,
            *required(f"validate/{names.VALIDATION}", names.VALIDATE),
            *required(f"backtest/{names.BACKTEST_REPORT}", names.BACKTEST),
            *CODE,
        ],
        made(names.DECIDE, f"decide/{names.DECISION}", f"decide/{names.POLICY}"),
    ),
    names.APPROVE: (
        # No code: people who approve say the same of the same, wherever they do it.
        [*WHOLE_MODEL, *required(f"decide/{names.DECISION}", names.DECIDE)],
        # Each has a run of their own; what MLflow shows of it is signed beside, as in-toto wants the same of all.
        [["REQUIRE", f"approve/{names.APPROVAL}"], ["ALLOW", "approve/*"]],
    ),
}


# --- links --------------------------------------------------------------------------------------------------


class Statement(NamedTuple):
    """What a signed link says: files in, files out (SHA-256 by name), the MLflow run that holds them, and the model
    they are about (`models:/<id>` in training, `name/version` after it). `said`: what a person said besides."""

    materials: Digests
    products: Digests
    run_id: str
    model: str | None
    said: dict[str, str] = {}  # noqa: RUF012 - never changed


def open_candidate(problem: str, candidate: str, collection: str) -> None:
    """Start a candidate's folder with the layout in force and its snapshot's link."""
    folder = candidate_folder(problem, candidate)
    if not (folder / CANDIDATE_LAYOUT).exists():
        write_whole(folder / CANDIDATE_LAYOUT, layout_path(CANDIDATE_LAYOUT).read_bytes())
    for link in snapshot_folder(problem, collection).glob("collect.*.link"):
        write_whole(folder / link.name, link.read_bytes())


def open_release(folder: Path, tier: str) -> None:
    """Put the layout in force beside a candidate's links: by it, approvals are to be counted."""
    write_whole(folder / RELEASE_LAYOUT, layout_path(release_of(tier)).read_bytes())


def sign_link(folder: Path, step: str, statement: Statement, by: CryptoSigner | None = None) -> None:
    """Sign a step's statement, write that into the journal, then store it. Its file appearing makes the step done."""
    by = by or keys.signer(names.SIGNERS[step])
    problem, place = place_of(folder)
    with journal.held(problem):
        content = as_json(signed(step, statement, journal.head(problem), by).to_dict())
        path = folder / FILENAME_FORMAT.format(step_name=step, keyid=by.public_key.keyid)
        about = {"folder": place, "model": statement.model or "", "run": statement.run_id, **statement.said}
        journal.add(problem, step, about | {"link": path.name, "link_sha256": sha256(content)}, by)
        write_whole(path, content)


def signed(step: str, statement: Statement, head: str, by: CryptoSigner) -> Envelope:
    development = register.load().now.development
    link = Link(
        name=step,
        command=["countersign", step],
        materials={name: {"sha256": value} for name, value in statement.materials.items()},
        products={name: {"sha256": value} for name, value in statement.products.items()},
        byproducts={},
        environment={
            "mlflow_run_id": statement.run_id,
            "model": statement.model or "",
            "journal": head,
            **statement.said,
            **({"keys": register.DEVELOPMENT_KEYS} if development else {}),
        },
    )
    envelope = Envelope.from_signable(link)
    envelope.create_signature(by)
    return envelope


def links(folder: Path, step: str) -> list[Path]:
    """Links of a step as they lie there, of whatever keys."""
    return sorted(folder.glob(f"{step}.*.link"))


def link_path(folder: Path, step: str) -> Path:
    """The link of a step by a key that its role has or had; where there is none, where the role's service puts it."""
    paths = [folder / FILENAME_FORMAT.format(step_name=step, keyid=key.keyid) for key in keys_of(names.SIGNERS[step])]
    return next((path for path in paths if path.exists()), paths[0])


def is_signed(folder: Path, step: str) -> bool:
    return link_path(folder, step).exists()


def read_statement(folder: Path, step: str) -> Statement:
    """A step's statement, its signature checked against the keys of the role that must sign it.

    Raises:
        VerificationFailed: the link is missing, altered or signed by another key.
    """
    if fault := link_fault(folder, step, [keys.as_dict(key) for key in keys_of(names.SIGNERS[step])]):
        raise VerificationFailed(fault)
    return statement_of(link_path(folder, step))


def statement_of(path: Path) -> Statement:
    """What a link says whose signature was checked."""
    link = Metadata.load(str(path)).get_payload()
    told = dict(link.environment)
    run_id, model = told.pop("mlflow_run_id"), told.pop("model") or None
    return Statement(
        {name: value["sha256"] for name, value in link.materials.items()},
        {name: value["sha256"] for name, value in link.products.items()},
        run_id,
        model,
        told,
    )


def link_digest(folder: Path, step: str) -> str | None:
    """SHA-256 of a step's link as it lies there; None where the step is not done."""
    path = link_path(folder, step)
    return sha256(path.read_bytes()) if path.exists() else None


def set_aside(folder: Path, step: str) -> None:
    """Keep a step's link where a second one cannot overwrite it, byte for byte, named by its digest."""
    path = link_path(folder, step)
    if path.exists():
        write_whole(aside(folder, step, sha256(path.read_bytes())), path.read_bytes())


def retire(folder: Path, step: str, path: Path) -> None:
    """Set a link aside that no longer counts."""
    write_whole(aside(folder, step, sha256(path.read_bytes())), path.read_bytes())
    path.unlink()


def threshold(folder: Path) -> int:
    """How many approvals the release layout beside a candidate's links asks for; `chain_faults` says if it is whole."""
    layout = load_envelope(folder / RELEASE_LAYOUT)
    steps = layout.get_payload().steps if layout else []
    return int(next((step.threshold for step in steps if step.name == names.APPROVE), 1))


def aside(folder: Path, step: str, digest: str) -> Path:
    return folder / SUPERSEDED / f"{step}.{digest}.link"


def superseded(folder: Path, step: str, digest: str) -> Statement:
    """The statement of a link that a later one of the same step names by its digest.

    Raises:
        VerificationFailed: it is missing, altered or signed by another key.
    """
    path = aside(folder, step, digest)
    if not path.exists() or sha256(path.read_bytes()) != digest:
        raise VerificationFailed(f"earlier link {step}: {path.name} is missing or altered; a later one names it")
    if not is_by(path, names.SIGNERS[step]):
        raise VerificationFailed(f"earlier link {step}: {path.name} is not signed by the {names.SIGNERS[step]}")
    return statement_of(path)


def keys_of(role: str) -> list[SSlibKey]:
    """The keys that a role has or had."""
    return [keys.from_public(public) for public in register.load().publics(role)]


def is_by(path: Path, role: str) -> bool:
    """Whether a link is signed by a key that a role has or had."""
    envelope = load_envelope(path)
    return envelope is not None and any(signed_by(envelope, keys.as_dict(key)) for key in keys_of(role))


def link_fault(folder: Path, step: str, known: Sequence[KeyDict], needed: int = 1) -> str | None:
    """What is wrong with a step's links, in words, or None: `needed` of them, each by another of the `known` keys."""
    role = names.SIGNERS[step]
    found = links(folder, step)
    if not found:
        return f"link {step}: missing; the {role} must have signed it"
    for path in found:
        envelope = load_envelope(path)
        if envelope is None:
            return f"link {step}: {path.name} is not a DSSE envelope"
        if not any(signed_by(envelope, key) for key in known):
            return f"link {step}: {whose(path, role)}"
    if len(found) < needed:
        return f"link {step}: {needed} are needed, each by another {role}; there are {len(found)}"
    return None


def fault_of(path: Path, step: str) -> str | None:
    """What is wrong with the signature of one link of a step, in words, or None."""
    role = names.SIGNERS[step]
    return None if is_by(path, role) else f"link {step}: {whose(path, role)}"


def whose(path: Path, role: str) -> str:
    for other in names.ROLES:
        if other not in (role, names.OWNER) and is_by(path, other):
            return f"signed by the {other}'s key; only the {role}'s is allowed"
    return "altered after signing, or signed by an unknown key"


def load_envelope(path: Path) -> Envelope | None:
    try:
        loaded = Metadata.load(str(path))
    except Exception:  # noqa: BLE001 - a hostile file may fail to parse in any way; all of them mean the same
        return None
    return loaded if isinstance(loaded, Envelope) else None


def signed_by(envelope: Envelope, key: KeyDict) -> bool:
    try:
        envelope.verify_signature(dict(key))
    except Exception:  # noqa: BLE001 - whatever the reason, it is not a valid signature by this key
        return False
    return True


def chain_faults(folder: Path, layout_name: str) -> list[str]:
    """What keeps a candidate's links from satisfying a layout; empty if in-toto itself verifies them.

    The first lines name the broken item in words; in-toto's own verification is the authority.
    """
    owner = keys.as_dict(keys.owner())
    layout = load_envelope(folder / layout_name)
    if layout is None:
        return [f"layout {layout_name}: missing or not a DSSE envelope"]
    if not signed_by(layout, owner):
        return [f"layout {layout_name}: altered, or not signed by the owner's key"]
    content = layout.get_payload()
    found = (
        link_fault(folder, step.name, [dict(content.keys[keyid]) for keyid in step.pubkeys], step.threshold)
        for step in content.steps
    )
    faults = [fault for fault in found if fault]
    if not faults:
        try:
            in_toto_verify(layout, {owner["keyid"]: dict(owner)}, link_dir_path=str(folder))
        except Exception as fault:  # noqa: BLE001 - in-toto raises a dozen kinds; each is a refusal with its words
            faults.append(f"chain: {type(fault).__name__}: {' '.join(str(fault).split())[:400]}")
    return faults
