from zlib import compress

from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.runs.page_record import dump_plan, load_plan
from clerk_sync.users.drift import Finding, FindingKind
from clerk_sync.users.upsert import Planned

IDS = [f"user_{n}" for n in range(60)]


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Planned]:
    plan = {}
    for user_id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        kind = draw(st.none() | st.sampled_from(FindingKind))
        fields = draw(st.lists(st.sampled_from(["email", "firstName"]), unique=True).map(tuple))
        finding = Finding(kind, fields, draw(st.booleans())) if kind else None
        plan[user_id] = Planned(draw(st.booleans()), finding)
    return {user_id: plan[user_id] for user_id in IDS if user_id in plan}


@given(plans())
def test_plan_is_read_as_it_was_recorded(plan: dict[str, Planned]) -> None:
    assert load_plan(dump_plan(plan, IDS), IDS) == plan


def test_plan_of_another_format_is_empty() -> None:
    """A version that is deployed later may find it."""
    assert load_plan(compress(b'[[true,"missing",[],true],[]]'), IDS[:2]) == {}


def test_plan_of_a_full_page_takes_less_than_a_byte_a_user() -> None:
    ids = [f"user_{n}" for n in range(500)]
    plan = {user_id: Planned(True, Finding(FindingKind.MISSING, (), True)) for user_id in ids}
    assert len(dump_plan(plan, ids)) < len(ids)
