"""Records of orders and fills: what they may say, and which of them hold together.

Every record ends in exactly one of three places: accepted, dropped as a repetition, or rejected with a reason.
"""

from typing import Final, NamedTuple

import polars as pl

ORDER: Final = "order"
FILL: Final = "fill"
CANCEL: Final = "cancel"
REJECT: Final = "reject"
BUY: Final = "buy"
SELL: Final = "sell"
ORDER_SCHEMA: Final = {
    "time": pl.Datetime("us", "UTC"),
    "kind": pl.String(),
    "order_id": pl.String(),
    "execution_id": pl.String(),
    "instrument": pl.String(),
    "side": pl.String(),
    "quantity": pl.Float64(),
    "price": pl.Float64(),
    "cumulative_quantity": pl.Float64(),
    "venue": pl.String(),
    "account": pl.String(),
}
SIDE_WORDS: Final = {
    BUY: ("buy", "b", "1", "bot", "bought", "buy to cover"),
    SELL: ("sell", "s", "2", "5", "6", "sld", "sold", "ss", "sell short", "short sell", "sell short exempt"),
}
KIND_WORDS: Final = {
    ORDER: ("order", "new", "new order", "newordersingle", "submitted", "placed"),
    FILL: ("fill", "filled", "partial fill", "partially filled", "trade", "execution", "executed"),
    CANCEL: ("cancel", "canceled", "cancelled", "expired"),
    REJECT: ("reject", "rejected"),
}
SLACK: Final = 1e-9  # of an order's quantity: fractions of shares add up with rounding errors


class Reconciled(NamedTuple):
    """`accepted` and `duplicates` have the columns of the input; `rejected` has `reason` too. Input order is kept."""

    accepted: pl.DataFrame
    duplicates: pl.DataFrame
    rejected: pl.DataFrame


def plain_words(column: pl.Expr, words: dict[str, tuple[str, ...]]) -> pl.Expr:
    """The house's word for each delivered one, in any case and with blanks, underscores or hyphens; others stay."""
    known = {word: ours for ours, theirs in words.items() for word in theirs}
    simple = column.str.strip_chars().str.to_lowercase().str.replace_all(r"[\s_-]+", " ")
    return simple.replace_strict(known, default=column, return_dtype=pl.String)


def reconcile(records: pl.DataFrame) -> Reconciled:
    """Check all records of a desk together.

    Args:
        records: columns of `ORDER_SCHEMA` (further ones are carried along), in order of arrival; all there are, as a
            fill is rejected where its order is not among them.

    Rules, in this order, each on what the ones before left over:
        1. the fields that a kind needs are there, with a known kind and side and a quantity and price that can be;
        2. an execution id stands once: an exact repetition is dropped, a different one rejects all that bear the id;
        3. an order id is ordered once: a second record that agrees in instrument, side, quantity and price (a request
           and its acknowledgement) is dropped, one that does not rejects all that bear the id;
        4. a fill or cancel has its order, in the same instrument and (fill) on the same side;
        5. a fill is not before its order;
        6. what is filled, as summed up and as stated, is not more than what was ordered.
    """
    left = records.with_row_index("place")
    set_aside: list[pl.DataFrame] = []
    duplicates: list[pl.DataFrame] = []
    for rule in (impossible_fields, repeated_executions, repeated_orders, strangers, too_early, overfilled):
        found = rule(left)
        set_aside.append(found.filter(pl.col("reason").is_not_null() & (pl.col("reason") != "")))
        duplicates.append(found.filter(pl.col("reason") == "").drop("reason"))
        left = found.filter(pl.col("reason").is_null()).drop("reason")
    return Reconciled(
        left.sort("place").drop("place"),
        pl.concat(duplicates).sort("place").drop("place"),
        pl.concat(set_aside).sort("place").drop("place"),
    )


