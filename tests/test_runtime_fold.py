"""The fold: a tick depends on what was admitted and nothing else (SCH-1, SCH-4, MSG-1..3, ORC-4, ID-1, TIM-1)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from runtime_kit import OK, World, agent, busy_world, config, events, failed, sends

from runtime import fold, journal, state
from runtime.errors import FailStop
from runtime.fold import begin, commit
from runtime.state import (
    E_FULL,
    INPUT,
    MESSAGE,
    OUTSIDE,
    REFUSED,
    TOPIC,
    WAKE,
    BufferSpec,
    Configure,
    Decree,
    Effect,
    Input,
    Join,
    Operate,
    Outcome,
    Publish,
    Schedule,
    Send,
    Spawn,
    State,
)


def inputs_of(world: World) -> list[Input]:
    return [world.input(Send(n % 3, bytes([n])), source) for n in range(4) for source in ("one", "two")]


# --- admission --------------------------------------------------------------------------------------------------------


@given(st.permutations(range(8)))
def test_inputs_in_any_order_of_arrival_give_the_same_block_and_state(order: list[int]) -> None:
    expected, world = World(), World()
    blocks = expected.admit(inputs_of(expected), 1)
    shuffled = inputs_of(world)
    assert world.admit([shuffled[place] for place in order], 1).block == blocks.block
    assert state.root(world.state) == state.root(expected.state)


@given(st.permutations(range(3)))
def test_outcomes_in_any_order_of_arrival_give_the_same_block_and_state(order: list[int]) -> None:
    def folded(places: list[int]) -> tuple[journal.Block, str]:
        world = World()
        opened = begin(world.state, 1, [world.input(Send(n, b"go")) for n in range(3)])
        outcomes = {place: sends((place + 1) % 3, 0, payload=bytes([place])) for place in places}
        return commit(world.state, opened, outcomes).block, state.root(world.state)

    assert folded(order) == folded([0, 1, 2])


def test_an_input_that_arrives_again_changes_nothing_in_the_same_tick_and_later() -> None:
    world = World()
    first, second = world.input(Send(0, b"1")), world.input(Send(0, b"2"))
    committed = world.admit([first, second, first, second], 1)
    assert committed.block.inputs == (first, second) and world.inbox(0) == [b"1", b"2"]
    again = world.admit([second, first], 2)
    assert again.block.inputs == () and world.ran() == []


def test_a_source_is_numbered_by_itself() -> None:
    world = World()
    one, two = world.input(Send(0, b"one"), "one"), world.input(Send(0, b"two"), "two")
    assert world.admit([one, two], 1).block.inputs == (one, two)
    assert world.state.admitted == {"genesis": 4, "one": 1, "two": 1}


def test_the_configuration_comes_first_whatever_a_source_is_called() -> None:
    world = World(started=False)
    genesis = [world.input(action, "genesis") for action in world.genesis]
    early = [Input(Spawn(agent("early")), 1, "aaa", 0), Input(Send(0, b"hello"), 2, "aaa", 0)]
    world.admit([*early, *genesis], 0)
    assert [a.spec.name for a in world.state.agents] == ["a0", "a1", "a2", "early"]
    assert [m.payload for m in world.agent(0).mailbox] == [b"hello"]


def test_a_run_that_is_not_configured_stops_by_name() -> None:
    with pytest.raises(FailStop, match="the first input does not configure the run"):
        begin(State(), 0, [Input(Spawn(agent()), 1, "genesis", 0)])


def test_a_second_configuration_is_refused_on_record() -> None:
    world = World()
    committed = world.tick(Configure(config(last_tick=5)))
    assert events(committed, "illegal") == [("illegal", OUTSIDE, "configure", "user")]
    assert world.state.config == config()


UNKNOWN = [
    Send(3, b"x"),
    Send(-1, b"x"),
    Publish(b"x", 2),
    Publish(b"x", -1),
    Schedule(3, b"x", 1),
    Schedule(-1, b"x", 1),
    Schedule(0, b"x", -1),
    Schedule(0, b"x", 1 << 63),
    Join(3, 0),
    Join(-1, 0),
    Join(0, 2),
    Join(0, -1),
    Operate("pause", 3),
    Operate("pause", -1),
    Operate("reload", 0),
    Spawn(agent(reads=(0,))),
    Spawn(agent(reads=(-1,))),
]


@pytest.mark.parametrize("action", UNKNOWN, ids=str)
def test_an_input_for_what_does_not_exist_is_refused_on_record_and_reaches_nobody(action: Any) -> None:
    world = World()
    before = [replace(a) for a in world.state.agents]
    committed = world.tick(action)
    assert [event[0] for event in committed.block.events] in (["refused"], ["illegal"], ["refused_task"])
    assert world.state.agents == before and world.state.subscribers == [[], []]
    assert state.decode(state.encode(world.state)) == world.state
    world.tick(Send(0, b"on"))
    assert world.ran() == [0]


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_message_is_delivered_in_the_tick_after_with_its_sender_and_a_number_of_its_own() -> None:
    world = World()
    world.tick(Send(0, b"in"), outcomes={0: sends(1, 1, 2, payload=b"out")})
    (given,) = [record.inbox for record in world.records]
    assert [(m.kind, m.sender, m.payload) for m in given] == [(INPUT, OUTSIDE, b"in")]
    world.tick()
    inboxes = {record.agent: record.inbox for record in world.records}
    assert [(m.kind, m.sender, m.payload) for m in inboxes[1]] == [(MESSAGE, 0, b"out")] * 2
    numbers = [m.seq for record in world.records for m in record.inbox]
    assert len(set(numbers)) == 3 and inboxes[1][0].seq < inboxes[1][1].seq < inboxes[2][0].seq


def test_each_message_is_traceable_to_the_effect_that_sent_it() -> None:
    """MSG-1: a step's entry names the first number of its effects, and the receiver's entry what it consumed."""
    world = World()
    effects = (Effect("send", 1, b"a"), Effect("output", 0, b"o"), Effect("publish", 0, b"p"), Effect("send", 1, b"c"))
    world.tick(Send(0, b"go"), Join(1, 0), outcomes={0: Outcome("ok", effects)})
    (entry,) = world.blocks[-1].steps
    world.tick()
    (received,) = world.records
    assert [m.payload for m in received.inbox] == [b"a", b"p", b"c"]
    assert received.inbox[0].seq == entry.seq
    assert [m.seq for m in received.inbox] == [entry.seq, entry.seq + 1, entry.seq + 2]
    assert world.blocks[-1].steps[0].inbox == tuple(m.seq for m in received.inbox)


def test_what_one_agent_does_shows_in_no_number_of_another() -> None:
    def numbers(other: Outcome) -> list[int]:
        world = World()
        world.tick(Send(0, b""), Send(1, b""), outcomes={0: other, 1: sends(2)})
        world.tick()
        return [m.seq for r in world.records if r.agent == 2 for m in r.inbox if m.sender == 1]

    assert numbers(failed()) == numbers(OK) == numbers(sends(0, 0, 0, 2))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30), st.integers(1, 4))
def test_each_pair_is_fifo_and_each_message_comes_once(orders: list[tuple[int, int]], per_tick: int) -> None:
    """MSG-2, whatever the policy lets run first; a message's payload is its number in `orders`."""
    world = World(agents=4, max_tasks_per_tick=per_tick)
    plans = {
        source: Outcome("ok", tuple(Effect("send", t, bytes([n])) for n, (s, t) in enumerate(orders) if s == source))
        for source in range(4)
    }
    got: dict[tuple[int, int], list[int]] = {}
    inputs = [world.input(Send(source, b"go")) for source in range(4)]
    for _ in range(40):
        opened = begin(world.state, world.state.tick + 1, inputs)
        stepping = [record.agent for record in opened.records if record.kind == "step"]
        for record in opened.records:
            for message in record.inbox:
                if message.kind == MESSAGE:
                    got.setdefault((message.sender, record.agent), []).append(message.payload[0])
        world.close(opened, {source: plans.pop(source) for source in stepping if source in plans})
        inputs = []
    sent: dict[tuple[int, int], list[int]] = {}
    for number, pair in enumerate(orders):
        sent.setdefault(pair, []).append(number)
    assert got == sent


