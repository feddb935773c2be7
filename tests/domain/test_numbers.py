"""Number text: every convention by hand, and none of them ever lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.numbers import APOSTROPHES, GROUPED, SPACES, readings


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("12.5", (12.5,)),
        ("12,5", (12.5,)),
        ("-12,5", (-12.5,)),
        (" 12,5 ", (12.5,)),
        ("1.234,56", (1234.56,)),
        ("1,234.56", (1234.56,)),
        ("1,234", (1234.0, 1.234)),
        ("1.234", (1234.0, 1.234)),
        ("1,234,567", (1234567.0,)),
        ("1.234.567,8", (1234567.8,)),
        ("1 234,5", (1234.5,)),
        ("1\u00a0234,5", (1234.5,)),
        ("1\u202f234.5", (1234.5,)),
        ("1'234.5", (1234.5,)),
        ("1\u2019234.5", (1234.5,)),
        ("0,123", (0.123,)),
        ("1234,567", (1234.567,)),
        ("1,2345", (1.2345,)),
        ("1e5", (100000.0,)),
        ("1,5e3", (1500.0,)),
        (",5", (0.5,)),
        ("5.", (5.0,)),
    ],
)
def test_what_a_text_can_mean(text: str, meant: tuple[float, ...]) -> None:
    assert readings(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", " ", "-", ".", ",", "$5", "5 €", "5%", "n/a", "nan", "inf", "1e400", "(5)", "½", "١٢", "12:30"],
)
def test_what_is_no_number(text: str) -> None:
    assert readings(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "1,23,456",
        "1,2,3",
        "1.2.3",
        "5-",
        "1 5",
        "1,234,56",
        "1.234.5",
        "12 34",
        "1,234 567",
        "1,234.567.8",
        "--5",
        "1e",
    ],
)
def test_groups_that_are_not_of_three_digits_or_marks_that_are_mixed(text: str) -> None:
    assert readings(text) == ()


@given(
    st.integers(-(10**12), 10**12),
    st.integers(0, 6),
    st.sampled_from([*GROUPED, ("", "."), ("", ",")]),
)
def test_a_number_written_in_any_convention_is_among_its_readings(
    digits: int, places: int, marks: tuple[str, str]
) -> None:
    group, decimal = marks
    plain = f"{digits / 10**places:,.{places}f}"
    written = plain.replace(",", "\0").replace(".", decimal).replace("\0", group)
    assert float(plain.replace(",", "")) in readings(written)


@given(st.text(alphabet="0123456789.,eE+- " + SPACES + APOSTROPHES, max_size=20))
def test_readings_are_finite_and_few(text: str) -> None:
    found = readings(text)
    assert len(found) == len(set(found)) <= 2
    assert all(abs(number) < float("inf") for number in found)
