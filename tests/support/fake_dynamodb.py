"""RunsTable's DynamoDB in memory: the calls and the expressions that clerk-sync makes of it, no more.

What it doesn't know it refuses, and it refuses what DynamoDB would: a name or a value that no expression
uses, no names or values where there is a map for them, one item twice in a transaction.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

from botocore.exceptions import ClientError

from clerk_sync.aws.items import from_item, to_item

Key = tuple[str, str]
Item = dict[str, Any]
Request = Mapping[str, Any]

_EXPRESSIONS = ("KeyConditionExpression", "FilterExpression", "ConditionExpression", "UpdateExpression")
_PAGES_OF_A_RUN = "runId = :run AND begins_with(part, :prefix)"
_EXISTENCE = re.compile(r"attribute_(not_)?exists\((\S+)\)")
_COMPARISON = re.compile(r"(\S+) (=|<|>|>=|<=) (\S+)")
_COMPARE = {"=": operator.eq, "<": operator.lt, ">": operator.gt, ">=": operator.ge, "<=": operator.le}
_UPDATE = re.compile(r"(?:SET (?P<set>.+?))?(?: ?ADD (?P<add>.+))?")
_AND = re.compile(r" AND (?![^(]*\))")
_COMMA = re.compile(r", (?![^(]*\))")
"""Not the ones in brackets."""
_IF_NOT_EXISTS = re.compile(r"if_not_exists\((\S+), (\S+)\)")


class Edge(Protocol):
    """What each call goes through on its way out: `what` is for the trace, and an action that `can_repeat`
    may be carried out twice, as the SDK does where an answer is lost."""

    def __call__[T](self, what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T: ...


class ConditionalCheckFailed(ClientError):
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")


class TransactionConflict(ClientError):
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "TransactionConflictException"}}, "UpdateItem")


class TransactionCanceled(ClientError):
    def __init__(self, codes: Iterable[str]) -> None:
        reasons: Any = [{"Code": code} for code in codes]
        error: Any = {
            "Error": {"Code": "TransactionCanceledException"},
            "CancellationReasons": reasons,
        }
        super().__init__(error, "TransactWriteItems")


class FakeDynamoDB:
    """`items` are in plain values. `conflicts` says of each write whether a transaction is in its way;
    `on_change` gets each item as it was and as it is then, {} where there is none."""

    def __init__(
        self, edge: Edge, conflicts: Callable[[], bool], on_change: Callable[[Item, Item], None]
    ) -> None:
        self.items: dict[Key, Item] = {}
        self._edge = edge
        self._conflicts = conflicts
        self._on_change = on_change

    def get_item(self, **request: Any) -> Item:
        key = _key(request)

        def get() -> Item:
            assert request["ConsistentRead"], "a decision on what may be out of date"
            return {"Item": to_item(self.items[key])} if key in self.items else {}

        return self._edge(f"get {key[1]}", get)

    def put_item(self, **request: Any) -> Item:
        def put() -> Item:
            if not self._allows(request):
                raise ConditionalCheckFailed
            self._write("Put", request)
            return {}

        return self._edge(_summary("put", request), put, can_repeat=True)

    def update_item(self, **request: Any) -> Item:
        def update() -> Item:
            if self._conflicts():
                raise TransactionConflict
            if not self._allows(request):
                raise ConditionalCheckFailed
            self._write("Update", request)
            return {"Attributes": to_item(self.items[_key(request)])}

        return self._edge(_summary("update", request), update, can_repeat=True)

    def transact_write_items(self, **request: Any) -> Item:
        writes = [write for entry in request["TransactItems"] for write in entry.items()]
        keys = [_key(write) for _, write in writes]
        assert len(set(keys)) == len(keys), "one item twice in a transaction"

        def transact() -> Item:
            if self._conflicts():
                raise TransactionCanceled(["TransactionConflict", *["None"] * (len(writes) - 1)])
            allowed = [self._allows(write) for _, write in writes]
            if not all(allowed):
                raise TransactionCanceled("None" if one else "ConditionalCheckFailed" for one in allowed)
            for kind, write in writes:
                self._write(kind, write)
            return {}

        # Nothing to repeat: the SDK sends a token along, by which DynamoDB knows the same one again.
        return self._edge(" and ".join(_summary(kind.lower(), write) for kind, write in writes), transact)

    def get_paginator(self, operation: str) -> "_Pages":
        assert operation == "query"
        return _Pages(self)

    def query(self, request: Request) -> Item:
        values = _values(request)
        assert request["KeyConditionExpression"] == _PAGES_OF_A_RUN
        _check_placeholders(request)

        def read() -> Item:
            found = [
                to_item(item)
                for (run_id, part), item in sorted(self.items.items())
                if run_id == values[":run"]
                and part.startswith(values[":prefix"])
                and _holds(request["FilterExpression"], item, request)
            ]
            return {"Items": found}

        return self._edge("query pages", read)

    def _allows(self, request: Request) -> bool:
        _check_placeholders(request)
        condition = request.get("ConditionExpression")
        return condition is None or _holds(condition, self.items.get(_key(request), {}), request)

    def _write(self, kind: str, request: Request) -> None:
        key = _key(request)
        before = dict(self.items.get(key, {}))
        match kind:
            case "Put":
                self.items[key] = from_item(request["Item"])
            case "Update":
                self._update(request)
            case "Delete":
                self.items.pop(key, None)
            case _:
                raise AssertionError(f"a {kind} in a transaction")
        self._on_change(before, self.items.get(key, {}))

    def _update(self, request: Request) -> None:
        run_id, part = key = _key(request)
        names, values = request.get("ExpressionAttributeNames", {}), _values(request)
        item = self.items.setdefault(key, {"runId": run_id, "part": part})
        clauses = _UPDATE.fullmatch(request["UpdateExpression"])
        assert clauses, request["UpdateExpression"]
        for name, value in _pairs(clauses["set"], " = "):
            item[names.get(name, name)] = _new_value(value, item, values, names)
        for name, value in _pairs(clauses["add"], " "):
            item[names[name]] = item.get(names[name], 0) + values[value]


def _answered[T](what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T:
    return action()


def peaceful_dynamodb(edge: Edge = _answered) -> Any:
    """A FakeDynamoDB to which nothing happens, but for what `edge` does."""
    return FakeDynamoDB(edge, lambda: False, lambda *_: None)


class _Pages:
    def __init__(self, dynamodb: FakeDynamoDB) -> None:
        self._dynamodb = dynamodb

    def paginate(self, **request: Any) -> Iterator[Item]:
        yield self._dynamodb.query(request)


def _key(request: Request) -> Key:
    key = from_item(request.get("Key") or request["Item"])
    return key["runId"], key["part"]


def _values(request: Request) -> Item:
    return from_item(request.get("ExpressionAttributeValues", {}))


def _summary(kind: str, request: Request) -> str:
    """As the trace has it: the key's readable half and the new values."""
    part = _key(request)[1]
    placeholders = re.findall(r":\w+", request.get("UpdateExpression", ""))
    values = _values(request)
    shown = " ".join(f"{name[1:]}={str(values[name])[:12]}" for name in placeholders if name != ":checkpoint")
    return f"{kind} {part} {shown}".rstrip()


