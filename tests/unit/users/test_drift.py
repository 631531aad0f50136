import json
import re
from collections.abc import Mapping
from functools import partial
from itertools import batched
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clock import DAY_MS
from clerk_sync.users.drift import (
    RECENT_MS,
    USERS_NAMED,
    DriftClassifier,
    Finding,
    FindingKind,
    group_by_kind,
    merge,
    placeholder_pattern,
)
from clerk_sync.users.fields import DEFAULT_NAMES
from clerk_sync.users.upsert import Outcome, upsert
from clerk_sync.users.user import Change, Deletion, SignIn, User
from clerk_sync.users.write_rule import ACTIVITY, DELETED, DELETION_GRACE_MS, VERSION, Row, Write, decide
from tests.support.fake_users_table import FakeUsersTable
from tests.support.outcomes import Counted, counted
from tests.support.strategies import ALL_NAMES, findings, owned_part, rows, stored_as, users

GLOBS = ("*@example.com", "*.example", "User", "Test User", "Unknown")
READ_AT = 10 * DELETION_GRACE_MS
LONG_AGO = 1_000
ADA = User(
    "ada",
    LONG_AGO,
    {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@post.org", "createdAt": 5, "lastActiveAt": 70},
)
RIGHT = stored_as(ADA)


def classifier_with(**changes: Any) -> DriftClassifier:
    values: dict[str, Any] = {
        "placeholders": placeholder_pattern(GLOBS),
        "read_at": READ_AT,
        "webhooks_since": None,
        "full_run_at": None,
    }
    return DriftClassifier(**values | changes)


def found(change: Change, row: Row | None, **changes: Any) -> Finding | None:
    """The finding about a row that the write rule would change."""
    write = decide(change, row, as_of=READ_AT, now=READ_AT, create_missing=True)
    assert isinstance(write, Write), "nothing is to be written"
    return classifier_with(**changes).classify(change, row, write, READ_AT)


def row(**changes: Any) -> Row:
    """Ada's row with something wrong with it; None: absent."""
    changed = {name: None if value is None else value for name, value in changes.items()}
    return {name: value for name, value in (RIGHT | changed).items() if value is not None}


# The kinds


@pytest.mark.parametrize(
    ("stored", "kind", "fields"),
    [
        (None, FindingKind.MISSING, ()),
        (row(clerkDeletedAt=5), FindingKind.MARKED_BUT_ALIVE, ()),
        (row(clerkDeletedAt=5, lastName="Byron"), FindingKind.MARKED_BUT_ALIVE, ("lastName",)),
        (row(clerkDeletedAt=5, email="ada@example.com"), FindingKind.MARKED_BUT_ALIVE, ("email",)),
        (row(email="ada@example.com"), FindingKind.PLACEHOLDER, ("email",)),
        (row(email="ada@example.com", lastName="Byron"), FindingKind.PLACEHOLDER, ("lastName", "email")),
        (row(username="Unknown"), FindingKind.PLACEHOLDER, ("username",)),
        (row(lastName="Byron"), FindingKind.DRIFTED, ("lastName",)),
        (row(lastName=None), FindingKind.DRIFTED, ("lastName",)),
        (row(username="ada"), FindingKind.DRIFTED, ("username",)),
        (row(createdAt="5"), FindingKind.DRIFTED, ("createdAt",)),
        (row(clerkUpdatedAt=1, lastName="Byron"), FindingKind.DRIFTED, ("lastName",)),
        (row(clerkUpdatedAt=None, lastName="Byron"), FindingKind.DRIFTED, ("lastName",)),
    ],
)
def test_row_gets_the_first_kind_that_applies(
    stored: Row | None, kind: FindingKind, fields: tuple[str, ...]
) -> None:
    assert found(ADA, stored) == Finding(kind, fields, missed_by_webhook=False)


@pytest.mark.parametrize("name", DEFAULT_NAMES)
def test_each_field_can_drift(name: str) -> None:
    everything = User("ada", 9, {n: 5 if n.endswith("At") else "x" for n in DEFAULT_NAMES})
    stored = {n: value for n, value in stored_as(everything).items() if n != name}
    assert found(everything, stored) == Finding(FindingKind.DRIFTED, (name,), missed_by_webhook=False)


@pytest.mark.parametrize("version", [None, 1, "1"])
def test_row_that_lacks_only_the_version_is_no_finding(version: Any) -> None:
    assert found(ADA, row(clerkUpdatedAt=version)) is None


@pytest.mark.parametrize("change", [Deletion("ada", 5), SignIn("ada", LONG_AGO + 1)])
def test_deletion_and_sign_in_are_no_findings(change: Change) -> None:
    assert found(change, row(lastName="Byron")) is None


@pytest.mark.parametrize("stored", [None, row(lastName="Byron"), row(clerkDeletedAt=5)])
@pytest.mark.parametrize(("age", "is_found"), [(0, False), (RECENT_MS - 1, False), (RECENT_MS, True)])
def test_change_of_the_last_ten_minutes_is_no_finding(stored: Row | None, age: int, is_found: bool) -> None:
    changed = User("ada", READ_AT - age, ADA.fields)
    assert bool(found(changed, stored)) == is_found
    assert RECENT_MS == 600_000


def test_change_from_the_future_is_no_finding() -> None:
    assert found(User("ada", READ_AT + RECENT_MS, {}), None) is None


# Times from the future

FROM_THE_FUTURE = READ_AT + DAY_MS + 1


def test_version_from_the_future_is_drift_even_if_all_fields_are_right() -> None:
    assert found(ADA, row(clerkUpdatedAt=FROM_THE_FUTURE)) == Finding(
        FindingKind.DRIFTED, (VERSION,), missed_by_webhook=False
    )


def test_version_from_the_future_counts_as_missed_by_webhook() -> None:
    finding = found(ADA, row(clerkUpdatedAt=FROM_THE_FUTURE, lastName="Byron"), webhooks_since=1)
    assert finding == Finding(FindingKind.DRIFTED, ("lastName", VERSION), missed_by_webhook=True)


def test_mark_from_the_future_is_a_marked_but_alive_finding() -> None:
    finding = found(ADA, row(clerkDeletedAt=FROM_THE_FUTURE))
    assert finding == Finding(FindingKind.MARKED_BUT_ALIVE, (), missed_by_webhook=False)


@pytest.mark.parametrize("name", ACTIVITY)
def test_activity_from_the_future_is_drift_although_full_runs_bring_activity(name: str) -> None:
    active = User("ada", LONG_AGO, {**ADA.fields, name: READ_AT - 1})
    stored = stored_as(active) | {name: FROM_THE_FUTURE}
    assert found(active, stored, full_run_at=0) == Finding(
        FindingKind.DRIFTED, (name,), missed_by_webhook=False
    )


# Activity


@pytest.mark.parametrize(("age", "is_found"), [(0, False), (RECENT_MS - 1, False), (RECENT_MS, True)])
def test_sign_in_of_the_last_ten_minutes_is_no_finding(age: int, is_found: bool) -> None:
    signed_in = User("ada", LONG_AGO, {**ADA.fields, **dict.fromkeys(ACTIVITY, READ_AT - age)})
    assert bool(found(signed_in, RIGHT)) == is_found


def test_sign_in_that_a_webhook_just_stored_is_no_finding() -> None:
    assert found(ADA, RIGHT | {"lastSignInAt": READ_AT - 3_000}) is None


@pytest.mark.parametrize("stored", [None, row(lastName="Byron"), row(clerkDeletedAt=5)])
def test_recent_sign_in_with_another_difference_is_drift(stored: Row | None) -> None:
    signed_in = User("ada", LONG_AGO, {**ADA.fields, **dict.fromkeys(ACTIVITY, READ_AT - 3_000)})
    assert found(signed_in, stored)


@pytest.mark.parametrize(
    ("full_run_at", "is_found"), [(None, True), (70, True), (69, False), (0, False), (10**12, True)]
)
def test_activity_since_the_last_full_run_is_no_finding(full_run_at: int | None, is_found: bool) -> None:
    finding = found(ADA, row(lastActiveAt=60), full_run_at=full_run_at)
    assert finding == (
        Finding(FindingKind.DRIFTED, ("lastActiveAt",), missed_by_webhook=False) if is_found else None
    )


def test_activity_that_clerk_does_not_have_is_drift() -> None:
    never_active = User("ada", LONG_AGO, {"firstName": "Ada"})
    stored = stored_as(never_active) | {"lastActiveAt": 5, VERSION: 7}
    assert found(never_active, stored, full_run_at=0) == Finding(
        FindingKind.DRIFTED, ("lastActiveAt",), missed_by_webhook=False
    )


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"lastActiveAt": 60, "lastName": "Byron"}, FindingKind.DRIFTED),
        ({"lastActiveAt": 60, "clerkDeletedAt": 5}, FindingKind.MARKED_BUT_ALIVE),
        ({"lastActiveAt": "Unknown"}, FindingKind.PLACEHOLDER),
    ],
)
def test_recent_activity_with_another_difference_is_a_finding(
    changes: dict[str, Any], kind: FindingKind
) -> None:
    finding = found(ADA, row(**changes), full_run_at=0)
    assert finding
    assert (finding.kind, "lastActiveAt" in finding.fields) == (kind, True)


