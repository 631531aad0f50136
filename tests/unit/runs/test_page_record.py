from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.runs.page_record import dump_plan, load_plan
from clerk_sync.users.drift import USERS_NAMED, Finding, FindingKind, group_by_kind
from clerk_sync.users.upsert import Planned

IDS = [f"user_{n}" for n in range(60)]


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Planned]:
    plan = {}
    for user_id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        kind = draw(st.none() | st.sampled_from(FindingKind))
        fields = draw(st.lists(st.sampled_from(["email", "firstName"]), unique=True).map(tuple))
        finding = Finding(user_id, kind, fields, draw(st.booleans())) if kind else None
        plan[user_id] = Planned(draw(st.booleans()), finding)
    return {user_id: plan[user_id] for user_id in IDS if user_id in plan}


@given(plans())
def test_plan_is_read_as_it_was_recorded(plan: dict[str, Planned]) -> None:
    read = load_plan(dump_plan(plan, IDS), IDS)
    assert read.keys() == plan.keys()
    for user_id, planned in plan.items():
        assert read[user_id].creates == planned.creates
        before, after = planned.finding, read[user_id].finding
        assert (before and (before.kind, before.missed_by_webhook)) == (
            after and (after.kind, after.missed_by_webhook)
        )


@given(plans())
def test_fields_of_the_users_that_a_report_names_are_kept(plan: dict[str, Planned]) -> None:
    findings = [planned.finding for planned in plan.values() if planned.finding]
    read = load_plan(dump_plan(plan, IDS), IDS)
    assert group_by_kind([planned.finding for planned in read.values() if planned.finding]) == group_by_kind(
        findings
    )


def test_plan_of_a_full_page_takes_a_byte_a_user() -> None:
    plan = {user_id: Planned(True, Finding(user_id, FindingKind.MISSING, (), True)) for user_id in IDS}
    assert len(dump_plan(plan, IDS)["plan"]) == len(IDS)
    assert len(IDS) > USERS_NAMED
