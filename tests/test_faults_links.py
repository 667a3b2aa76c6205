"""Links under fault in a real simulated run, and step by step on toy ports: held in order, cut, noisy, broken."""

from __future__ import annotations

from functools import cache

import pytest
from faults_kit import Log, Timers, ToyGateway, ToyWorkers, done, injector, release, work

from faults.budget import check
from faults.effect import effective
from faults.plan import Plan, parse_fault
from faults.wrappers.links import CLIENTS, LinkedGateway, LinkedWorkers, Links
from harness.events import Events, events_of
from harness.history import History
from harness.simulation import journal_digest, simulate
from runtime.errors import Refused
from runtime.ports import Arrival
from scenarios.registry import get

MS = 1_000_000
SEED = 1


class World:
    """Two workers and a client over links with these faults."""

    def __init__(self, *texts: str) -> None:
        self.injector, self.log = injector(*texts, seed=3)
        self.timers, self.inner, self.client = Timers(), ToyWorkers(), ToyGateway()
        self.tick = 3
        self.links = Links(self.injector, self.timers.later, lambda: self.tick)
        self.workers = LinkedWorkers(self.inner, self.links)
        self.gateway = LinkedGateway(self.client, self.links, lambda: self.tick)
        for worker in (1, 2):
            self.workers.spawn(worker)

    def answer(self, *arrivals: Arrival) -> list[Arrival]:
        self.inner.arrivals = list(arrivals)
        return self.workers.poll()


def test_without_faults_everything_passes_as_it_is() -> None:
    world = World("frame.lose@tick:3,agent:1,direction:work")
    world.workers.send(1, work(1, 7, (3, 1)))
    world.gateway.send(release(1))
    assert world.inner.sent == [(1, work(1, 7, (3, 1)))] and world.client.sent == [release(1)]
    assert world.answer(Arrival(1, done(1, 7, (3, 1)))) == [Arrival(1, done(1, 7, (3, 1)))]
    assert world.log == Log() and not world.links.active


def test_a_clogged_link_holds_frames_and_delivers_them_in_order_when_it_goes_on() -> None:
    world = World("link.clog@tick:3,percent=100,swizzle=no,for=9ms")
    for lease in (7, 8):
        world.workers.send(1, work(1, lease, (3, 1)))
    world.gateway.send(release(1))
    assert world.answer(Arrival(2, done(2, 6, (3, 2))), Arrival(2, None)) == [
        Arrival(2, done(2, 6, (3, 2))),  # nobody knows its lease, so it is none of ours
        Arrival(2, None),  # an end is told by the process, not by its pipe
    ]
    assert world.inner.sent == [] and world.client.sent == []
    world.timers.pass_time(9 * MS)
    assert world.inner.sent == [(1, work(1, 7, (3, 1))), (1, work(1, 8, (3, 1)))] and world.client.sent == [release(1)]
    assert world.log[0] == (0, {"links": 3, "for": 9 * MS})


def test_a_lease_that_was_sent_before_anything_could_strike_is_known_when_something_does() -> None:
    world = World("link.clog@tick:4,percent=100,swizzle=no,for=9ms")
    world.workers.send(1, work(1, 7, (3, 1)))
    assert world.links.is_idle and world.inner.sent == [(1, work(1, 7, (3, 1)))]
    world.tick = 4
    world.workers.send(2, work(2, 8, (4, 2)))
    late = Arrival(1, done(1, 7, (3, 1)))
    assert not world.links.is_idle and world.answer(late) == [] and len(world.inner.sent) == 1
    world.timers.pass_time(9 * MS)
    assert world.answer() == [late] and world.inner.sent[1:] == [(2, work(2, 8, (4, 2)))] and world.links.is_idle


def test_noise_strikes_while_its_ticks_are_open_and_a_client_that_is_held_leaves_the_workers_alone() -> None:
    world = World("link.noise@tick:3,direction:work,percent=100,ticks=1,verb=lose", "client.stall@block:2,for=9ms")
    world.workers.send(1, work(1, 7, (3, 1)))
    assert world.inner.sent == [] and world.log[0][0] == 0
    world.tick = 4
    world.workers.send(1, work(1, 8, (3, 1)))
    assert world.inner.sent == [(1, work(1, 8, (3, 1)))], "it is late, and the noise over"
    assert not world.links.is_idle_for_clients
    world.gateway.send(release(2))
    assert world.links.is_idle and not world.links.is_idle_for_clients and world.client.sent == []
    world.timers.pass_time(9 * MS)
    assert world.links.is_idle_for_clients and world.client.sent == [release(2)]


