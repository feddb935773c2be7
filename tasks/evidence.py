"""The only door to keys, signatures and in-toto.

Every step leaves a link (an in-toto statement in a DSSE envelope) signed by its role's key. Two layouts, signed
by the owner, say which links must exist and how one step's products become the next one's materials:
`candidate` up to the decision, `release` with the approval. A folder per candidate holds copies of both layouts
and the links, so it can be checked by itself. Alias moves are signed, numbered and chained in a log per problem.
"""

import json
import stat
from pathlib import Path
from typing import Any, NamedTuple

from in_toto.models.layout import Layout, Step
from in_toto.models.link import FILENAME_FORMAT, Link
from in_toto.models.metadata import Envelope, Metadata
from in_toto.verifylib import in_toto_verify
from securesystemslib.dsse import Envelope as Dsse
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import as_json, exclusive, home, sha256, write_whole

CANDIDATE_LAYOUT = "candidate.layout"
RELEASE_LAYOUT = "release.layout"
ALIAS_PAYLOAD = "application/vnd.countersign.alias+json"
LAYOUT_YEARS = 5
SUPERSEDED = "superseded"  # folder of a candidate's earlier links
DEVELOPMENT_KEYS = (
    "Development keys, made on first run and kept beside the data: whoever can read the state folder can sign "
    "as every role. They show how the evidence works; they do not establish separation of duties."
)
Digests = dict[str, str]


def keys_folder() -> Path:
    return home() / "keys"


def problem_folder(problem: str) -> Path:
    return home() / "evidence" / problem


def candidate_folder(problem: str, candidate: str) -> Path:
    return problem_folder(problem) / candidate


def snapshot_folder(problem: str, collection: str) -> Path:
    return problem_folder(problem) / "snapshots" / collection


# --- keys ---------------------------------------------------------------------------------------------------


def establish() -> None:
    """Make development keys and signed layouts where there are none; safe to call at any time."""
    if layout_path(RELEASE_LAYOUT).exists():
        return
    with exclusive("authority"):
        for role in names.ROLES:
            if not (keys_folder() / f"{role}.pub").exists():
                make_key(role)
        for name, steps in ((CANDIDATE_LAYOUT, names.STAGES), (RELEASE_LAYOUT, (*names.STAGES, names.APPROVE))):
            envelope = Envelope.from_signable(build_layout(steps))
            envelope.create_signature(signer(names.OWNER))
            write_whole(layout_path(name), as_json(envelope.to_dict()))


def make_key(role: str) -> None:
    generated = CryptoSigner.generate_ed25519()
    write_whole(keys_folder() / f"{role}.pem", generated.private_bytes, mode=stat.S_IRUSR | stat.S_IWUSR)
    write_whole(keys_folder() / f"{role}.pub", as_json(key_dict(generated.public_key)))


def key_dict(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, **key.to_dict()}


def public_key(role: str) -> dict[str, Any]:
    path = keys_folder() / f"{role}.pub"
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        raise VerificationFailed(f"{path}: the {role}'s public key cannot be read; restore it") from None


def signer(role: str) -> CryptoSigner:
    return signer_from(keys_folder() / f"{role}.pem")


