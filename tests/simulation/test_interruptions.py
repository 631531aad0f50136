from collections import Counter
from dataclasses import replace

import pytest

from tests.simulation.interruptions.episode import play
from tests.simulation.interruptions.world import Faults


@pytest.fixture(scope="session")
def episodes(thorough: bool) -> int:
    """How many episodes of each mix are played: always the same ones, and with --thorough many more."""
    return 1_000 if thorough else 60


EVERYTHING = Faults(
    kill=0.01,
    stall=0.01,
    repeat=0.05,
    conflict=0.05,
    wrong_settings=0.05,
    clerk_busy=0.05,
    clerk_down=0.02,
    table_down=0.1,
    sign_up=0.1,
    second_delivery=0.1,
    late_delivery=0.1,
    short_time=0.3,
)

MIXES = {
    "nothing but turns": Faults(sign_up=0.2),
    "kills": Faults(kill=0.04, sign_up=0.3),
    "stalls": Faults(stall=0.05, sign_up=0.3),
    "kills and stalls": Faults(kill=0.03, stall=0.05, sign_up=0.3),
    "late messages": Faults(late_delivery=0.6, kill=0.05, sign_up=0.8),
    "workers that overlap": Faults(stall=0.1, second_delivery=0.3),
    "lost answers": Faults(repeat=0.3, conflict=0.2),
    "wrong settings": Faults(wrong_settings=0.2, kill=0.03, stall=0.03),
    "trouble with Clerk": Faults(clerk_busy=0.2, clerk_down=0.1, kill=0.01),
    "a key that is taken back": Faults(clerk_refuses=0.1, kill=0.01),
    "trouble with the users table": Faults(table_down=0.3, second_delivery=0.3, stall=0.02),
    "too little time": Faults(short_time=0.8, repeat=0.1, kill=0.01),
    "everything": EVERYTHING,
}


AUDITS = {
    "audits": Faults(audit=0.8, sign_up=0.1, deletion=0.1),
    "audits that wait for the workers": Faults(audit=1.0, late_delivery=0.7),
    "audits with kills": Faults(audit=0.9, kill=0.05, deletion=0.1),
    "audits with kills and stalls": Faults(audit=0.8, kill=0.02, stall=0.03, deletion=0.1, sign_up=0.1),
    "audits with lost answers": Faults(audit=0.8, repeat=0.3, conflict=0.2, deletion=0.1, short_time=0.3),
    "audits with too little time": Faults(audit=1.0, short_time=0.7, kill=0.01, deletion=0.05),
    "audits with trouble with the users table": Faults(audit=0.8, table_down=0.2, second_delivery=0.3),
    "audits of short lists": Faults(audit=0.8, short_list=0.2, clerk_down=0.05),
    "audits with everything": replace(EVERYTHING, audit=0.7, deletion=0.1, short_list=0.02),
}


@pytest.mark.parametrize("mix", MIXES)
def test_a_run_ends_with_right_counts_whatever_interrupts_it(mix: str, episodes: int) -> None:
    for seed in range(episodes):
        play(MIXES[mix], seed)


@pytest.mark.parametrize("mix", AUDITS)
def test_an_audit_ends_and_marks_only_users_who_are_gone_whatever_interrupts_it(
    mix: str, episodes: int
) -> None:
    for seed in range(episodes // 2):
        play(AUDITS[mix], seed)


@pytest.mark.parametrize(("trouble", "audit"), [("kill_at", 0.0), ("stall_at", 0.0), ("kill_at", 1.0)])
def test_a_run_survives_being_cut_off_at_any_moment(trouble: str, audit: float, episodes: int) -> None:
    for seed in range(2, 3 + episodes // 160):
        moments = play(Faults(audit=audit), seed).world.moments
        for moment in range(1, moments + 1):
            events = play(Faults(audit=audit, **{trouble: moment}), seed).world.events
            assert events["killed"] + events["stalled"] == 1


@pytest.mark.parametrize("seed", [2, 3])
def test_a_list_that_clerk_cuts_once_costs_nobody_whenever_the_run_is_killed(
    seed: int, thorough: bool
) -> None:
    world = play(Faults(), seed).world
    for cut_list_at in range(1, world.lists + 1):
        for kill_at in range(cut_list_at, world.moments + 1, 40 if thorough else 160):
            runs = play(Faults(cut_list_at=cut_list_at, kill_at=kill_at), seed).runs()
            assert not any(run["unlistedUsers"] for run in runs)


@pytest.mark.parametrize("audit", [0.0, 1.0])
def test_users_that_clerk_counts_and_never_lists_are_errors_and_no_row_is_marked(audit: float) -> None:
    for seed in range(20):
        episode = play(Faults(audit=audit, unlisted=2, kill=0.01, short_time=0.2), seed)
        missing = len(episode.users.unlisted)
        for run in episode.runs():
            assert run.get("unlistedUsers", 0) == missing, f"seed {seed}"
            assert not missing or not episode.world.events["marked"], f"seed {seed}"


def test_an_audit_without_trouble_waits_for_the_workers() -> None:
    for seed in range(20):
        runs = play(Faults(audit=1.0), seed).runs()
        assert not any("workers" in run["deletions"] for run in runs), f"seed {seed}"


def test_an_audit_keeps_its_lease_during_a_long_scan() -> None:
    for seed in range(10):
        play(Faults(audit=1.0, slow_scan=1.0), seed)


def test_an_audit_that_is_killed_after_it_sent_deletions_still_reports_them() -> None:
    for seed in range(10):
        play(Faults(audit=1.0, kill_late=0.5), seed)


def test_a_run_that_is_out_of_time_continues_by_itself(episodes: int) -> None:
    for seed in range(episodes):
        events = play(Faults(short_time=1.0), seed).world.events
        assert events["failed"] or not events["fresh_invocation"], f"seed {seed}"


def test_an_episode_can_be_played_again() -> None:
    assert play(EVERYTHING, seed=7).world.trace == play(EVERYTHING, seed=7).world.trace


def test_the_episodes_contain_every_kind_of_interruption() -> None:
    events: Counter[str] = Counter()
    statuses = set()
    for mix in ("kills and stalls", "everything"):
        for seed in range(60):
            episode = play(MIXES[mix], seed)
            events += episode.world.events
            statuses |= {run["status"] for run in episode.runs()}
    assert statuses == {"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED"}
    assert events.keys() >= {
        "killed",
        "stalled",
        "dead_letter",
        "redrive",
        "fresh_invocation",
        "lease_lost",
        "run_failed",
        "run_continued",
        "page_given_up",
    }


def test_the_audits_episodes_contain_every_kind_of_interruption() -> None:
    events: Counter[str] = Counter()
    for mix in ("audits with kills and stalls", "audits with too little time", "audits of short lists"):
        for seed in range(30):
            events += play(AUDITS[mix], seed).world.events
    assert events.keys() >= {
        "killed",
        "stalled",
        "deleted",
        "cut_short",
        "marked",
        "held_back",
        "refused",
        "run_continued",
        "fresh_invocation",
    }
    assert any(event.startswith("update scan") for event in events), "no scan was saved"
