"""Keys: a private one lies where its holder keeps it, a role's service at `keys/<role>.pem`; public ones are known by
the owner's signed register. The owner's public key is what everything else is trusted by."""

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.home import keys_folder, write_whole

KeyDict = dict[str, Any]
OWNER_VARIABLE = "COUNTERSIGN_OWNER_KEY"  # the owner's public key, where it is kept apart from what it verifies
PRIVATE = stat.S_IRUSR | stat.S_IWUSR


def make(stem: Path) -> CryptoSigner:
    """Make a key pair: `<stem>.pem`, readable by its user only, and `<stem>.pub`; both in PEM, as all tools read it."""
    made = CryptoSigner.generate_ed25519()
    write_whole(stem.with_suffix(".pem"), made.private_bytes, mode=PRIVATE)
    write_whole(stem.with_suffix(".pub"), as_pem(public_of(made.public_key)))
    return made


def as_dict(key: Key) -> KeyDict:
    return {"keyid": key.keyid, **key.to_dict()}


def public_of(key: Key) -> str:
    """Its 64 hexadecimal digits, as people are listed with it."""
    return str(key.to_dict()["keyval"]["public"])


def raw(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))


def as_pem(public: str) -> bytes:
    """A public key as other tools read it (SubjectPublicKeyInfo)."""
    return raw(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=1024)
def from_public(public: str) -> SSlibKey:
    """The key behind 64 hexadecimal digits."""
    return SSlibKey.from_crypto(raw(public))


def owner() -> SSlibKey:
    """The owner's public key, which all trust begins with.

    Raises:
        VerificationFailed: it cannot be read.
    """
    path = Path(os.environ.get(OWNER_VARIABLE) or keys_folder() / f"{names.OWNER}.pub")
    try:
        found = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise VerificationFailed(f"{path}: the owner's public key (Ed25519, PEM) cannot be read; restore it")
    return SSlibKey.from_crypto(found)


def path_of(role: str) -> Path:
    """Where a role's service keeps its private key."""
    return keys_folder() / f"{role}.pem"


def signer(role: str) -> CryptoSigner:
    return signer_from(path_of(role))


def signer_from(path: Path) -> CryptoSigner:
    """A signer from a private key file (PEM, PKCS#8, Ed25519).

    Raises:
        UsageError: no such file, or not such a key.
    """
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
        return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))  # type: ignore[arg-type]
    except OSError as fault:
        raise UsageError(f"key {path}: cannot be read ({fault.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(f"key {path}: expected an unencrypted Ed25519 private key in PEM") from None