def signer_from(path: Path) -> CryptoSigner:
    """A signer from a private key file (PEM, PKCS#8, Ed25519).

    Raises:
        UsageError: no such file, or not such a key.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
        return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))  # type: ignore[arg-type]
    except OSError as fault:
        raise UsageError(f"key {path}: cannot be read ({fault.strerror})") from None
    except (ValueError, TypeError):
        raise UsageError(f"key {path}: expected an unencrypted Ed25519 private key in PEM") from None


def require_role(role: str, keyid: str, path: Path, deed: str) -> None:
    """See that a key is the role's, by its public half.

    Raises:
        VerificationFailed: it is another role's, or nobody's.
    """
    owner = next((each for each in names.ROLES if public_key(each)["keyid"] == keyid), None)
    if owner != role:
        whose = f"is the {owner}'s" if owner else "belongs to no known role"
        raise VerificationFailed(f"key {path}: {whose}; only the {role} may {deed}")


# --- layouts ------------------------------------------------------------------------------------------------


def layout_path(name: str) -> Path:
    return home() / "evidence" / "layouts" / name


def build_layout(steps: tuple[str, ...]) -> Layout:
    roles = sorted({names.SIGNERS[step] for step in steps})
    keys = {role: public_key(role) for role in roles}
    layout = Layout(
        steps=[build_step(step, keys[names.SIGNERS[step]]["keyid"]) for step in steps],
        inspect=[],
        keys={key["keyid"]: key for key in keys.values()},
        readme=DEVELOPMENT_KEYS,
    )
    layout.set_relative_expiration(years=LAYOUT_YEARS)
    return layout


def build_step(step: str, keyid: str) -> Step:
    materials, products = RULES[step]
    closed = [["DISALLOW", "*"]]
    return Step(
        name=step,
        pubkeys=[keyid],
        threshold=1,
        expected_command=["countersign", step],
        expected_materials=materials + closed,
        expected_products=products + closed,
    )


def match(pattern: str, step: str) -> list[str]:
    return ["MATCH", pattern, "WITH", "PRODUCTS", "FROM", step]


def required(pattern: str, step: str) -> list[list[str]]:
    return [["REQUIRE", pattern], match(pattern, step)]


def made(step: str, *files: str) -> list[list[str]]:
    return [*(["REQUIRE", file] for file in files), ["ALLOW", f"{step}/*"]]


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
        [*WHOLE_MODEL, *required(f"decide/{names.DECISION}", names.DECIDE), *CODE],
        made(names.APPROVE, f"approve/{names.APPROVAL}"),
    ),
}


# --- links --------------------------------------------------------------------------------------------------


class Statement(NamedTuple):
    """What a signed link says: files in, files out (SHA-256 by name), the MLflow run that holds them, and the model
    they are about (`models:/<id>` in training, `name/version` after it)."""

    materials: Digests
    products: Digests
    run_id: str
    model: str | None


def open_candidate(problem: str, candidate: str, collection: str) -> None:
    """Start a candidate's folder with the layouts in force and its snapshot's link."""
    folder = candidate_folder(problem, candidate)
    for layout in (CANDIDATE_LAYOUT, RELEASE_LAYOUT):
        if not (folder / layout).exists():
            write_whole(folder / layout, layout_path(layout).read_bytes())
    for link in snapshot_folder(problem, collection).glob("collect.*.link"):
        write_whole(folder / link.name, link.read_bytes())


def sign_link(folder: Path, step: str, statement: Statement, by: CryptoSigner | None = None) -> None:
    """Sign and store a step's statement. Its file appearing is what makes the step done."""
    by = by or signer(names.SIGNERS[step])
    link = Link(
        name=step,
        command=["countersign", step],
        materials={name: {"sha256": value} for name, value in statement.materials.items()},
        products={name: {"sha256": value} for name, value in statement.products.items()},
        byproducts={},
        environment={
            "mlflow_run_id": statement.run_id,
            "model": statement.model or "",
            "keys": DEVELOPMENT_KEYS,
        },
    )
    envelope = Envelope.from_signable(link)
    envelope.create_signature(by)
    filename = FILENAME_FORMAT.format(step_name=step, keyid=by.public_key.keyid)
    write_whole(folder / filename, as_json(envelope.to_dict()))


def link_path(folder: Path, step: str) -> Path:
    keyid = public_key(names.SIGNERS[step])["keyid"]
    return folder / FILENAME_FORMAT.format(step_name=step, keyid=keyid)


def is_signed(folder: Path, step: str) -> bool:
    return link_path(folder, step).exists()


def read_statement(folder: Path, step: str) -> Statement:
    """A step's statement, its signature checked against the key of the role that must sign it.

    Raises:
        VerificationFailed: the link is missing, altered or signed by another key.
    """
    if fault := link_fault(folder, step, public_key(names.SIGNERS[step])):
        raise VerificationFailed(fault)
    return statement_of(link_path(folder, step))