def impossible_fields(records: pl.DataFrame) -> pl.DataFrame:
    """The first thing wrong with a record by itself."""
    kind, trades = pl.col("kind"), pl.col("kind").is_in([ORDER, FILL])
    needed = {"time": pl.lit(True), "kind": pl.lit(True), "order_id": pl.lit(True), "instrument": trades}
    needed |= {"side": trades, "quantity": trades, "price": kind == FILL, "execution_id": kind == FILL}
    reasons = [
        pl.when(pl.col(name).is_null() & when.fill_null(True)).then(pl.lit(f"{name}: is missing"))
        for name, when in needed.items()
    ]
    known_kind, known_side = kind.is_in(list(KIND_WORDS)), pl.col("side").is_in(list(SIDE_WORDS))
    reasons.append(pl.when(~known_kind).then(pl.format("kind: {} is unknown", kind)))
    reasons.append(pl.when(~known_side).then(pl.format("side: {} is unknown", pl.col("side"))))
    for name in ("quantity", "price", "cumulative_quantity"):
        reasons.append(pl.when(~pl.col(name).is_finite()).then(pl.format("{}: {} is no amount", pl.lit(name), name)))
    no_quantity = trades & (pl.col("quantity") <= 0)
    reasons.append(pl.when(no_quantity).then(pl.format("quantity: {} is not above zero", pl.col("quantity"))))
    return records.with_columns(pl.coalesce(reasons).alias("reason"))


def repeated_executions(records: pl.DataFrame) -> pl.DataFrame:
    return repeated(records, pl.col("execution_id").is_not_null(), "execution_id", list(ORDER_SCHEMA))


def repeated_orders(records: pl.DataFrame) -> pl.DataFrame:
    return repeated(records, pl.col("kind") == ORDER, "order_id", ["instrument", "side", "quantity", "price"])


def repeated(records: pl.DataFrame, among: pl.Expr, key: str, content: list[str]) -> pl.DataFrame:
    """Reason "" for a repetition that agrees with the first, and words for all that bear a key with conflicts."""
    chosen, others = records.filter(among), records.filter(~among)
    told = chosen.with_columns(
        pl.struct(content).n_unique().over(key).alias("versions"),
        pl.int_range(pl.len()).over(key, order_by="place").alias("nth"),
    )
    clash = pl.format(f"{key}: {{}} stands for different records", pl.col(key))
    told = told.with_columns(
        pl.when(pl.col("versions") > 1).then(clash).when(pl.col("nth") > 0).then(pl.lit("")).alias("reason")
    )
    free = others.with_columns(pl.lit(None, pl.String).alias("reason"))
    return pl.concat([told.drop("versions", "nth"), free])


def with_order(records: pl.DataFrame) -> pl.DataFrame:
    """Records with their order's instrument, side, quantity and time beside them."""
    orders = records.filter(pl.col("kind") == ORDER).select(
        "order_id", *(pl.col(name).alias(f"ordered_{name}") for name in ("instrument", "side", "quantity", "time"))
    )
    return records.join(orders, on="order_id", how="left")


def without_order(records: pl.DataFrame) -> pl.DataFrame:
    return records.drop("ordered_instrument", "ordered_side", "ordered_quantity", "ordered_time")


def strangers(records: pl.DataFrame) -> pl.DataFrame:
    follows = pl.col("kind").is_in([FILL, CANCEL])
    elsewhere = follows & (pl.col("instrument") != pl.col("ordered_instrument"))
    other_side = (pl.col("kind") == FILL) & (pl.col("side") != pl.col("ordered_side"))
    reason = pl.coalesce(
        pl.when(follows & pl.col("ordered_time").is_null()).then(
            pl.format("order_id: no order {} is known", pl.col("order_id"))
        ),
        pl.when(elsewhere).then(pl.format("instrument: the order was for {}", pl.col("ordered_instrument"))),
        pl.when(other_side).then(pl.format("side: the order was to {}", pl.col("ordered_side"))),
    )
    return without_order(with_order(records).with_columns(reason.alias("reason")))


def too_early(records: pl.DataFrame) -> pl.DataFrame:
    early = (pl.col("kind") == FILL) & (pl.col("time") < pl.col("ordered_time"))
    reason = pl.when(early).then(pl.format("time: the order came later, at {}", pl.col("ordered_time")))
    return without_order(with_order(records).with_columns(reason.alias("reason")))


def overfilled(records: pl.DataFrame) -> pl.DataFrame:
    fills = with_order(records).filter(pl.col("kind") == FILL)
    others = records.filter(pl.col("kind") != FILL).with_columns(pl.lit(None, pl.String).alias("reason"))
    summed = pl.col("quantity").cum_sum().over("order_id", order_by=["time", "place"])
    filled = pl.max_horizontal(summed, "cumulative_quantity")
    words = pl.format("quantity: {} filled of {} ordered", filled, pl.col("ordered_quantity"))
    reason = pl.when(filled > pl.col("ordered_quantity") * (1 + SLACK)).then(words)
    return pl.concat([without_order(fills.with_columns(reason.alias("reason"))), others])