def test_sign_in_since_the_last_full_run_is_drift() -> None:
    signed_in = User("ada", LONG_AGO, {**ADA.fields, "lastSignInAt": 80})
    finding = found(signed_in, RIGHT, full_run_at=0)
    assert finding == Finding(FindingKind.DRIFTED, ("lastSignInAt",), missed_by_webhook=False)


# Missed by webhooks


@pytest.mark.parametrize(
    ("webhooks_since", "version", "missed_by_webhook"),
    [
        (None, 1, False),
        (LONG_AGO + 1, 1, False),
        (LONG_AGO, 1, True),
        (LONG_AGO - 1, LONG_AGO - 1, True),
        (1, LONG_AGO, False),
        (1, None, True),
        (1, "999", True),
        (1, 0, True),
        (LONG_AGO + 1, None, False),
    ],
)
def test_change_since_the_first_webhook_is_missed_by_webhook(
    webhooks_since: int | None, version: Any, missed_by_webhook: bool
) -> None:
    finding = found(ADA, row(lastName="Byron", clerkUpdatedAt=version), webhooks_since=webhooks_since)
    assert finding
    assert finding.missed_by_webhook == missed_by_webhook


@pytest.mark.parametrize(
    ("since", "missed_by_webhook"), [(None, False), (LONG_AGO + 1, False), (LONG_AGO, True)]
)
def test_missing_user_since_the_first_webhook_is_missed_by_webhook(
    since: int | None, missed_by_webhook: bool
) -> None:
    assert found(ADA, None, webhooks_since=since) == Finding(FindingKind.MISSING, (), missed_by_webhook)