def statement_of(path: Path) -> Statement:
    """What a link says whose signature was checked."""
    link = Metadata.load(str(path)).get_payload()
    return Statement(
        {name: value["sha256"] for name, value in link.materials.items()},
        {name: value["sha256"] for name, value in link.products.items()},
        link.environment["mlflow_run_id"],
        link.environment["model"] or None,
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
    envelope = load_envelope(path)
    if envelope is None or not signed_by(envelope, public_key(names.SIGNERS[step])):
        raise VerificationFailed(f"earlier link {step}: {path.name} is not signed by the {names.SIGNERS[step]}")
    return statement_of(path)


def link_fault(folder: Path, step: str, key: dict[str, Any]) -> str | None:
    """What is wrong with a step's link, in words, or None."""
    role = names.SIGNERS[step]
    path = folder / FILENAME_FORMAT.format(step_name=step, keyid=key["keyid"])
    found = path if path.exists() else next(iter(sorted(folder.glob(f"{step}.*.link"))), None)
    if found is None:
        return f"link {step}: missing; the {role} must have signed it"
    envelope = load_envelope(found)
    if envelope is None:
        return f"link {step}: {found.name} is not a DSSE envelope"
    if signed_by(envelope, key):
        return None
    for other in names.ROLES:
        if other != role and signed_by(envelope, public_key(other)):
            return f"link {step}: signed by the {other}'s key; only the {role}'s is allowed"
    return f"link {step}: altered after signing, or signed by an unknown key"


def load_envelope(path: Path) -> Envelope | None:
    try:
        loaded = Metadata.load(str(path))
    except Exception:  # noqa: BLE001 - a hostile file may fail to parse in any way; all of them mean the same
        return None
    return loaded if isinstance(loaded, Envelope) else None


def signed_by(envelope: Envelope, key: dict[str, Any]) -> bool:
    try:
        envelope.verify_signature(dict(key))
    except Exception:  # noqa: BLE001 - whatever the reason, it is not a valid signature by this key
        return False
    return True


def chain_faults(folder: Path, layout_name: str) -> list[str]:
    """What keeps a candidate's links from satisfying a layout; empty if in-toto itself verifies them.

    The first lines name the broken item in words; in-toto's own verification is the authority.
    """
    owner = public_key(names.OWNER)
    layout = load_envelope(folder / layout_name)
    if layout is None:
        return [f"layout {layout_name}: missing or not a DSSE envelope"]
    if not signed_by(layout, owner):
        return [f"layout {layout_name}: altered, or not signed by the owner's key"]
    content = layout.get_payload()
    faults = [
        fault for step in content.steps if (fault := link_fault(folder, step.name, dict(content.keys[step.pubkeys[0]])))
    ]
    if not faults:
        try:
            in_toto_verify(layout, {owner["keyid"]: dict(owner)}, link_dir_path=str(folder))
        except Exception as fault:  # noqa: BLE001 - in-toto raises a dozen kinds; each is a refusal with its words
            faults.append(f"chain: {type(fault).__name__}: {' '.join(str(fault).split())[:400]}")
    return faults


# --- alias log ----------------------------------------------------------------------------------------------


class AliasMove(NamedTuple):
    """One signed entry: from `sequence` on, `alias` of `model` points to `version`."""

    sequence: int
    previous: str
    model: str
    alias: str
    version: int
    candidate: str


def alias_log(problem: str) -> Path:
    return problem_folder(problem) / "aliases"


def sign_alias(problem: str, model: str, alias: str, version: int, candidate: str, by: CryptoSigner | None) -> None:
    """Append to the log that an alias is to point to a version. The alias itself is moved afterwards, so that a
    crash between leaves evidence without a move (mended by the next run), never a move without evidence.

    Raises:
        VerificationFailed: the log is not whole; nothing is added to it.
    """
    _, faults = authorised_aliases(problem)
    if faults:
        raise VerificationFailed("; ".join(faults))
    entries = sorted(alias_log(problem).glob("*.json"))
    move = AliasMove(
        sequence=len(entries) + 1,
        previous=sha256(entries[-1].read_bytes()) if entries else "",
        model=model,
        alias=alias,
        version=version,
        candidate=candidate,
    )
    envelope = Dsse(as_json(move._asdict()), ALIAS_PAYLOAD, {})
    envelope.sign(by or signer(names.ALIAS_SIGNERS[alias]))
    write_whole(alias_log(problem) / f"{move.sequence:06d}.json", as_json(envelope.to_dict()))


def authorised_aliases(problem: str) -> tuple[dict[tuple[str, str], AliasMove], list[str]]:
    """Where each (model, alias) should point by the signed log, and what is wrong with the log."""
    current: dict[tuple[str, str], AliasMove] = {}
    faults: list[str] = []
    previous = ""
    for number, path in enumerate(sorted(alias_log(problem).glob("*.json")), start=1):
        content = path.read_bytes()
        move = read_move(content)
        if move is None:
            faults.append(f"alias log: entry {path.name} is altered or signed by a key that may not move it")
        elif (move.sequence, move.previous) != (number, previous) or path.stem != f"{number:06d}":
            faults.append(f"alias log: entry {path.name} does not follow the one before it")
        else:
            current[move.model, move.alias] = move
        previous = sha256(content)
    return current, faults


def read_move(content: bytes) -> AliasMove | None:
    try:
        envelope = Dsse.from_dict(json.loads(content))
        move = AliasMove(**json.loads(envelope.payload))
        key = public_key(names.ALIAS_SIGNERS[move.alias])
        envelope.verify([Key.from_dict(key["keyid"], {k: v for k, v in key.items() if k != "keyid"})], 1)
    except VerificationFailed:
        raise
    except Exception:  # noqa: BLE001 - a hostile entry may fail in any way; all of them mean it does not count
        return None
    return move


# --- other chained logs -------------------------------------------------------------------------------------


def append_chained(
    folder: Path, payload: str, content: dict[str, Any], by: CryptoSigner, role: str = names.STEWARD
) -> None:
    """Append a signed entry to a numbered, hash-chained log; `sequence` and `previous` are added to its content.

    `by` must be the key of `role`, which `chained` will ask for: an entry by another one breaks the log for good.
    """
    entries = sorted(folder.glob("*.json"))
    chained(folder, payload, role)
    link = {"sequence": len(entries) + 1, "previous": sha256(entries[-1].read_bytes()) if entries else ""}
    envelope = Dsse(as_json(link | content), payload, {})
    envelope.sign(by)
    write_whole(folder / f"{link['sequence']:06d}.json", as_json(envelope.to_dict()))


def chained(folder: Path, payload: str, role: str = names.STEWARD) -> list[dict[str, Any]]:
    """The entries of such a log, oldest first, each checked against the role's key and the entry before it.

    Raises:
        VerificationFailed: an entry is altered, missing or signed by another key.
    """
    found: list[dict[str, Any]] = []
    previous = ""
    for number, path in enumerate(sorted(folder.glob("*.json")), start=1):
        content = path.read_bytes()
        entry = signed_entry(content, payload, role)
        if entry is None or (entry["sequence"], entry["previous"], path.stem) != (number, previous, f"{number:06d}"):
            raise VerificationFailed(
                f"log {folder.name}: entry {path.name} is altered, does not follow the one before it, or is not "
                f"signed by the {role}"
            )
        found.append(entry)
        previous = sha256(content)
    return found


def signed_entry(content: bytes, payload: str, role: str) -> dict[str, Any] | None:
    try:
        envelope = Dsse.from_dict(json.loads(content))
        key = public_key(role)
        envelope.verify([Key.from_dict(key["keyid"], {k: v for k, v in key.items() if k != "keyid"})], 1)
        entry = dict(json.loads(envelope.payload))
    except VerificationFailed:
        raise
    except Exception:  # noqa: BLE001 - a hostile entry may fail in any way; all of them mean it does not count
        return None
    return entry if envelope.payload_type == payload and {"sequence", "previous"} <= set(entry) else None
