"""The parameters of a listing: its order and its filters."""

import operator
from collections.abc import Callable, Iterator

from tests.local.clerk.answers import Query, RefusedError, invalid
from tests.local.clerk.fake_users import User

type Rank = tuple[int, int, str]
type Place = tuple[Rank, str]
"""Where a user is in an order. The id breaks ties."""

FIRST: Place = ((-1, 0, ""), "")
LAST: Place = ((3, 0, ""), "")
"""Before and after every place that place_of can return."""
_MOST_IDS = 100
_TEXT_ORDERS = {"first_name", "last_name", "username"}
_TIME_ORDERS = {"created_at", "updated_at", "last_active_at", "last_sign_in_at"}
_LIST_ORDERS = {
    "email_address": ("email_addresses", "primary_email_address_id", "email_address"),
    "phone_number": ("phone_numbers", "primary_phone_number_id", "phone_number"),
    "web3wallet": ("web3_wallets", "primary_web3_wallet_id", "web3_wallet"),
}
"""Orders by the primary entry of a list: the list's name, that of its primary's id, that of the value."""
_TIME_FILTERS: dict[str, tuple[str, Callable[[int, int], bool]]] = {
    "created_at_before": ("created_at", operator.lt),
    "created_at_after": ("created_at", operator.gt),
    "last_active_at_before": ("last_active_at", operator.lt),
    "last_active_at_after": ("last_active_at", operator.gt),
    "last_active_at_since": ("last_active_at", operator.ge),
    "last_sign_in_at_before": ("last_sign_in_at", operator.lt),
    "last_sign_in_at_after": ("last_sign_in_at", operator.gt),
}
FILTERS = {"user_id", "email_address", "query", *_TIME_FILTERS}
PAGING = {"limit", "offset", "order_by", "starting_after"}


def number(query: Query, name: str, default: int = 0, least: int = 0) -> int:
    """A parameter's whole number. Raises RefusedError."""
    text = query.get(name, [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least):
        raise invalid(name, f"{name} must be a whole number of at least {least}")
    return int(text)


def order_of(query: Query) -> tuple[str, bool]:
    """The name to order by, and whether the order is descending. Raises RefusedError."""
    text = query.get("order_by", ["-created_at"])[0]
    name = text[1:] if text[:1] in ("-", "+", " ") else text  # an unescaped plus arrives as a space
    if name not in _TEXT_ORDERS | _TIME_ORDERS | _LIST_ORDERS.keys():
        raise invalid("order_by", "order_by names nothing that users can be ordered by")
    return name, text.startswith("-")


def check_names(query: Query, known: set[str]) -> None:
    """Raise RefusedError for a parameter that is not simulated."""
    for name, values in query.items():
        if name not in known:
            raise RefusedError(422, "form_param_unknown", f"{name} is unknown", parameter=name)
        if name in ("user_id", "email_address") and len(values) > _MOST_IDS:
            raise invalid(name, f"{name} may be given at most {_MOST_IDS} times")


def objects_of(user: User, name: str) -> list[User]:
    """The objects in a list field; broken users may hold anything there."""
    values = user.get(name)
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def facts_of(user: User) -> User:
    """A copy of what orders and filters look at, as the caller may change its own object."""
    lists = {name: [dict(e) for e in objects_of(user, name)] for name, _, _ in _LIST_ORDERS.values()}
    primaries = {name for _, name, _ in _LIST_ORDERS.values()}
    names = {"id"} | _TEXT_ORDERS | _TIME_ORDERS | primaries
    return {name: user.get(name) for name in names} | lists


def rank_of(value: object) -> Rank:
    """A sort key for any value: numbers, then texts, then everything else."""
    if isinstance(value, int):
        return (0, value, "")
    return (1, 0, value) if isinstance(value, str) else (2, 0, "")


def place_of(user: User, key: str, order: str) -> Place:
    """Where a user is in an order."""
    value = user.get(order)
    if order in _LIST_ORDERS:
        entries, primary, name = _LIST_ORDERS[order]
        wanted = user.get(primary)
        value = next((e.get(name) for e in objects_of(user, entries) if e.get("id") == wanted), None)
    elif order == "created_at" and type(value) is not int:
        value = 0  # a broken user counts as the oldest, so that no listing ends at it
    return rank_of(value), key


def _texts(user: User) -> Iterator[str]:
    """The texts that the `query` filter searches, in lower case."""
    values = [user.get(name) for name in ("id", *sorted(_TEXT_ORDERS))]
    for entries, _, name in _LIST_ORDERS.values():
        values += [entry.get(name) for entry in objects_of(user, entries)]
    return (value.lower() for value in values if isinstance(value, str))


def filters_of(query: Query) -> list[Callable[[User], bool]]:
    """The filters of a query, except `user_id`. Raises RefusedError."""
    filters = [
        _time_filter(*_TIME_FILTERS[name], number(query, name))
        for name in _TIME_FILTERS.keys() & query.keys()
    ]
    if "email_address" in query:
        wanted = {address.lower() for address in query["email_address"]}
        filters.append(
            lambda user: any(
                str(entry.get("email_address")).lower() in wanted
                for entry in objects_of(user, "email_addresses")
            )
        )
    if "query" in query:
        part = query["query"][0].lower()
        filters.append(lambda user: any(part in text for text in _texts(user)))
    return filters


def _time_filter(name: str, compare: Callable[[int, int], bool], bound: int) -> Callable[[User], bool]:
    def matches(user: User) -> bool:
        value = user.get(name)
        if name == "created_at" and type(value) is not int:
            value = 0  # as in the order by it
        return type(value) is int and compare(value, bound)

    return matches