def test_a_swizzled_clog_stops_links_one_by_one_and_all_of_them_go_on() -> None:
    world = World("link.clog@tick:3,percent=100,for=12ms")
    frames = [(worker, work(worker, 7, (3, worker))) for worker in (1, 2)]
    for worker, frame in frames:
        world.workers.send(worker, frame)
    world.gateway.send(release(1))
    passed = len(world.inner.sent) + len(world.client.sent)
    assert passed == 2  # one of three stands still at once, the next one 2 ms later
    world.timers.pass_time(100 * MS)
    assert sorted(world.inner.sent) == sorted(frames) and world.client.sent == [release(1)]


@pytest.mark.parametrize(("way", "sent", "came"), [("both", 0, 0), ("to", 0, 1), ("from", 1, 0)])
def test_a_cut_link_loses_frames_in_its_direction_until_it_heals(way: str, sent: int, came: int) -> None:
    world = World(f"link.partition@tick:3,agent:1,way={way},for=4ms")
    world.workers.send(1, work(1, 7, (3, 1), (3, 3)))
    world.workers.send(2, work(2, 8, (3, 2)))
    assert len(world.inner.sent) == sent + 1
    assert len(world.answer(Arrival(1, done(1, 7, (3, 1))), Arrival(2, done(2, 8, (3, 2))))) == came + 1
    world.timers.pass_time(4 * MS)
    world.workers.send(1, work(1, 9, (3, 1)))
    assert world.inner.sent[-1] == (1, work(1, 9, (3, 1)))


def test_a_stalled_client_reads_its_backlog_in_order_and_one_that_was_away_has_lost_it() -> None:
    slow, away = World("client.stall@block:2,for=9ms"), World("client.stall@block:2,how=away,for=9ms")
    for world in (slow, away):
        for block in (1, 2, 3):
            world.gateway.send(release(block))
        assert world.client.sent == [release(1)]
        world.timers.pass_time(9 * MS)
    assert slow.client.sent == [release(1), release(2), release(3)] and away.client.sent == [release(1)]
    assert {fields["worker"] for _, fields in away.log} == {CLIENTS}


def test_a_frame_is_overtaken_by_so_many_and_no_more() -> None:
    world = World("frame.reorder@direction:release,block:2,window=2")
    for block in (1, 2, 3, 4, 5):
        world.gateway.send(release(block))
    assert world.client.sent == [release(block) for block in (1, 3, 4, 2, 5)]
    assert world.log[-1] == (0, {"overtaken": 2})


def test_a_frame_that_nothing_overtakes_goes_on_when_its_time_is_over() -> None:
    world = World("frame.reorder@tick:3,agent:1,direction:work,window=5,for=6ms")
    world.workers.send(1, work(1, 7, (3, 1)))
    assert world.inner.sent == []
    world.timers.pass_time(6 * MS)
    assert world.inner.sent == [(1, work(1, 7, (3, 1)))] and world.log[-1] == (0, {"overtaken": 0})


def test_noise_takes_as_many_frames_as_it_says_and_never_a_step_more_than_twice() -> None:
    world = World("link.noise@tick:3,direction:work,percent=100,ticks=2")
    for _ in range(4):
        world.workers.send(1, work(1, 7, (3, 1)))
    world.workers.send(1, work(1, 8, (5, 1)))  # beyond its ticks
    assert world.inner.sent == [(1, work(1, 7, (3, 1)))] * 2 + [(1, work(1, 8, (5, 1)))]
    assert world.log.fired == [0, 0]


def test_a_burst_follows_a_hit_and_the_same_frames_are_hit_again_in_another_run() -> None:
    def taken(percent: int, burst: int) -> list[int]:
        world = World(f"link.noise@tick:0,direction:release,percent={percent},burst={burst},ticks=20")
        for block in range(1, 20):
            world.gateway.send(release(block))
        return [block for block in range(1, 20) if release(block) not in world.client.sent]

    alone, bursts = taken(20, 0), taken(20, 95)
    assert 0 < len(alone) < len(bursts) < 19
    assert len(taken(100, 0)) == 19 and taken(20, 0) == alone


@pytest.mark.parametrize("error", ["epipe", "short_write,byte=9"])
def test_a_broken_pipe_closes_its_end_while_the_worker_lives(error: str) -> None:
    world = World(f"pipe.errno@tick:3,agent:1,error={error}")
    frame = work(1, 7, (3, 1))
    world.workers.send(1, frame)
    assert world.inner.sent == ([] if error == "epipe" else [(1, frame[:9])]) and world.inner.killed == []
    world.timers.pass_time(1)
    assert world.workers.poll() == [Arrival(1, None)]


