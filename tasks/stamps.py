"""Time stamps of a journal's head by somebody else's clock (RFC 3161): nothing can be dated back behind one, and what
was stamped cannot be cut off unseen by whoever still holds the stamp.

The authority sees nothing but a hash. Its stamps lie beside the journal and are part of every bundle.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from tasks import journal
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import home, write_whole
from tasks.journal import SLOW_CLOCK, Event

AUTHORITY = "COUNTERSIGN_TSA"  # its URL
ROOT = "COUNTERSIGN_TSA_ROOT"  # the certificates (PEM) that its stamps are trusted by, root last
SECONDS = 30


def folder(problem: str) -> Path:
    return home() / "evidence" / problem / "stamps"


def is_wanted() -> bool:
    return bool(os.environ.get(AUTHORITY))


def stamp(problem: str) -> dict[str, Any]:
    """Have the head of a problem's journal stamped; one that was stamped already is not asked for again.

    Returns:
        problem, entry (its number), at (by the authority's clock), new.

    Raises:
        UsageError: no authority is named, it does not answer, or there is nothing to stamp.
        VerificationFailed: its answer is not by who is trusted, or the journal is not whole.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    url, found = os.environ.get(AUTHORITY), journal.whole(problem)
    if not url:
        raise UsageError(f"{AUTHORITY}: names no time stamping authority; give its URL")
    if not found:
        raise UsageError(f"problem {problem!r}: nothing happened to it yet")
    head = found[-1]
    path = folder(problem) / f"{head.number:06d}.tsr"
    is_new = not path.exists()
    if is_new:
        request = TimestampRequestBuilder().data(message(head)).hash_algorithm(HashAlgorithm.SHA256).build()
        answer = asked(url, request.as_bytes())
        checked(answer, head, trusted())
        write_whole(path, answer)
    at = checked(path.read_bytes(), head, trusted())
    return {"problem": problem, "entry": head.number, "at": at.isoformat(), "new": is_new}


def message(event: Event) -> bytes:
    """What is stamped of an entry."""
    return event.sha256.encode()


def asked(url: str, request: bytes) -> bytes:
    kind = {"Content-Type": "application/timestamp-query"}
    try:
        return httpx.post(url, content=request, headers=kind, timeout=SECONDS).raise_for_status().content
    except httpx.HTTPError as fault:
        raise UsageError(f"{AUTHORITY} {url}: did not answer as it should ({fault})") from None


def trusted() -> list[x509.Certificate]:
    """The certificates that stamps are checked against.

    Raises:
        UsageError: none are named, or they cannot be read.
    """
    path = os.environ.get(ROOT)
    if not path:
        raise UsageError(f"{ROOT}: names no file; give the authority's certificates (PEM, root last)")
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as fault:
        raise UsageError(f"{ROOT} {path}: expected certificates in PEM ({fault})") from None


def checked(answer: bytes, event: Event, certificates: Sequence[x509.Certificate]) -> datetime:
    """When an entry was stamped, in UTC.

    Raises:
        VerificationFailed: it is no stamp of this entry by who is trusted.
    """
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    *others, root = certificates
    builder = VerifierBuilder().add_root_certificate(root)
    for certificate in others:
        builder = builder.add_intermediate_certificate(certificate)
    try:
        decoded = decode_timestamp_response(answer)
        builder.build().verify_message(decoded, message(event))
    except (VerificationError, ValueError) as fault:
        said = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise VerificationFailed(f"stamp {event.number:06d}.tsr: is none of that entry ({said})") from None
    return decoded.tst_info.gen_time.astimezone(UTC)


def faults(problem: str) -> list[str]:
    """What is wrong between a journal and its stamps; nothing is said where no certificates are named to check by."""
    paths = sorted(folder(problem).glob("*.tsr"))
    if not paths or not os.environ.get(ROOT):
        return []
    found, certificates = journal.whole(problem), trusted()
    for path in paths:
        number = int(path.stem) if path.stem.isdigit() else 0
        if not 1 <= number <= len(found):
            return [f"journal: entry {path.stem}.json is gone; {path.name} is a stamp of it"]
        at = checked(path.read_bytes(), found[number - 1], certificates)
        if found[number - 1].at > at + SLOW_CLOCK:
            return [f"journal: entry {number:06d}.json says {found[number - 1].at}, but was stamped at {at}"]
        if later := [each for each in found[number:] if each.at < at - SLOW_CLOCK]:
            return [f"journal: entry {later[0].number:06d}.json is dated back: entry {number:06d} was stamped at {at}"]
    return []
