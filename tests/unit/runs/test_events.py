from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.errors import EventError
from clerk_sync.runs.events import backfill_request
from tests.support.strategies import any_text, json_values

KEYS = {
    "mode": "mode",
    "createMissing": "create_missing",
    "dryRun": "dry_run",
    "waitSeconds": "wait_seconds",
    "runId": "run_id",
}


def test_an_empty_event_is_a_full_run_that_waits_45_seconds() -> None:
    request = backfill_request({})
    assert (request.mode, request.create_missing, request.dry_run) == ("full", None, False)
    assert (request.wait_seconds, request.run_id) == (45, None)
    assert request.explicitly == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mode", "full"),
        ("mode", "incremental"),
        ("createMissing", True),
        ("createMissing", False),
        ("dryRun", True),
        ("waitSeconds", 0),
        ("waitSeconds", 840),
        ("runId", "full-20260101T000000Z-abc123"),
        ("runId", "x" * 100),
    ],
)
def test_each_key_is_valid_alone(key: str, value: Any) -> None:
    request = backfill_request({key: value})
    assert getattr(request, KEYS[key]) == value
    assert request.explicitly == {key: value}


WRONG: dict[str, list[Any]] = {
    "mode": ["", "Full", "half", None, 1, ["full"]],
    "createMissing": ["true", 1, 0, None, [], {}],
    "dryRun": ["false", 1, None, []],
    "waitSeconds": [-1, 841, 1.5, 60.0, "60", True, None, []],
    "runId": ["", "a b", "a/b", "current#full", "a\n", "é", "x" * 101, 7, None, []],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_an_invalid_value_is_an_error_that_names_the_key_and_lists_the_valid_ones(
    key: str, value: Any
) -> None:
    with pytest.raises(EventError) as error:
        backfill_request({"mode": "full", key: value})
    assert f'"{key}": ' in str(error.value)
    for right in KEYS:
        assert f'"{right}"' in str(error.value)


@pytest.mark.parametrize("key", ["Mode", "dry_run", "createmissing", "detail-type", "waitSecond", ""])
def test_an_unknown_key_is_an_error_that_names_it_and_lists_the_valid_ones(key: str) -> None:
    with pytest.raises(EventError) as error:
        backfill_request({key: True})
    assert key in str(error.value)
    for right in KEYS:
        assert f'"{right}"' in str(error.value)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(EventError) as error:
        backfill_request({"mode": "half", "dryrun": True, "waitSeconds": -1})
    for key in ('"mode": ', '"dryrun": ', '"waitSeconds": '):
        assert key in str(error.value)


@pytest.mark.parametrize("event", [None, [], "full", 7, True, [{"mode": "full"}]])
def test_an_event_that_is_not_an_object_is_an_error_that_lists_the_valid_keys(event: Any) -> None:
    with pytest.raises(EventError) as error:
        backfill_request(event)
    assert '"waitSeconds"' in str(error.value)


@given(json_values | st.dictionaries(st.sampled_from(list(KEYS)) | any_text, json_values))
def test_any_event_is_accepted_or_an_event_error(event: Any) -> None:
    try:
        parsed = backfill_request(event)
    except EventError:
        return
    assert {key: getattr(parsed, KEYS[key]) for key in event} == parsed.explicitly == event
