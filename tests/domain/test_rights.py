"""The declaration of rights: what contradicts itself is refused in one line that names the field."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.domain.errors import UsageError
from tasks.domain.rights import ROLES, parse_access
from tests.support.accounts import separated

SHIPPED = Path(__file__).parents[2] / "expectations" / "access.yaml"


def shipped() -> dict[str, Any]:
    return dict(yaml.safe_load(SHIPPED.read_text()))


def test_the_shipped_declaration_separates_nobody_until_users_are_named(tmp_path: Path) -> None:
    assert not parse_access(shipped(), "f").separates_users
    assert parse_access(yaml.safe_load(separated(tmp_path).read_text()), "f").separates_users


def test_the_trainer_reads_development_and_nothing_else_of_the_lake() -> None:
    access = parse_access(shipped(), "f")
    tables = [name for name in type(access.tables).model_fields if access.rows[name].trainer != "none"]
    assert tables == ["development"]


@pytest.mark.parametrize(
    ("part", "name", "role", "right", "words"),
    [
        ("tables", "lockbox", "trainer", "read", "tables.lockbox.trainer: expected none"),
        ("tables", "raw", "trainer", "read", "tables.raw.trainer: expected none"),
        ("tables", "orders", "trader", "write", "tables.orders: expected exactly one role that writes it"),
        ("tables", "series", "steward", "read", "tables.series: expected exactly one role that writes it, found none"),
        ("tables", "series", "steward", "all", "tables.series.steward: Input should be"),
        ("shared", "evidence", "auditor", "none", "shared.evidence.auditor: expected read or write"),
    ],
)
def test_contradictions_are_refused(part: str, name: str, role: str, right: str, words: str) -> None:
    fields = shipped()
    fields[part][name][role] = right
    with pytest.raises(UsageError, match=f"^f: .*{words}"):
        parse_access(fields, "f")


def test_users_are_named_for_all_or_none_and_differ(tmp_path: Path) -> None:
    fields = yaml.safe_load(separated(tmp_path).read_text())
    fields["roles"]["trader"]["user"] = None
    with pytest.raises(UsageError, match=r"or none; missing are roles\.trader\.user$"):
        parse_access(fields, "f")
    fields["roles"]["trader"]["user"] = fields["roles"]["steward"]["user"]
    with pytest.raises(UsageError, match=r"roles.steward.user and roles.trader.user: expected different ones"):
        parse_access(fields, "f")
    fields["roles"]["owner"] = {"user": 1, "group": 1}
    with pytest.raises(UsageError, match=r"roles\.owner: unknown key"):
        parse_access(fields, "f")
    assert len(ROLES) == 6