def test_all_subscribers_of_a_topic_see_one_order() -> None:
    """MSG-3: two publishers, three subscribers that joined in different ways."""
    world = World(agents=5)
    world.tick(
        Join(4, 0), Send(2, b""), Send(3, b""), outcomes={n: Outcome("ok", (Effect("subscribe", 0),)) for n in (2, 3)}
    )
    published = {n: Outcome("ok", tuple(Effect("publish", 0, bytes([n, i])) for i in range(3))) for n in (0, 1)}
    world.tick(Send(1, b""), Send(0, b""), Publish(b"outside", 0), outcomes=published)
    world.tick()
    seen = [[(m.seq, m.payload) for m in r.inbox if m.kind == TOPIC] for r in world.records]
    seen = [inbox for inbox in seen if inbox]
    world_first = [payload for _, payload in seen[0]]
    assert len(seen) == 3 and seen[0] == seen[1] == seen[2]
    assert world_first == [bytes([n, i]) for n in (0, 1) for i in range(3)]


def test_who_leaves_a_topic_gets_nothing_more_and_joining_twice_counts_once() -> None:
    world = World()
    world.tick(Join(1, 0), Join(1, 0), Join(2, 0))
    world.tick(Send(2, b""), outcomes={2: Outcome("ok", (Effect("unsubscribe", 0), Effect("unsubscribe", 1)))})
    world.tick(Publish(b"news", 0))
    assert world.inbox(1) == [b"news"] and world.ran() == [1]


