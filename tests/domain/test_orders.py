"""Orders and fills: each rule by hand, and every record accounted for."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.orders import KIND_WORDS, ORDER_SCHEMA, SIDE_WORDS, Reconciled, plain_words, reconcile

OPEN = datetime(2020, 1, 2, 14, 30, tzinfo=UTC)


def at(minute: int) -> datetime:
    return OPEN.replace(minute=minute)


def order(order_id: str = "o1", quantity: float = 100, **changed: Any) -> dict[str, Any]:
    return record("order", order_id, quantity, execution_id=None, cumulative_quantity=None, time=at(30)) | changed


def fill(execution_id: str, quantity: float, order_id: str = "o1", **changed: Any) -> dict[str, Any]:
    return record("fill", order_id, quantity, execution_id=execution_id, price=10.0, time=at(31)) | changed


def record(kind: str, order_id: str, quantity: float | None, **given_fields: Any) -> dict[str, Any]:
    plain = {"instrument": "A", "side": "buy", "price": None, "venue": "XNYS", "account": "f1"}
    return (
        dict.fromkeys(ORDER_SCHEMA) | plain | {"kind": kind, "order_id": order_id, "quantity": quantity} | given_fields
    )


def judge(*records: dict[str, Any]) -> Reconciled:
    table = pl.DataFrame(list(records), schema=ORDER_SCHEMA)
    found = reconcile(table)
    assert found.accepted.height + found.duplicates.height + found.rejected.height == table.height
    assert found.accepted.columns == list(ORDER_SCHEMA)
    assert found.rejected.columns == [*ORDER_SCHEMA, "reason"]
    return found


def reasons(*records: dict[str, Any]) -> list[str]:
    return judge(*records).rejected["reason"].to_list()


def test_an_order_its_fills_and_its_cancel_hold_together() -> None:
    cancel = record("cancel", "o1", None, time=at(40), side=None)
    found = judge(order(), fill("e1", 60), fill("e2", 40), cancel, record("reject", "o9", None, time=at(41)))
    assert found.accepted.height == 5
    assert found.accepted["kind"].to_list() == ["order", "fill", "fill", "cancel", "reject"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (order(quantity=0), "quantity: 0.0 is not above zero"),
        (order(quantity=-5), "quantity: -5.0 is not above zero"),
        (order(quantity=float("nan")), "quantity: NaN is no amount"),
        (order(quantity=None), "quantity: is missing"),
        (order(side="hold"), "side: hold is unknown"),
        (order(kind="thought"), "kind: thought is unknown"),
        (order(time=None), "time: is missing"),
        (order(instrument=None), "instrument: is missing"),
        (fill("e1", 10) | {"price": None}, "price: is missing"),
        (fill("e1", 10) | {"price": float("inf")}, "price: inf is no amount"),
        (fill("e1", 10) | {"execution_id": None}, "execution_id: is missing"),
        (fill("e1", 10, "o7"), "order_id: no order o7 is known"),
        (record("cancel", "o7", None, time=at(31)), "order_id: no order o7 is known"),
        (fill("e1", 10, instrument="B"), "instrument: the order was for A"),
        (fill("e1", 10, side="sell"), "side: the order was to buy"),
        (fill("e1", 10, time=at(29)), "time: the order came later, at 2020-01-02 14:30:00"),
        (fill("e1", 101), "quantity: 101.0 filled of 100.0 ordered"),
        (fill("e1", 10, cumulative_quantity=101), "quantity: 101.0 filled of 100.0 ordered"),
    ],
)
def test_what_cannot_be_is_rejected_with_its_reason(wrong: dict[str, Any], reason: str) -> None:
    first = order() if wrong["kind"] in ("fill", "cancel") else order("other")
    found = judge(first, wrong)
    assert found.rejected["reason"].to_list() == [pytest.approx(reason)] or found.rejected["reason"][0].startswith(
        reason
    )
    assert found.accepted.height == 1


def test_an_overfill_rejects_the_fill_that_goes_beyond_in_order_of_time() -> None:
    found = judge(order(), fill("late", 60, time=at(35)), fill("early", 60, time=at(31)))
    assert found.rejected["execution_id"].to_list() == ["late"]


def test_an_execution_told_twice_counts_once_and_a_conflict_rejects_both() -> None:
    assert judge(order(), fill("e1", 60), fill("e1", 60)).duplicates.height == 1
    found = judge(order(), fill("e1", 60), fill("e1", 50), fill("e2", 1))
    assert found.accepted["execution_id"].to_list() == [None, "e2"]
    assert set(found.rejected["reason"]) == {"execution_id: e1 stands for different records"}


def test_an_acknowledgement_is_no_second_order_and_a_conflict_rejects_both_and_their_fills() -> None:
    acknowledged = order(time=at(31), execution_id="a1")
    assert judge(order(), acknowledged, fill("e1", 60)).duplicates.height == 1
    found = judge(order(), order(quantity=200), fill("e1", 60))
    assert found.accepted.is_empty()
    assert found.rejected["reason"].to_list() == [
        "order_id: o1 stands for different records",
        "order_id: o1 stands for different records",
        "order_id: no order o1 is known",
    ]


def test_words_for_sides_and_kinds() -> None:
    table = pl.DataFrame({"word": ["Buy", " SELL_SHORT", "1", "5", "hold", None]})
    assert table.select(plain_words(pl.col("word"), SIDE_WORDS))["word"].to_list() == [
        "buy",
        "sell",
        "buy",
        "sell",
        "hold",
        None,
    ]
    kinds = pl.DataFrame({"word": ["New", "PARTIALLY-FILLED", "Cancelled", "rejected", "x"]})
    told = kinds.select(plain_words(pl.col("word"), KIND_WORDS))["word"].to_list()
    assert told == ["order", "fill", "cancel", "reject", "x"]


quantities = st.sampled_from([None, 0.0, -1.0, 10.0, 50.0, 100.0, float("nan")])
any_record = st.builds(
    record,
    st.sampled_from(["order", "fill", "fill", "cancel", "reject", "x"]),
    st.sampled_from(["o1", "o2", None]),
    quantities,
    execution_id=st.sampled_from([None, "e1", "e2", "e3"]),
    side=st.sampled_from(["buy", "sell", "hold", None]),
    price=st.sampled_from([None, 1.0, 2.0]),
    time=st.sampled_from([None, at(30), at(31), at(32)]),
    cumulative_quantity=st.sampled_from([None, 10.0, 200.0]),
    instrument=st.sampled_from(["A", "B", None]),
)


@pytest.mark.slow
@given(st.lists(any_record, max_size=15))
def test_every_record_ends_in_one_place_and_no_order_is_overfilled(records: list[dict[str, Any]]) -> None:
    found = judge(*records)
    fills = found.accepted.filter(pl.col("kind") == "fill").group_by("order_id").agg(pl.col("quantity").sum())
    ordered = found.accepted.filter(pl.col("kind") == "order")
    assert ordered["order_id"].is_unique().all()
    joined = fills.join(ordered, on="order_id", how="left", suffix="_ordered")
    assert (joined["quantity"] <= joined["quantity_ordered"]).all()
    again = reconcile(found.accepted)
    assert again.accepted.equals(found.accepted)


def test_no_records_at_all() -> None:
    assert judge().accepted.is_empty()
