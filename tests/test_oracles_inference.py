"""Inference under the oracles: a hand-made run passes, and each damaged record is named.

Two agents, six ticks, one model with two bytes of KV cache per token. Agent 0 asks twice in one session, the second
time from the CPU, as the accelerator is lost in between; agent 1 is refused once, answered once, and waits at the end.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from oracles_kit import CLIENT, REFUSED, World, b64, call, crossing, envelope, finding, record, refuses, step

from faults.plan import parse_fault
from harness.history import DeviceEvent, History, Injection
from harness.oracles import Judged, Verdict, judge, judgeable
from harness.oracles.inference import _switches
from runtime.frames import InferenceItem
from runtime.state import AgentSpec, AgentState, Inference, Message, Request, State, encode

INFERENCE = 7
TOO_LONG = 3
MODEL = "ab" * 32
FIRST, SECOND = (1 << 32) + 1, (1 << 32) + 2  # agent 0's
REFUSAL, THIRD, OPEN = (2 << 32) + 1, (2 << 32) + 2, (2 << 32) + 3  # agent 1's
ACCELERATOR, PROCESSOR = 1500001, 1500002


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# request -> position, tokens, KV cache before, next token, what it adds to the cache
TRUTH = {
    FIRST: (0, (5, 6), b"", 7, b"aabb"),
    SECOND: (2, (7,), b"aabb", 8, b"cc"),
    THIRD: (0, (9,), b"", 4, b"dd"),
    OPEN: (1, (4,), b"dd", 3, b"ee"),
}


def logits(request: int) -> str:
    return sha(b"logits %d" % request)


def computed(digest: str, item: InferenceItem) -> Inference:
    """What is right, as a computation apart from the run would say."""
    for request, (position, tokens, kv, token, added) in TRUTH.items():
        if (digest, item.position, item.tokens, item.kv) == (MODEL, position, tokens, kv):
            return Inference(item.request, token, logits(request), added)
    raise KeyError(item)


def result(request: int, session: int) -> bytes:
    return envelope(INFERENCE, CLIENT, request, 0, words(TRUTH[request][3], session))


def entry(request: int) -> dict[str, Any]:
    return {"kv": b64(TRUTH[request][4]), "logits": logits(request), "request": request, "token": TRUTH[request][3]}


def device(at: int, process: int, request: int, **changes: Any) -> DeviceEvent:
    position, tokens, kv, token, added = TRUTH[request]
    number = 1 if process == ACCELERATOR else 0
    event = DeviceEvent(
        at, process, number, 1, MODEL, request, position, tokens, sha(kv), token, logits(request), sha(added)
    )
    return event._replace(**changes)


class Talk(World):
    """The world of this file; `requests` wait at the end, `devices` is the device log."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        super().__init__()
        self.sent, self.stores, self.outputs, self.blobs = [], [], {}, {}
        self.bodies = _bodies()
        self.guests = [
            crossing(0, 0, "init"),
            crossing(0, 1, "init"),
            crossing(1, 0, calls=(call("infer", 0, words(0, 5, 6)),)),
            crossing(1, 1, calls=(call("infer", 0, words(0)),)),
            crossing(
                2,
                1,
                inbox=(envelope(REFUSED, CLIENT, REFUSAL, TOO_LONG, words(0)),),
                calls=(call("infer", 0, words(1, 9)),),
            ),
            crossing(3, 0, inbox=(result(FIRST, 2),), calls=(call("infer", 0, words(0, 7)),)),
            crossing(4, 1, inbox=(result(THIRD, 1),), calls=(call("infer", 0, words(0, 4)),)),
        ]
        self.inferences = [
            device(120, ACCELERATOR, FIRST),
            device(230, ACCELERATOR, THIRD),
            device(340, ACCELERATOR, SECOND, token=-1, logits="", added=""),
            device(360, PROCESSOR, SECOND),
        ]
        self.trace = _trace()
        self.mailboxes = [[Message(SECOND, INFERENCE, CLIENT, 0, words(8, 3))], []]
        self.requests = [Request(OPEN, 1, 0, 0, 6, 1, (4,))]
        self.seal()
        self.deliver()

    def final(self) -> bytes:
        agents = [
            AgentState(spec=AgentSpec(capabilities=(), module="", name=f"a{i}"), mailbox=mailbox)
            for i, mailbox in enumerate(self.mailboxes)
        ]
        return encode(State(agents=agents, requests=self.requests))

    def history(self) -> History:
        history = super().history()
        history.inferences = self.inferences
        return history

    def device(self, index: int, **changes: Any) -> None:
        self.inferences[index] = self.inferences[index]._replace(**changes)