def test_a_full_mailbox_refuses_and_the_sender_gets_its_payload_back() -> None:
    """MSG-2: in reserved room, in the next tick, with the status code."""
    world = World(mailbox=2)
    world.tick(Send(0, b""), outcomes={0: Outcome("ok", tuple(Effect("send", 1, bytes([n])) for n in range(4)))})
    refused = [event for event in world.blocks[-1].events if event[0] == "refused"]
    assert [(event[2], event[3]) for event in refused] == [(0, 1), (0, 1)]
    world.tick()
    assert world.inbox(1) == [b"\0", b"\1"]
    (back,) = [r.inbox for r in world.records if r.agent == 0]
    assert [(m.kind, m.sender, m.channel, m.payload) for m in back] == [
        (REFUSED, 1, E_FULL, b"\2"),
        (REFUSED, 1, E_FULL, b"\3"),
    ]
    assert [m.seq for m in back] == [event[1] for event in refused]


def test_a_refusal_reaches_a_sender_whose_own_mailbox_is_full() -> None:
    world = World(agents=2, mailbox=1)
    world.tick(Send(0, b"first"), outcomes={0: sends(0, 0, 1, 1)})
    box = world.agent(0).mailbox
    assert [m.kind for m in box] == [MESSAGE, REFUSED, REFUSED] and world.agent(0).reserved == 2
    assert len(world.agent(1).mailbox) == 1


def test_control_messages_take_no_room_from_messages() -> None:
    world = World(agents=2, mailbox=1)
    world.tick(Send(0, b"go"), outcomes={0: Outcome("ok", (*sends(1, 1).effects, Effect("wake", 1)))})
    committed = world.tick(Send(0, b"message"))
    assert events(committed, "refused") == [] and sorted(world.inbox(0)) == [b"", b"message", b"x"]
    assert world.agent(0).reserved == 0


def test_an_input_into_a_full_mailbox_is_refused_on_record_alone() -> None:
    world = World(mailbox=1)
    committed = world.tick(Send(0, b"1"), Send(0, b"2"))
    assert [(e[2], e[3]) for e in events(committed, "refused")] == [(OUTSIDE, 0)]
    assert world.inbox(0) == [b"1"]


def test_what_is_sent_to_one_that_is_gone_is_dropped_on_record() -> None:
    world = World()
    world.operate("terminate", 1)
    committed = world.tick(Send(0, b""), Send(1, b""), Join(1, 0), Publish(b"", 0), outcomes={0: sends(1)})
    assert len(events(committed, "dropped")) == 3 and world.agent(1).mailbox == []


def test_a_failed_step_sends_nothing_and_its_inbox_is_consumed() -> None:
    world = World()
    world.tick(Send(0, b"poison"), outcomes={0: Outcome("fuel", (Effect("send", 1, b"half"),))})
    assert world.blocks[-1].steps[0].status == "fuel" and world.blocks[-1].steps[0].inbox
    assert [a.mailbox for a in world.state.agents] == [[], [], []] or world.agent(1).mailbox == []


# --- wakes, tasks, skipped ticks --------------------------------------------------------------------------------------


