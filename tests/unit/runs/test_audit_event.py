from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.errors import EventError
from clerk_sync.runs.events import audit_request
from tests.support.strategies import any_text, json_values

KEYS = ("repair", "waitSeconds", "runId")


def test_an_empty_event_is_an_audit_that_repairs_nothing() -> None:
    request = audit_request({})
    assert (request.mode, request.create_missing, request.dry_run) == ("audit", None, True)
    assert (request.wait_seconds, request.run_id, request.explicitly) == (45, None, {})


def test_each_key_is_optional() -> None:
    for repair in (True, False):
        request = audit_request({"repair": repair})
        assert request.dry_run is not repair
        assert request.explicitly == {"repair": repair}
    event = {"waitSeconds": 0, "runId": "audit-1"}
    request = audit_request(event)
    assert (request.wait_seconds, request.run_id, request.explicitly) == (0, "audit-1", event)


WRONG: dict[str, list[Any]] = {
    "repair": ["true", 1, 0, None, []],
    "waitSeconds": [-1, 841, 1.5, "60", True, None],
    "runId": ["", "a b", "current#audit", "x" * 101, 7, None],
    "mode": ["audit", "full"],
    "dryRun": [True],
    "createMissing": [False],
    "Repair": [True],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_an_invalid_event_is_an_error_that_names_the_key_and_lists_the_valid_ones(
    key: str, value: Any
) -> None:
    with pytest.raises(EventError, match="Nothing was started") as error:
        audit_request({key: value})
    assert f'"{key}": ' in str(error.value)
    for right in KEYS:
        assert f'"{right}" (' in str(error.value)
    assert "dryRun" not in str(error.value).removeprefix(f'Nothing was started: "{key}"')


@given(
    json_values | st.dictionaries(st.sampled_from(KEYS) | any_text, json_values | st.booleans(), max_size=3)
)
def test_any_event_is_accepted_or_an_event_error(event: Any) -> None:
    try:
        request = audit_request(event)
    except EventError:
        return
    assert event.keys() <= set(KEYS)
    assert (request.mode, request.dry_run) == ("audit", not event.get("repair", False))