def _bodies() -> list[dict[str, Any]]:
    model = {"context": 9, "digest": MODEL, "kv_bytes": 2, "name": "m", "vocabulary": 16}
    config = {"seed": 1, "last_tick": 5, "max_tasks_per_tick": 9, "topics": [], "buffers": [], "models": [model]}
    config |= {"mailbox": 8, "send_limit": 64}
    actions: list[dict[str, Any]] = [{"do": "configure", "config": config}]
    actions += [{"do": "spawn", "spec": {"capabilities": [], "module": "", "name": name}} for name in ("a0", "a1")]
    genesis = [{"source": "genesis", "n": n, "tick": 0, "action": action} for n, action in enumerate(actions, 1)]
    empty: dict[str, Any] = {"inputs": [], "inferences": [], "decrees": [], "steps": [], "events": [], "root": ""}

    def asks(agent: int, n: int, seq: int, *numbers: int, inbox: tuple[int, ...] = ()) -> dict[str, Any]:
        return step(agent, n, effects=[["infer", 0, b64(words(*numbers))]], seq=seq, inbox=list(inbox))

    refused = ["refused_request", REFUSAL, 1, 0, TOO_LONG]
    return [
        {**empty, "tick": 0, "inputs": genesis, "steps": [step(0, 1, "init"), step(1, 1, "init")]},
        {**empty, "tick": 1, "steps": [asks(0, 2, FIRST, 0, 5, 6), asks(1, 2, REFUSAL, 0)], "events": [refused]},
        {**empty, "tick": 2, "steps": [asks(1, 3, THIRD, 1, 9, inbox=(REFUSAL,))]},
        {**empty, "tick": 3, "inferences": [entry(FIRST)], "steps": [asks(0, 3, SECOND, 0, 7, inbox=(FIRST,))]},
        {**empty, "tick": 4, "inferences": [entry(THIRD)], "steps": [asks(1, 4, OPEN, 0, 4, inbox=(THIRD,))]},
        {**empty, "tick": 5, "inferences": [entry(SECOND)], "events": [["finished"]]},
    ]


def _trace() -> list[Any]:
    lost: dict[str, int | str] = {"process": ACCELERATOR, "device": 1, "cause": "exit"}
    return [
        record(100, "device_spawned", 1, process=ACCELERATOR, device=1),
        record(100, "infer_sent", 1, process=ACCELERATOR, device=1, lease=1, requests=1),
        record(125, "infer_received", 1, process=ACCELERATOR, device=1, lease=1, requests=1),
        record(125, "inferred", 1, request=FIRST, agent=0, device=1),
        record(235, "inferred", 2, request=THIRD, agent=1, device=1),
        record(350, "device_lost", 3, **lost),
        record(351, "device_spawned", 3, process=PROCESSOR, device=0),
        record(365, "inferred", 3, request=SECOND, agent=0, device=0),
    ]


def says(oracle: str, made: Talk, **others: Any) -> Any:
    return finding(oracle, made, recompute=computed, **others)


def names(oracle: str, made: Talk, named: str, **others: Any) -> None:
    refuses(oracle, made, named, recompute=computed, **others)


