"""Exchange calendars: when there could have been a bar."""

from functools import cache

from tasks.domain.cleansing.rule import Calendar
from tasks.domain.errors import UsageError

EARLIEST = "1970-01-02"


@cache
def calendar(exchange: str | None, last: str) -> Calendar | None:
    """The sessions of an exchange (a code of exchange_calendars, such as XNYS) up to a date; None for no exchange.

    Raises:
        UsageError: no such exchange.
    """
    if exchange is None:
        return None
    import exchange_calendars
    from exchange_calendars.errors import CalendarError

    try:
        earliest = exchange_calendars.get_calendar(exchange).bound_min()
        first = EARLIEST if earliest is None else max(EARLIEST, str(earliest)[:10])
        days = exchange_calendars.get_calendar(exchange, start=first, end=last).sessions
    except CalendarError:
        known = ", ".join(sorted(exchange_calendars.get_calendar_names(include_aliases=False))[:8])
        raise UsageError(f"calendar {exchange!r}: unknown; expected an exchange's code such as {known}") from None
    return Calendar(days.to_numpy().astype("datetime64[us]").astype("int64"))