def test_an_abandoned_lock_is_told_only_when_the_worker_is_killed() -> None:
    world = World("lock.abandon@tick:3,agent:1,point:idle")
    world.workers.send(1, work(1, 7, (3, 1)))
    assert world.inner.sent == [] and world.inner.killed == [1]
    assert world.answer(Arrival(1, None)) == []
    world.workers.kill(1)
    assert world.workers.poll() == [Arrival(1, None)]


# --- in a simulated run -----------------------------------------------------------------------------------------------


def run(*texts: str, scenario: str = "frames") -> History:
    chosen = get(scenario)
    faults = tuple(parse_fault(text) for text in texts)
    plan = Plan(scenario=scenario, seed=SEED, inputs=chosen.workload(SEED), faults=faults)
    check(plan)
    return simulate(chosen, plan)


@cache
def twin() -> History:
    return run()


@cache
def events() -> Events:
    return events_of(twin())


STEP = [step for step in events().calling if step.kind == "step"][25]
AT = f"tick:{STEP.tick},agent:{STEP.agent}"
VERSION = "buffer:{},version:{}".format(*events().read[len(events().read) // 3])
NOISE = f"link.noise@tick:{STEP.tick},direction"


@pytest.mark.parametrize(
    "text",
    [
        f"frame.reorder@{AT},direction:work",
        f"frame.reorder@{AT},direction:done,window=1,for=40ms",
        "frame.reorder@direction:release,block:5,window=20,for=60ms",
        *[f"{NOISE}:{way},verb={verb},percent=60,burst=80,ticks=10"
          for way in ("work", "done") for verb in ("lose", "duplicate", "delay", "corrupt")],
        *[f"{NOISE}:release,verb={verb},percent=60,ticks=10,for=40ms" for verb in ("lose", "delay", "corrupt")],
        *[f"link.clog@tick:{STEP.tick},percent={share},for={time}" for share in (34, 100) for time in ("8ms", "60ms")],
        *[f"link.partition@{AT},way={way},for={time}" for way in ("both", "to", "from") for time in ("3ms", "50ms")],
        f"link.partition@tick:{STEP.tick},for=50ms",
        *[f"client.stall@block:4,how={how},for=50ms" for how in ("slow", "away")],
        f"pipe.errno@{AT}",
        f"pipe.errno@{AT},error=short_write,byte=30",
        f"lock.abandon@{AT}",
        f"lock.abandon@{AT},point:idle",
        *[f"buffer.torn_read@{VERSION},occurrence:{load},byte={byte},half={half}"
          for load, byte in ((1, 3), (2, 1500), (4, 5)) for half in ("first", "second")],
        *[f"buffer.stuck@{VERSION},byte=77,stores={stores}" for stores in (1, 4)],
        f"buffer.zero@{VERSION},byte=40",
        *[f"buffer.stale_handle@{VERSION},mode={mode}" for mode in ("previous", "next", "wrap")],
        *[f"buffer.second_writer@{VERSION},when={when}" for when in ("private", "published")],
    ],
)  # fmt: skip
def test_it_takes_effect_and_leaves_the_journal_alone(text: str) -> None:
    history = run(text)
    assert history.finished and not history.failure
    assert effective(history.plan, history.injections, history.trace, {}) == {0: True}
    assert journal_digest(history) == journal_digest(twin())


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([f"link.clog@tick:{n}" for n in (1, 2, 3, 4)], "this step would lose 4 workers"),
        (["link.clog@tick:1", *[f"worker.kill@tick:3,agent:1,hostcall:{n}" for n in (1, 2, 3)]], "would lose 4"),
        ([f"link.partition@tick:3,agent:{n}" for n in range(4)], "would lose 4 workers"),
        ([*["pipe.errno@tick:3,agent:1"] * 2, *["lock.abandon@tick:3,agent:1"] * 2], "would lose 4 workers"),
        (["client.stall@block:1"] * 3 + ["link.partition@tick:3"] * 2, "the client would be cut off 5 times"),
        (["buffer.stuck@buffer:0,version:3,stores=4"] * 3, "12 faults at buffer 0, version 3"),
    ],
)
def test_more_than_can_be_survived_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(Refused) as refused:
        check(Plan(scenario="frames", seed=1, inputs=(), faults=tuple(parse_fault(text) for text in texts)))
    assert message in str(refused.value)