@pytest.mark.parametrize("oracle", ["I8", "I9", "I11", "I24", "I27", "I34", "ledger"])
def test_a_good_conversation_passes(oracle: str) -> None:
    found = says(oracle, Talk())
    assert (found.verdict, found.evidence) == (Verdict.PASS, ())


# --- fallback equivalence ---------------------------------------------------------------------------------------------

DAMAGES = [
    (3, {"kv_digest": sha(b"aa")}, "a KV cache that is not the 4 bytes of the journal (device 0, process 1500002)"),
    (2, {"kv_digest": sha(b"")}, "device event 2: request 4294967298: a KV cache that is not"),  # though nothing left
    (3, {"position": 1}, "event 3: request 4294967298: 1 tokens at position 1, guest event 5 call 0 asked 1 at 2"),
    (0, {"tokens": (5, 5)}, "device event 0: request 4294967297: 2 tokens at position 0"),
    (0, {"model": "cd" * 32}, "device event 0: request 4294967297 with another model, cdcdcdcdcdcd"),
    (0, {"request": 77}, "device event 0: request 77, which no agent made"),
    (1, {"token": 5}, "block 5 inference 0: the result of request 8589934594 is no device's; its token is nobody's"),
    (1, {"added": sha(b"xx")}, "its token is device 1's, logits is device 1's, KV cache is nobody's"),
    (3, {"token": -1}, "block 6 inference 0: request 4294967298 has a result that no device gave"),
    (3, {"device": 1}, "trace record 7: request 4294967298 served by device 0, which gave no result"),
]


@pytest.mark.parametrize(("index", "changes", "named"), DAMAGES)
def test_a_damaged_device_log_is_named(index: int, changes: dict[str, Any], named: str) -> None:
    made = Talk()
    made.device(index, **changes)
    names("I24", made, named)


def test_a_result_put_together_from_two_devices_is_named() -> None:
    made = Talk()
    made.device(2, token=8, logits=sha(b"of the accelerator"), added=sha(b"xx"))
    made.device(3, token=9)
    names("I24", made, "its token is device 1's, logits is device 0's, KV cache is device 0's")


def test_two_devices_that_differ_are_named_though_the_journal_has_one_of_them() -> None:
    made = Talk()
    made.device(2, token=8, logits=sha(b"of the accelerator"), added=sha(b"cc"))
    names("I24", made, "device event 3: request 4294967298: another result on device 0")


def test_a_result_that_all_records_agree_on_but_the_cpu_does_not_is_named() -> None:
    made = Talk()
    made.bodies[4]["inferences"][0]["token"] = 5
    made.device(1, token=5)
    names("I24", made, "block 5 inference 0: request 8589934594: token 5, computed anew on the CPU 4")


def test_what_a_fault_made_wrong_is_no_devices_result() -> None:
    made = Talk()
    made.faults = (parse_fault("gpu.wrong@tick:1"),)
    made.injections = [Injection(230, 0, {"process": ACCELERATOR, "request": THIRD})]
    names("I24", made, "block 5 inference 0: request 8589934594 has a result that no device gave")
    made.inferences.insert(2, device(240, PROCESSOR, THIRD))
    made.device(1, token=5)
    made.trace[4] = record(245, "inferred", 2, request=THIRD, agent=1, device=0)
    made.trace.insert(4, record(241, "infer_disagreed", 2, request=THIRD, device=1))
    assert says("I24", made).verdict is Verdict.PASS


def test_an_answer_of_a_device_that_was_gone_is_no_devices_result() -> None:
    made = Talk()
    made.faults = (parse_fault("gpu.remove@tick:1,how=late"),)
    made.injections = [Injection(200, 0, {"process": ACCELERATOR, "request": THIRD})]
    names("I24", made, "block 5 inference 0: request 8589934594 has a result that no device gave")


def test_an_answer_received_after_its_process_was_lost_is_named() -> None:
    made = Talk()
    made.trace.append(record(370, "infer_received", 3, process=ACCELERATOR, device=1, lease=2, requests=1))
    names("I24", made, "trace record 8: an answer of process 1500001, lost in record 5")


