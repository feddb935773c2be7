"""What the operating system really grants each role, asked as that role's user, beside what was declared."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks import access, places
from tasks.accounts import Accounts
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.domain.rights import ROLES, Right, rows
from tasks.home import home, keys_folder

# Runs as the role's user, isolated and with nothing but the standard library.
ASK = "import json,os,sys; print(json.dumps([os.access(path, mode) for path, mode in json.load(sys.stdin)]))"
Question = tuple[str, int]
ENTER = os.R_OK | os.X_OK


class Probe(NamedTuple):
    """Questions whose answers tell one right of one role: reading is granted if any is, writing if all are.

    Of keys, another role's in reach is what nobody is declared to have: it counts as writing, and one is enough.
    """

    role: str
    name: str
    read: list[Question]
    write: list[Question]


class Finding(NamedTuple):
    """One role and one thing: what was declared, and what is granted (None: not there yet, or not to be asked)."""

    role: str
    name: str
    declared: Right
    granted: Right | None

    @property
    def differs(self) -> bool:
        return self.granted is not None and self.granted != self.declared


def findings(who: Accounts, problem: str) -> list[Finding]:
    """Every role and every thing of a problem. Root asks as every role, anybody else as the role they are.

    Raises:
        UsageError: a role's user cannot even run the interpreter.
    """
    probes = list(probes_of(who, problem))
    granted: dict[tuple[str, str], Right] = {}
    for role in ROLES:
        if os.geteuid() in (0, who.users[role]):
            own = [probe for probe in probes if probe.role == role]
            granted |= answered(own, ask(who, role, [question for each in own for question in each.read + each.write]))
    return [
        Finding(role, name, row.right(role), granted.get((role, name)))
        for name, row in who.access.rows.items()
        for role in ROLES
    ]


def answered(probes: list[Probe], answers: list[bool]) -> dict[tuple[str, str], Right]:
    said = iter(answers)
    found: dict[tuple[str, str], Right] = {}
    for probe in probes:
        read, write = [next(said) for _ in probe.read], [next(said) for _ in probe.write]
        writes = any(write) if probe.name == "keys" else bool(write) and all(write)
        right: Right = "write" if writes else "read" if any(read) else "none"
        found[probe.role, probe.name] = right
    return found


def probes_of(who: Accounts, problem: str) -> Iterator[Probe]:
    folders = access.table_folders()
    shared = home() / "artifacts" / problem
    for role in ROLES:
        if not places.is_url(places.lake()):
            for name in rows(who.access.tables):
                if (path := Path(places.table(problem, folders[name]))).is_dir():
                    yield Probe(role, name, [(str(path), ENTER), *files_in(path)], [(str(path), os.W_OK | ENTER)])
        if (path := home() / "evidence" / problem).is_dir():
            yield Probe(role, "evidence", [(str(path), ENTER)], [(str(path), os.W_OK | ENTER)])
        if shared.is_dir():
            own = [(str(shared / stage), os.W_OK | ENTER) for stage, signer in names.SIGNERS.items() if signer == role]
            yield Probe(role, "artifacts", [(str(shared), ENTER)], own)
        if (path := home() / "mlflow" / access.DATABASE).exists():
            yield Probe(role, "mlflow", [(str(path), os.R_OK)], [(str(path), os.W_OK), (str(path.parent), os.W_OK)])
        if (path := keys_folder()).is_dir():
            yield keys_probe(role, path)


def keys_probe(role: str, folder: Path) -> Probe:
    others = [(str(path), os.R_OK) for path in sorted(folder.glob("*.pem")) if path.stem != role]
    return Probe(role, "keys", [(str(folder / f"{role}.pem"), os.R_OK)], others)


def files_in(path: Path) -> list[Question]:
    """Data files and commits: one of them in reach would be enough to read."""
    return [(str(file), os.R_OK) for file in sorted(path.rglob("*")) if file.is_file()]


def ask(who: Accounts, role: str, questions: list[Question]) -> list[bool]:
    as_role: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_role = {"user": who.users[role], "group": who.own[role], "extra_groups": who.memberships(role)}
    command = [sys.executable, "-I", "-S", "-c", ASK]
    try:
        done = subprocess.run(
            command, input=json.dumps(questions), capture_output=True, text=True, check=True, cwd="/", **as_role
        )
    except (OSError, subprocess.CalledProcessError) as fault:
        raise UsageError(f"{sys.executable}: the {role}'s user ({who.users[role]}) cannot run it ({fault})") from None
    return list(json.loads(done.stdout))