def test_a_wake_comes_at_its_tick_and_ticks_between_write_no_block() -> None:
    world = World()
    world.tick(Send(0, b""), outcomes={0: Outcome("ok", (Effect("wake", 5), Effect("wake", 5), Effect("wake", 9)))})
    assert world.state.tick == 1
    world.tick()
    assert world.state.tick == 6 and [(m.kind, m.sender) for m in world.records[0].inbox] == [(WAKE, OUTSIDE)]
    world.tick()
    assert world.state.tick == 10 and len(world.blocks) == 4
    world.tick()
    assert world.state.tick == 1000 and world.state.finished


def test_a_wake_for_now_is_one_for_the_next_tick() -> None:
    world = World()
    world.tick(Send(0, b""), outcomes={0: Outcome("ok", (Effect("wake", 0),))})
    world.tick()
    assert world.state.tick == 2 and world.ran() == [0]


def test_a_failed_agent_is_not_woken_by_its_last_life() -> None:
    world = World()
    world.tick(Send(0, b""), outcomes={0: Outcome("ok", (Effect("wake", 3),))})
    world.tick(Send(0, b""), outcomes={0: failed()})
    world.tick()
    world.tick()
    assert world.state.tick == 1000


def test_tasks_come_at_their_ticks_and_those_of_one_tick_in_the_order_of_submission() -> None:
    """SCH-1; the payload has no say in the order."""
    world = World(agents=1)
    world.tick(Schedule(0, b"z", 3), Schedule(0, b"a", 3), Schedule(0, b"m", 2))
    seen = []
    for _ in range(2):
        world.tick()
        seen.append((world.state.tick, world.inbox(0)))
    assert seen == [(3, [b"m"]), (4, [b"z", b"a"])]


def test_tasks_and_wakes_of_a_paused_agent_wait_for_it() -> None:
    world = World(agents=1)
    world.tick(Send(0, b""), Schedule(0, b"task", 2), outcomes={0: Outcome("ok", (Effect("wake", 2),))})
    world.operate("pause", 0)
    world.tick(at=10)
    assert world.ran() == []
    world.operate("resume", 0)
    assert world.ran() == [0] and world.inbox(0) == [b"", b"task"]


def test_time_is_the_ticks_and_randomness_the_seeds() -> None:
    """TIM-1."""
    world, other = World(), World(seed=2)
    for each in (world, other):
        each.tick(Send(0, b""), Send(1, b""), at=7)
    records = {r.agent: r for r in world.records}
    assert {r.now_ms for r in world.records} == {1_700_000_000_000 + 7 * 10}
    keys = [r.random_key for r in [*world.records, *other.records]]
    assert len(set(keys)) == 4 and all(0 <= key < 1 << 64 for key in keys)
    world.tick(Send(0, b""), at=8)
    assert world.records[0].random_key != records[0].random_key


# --- buffers ----------------------------------------------------------------------------------------------------------


def buffer_world() -> World:
    specs = [agent("w"), agent("r", reads=(0, 1)), agent("s", reads=(1,))]
    buffers = (BufferSpec(capacity=100, name="x", writer=0), BufferSpec(capacity=100, name="y", writer=0))
    return World(*specs, buffers=buffers)


def test_a_version_is_read_once_from_the_tick_after_and_the_newest_one_only() -> None:
    """MEM-1."""
    world = buffer_world()
    write = {0: Outcome("ok", (Effect("buffer", 0, b"one"),))}
    world.tick(Send(0, b""), Send(1, b""), outcomes=write)
    assert [(r.agent, r.views) for r in world.records] == [(0, ()), (1, ())]
    assert [(g.buffer, g.version, g.capacity) for g in world.records[0].grants] == [(0, 1, 100), (1, 1, 100)]
    world.tick(Send(0, b""), outcomes={0: Outcome("ok", (Effect("buffer", 0, b"two!"), Effect("buffer", 1, b"y")))})
    world.tick(Send(1, b""), Send(2, b""))
    views = {r.agent: [(v.buffer, v.version, v.length) for v in r.views] for r in world.records}
    assert views == {1: [(0, 2, 4), (1, 1, 1)], 2: [(1, 1, 1)]}
    world.tick(Send(1, b""), Send(2, b""))
    assert [r.views for r in world.records] == [(), ()]