def test_a_switch_of_devices_that_nothing_tells_of_is_named() -> None:
    made = Talk()
    made.trace = [r for r in made.trace if not r.kind.startswith("device_")]
    names("I24", made, "device 0 serves request 4294967298 after device 1; nothing tells of a switch")


def test_an_answer_confirmed_after_its_device_was_missed_needs_no_second_record_of_the_switch() -> None:
    made = Talk()
    made.trace = [r for r in made.trace if not r.kind.startswith("device_")]
    first = next(i for i, r in enumerate(made.trace) if r.kind == "inferred" and r.fields["device"] == 1)
    made.trace.insert(first, record(made.trace[first].at, "device_missing", 2, device=1))
    assert "tells of a switch" not in " ".join(says("I24", made).evidence)


def test_a_device_that_came_while_the_other_s_batch_was_on_its_way_needs_no_second_record_of_the_switch() -> None:
    """Told of when the second batch was sent, which is before the first one's answer was counted."""
    sent = {"lease": 1, "requests": 1}
    trace = [
        record(1, "infer_sent", 2, device=0, process=PROCESSOR, **sent),
        record(2, "device_spawned", 2, device=1, process=ACCELERATOR),
        record(3, "infer_sent", 2, device=1, process=ACCELERATOR, **sent),
        record(4, "infer_received", 2, device=0, process=PROCESSOR, **sent),
        record(4, "inferred", 2, request=FIRST, agent=1, device=0),
        record(5, "infer_received", 2, device=1, process=ACCELERATOR, **sent),
        record(5, "inferred", 2, request=SECOND, agent=1, device=1),
    ]
    assert _switches(trace) == []
    assert len(_switches([trace[1], trace[0], *trace[2:]])) == 1, "told before both were sent, it says nothing of them"


def test_a_request_that_the_trace_says_nothing_of_is_named() -> None:
    made = Talk()
    del made.trace[4]
    names("I24", made, "block 5 inference 0: the trace does not say which device served request 8589934594")


def test_without_one_of_its_records_fallback_is_not_judged() -> None:
    made = Talk()
    made.inferences = []
    assert says("I24", made).verdict is Verdict.UNKNOWN
    assert "I24" in judgeable(Judged(made.history()))  # the journal has results: a missing log must not go unnoticed
    assert "I24" not in judgeable(Judged(World().history()))
    made = Talk()
    made.trace = []
    assert says("I24", made).verdict is Verdict.UNKNOWN


# --- the same on other devices ----------------------------------------------------------------------------------------


def test_another_journal_on_another_device_is_named_with_its_record() -> None:
    good, other = Talk(), Talk()
    other.bodies[4]["inferences"][0]["token"] = 5
    devices = {"the CPU alone": good.history(), "sim-accel (simulated)": other.history()}
    names("I5", good, "block 5 inference 0: here", devices=devices)
    assert says("I5", good, devices={"the CPU alone": good.history()}).verdict is Verdict.PASS
    assert says("I5", good, devices={}).verdict is Verdict.UNKNOWN


def test_a_run_on_another_device_that_ends_early_is_named() -> None:
    good, other = Talk(), Talk()
    other.finished = False
    names("I5", good, "the run on the CPU alone did not finish", devices={"the CPU alone": other.history()})


# --- requests and results as messages ---------------------------------------------------------------------------------


def test_a_result_that_no_request_waits_for_is_named() -> None:
    made = Talk()
    made.bodies[3]["inferences"].append(entry(FIRST))
    names("I8", made, "block 4 inference 1: a second result of request 4294967297")
    made = Talk()
    made.bodies[3]["inferences"][0]["request"] = REFUSAL
    names("I8", made, "block 4 inference 0: a result of number 8589934593, which is no request that waits for one")