# Placeholders


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "x@example.com"},
        {"email": "X@EXAMPLE.com"},
        {"email": "x@shop.example"},
        {"email": "two\nlines@example.com"},
        {"firstName": "User"},
        {"firstName": "uSER"},
        {"lastName": "unknown"},
        {"imageUrl": "https://pictures.example"},
        {"firstName": "Test", "lastName": "User"},
        {"firstName": "test user", "lastName": None},
        {"lastName": "Test User", "firstName": None},
    ],
)
def test_value_that_matches_a_pattern_is_a_placeholder(changes: dict[str, Any]) -> None:
    finding = found(ADA, row(**changes))
    assert finding
    assert finding.kind == FindingKind.PLACEHOLDER


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "x@example.com.br"},
        {"email": "x@notexample-com"},
        {"lastName": "Users"},
        {"lastName": "A User"},
        {"firstName": "Test"},
        {"firstName": "The Test", "lastName": "User the Elder"},
        {"email": "", "firstName": ""},
        {"createdAt": 7},
    ],
)
def test_value_that_no_pattern_matches_whole_is_drift(changes: dict[str, Any]) -> None:
    finding = found(ADA, row(**changes))
    assert finding
    assert finding.kind == FindingKind.DRIFTED


def test_placeholder_name_that_is_right_is_no_placeholder_finding() -> None:
    user = User("u", 5, {"firstName": "Test", "lastName": "User", "email": "me@example.com", "createdAt": 3})
    wrong = stored_as(user) | {"createdAt": 2}
    finding = found(user, wrong)
    assert finding == Finding(FindingKind.DRIFTED, ("createdAt",), missed_by_webhook=False)


