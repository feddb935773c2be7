"""The register: who may sign what, signed by the owner, numbered and chained.

An entry of a journal names the number of the register it was made under, so that a key counts as it did then; only a
revocation reaches back, to the day it says. Nobody listed: development keys, one for each role.
"""

import json
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tasks import chain, keys
from tasks.chain import Broken
from tasks.domain import names
from tasks.domain.errors import UsageError, VerificationFailed
from tasks.domain.people import People, parse_people
from tasks.home import as_json, exclusive, home, keys_folder

KIND = "register"
DEVELOPMENT_KEYS = (
    "Development keys, made on first run and kept beside the data: whoever can read the state folder can sign "
    "as every role. They show how the evidence works; they do not establish separation of duties."
)
SERVICES = (names.STEWARD, names.TRAINER, names.VALIDATOR)


class Version(NamedTuple):
    """One version of the register. `development`: its keys were made here and lie beside the data; `at`: when the owner
    signed it, in UTC."""

    people: People
    development: bool
    at: datetime


class Register(NamedTuple):
    """All versions, oldest first, numbered from 1."""

    versions: tuple[Version, ...]

    @property
    def number(self) -> int:
        """Of the version in force."""
        return len(self.versions)

    @property
    def now(self) -> Version:
        return self.versions[-1]

    def refuses(self, public: str, roles: tuple[str, ...], day: date, number: int) -> str | None:
        """Why a key could not sign as one of some roles on a day, under a version; None if it could."""
        if not 1 <= number <= self.number:
            return f"was used under version {number} of the register, which has {self.number}"
        said = [self.versions[number - 1].people.refuses(public, role, day) for role in roles]
        return None if None in said else said[0]

    def voids(self, public: str, day: date) -> str | None:
        """Why what a key signed on a day does not count any more: it was revoked since, back to that day."""
        return self.now.people.revoked(public, day)

    def person(self, public: str, number: int) -> str:
        """Who a key belongs to by a version."""
        found = self.versions[number - 1].people.owner_of(public)
        return found[0].name if found else "nobody who is listed"

    def publics(self, *roles: str) -> tuple[str, ...]:
        """Every public key that any version lists for one of these roles."""
        listed = [public for each in self.versions for role in roles for public in each.people.keys_of(role)]
        return tuple(dict.fromkeys(listed))


def require(public: str, role: str, path: Path, deed: str) -> str:
    """See that a key may sign as a role today; returns whose it is.

    Raises:
        VerificationFailed: it may not; says whose it is and why.
    """
    known = load()
    if why := known.refuses(public, (role,), datetime.now(UTC).date(), known.number):
        raise VerificationFailed(f"key {path}: {why}; only the {role} may {deed}")
    return known.person(public, known.number)


def folder() -> Path:
    return home() / "register"


def load() -> Register:
    """The register as the owner signed it.

    Raises:
        VerificationFailed: it is not whole, or there is none.
    """
    try:
        found = chain.read(folder(), KIND, [keys.public_of(keys.owner())])
    except Broken as broken:
        raise VerificationFailed(f"register: {broken}; only the owner signs it") from None
    if not found:
        raise VerificationFailed(f"register {folder()}: is empty; nobody's signature can be checked")
    return Register(tuple(version(entry.sha256, as_json(entry.content)) for entry in found))


@lru_cache(maxsize=64)
def version(sha: str, content: bytes) -> Version:
    said = json.loads(content)
    people = parse_people(said["people"], f"register entry {sha[:8]}")
    return Version(people, bool(said["development"]), datetime.fromisoformat(said["at"]))


def establish() -> None:
    """Make development keys and the register that lists them, where there is none; safe to call at any time."""
    if any(folder().glob("*.json")):
        return
    with exclusive("register", wait=True):
        if any(folder().glob("*.json")):
            return  # another process was first
        for role in names.ROLES:
            if not (keys_folder() / f"{role}.pub").exists():
                keys.make(keys_folder() / role)
        write(development(), is_development=True)


def development() -> People:
    made = {role: keys.public_of(keys.signer(role).public_key) for role in names.ROLES if role != names.OWNER}
    people = [
        {"name": f"development-{role}", "roles": [{"role": role}], "keys": [{"public": key}]}
        for role, key in made.items()
    ]
    return parse_people({"people": people}, "development keys")


def sync(people: People) -> bool:
    """Have the owner sign a list of people as the register; returns whether it said something else before.

    Raises:
        UsageError: nobody is listed, the owner's key is not here, or a service's key is not listed as its role's.
    """
    if not people.people:
        raise UsageError("expectations/roles.yaml: lists nobody; development keys stay in force")
    with exclusive("register", wait=True):
        now = load().now
        if (now.people, now.development) == (people, False):
            return False
        require_services(people)
        write(people, is_development=False)
    return True


def require_services(people: People) -> None:
    """The stages' own keys must be listed, or nothing could be signed any more."""
    for role in SERVICES:
        listed = people.keys_of(role)
        if not listed:
            raise UsageError(f"expectations/roles.yaml: lists no key of a {role}, who signs stages; list one")
        if not keys.path_of(role).exists():
            continue  # it is kept on another machine
        public = keys.public_of(keys.signer(role).public_key)
        if public not in listed:
            raise UsageError(
                f"key {keys.path_of(role)}: its public half {public} is not listed as a {role}'s; list it, put the "
                f"key of one who is listed there, or take it away where the {role} works on another machine"
            )


def write(people: People, is_development: bool) -> None:
    after = chain.read(folder(), KIND, [keys.public_of(keys.owner())])
    at = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"people": people.model_dump(mode="json", by_alias=True), "development": is_development, "at": at}
    chain.append(folder(), KIND, content, keys.signer(names.OWNER), after)