def test_a_result_that_an_agent_has_before_any_block_is_named() -> None:
    made = Talk()
    made.bodies[5]["inferences"].append(made.bodies[3]["inferences"].pop())
    names("I8", made, "block 4 step 0: consumed the result of request 4294967297, which no block holds by then")


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (envelope(INFERENCE, CLIENT, FIRST, 0, words(6, 2)), "a result of request 4294967297, 8 B 0600000002000000"),
        (envelope(INFERENCE, CLIENT, FIRST, 0, words(7, 3)), "the journal's is 8 B 0700000002000000"),
        (envelope(INFERENCE, CLIENT, FIRST, 1, words(7, 2)), "from 4294967295, model 1; guest event 2"),
        (envelope(INFERENCE, 1, FIRST, 0, words(7, 2)), "a result of request 4294967297 from 1"),
        (envelope(INFERENCE, CLIENT, THIRD, 0, words(4, 1)), "request 8589934594, which agent 0 did not make"),
    ],
)
def test_another_result_at_the_agent_is_named(frame: bytes, named: str) -> None:
    made = Talk()
    made.guest(3, 0, inbox=(frame,))
    names("I11", made, named)


@pytest.mark.parametrize(("sender", "status"), [(CLIENT, 4), (0, TOO_LONG)])
def test_a_refusal_with_another_status_or_sender_is_named(sender: int, status: int) -> None:
    made = Talk()
    made.guest(2, 1, inbox=(envelope(REFUSED, sender, REFUSAL, status, words(0)),))
    names("I11", made, "guest event 4 message 0: number 8589934593")


def test_a_request_whose_bytes_the_journal_changed_is_named() -> None:
    made = Talk()
    made.step(2, 0)["effects"][0][2] = b64(words(0, 5, 7))
    names("I11", made, "block 2 step 0 effect 0: not the bytes that guest event 2 call 0 passed")


def test_a_request_or_result_that_vanished_is_named() -> None:
    made = Talk()
    made.requests = []
    names("I34", made, "at the end 2 copies of result 0 are unaccounted for, 1 lie in mailboxes")
    made = Talk()
    made.mailboxes[0] = []
    names("I34", made, "at the end 2 copies of result 0")
    made = Talk()
    made.bodies[1]["events"] = []
    names("I34", made, "at the end")


def test_a_result_dropped_on_record_is_accounted_for_and_one_of_anothers_request_is_named() -> None:
    made = Talk()
    made.bodies[4]["events"] = [["dropped_result", OPEN, 1]]
    made.requests = []
    made.seal()
    made.deliver()
    assert says("I34", made).verdict is Verdict.PASS
    made.bodies[4]["events"] = [["dropped_result", OPEN, 0]]
    names("I8", made, "block 5 event 0: dropped_result of number 8589934595 of agent 0, which is no request of its own")


def test_a_failed_step_ends_the_session() -> None:
    made = Talk()
    made.bodies[3]["steps"] = [step(0, 3, status="trap:unreachable", seq=SECOND, inbox=[FIRST])]
    made.guest(3, 0, status="trap:unreachable", calls=())
    made.bodies[4]["steps"].insert(0, step(0, 4, effects=[["infer", 0, b64(words(0, 7))]], seq=SECOND))
    made.guests.insert(6, crossing(4, 0, calls=(call("infer", 0, words(0, 7)),)))
    refuses("I24", made, "event 3: request 4294967298: 1 tokens at position 2, guest event 6 call 0 asked 1 at 0")


def test_missing_bytes_of_a_kv_cache_leave_it_unjudged() -> None:
    made = Talk()
    made.bodies[3]["inferences"][0]["kv"] = {"sha256": sha(b"aabb"), "size": 4}
    assert says("I24", made).verdict is Verdict.UNKNOWN
    made.blobs = {sha(b"aabb"): b"aabb"}
    assert judge(Judged(made.history(), recompute=computed), ["I24"])["I24"].verdict is Verdict.PASS
