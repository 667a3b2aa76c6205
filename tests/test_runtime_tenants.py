"""Tenants: quotas on memory, steps, fuel and messages, and fair shares where all compete (TEN-1)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from runtime_kit import World, agent, config, events, sends

from runtime import tenants
from runtime.config import problems
from runtime.state import (
    E_FULL,
    E_QUOTA,
    OUTSIDE,
    REFUSED,
    AgentSpec,
    ChannelSpec,
    Effect,
    Join,
    Limits,
    Message,
    Operate,
    Outcome,
    Publish,
    Send,
    Spawn,
    TenantSpec,
    encode,
    sequence,
)


def spec(name: str, tenant: int | None, fuel: int = 10, memory: int = 1 << 16) -> AgentSpec:
    limits = Limits(fuel=fuel, memory=memory)
    return agent(name, limits=limits) if tenant is None else agent(name, limits=limits, tenant=tenant)


def world(*of: int | None, quotas: tuple[TenantSpec, ...], fuel: int = 10, **options: Any) -> World:
    """One agent for each number of a tenant (None: of none), all of them started, however long that takes."""
    specs = tuple(spec(f"a{n}", tenant, fuel) for n, tenant in enumerate(of))
    made = World(*specs, tenants=quotas, **options)
    while any(one.phase == "starting" for one in made.state.agents):
        made.tick()
    return made


def busy(made: World, ticks: int, *who: int) -> list[list[int]]:
    """Who ran in each of these ticks, where all (or these) always have mail."""
    ran = []
    for _ in range(ticks):
        mine = who or range(len(made.state.agents))
        made.tick(*[Send(n, b"work") for n in mine if not made.agent(n).mailbox])
        ran.append(made.ran())
    return ran


# --- steps and fuel ---------------------------------------------------------------------------------------------------


def test_a_tenant_takes_at_most_its_steps_of_a_tick_and_the_others_lose_none() -> None:
    made = world(0, 0, 0, 0, 1, None, quotas=(TenantSpec(name="a", tasks=2), TenantSpec(name="b")))
    ran = busy(made, 4)
    assert [sorted(set(one) & {4, 5}) for one in ran] == [[4, 5]] * 4
    assert [sum(n < 4 for n in one) for one in ran] == [2] * 4
    assert sorted(Counter(n for one in ran for n in one if n < 4).values()) == [2, 2, 2, 2], "the oldest first"
    assert ("deferred", 0, "tasks") in made.blocks[-1].events


def test_a_tenant_is_granted_at_most_its_fuel_of_a_tick() -> None:
    made = world(0, 0, 0, 1, quotas=(TenantSpec(name="a", fuel=25), TenantSpec(name="b")))
    ran = busy(made, 3)
    assert [len([n for n in one if n < 3]) for one in ran] == [2, 2, 2] and all(3 in one for one in ran)
    assert ("deferred", 0, "fuel") in made.blocks[-1].events


def test_nobody_of_a_tenant_overtakes_one_that_waits_for_fuel() -> None:
    big, small = spec("big", 0, fuel=20), spec("small", 0, fuel=5)
    made = World(small, big, small, started=False, tenants=(TenantSpec(name="a", fuel=21),))
    made.tick(*made.genesis, source="genesis")
    assert made.ran() == [0], "the third would fit, and comes after the second"
    made.tick()
    assert made.ran() == [1]
    made.tick()
    assert made.ran() == [2]


def test_where_the_ticks_steps_are_short_tenants_take_turns() -> None:
    quotas = (TenantSpec(name="a"), TenantSpec(name="b"))
    made = world(*[0] * 10, 1, None, quotas=quotas, max_tasks_per_tick=3)
    ran = busy(made, 5)
    assert all({10, 11} <= set(one) and len(one) == 3 for one in ran), "ten agents of one take one turn in three"
    assert ("deferred", 0, "share") in made.blocks[-1].events


def test_with_fewer_steps_than_tenants_each_has_its_turn_in_time() -> None:
    quotas = (TenantSpec(name="a"), TenantSpec(name="b"))
    made = world(0, 0, 0, 0, 1, None, quotas=quotas, max_tasks_per_tick=1)
    ran = [one[0] for one in busy(made, 9)]
    assert [ran.count(4), ran.count(5)] == [3, 3] and sorted(n for n in ran if n < 4) != []


@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("quota", [{}, {"tasks": 1}, {"fuel": 25}, {"tasks": 3, "fuel": 40}], ids=str)
@pytest.mark.parametrize("policy", ["round_robin", "priority"])
def test_every_agent_runs_within_the_bound_of_its_own_tenant(most: int, quota: dict[str, int], policy: str) -> None:
    quotas = (TenantSpec(name="a", **quota), TenantSpec(name="b", tasks=2))
    made = world(0, 0, 0, 0, 0, 0, 0, 1, 1, 1, None, quotas=quotas, max_tasks_per_tick=most, policy=policy)
    assert made.state.config is not None
    specs = [one.spec for one in made.state.agents]
    last = dict.fromkeys(range(len(specs)), made.state.tick)
    longest = Counter[int]()
    for _ in range(60):
        busy(made, 1)
        for n in made.ran():
            tenant = tenants.number(made.state.config, specs[n])
            longest[tenant] = max(longest[tenant], made.state.tick - last[n])
            last[n] = made.state.tick
    for tenant, waited in longest.items():
        assert waited <= tenants.wait_rounds(made.state.config, specs, tenant)
    assert set(longest) == {0, 1, 2}


def test_what_a_tenant_does_changes_neither_order_nor_ticks_of_another() -> None:
    """Four agents of one tenant, with and without ten busy ones of another."""
    quotas = (TenantSpec(name="a"), TenantSpec(name="b", tasks=3))
    alone = world(*[0] * 4, quotas=quotas, max_tasks_per_tick=12)
    beside = world(*[0] * 4, *[1] * 10, quotas=quotas, max_tasks_per_tick=12)
    for made in (alone, beside):
        made.state.tick = 20
    seen = []
    for made in (alone, beside):
        ran = []
        for tick in range(30, 50):
            mine = [n for n in range(4) if (tick >> n) & 1]
            rest = range(4, len(made.state.agents))
            made.tick(*[Send(n, b"x") for n in (*rest, *mine)], at=tick)
            ran.append([n for n in made.ran() if n < 4])
        seen.append(ran)
    assert seen[0] == seen[1]


def test_steps_of_the_last_tick_are_not_charged() -> None:
    made = world(0, 0, 0, quotas=(TenantSpec(name="a", tasks=1),), last_tick=50)
    made.tick(at=50)
    assert made.ran() == [0, 1, 2]


# --- messages ---------------------------------------------------------------------------------------------------------


def test_messages_beyond_the_quota_come_back_in_task_order_and_nobody_gets_them() -> None:
    made = world(0, 0, 1, quotas=(TenantSpec(name="a", messages=3), TenantSpec(name="b")))
    committed = made.tick(
        *[Send(n, b"go") for n in (0, 1, 2)], outcomes={0: sends(2, 2), 1: sends(2, 2, 2), 2: sends(2)}
    )
    late = [sequence(1, 2), sequence(1, 3)]
    assert events(committed, "refused_message") == [("refused_message", seq, 1, E_QUOTA) for seq in late]
    assert made.agent(1).mailbox == [Message(seq, REFUSED, OUTSIDE, E_QUOTA, b"x") for seq in late]
    assert [m.sender for m in made.agent(2).mailbox] == [0, 0, 2, 1] and made.agent(1).reserved == 2
    made.tick(outcomes={1: sends(2)})
    assert [m.sender for m in made.agent(2).mailbox] == [1], "the next tick has a quota of its own"


def test_a_publication_costs_as_many_as_it_has_receivers_and_is_refused_whole() -> None:
    made = world(0, 1, 1, 1, quotas=(TenantSpec(name="a", messages=4), TenantSpec(name="b")))
    made.tick(*[Join(n, 0) for n in (1, 2, 3)])
    effects = (
        Effect("publish", 0, b"p"),
        Effect("publish", 0, b"q"),
        Effect("send", 1, b"s"),
        Effect("publish", 1, b"r"),
    )
    committed = made.tick(Send(0, b"go"), outcomes={0: Outcome("ok", effects)})
    assert [event[1] for event in events(committed, "refused_message")] == [sequence(0, 2), sequence(0, 4)]
    assert [m.payload for m in made.agent(1).mailbox] == [b"p", b"s"], (
        "a smaller one still fits; one to nobody costs one"
    )


def test_the_outside_and_a_failed_step_are_charged_nothing() -> None:
    made = world(0, 0, quotas=(TenantSpec(name="a", messages=1),))
    made.tick(*[Send(0, b"in")] * 5, Publish(b"news", 0))
    assert [len(record.inbox) for record in made.records] == [5]
    committed = made.tick(Send(0, b"x"), Send(1, b"x"), outcomes={0: Outcome("trap", ()), 1: sends(0)})
    assert not events(committed, "refused_message")


def test_a_tenant_fills_a_mailbox_of_anothers_to_an_equal_share_and_its_own_to_the_bound() -> None:
    made = world(0, 1, 1, None, quotas=(TenantSpec(name="a"), TenantSpec(name="b")), mailbox=9)
    made.tick(Operate("pause", 0), Operate("pause", 2))
    flood = sends(*[0] * 20, *[2] * 20)
    committed = made.tick(Send(1, b"go"), Send(3, b"go"), outcomes={1: flood, 3: sends(0, 0, 0, 0)})
    counts = Counter(m.sender for m in made.agent(0).mailbox)
    assert counts == {1: 3, 3: 3}, "three tenants, nine places"
    assert len(made.agent(2).mailbox) == 9
    full = [m for m in made.agent(1).mailbox if m.kind == REFUSED]
    assert len(full) == 17 + 11 and {m.channel for m in full} == {E_FULL}
    assert len(events(committed, "refused")) == 29


def test_a_post_counts_against_the_share_as_a_message_does() -> None:
    room = (ChannelSpec(name="room", members=(0, 1)),)
    made = world(0, 1, quotas=(TenantSpec(name="a"), TenantSpec(name="b")), mailbox=6, channels=room)
    made.tick(Operate("pause", 0))
    post = Effect("publish", 2, b"p")
    made.tick(Send(1, b"go"), outcomes={1: Outcome("ok", (post, Effect("send", 0, b"s"), post))})
    assert [m.payload for m in made.agent(0).mailbox] == [b"p", b"s"]


# --- memory and options -----------------------------------------------------------------------------------------------


def test_an_agent_that_does_not_fit_into_its_tenants_memory_is_refused_until_another_ends() -> None:
    page = 1 << 16
    made = world(0, 0, None, quotas=(TenantSpec(name="a", memory=2 * page),))
    late = Spawn(spec("late", 0))
    assert made.tick(late).block.events == (("illegal", OUTSIDE, "spawn", "late"),)
    assert not events(made.tick(Spawn(spec("other", None, memory=1 << 20))), "illegal")
    committed = made.tick(Operate("terminate", 0), late)
    assert not events(committed, "illegal") and made.agent(4).spec.name == "late"


@pytest.mark.parametrize(
    "bad",
    [spec("fuel", 0, fuel=11), spec("unknown", 2), spec("negative", -1)],
    ids=lambda one: one.name,
)
def test_an_agent_that_could_never_run_in_its_tenant_is_refused(bad: AgentSpec) -> None:
    made = world(0, quotas=(TenantSpec(name="a", fuel=10),))
    assert made.tick(Spawn(bad)).block.events == (("illegal", OUTSIDE, "spawn", bad.name),)


def test_a_tenant_of_a_run_without_any_is_refused() -> None:
    made = World(agents=1)
    assert made.tick(Spawn(spec("stray", 0))).block.events == (("illegal", OUTSIDE, "spawn", "stray"),)


def test_a_run_without_tenants_says_nothing_of_them() -> None:
    state = encode(World(agents=2).state)
    assert b"tenant" not in state


@pytest.mark.parametrize(
    ("quotas", "told"),
    [
        ((TenantSpec(name="a"), TenantSpec(name="a")), "tenants: 'a' is there twice"),
        ((TenantSpec(name="a", tasks=-1),), "tenants[0].tasks: -1 is not from 0 to 2147483647"),
        ((TenantSpec(name="a", fuel=1 << 63),), f"tenants[0].fuel: {1 << 63} is not from 0 to {1 << 62}"),
    ],
    ids=str,
)
def test_a_bad_tenant_is_named(quotas: tuple[TenantSpec, ...], told: str) -> None:
    assert problems(config(tenants=quotas)) == [told]