def test_placeholder_name_is_found_if_one_half_differs() -> None:
    user = User("u", 5, {"firstName": "Ada", "lastName": "User"})
    wrong = stored_as(user) | {"firstName": "Test"}
    assert found(user, wrong) == Finding(FindingKind.PLACEHOLDER, ("firstName",), missed_by_webhook=False)
    wrong = stored_as(user) | {"firstName": "Eda"}
    assert found(user, wrong) == Finding(FindingKind.DRIFTED, ("firstName",), missed_by_webhook=False)


@pytest.mark.parametrize(
    ("setting", "matched", "unmatched"),
    [
        ("User,Unknown", ["user", "UNKNOWN"], ["User,Unknown", "", " User"]),
        (" User , Test User ,", ["User", "test user"], ["", " ", "TestUser", "Test  User"]),
        ("", [], ["", " ", "User"]),
        (" , ,", [], ["", " ", ","]),
        ("*@example.com", ["@example.com", "a@b@example.com"], ["a@exampleXcom", "a@example.com "]),
        ("user?,[ab]*", ["user1", "a", "Bee"], ["user", "user12", "c"]),
        ("a+b,(x)", ["a+b", "(X)"], ["aab", "x"]),
    ],
)
def test_placeholder_patterns_are_globs_that_ignore_case(
    setting: str, matched: list[str], unmatched: list[str]
) -> None:
    pattern = placeholder_pattern(setting.split(","))
    assert [text for text in [*matched, *unmatched] if pattern.fullmatch(text)] == matched


@given(st.lists(st.text("ab*?[]!- ,"), max_size=4), st.text("ab*?[]", max_size=5))
def test_several_patterns_match_what_each_of_them_matches(globs: list[str], text: str) -> None:
    alone = [placeholder_pattern([glob]) for glob in globs]
    together = placeholder_pattern(globs).fullmatch(text)
    assert bool(together) == any(pattern.fullmatch(text) for pattern in alone)


# All kinds of rows

SECRET = "Quetzalcoatl"
classifiers = st.builds(
    DriftClassifier,
    st.sampled_from([placeholder_pattern(GLOBS), placeholder_pattern(["a"]), re.compile("(?!)")]),
    st.sampled_from([RECENT_MS, RECENT_MS + 4, READ_AT]),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 9),
)


@given(classifiers, users(), st.none() | rows, st.booleans())
def test_finding_names_the_fields_that_the_write_changes(
    classifier: DriftClassifier, user: User, stored: Row | None, create: bool
) -> None:
    table = FakeUsersTable({} if stored is None else {"user_1": stored})
    outcome = upsert(table, [user], as_of=READ_AT, now=READ_AT, create_missing=create, classifier=classifier)
    if not table.written:
        assert not outcome.findings, "nothing was wrong"
        return
    before, after = owned_part(stored or {}), owned_part(table.rows["user_1"])
    differing = tuple(name for name in ALL_NAMES if before.get(name) != after.get(name))
    for user_id, finding in outcome.findings.items():
        assert user_id == "user_1"
        assert finding.fields == (differing if stored is not None else ())
        assert (finding.kind is FindingKind.MISSING) == (stored is None)
        assert (finding.kind is FindingKind.MARKED_BUT_ALIVE) == (DELETED in before and DELETED not in after)
        assert finding.fields or finding.kind in (FindingKind.MISSING, FindingKind.MARKED_BUT_ALIVE)
    if not outcome.findings:
        is_right = stored is not None and not differing and (DELETED in before) == (DELETED in after)
        is_recent = user.updated_at > classifier.read_at - RECENT_MS
        is_news = differing == ("lastActiveAt",) and classifier.full_run_at is not None
        assert is_right or is_recent or is_news


def test_finding_does_not_contain_values() -> None:
    theirs = User(
        "ada",
        5,
        {name: 123_456_789 if name.endswith("At") else SECRET + "in Clerk" for name in DEFAULT_NAMES},
    )
    stored: Row = {name: 987654321 if name.endswith("At") else SECRET for name in DEFAULT_NAMES}
    for globs in ([], [SECRET]):
        finding = found(theirs, stored, placeholders=placeholder_pattern(globs))
        assert finding
        assert finding.fields == tuple(DEFAULT_NAMES)
        text = json.dumps(group_by_kind({"ada": finding})) + repr(finding)
        assert not re.search(f"{SECRET}|123456789|987654321", text)


