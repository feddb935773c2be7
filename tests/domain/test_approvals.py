"""Where a version stands with its approvers: who counts, what is void, and what keeps it from being approved."""

from datetime import UTC, datetime, timedelta

from tasks.domain.approvals import Approval, Concern, Rejection, Standing, standing

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def yes(person: str, days: int = 0, about: str = "d") -> Approval:
    return Approval(100 - days, person, NOW - timedelta(days=days), about)


def stands(*given: Approval, needed: int = 2, released: datetime | None = None, **besides: list) -> Standing:  # type: ignore[type-arg]
    rejections, concerns = besides.get("rejections", []), besides.get("concerns", [])
    return standing(needed, given, rejections, concerns, "d", NOW, 14, released)


def test_different_people_count_once_each() -> None:
    assert stands(yes("ada"), yes("ada")).said == "waits for 1 of 2 approvals, ada approved"
    assert stands(yes("ada"), yes("bob")).enough
    assert stands().said == "waits for 2 of 2 approvals"


def test_an_approval_of_another_decision_or_of_long_ago_is_void() -> None:
    other = stands(yes("ada", about="other"), yes("bob", days=15))
    assert not other.counted
    assert other.void == [
        "ada's approval of 2026-06-01 was of another decision",
        "bob's approval of 2026-05-17 expired after 14 days",
    ]
    assert stands(yes("ada", days=15), yes("ada"), yes("bob", days=14)).enough, "signed again"


def test_what_was_released_stays_so() -> None:
    then = NOW - timedelta(days=300)
    old = stands(yes("ada", days=301), yes("bob", days=302), released=then)
    assert old.enough
    assert old.said == "approved by ada, bob"


def test_a_rejection_stands_until_the_same_person_approves() -> None:
    no = Rejection(99, "bob", NOW - timedelta(days=1), "too risky")
    assert stands(yes("ada"), yes("cyn"), rejections=[no]).said == "rejected by bob on 2026-05-31: too risky"
    assert not stands(yes("ada"), yes("cyn"), rejections=[no]).enough
    assert stands(yes("ada"), yes("bob"), rejections=[no]).enough
    assert not stands(yes("bob", days=2), yes("ada"), rejections=[no]).enough, "changed their mind to no"


def test_an_open_concern_blocks_and_an_answered_one_does_not() -> None:
    doubt = Concern(7, "tom", "trader", "what of short squeezes?")
    assert stands(yes("ada"), yes("bob"), concerns=[doubt]).obstacles == [
        "concern 7 of tom is open: what of short squeezes?"
    ]
    answered = doubt._replace(answer="capped", answered_by="ada")
    assert stands(yes("ada"), yes("bob"), concerns=[answered]).enough
