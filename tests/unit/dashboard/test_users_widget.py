"""What the users widget shows."""

from dataclasses import replace

import pytest

from clerk_sync.dashboard.user_lookup import RowState, UserLists
from clerk_sync.dashboard.widgets import render
from clerk_sync.users.user import User, UserProblem
from tests.support.widgets import HOUR, NOW, USERS, Parsed, a_user, latest

UP_TO_DATE = RowState()


def shown(user: User | UserProblem, row: RowState | None = UP_TO_DATE) -> Parsed:
    return Parsed(render(USERS, users=latest([(user, row)])))


def test_a_user_shows_picture_name_address_id_and_times() -> None:
    parsed = shown(a_user(imageUrl="https://img.test/a"))
    assert parsed.values("img", "src") == ["https://img.test/a"]
    for text in ("AA", "Ada Abel", "ada@mail.test", "user_1", "Joined 3 min ago", "Signed in 2 h ago"):
        assert text in parsed.text
    assert "Active 1 day ago" in parsed.text
    assert "2026-09-20 14:13:20 UTC" in parsed.values("span", "title")


@pytest.mark.parametrize(
    ("fields", "name", "initials"),
    [
        ({"firstName": ""}, "Abel", "A"),
        ({"firstName": "", "lastName": "", "username": "ada_1"}, "ada_1", "A"),
        ({"firstName": "", "lastName": ""}, "no name", "?"),
        ({"firstName": "<b>", "lastName": "!"}, "<b> !", "B"),
    ],
)
def test_a_user_without_a_full_name_shows_what_there_is(
    fields: dict[str, str], name: str, initials: str
) -> None:
    parsed = shown(a_user(**fields))
    assert name in parsed.texts
    assert initials in parsed.texts


def test_a_user_without_address_and_activity_says_so() -> None:
    text = shown(User("user_2", 1, {"createdAt": NOW})).text
    for words in ("user_2", "no e-mail address", "Joined just now", "Never signed in", "Never active"):
        assert words in text


@pytest.mark.parametrize(
    ("row", "label", "detail"),
    [
        (UP_TO_DATE, "Up to date", ""),
        (None, "Missing", ""),
        (RowState(None, ("email", "lastName")), "Differs", "email, lastName"),
        (RowState(None, ("lastActiveAt",)), "Up to date", "except lastActiveAt"),
        (RowState(NOW - HOUR), "Marked as deleted", "1 h ago"),
        (RowState(NOW - HOUR, ("email",)), "Marked as deleted", "1 h ago"),
    ],
)
def test_the_state_of_the_row_is_shown(row: RowState | None, label: str, detail: str) -> None:
    _, _, state = shown(a_user(), row).text.partition("Active 1 day ago")
    assert f"{label} {detail}".strip() == state.partition("Most recently active")[0].strip()


@pytest.mark.parametrize(
    ("user_id", "name"), [("user_3", "user_3"), (None, "A user without an id")], ids=["with id", "without"]
)
def test_a_malformed_user_is_shown_with_the_reason(user_id: str | None, name: str) -> None:
    text = shown(UserProblem(user_id, "Clerk's user is malformed: first_name"), None).text
    for words in (name, "Clerk's user is malformed: first_name", "Can't be synced"):
        assert words in text


def test_without_users_it_says_so() -> None:
    assert Parsed(render(USERS, users=latest())).text.count("No users yet.") == 2


def test_a_search_stays_in_its_field_and_has_a_way_back() -> None:
    searched = replace(USERS, search="ada@mail.test")
    parsed = Parsed(render(searched, users=UserLists({"Found": [(a_user(), UP_TO_DATE)]})))
    assert parsed.values("input", "value") == ["ada@mail.test"]
    assert "Found" in parsed.text
    assert "Show all" in parsed.text


@pytest.mark.parametrize(
    ("search", "orphan_row", "message"),
    [
        (
            "Ada",
            None,
            "the user id “Ada”. Search for a whole user id or e-mail address, not for a part of one.",
        ),
        (
            "ada@",
            None,
            "the e-mail address “ada@”. Search for a whole e-mail address or user id, not for a part",
        ),
        ("user_9", RowState(NOW), "“user_9”. The row in the table is marked as deleted."),
        ("user_9", RowState(0), "“user_9”. The row in the table is marked as deleted."),
        ("user_9", UP_TO_DATE, "“user_9”, but the table has a row that is not marked as deleted."),
    ],
)
def test_search_without_a_result_says_what_the_table_has_or_what_to_search_for(
    search: str, orphan_row: RowState | None, message: str
) -> None:
    html = render(replace(USERS, search=search), users=UserLists({}, orphan_row))
    assert f"Clerk has no user with {message}" in Parsed(html).text.replace(
        "with the user id “user_9", "with “user_9"
    )