# Summing up


some_findings = st.lists(findings, max_size=60).map(
    lambda found: {f"user_{n}": finding for n, finding in enumerate(found)}
)


@given(some_findings)
def test_groups_count_all_and_name_the_first_users(some: dict[str, Finding]) -> None:
    groups = group_by_kind(some)
    assert list(groups) == ["missing", "markedButAlive", "placeholders", "drifted"]
    for kind in FindingKind:
        mine = {user_id: finding for user_id, finding in some.items() if finding.kind is kind}
        assert groups[kind]["count"] == len(mine)
        assert (
            groups[kind]["users"]
            == [
                {"clerkUserId": user_id, "fields": list(finding.fields)} for user_id, finding in mine.items()
            ][:USERS_NAMED]
        )


def test_groups_name_twenty_users() -> None:
    missing = Finding(FindingKind.MISSING, (), missed_by_webhook=False)
    pages = [{f"user_{n}": missing for n in numbers} for numbers in (range(15), range(15, 70))]
    groups = merge(map(group_by_kind, pages))["missing"]
    assert groups["count"] == 70
    assert [user["clerkUserId"] for user in groups["users"]] == [f"user_{n}" for n in range(20)]


@given(some_findings, st.integers(1, 30))
def test_merged_groups_equal_the_groups_of_all_findings(some: dict[str, Finding], page_size: int) -> None:
    pages = map(dict, batched(some.items(), page_size, strict=False))
    dumped = [json.dumps(group_by_kind(page)) for page in pages]
    assert merge(json.loads(page) for page in dumped) == group_by_kind(some)
    assert merge([]) == group_by_kind({})


def test_merge_does_not_change_its_arguments() -> None:
    one = group_by_kind({"a": Finding(FindingKind.MISSING, (), missed_by_webhook=False)})
    before = json.dumps(one)
    merge([one, one])
    assert json.dumps(one) == before


# While rows are written

IDS = ["user_1", "user_2", "user_3"]
tables = st.fixed_dictionaries({}, optional=dict.fromkeys(IDS, rows))
some_users = st.lists(users(st.sampled_from(IDS)), max_size=6)


def total(outcome: Outcome) -> int:
    return outcome.created + outcome.updated + outcome.unchanged + outcome.skipped + len(outcome.problems)


def test_outcome_has_the_findings_of_its_writes() -> None:
    table = FakeUsersTable({"ada": row(lastName="Byron"), "eve": stored_as(User("eve", 3, {}))})
    given_users = [ADA, User("eve", 3, {}), User("new", 3, {}), User("recent", READ_AT, {})]
    outcome = upsert(
        table, given_users, as_of=READ_AT, now=READ_AT, create_missing=True, classifier=classifier_with()
    )
    assert {user_id: finding.kind for user_id, finding in outcome.findings.items()} == {
        "ada": FindingKind.DRIFTED,
        "new": FindingKind.MISSING,
    }
    assert (outcome.created, outcome.updated, outcome.unchanged) == (2, 1, 1)


def test_upsert_without_classifier_has_no_findings() -> None:
    outcome = upsert(FakeUsersTable(), [ADA], as_of=READ_AT, now=READ_AT, create_missing=True)
    assert counted(outcome) == Counted(created=1)


def test_skipped_user_and_refused_row_are_no_findings() -> None:
    skipped = upsert(
        FakeUsersTable(),
        [ADA],
        as_of=READ_AT,
        now=READ_AT,
        create_missing=False,
        classifier=classifier_with(),
    )
    assert counted(skipped) == Counted(skipped=1)
    table = FakeUsersTable({"ada": row(lastName="Byron")}, refused=["ada"])
    refused = upsert(
        table, [ADA], as_of=READ_AT, now=READ_AT, create_missing=True, classifier=classifier_with()
    )
    assert ([problem.clerk_user_id for problem in refused.problems], refused.findings) == (["ada"], {})