def test_a_failed_write_publishes_nothing_and_its_version_is_granted_again() -> None:
    world = buffer_world()
    world.tick(Send(0, b""), outcomes={0: Outcome("bad_pointer", (Effect("buffer", 0, b"one"),))})
    assert world.state.buffers[0].version == 0
    world.tick()
    world.tick(Send(0, b""))
    assert world.records[-1].grants[0].version == 1


# --- blocks, the last tick, decrees -----------------------------------------------------------------------------------


def test_the_last_tick_shuts_active_agents_down_and_ends_the_others() -> None:
    world = World(agents=4, last_tick=20)
    world.operate("pause", 1)
    world.tick(Send(2, b""), outcomes={2: failed()})
    world.tick(Send(0, b"late"), Spawn(agent("late")), at=20, outcomes={0: sends(3), 3: failed("trap:x")})
    block = world.blocks[-1]
    assert [(s.agent, s.kind, s.inbox) for s in block.steps] == [(0, "shutdown", ()), (3, "shutdown", ())]
    assert {a.phase for a in world.state.agents} == {"terminated"} and block.events[-1] == ("finished",)
    assert [e[0] for e in block.events[-3:]] == ["dropped", "failed", "finished"]
    assert world.state.finished and block.root == state.root(world.state)
    assert [m.payload for m in world.agent(0).mailbox] == [b"late"]


def test_an_empty_run_goes_to_its_last_tick_at_once() -> None:
    world = World(agents=0, last_tick=7)
    world.tick()
    assert world.state.finished and [b.tick for b in world.blocks] == [0, 7]


def test_roots_come_at_the_first_block_from_each_multiple_on_and_are_the_states() -> None:
    """STA-1."""
    world = World(snapshot_every=4)
    for _ in range(9):
        world.tick(Send(0, b""))
    assert [b.tick for b in world.blocks if b.root] == [0, 4, 8]
    assert world.blocks[8].root and world.snapshots[8] is not None
    assert state.root(state.decode(world.snapshots[8])) == world.blocks[8].root


def test_images_are_due_staggered_by_agent() -> None:
    world = World(agents=4, snapshot_every=4)
    taken: dict[int, list[int]] = {n: [] for n in range(4)}
    for _ in range(12):
        world.tick(*(Send(n, b"") for n in range(4)))
        for record in world.records:
            if record.snapshot:
                taken[record.agent].append(record.tick)
    assert taken == {0: [4, 8, 12], 1: [1, 5, 9], 2: [2, 6, 10], 3: [3, 7, 11]}


def test_a_decree_is_in_the_block_and_folds_like_any_failure() -> None:
    world = World()
    decree = Decree(0, "decree:lost_workers", 1)
    committed = world.tick(Send(0, b""), outcomes={0: failed("decree:lost_workers")}, decrees=(decree,))
    assert committed.block.decrees == (decree,)
    assert [e[0] for e in committed.block.events] == ["failed", "lifecycle"]


def test_a_folded_journal_gives_every_root_again() -> None:
    """LOG-2: the same global state at every tick, from the journal's inputs and outcomes alone."""
    world = busy_world(ticks=12)
    again = State()
    for block in world.blocks:
        opened = begin(again, block.tick, block.inputs, block.decrees)
        outcomes = {
            step.agent: Outcome(step.status, tuple(journal.effect_of(e, world.blobs) for e in step.effects), step.image)
            for step in block.steps
        }
        assert journal.encode_block(commit(again, opened, outcomes).block) == journal.encode_block(block)
    assert state.encode(again) == state.encode(world.state)


def test_ids_are_numbers_in_order_of_creation_and_outlive_what_they_name() -> None:
    """ID-1."""
    world = World(agents=2)
    world.operate("terminate", 0)
    world.tick(Spawn(agent("new")))
    assert [a.spec.name for a in world.state.agents] == ["a0", "a1", "new"]
    assert world.ran() == [2] and world.records[0].kind == "init"
    for left, right in itertools.pairwise(world.records):
        assert left.agent != right.agent


def test_a_copied_state_is_equal_and_apart() -> None:
    world = busy_world()
    copy = fold.copy_state(world.state)
    assert copy == world.state and state.encode(copy) == state.encode(world.state)
    copy.agents[0].restarts.append(1)
    assert copy != world.state