def _check_placeholders(request: Request) -> None:
    used = chain(*(re.findall(r"[:#]\w+", request.get(name, "")) for name in _EXPRESSIONS))
    maps = [
        request[name] for name in ("ExpressionAttributeNames", "ExpressionAttributeValues") if name in request
    ]
    assert all(maps), f"DynamoDB refuses empty names or values: {request}"
    given = {*chain(*maps)}
    assert set(used) == given, f"DynamoDB wants just the names and values that are used: {request}"


def _holds(condition: str, item: Item, request: Request) -> bool:
    return all(
        any(_term_holds(term, item, request) for term in group.strip("()").split(" OR "))
        if group.startswith("(")
        else _term_holds(group, item, request)
        for group in _AND.split(condition)
    )


def _term_holds(term: str, item: Item, request: Request) -> bool:
    names, values = request.get("ExpressionAttributeNames", {}), _values(request)
    if existence := _EXISTENCE.fullmatch(term):
        negated, name = existence.groups()
        return (names.get(name, name) in item) != bool(negated)
    comparison = _COMPARISON.fullmatch(term)
    assert comparison, f"an expression that is not known here: {term}"
    name, sign, value = comparison.groups()
    attribute = names.get(name, name)
    other = values[value] if value.startswith(":") else item.get(value)
    return attribute in item and other is not None and bool(_COMPARE[sign](item[attribute], other))


def _new_value(value: str, item: Item, values: Item, names: Mapping[str, str]) -> Any:
    if default := _IF_NOT_EXISTS.fullmatch(value):
        name, value = default.groups()
        return item.get(names[name], values[value])
    return values[value]


def _pairs(clause: str | None, separator: str) -> Iterator[tuple[str, str]]:
    for assignment in _COMMA.split(clause) if clause else ():
        name, value = assignment.split(separator)
        yield name, value