@pytest.mark.parametrize("dry_run", [True, False])
def test_row_that_the_first_read_misses_is_not_missing(dry_run: bool) -> None:
    table = FakeUsersTable({"ada": RIGHT, "eve": stored_as(User("eve", 3, {"lastName": "Old"}))})
    table.unseen = {"ada", "eve"}
    given_users = [ADA, User("eve", 3, {})]
    outcome = upsert(
        table,
        given_users,
        as_of=READ_AT,
        now=READ_AT,
        create_missing=True,
        dry_run=dry_run,
        classifier=classifier_with(),
    )
    eve = Finding(FindingKind.DRIFTED, ("lastName",), missed_by_webhook=False)
    assert counted(outcome) == Counted(updated=1, unchanged=1)
    assert outcome.findings == {"eve": eve}


class LateTable(FakeUsersTable):
    """A read that need not be consistent gives the rows as they were."""

    def __init__(self, rows: Mapping[str, Row], then: Mapping[str, Row]) -> None:
        super().__init__(rows)
        self._then = FakeUsersTable(then)

    def read(self, user_ids: Any, *, consistent: bool = False) -> dict[str, Row]:
        return super().read(user_ids) if consistent else self._then.read(user_ids)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    "then", [row(lastName="Byron"), row(clerkUpdatedAt=1, lastName="Byron"), row(clerkDeletedAt=5)]
)
def test_row_that_became_right_before_the_write_is_no_finding(then: Row, dry_run: bool) -> None:
    # What guards a row changes along with it, or a write would take effect on what was decided before.
    then = {**then, VERSION: LONG_AGO - 1}
    table = LateTable({"ada": RIGHT}, {"ada": then})
    outcome = upsert(
        table,
        [ADA],
        as_of=READ_AT,
        now=READ_AT,
        create_missing=True,
        dry_run=dry_run,
        classifier=classifier_with(),
    )
    assert counted(outcome) == Counted(unchanged=1)


@given(tables, tables, some_users, st.booleans(), classifiers)
def test_dry_run_classifies_the_rows_as_they_are(
    now: dict[str, Row],
    then: dict[str, Row],
    given_users: list[User],
    create: bool,
    classifier: DriftClassifier,
) -> None:
    go = partial(upsert, changes=given_users, as_of=READ_AT, now=READ_AT, create_missing=create)
    dry = go(LateTable(now, then), classifier=classifier, dry_run=True)
    real = go(FakeUsersTable(now), classifier=classifier)
    # A row that looks right at first is not looked at again.
    at_first = FakeUsersTable(then)
    go(at_first)
    looked_wrong = {write.user_id for write in at_first.written}
    assert dry.findings == {
        user_id: finding for user_id, finding in real.findings.items() if user_id in looked_wrong
    }
    assert total(dry) == len(given_users)


@given(tables, some_users, st.lists(some_users, max_size=4), st.booleans(), st.booleans(), classifiers)
def test_finding_is_reported_only_if_its_write_took_effect(
    start: dict[str, Row],
    given_users: list[User],
    others: list[list[User]],
    create: bool,
    dry_run: bool,
    classifier: DriftClassifier,
) -> None:
    table = FakeUsersTable(start)
    theirs: list[int] = []

    def rival(batch: list[User]) -> None:
        rivals, table.rivals = table.rivals, []
        before = len(table.written)
        upsert(table, batch, as_of=READ_AT, now=READ_AT, create_missing=True)
        theirs.extend(range(before, len(table.written)))
        table.rivals = rivals

    table.rivals = [partial(rival, batch) for batch in others]
    outcome = upsert(
        table,
        given_users,
        as_of=READ_AT,
        now=READ_AT,
        create_missing=create,
        dry_run=dry_run,
        classifier=classifier,
    )
    assert total(outcome) == len(given_users)
    found = outcome.findings
    assert len(found) <= outcome.created + outcome.updated
    missing = [finding for finding in found.values() if finding.kind is FindingKind.MISSING]
    assert len(missing) <= outcome.created
    if dry_run:
        assert not table.written
    else:
        mine = {write.user_id for n, write in enumerate(table.written) if n not in theirs}
        assert found.keys() <= mine
