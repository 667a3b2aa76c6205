"""A run judged beside one that was judged before: the same findings as on its own, whatever differs between the two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
from oracles_kit import MESSAGE, World, call, changed, envelope, inbox_of, journal_of, world

from faults.plan import Fault
from harness.history import Crash, History, Injection
from harness.oracles import ORACLES, Finding, Judged, Verdict, judge
from harness.oracles.reading import read
from runtime.frames import Output
from runtime.state import Input, Message, Send

Damage = Callable[[World], None]


def stated(history: History) -> list[str]:
    """An invariant that looks at all that one may look at."""
    outputs = [output.payload for receipt in history.receipts for output in receipt.outputs]
    found = [] if outputs == [b"done"] else [f"outputs {outputs}"]
    return found + ([] if b"left" in history.final_state else ["nothing left"])


def findings(made: World, known: World | None) -> dict[str, Finding]:
    good = world().history()
    before = None if known is None else Judged(known.history(), invariant=stated)
    run = Judged(made.history(), good, good, good, {1: good}, (("s", good.final_state),), 1000, stated, {"cpu": good})
    run.known = before
    return judge(run, sorted(set(ORACLES) - {"I24"}))


def event(index: int, **changes: object) -> Damage:
    def damage(made: World) -> None:
        made.guests[index] = changed(made.guests[index], **changes)

    return damage


def again(index: int, at: int | None = None, **changes: object) -> Damage:
    """The crossing once more, changed, by default behind all others."""

    def damage(made: World) -> None:
        made.guests.insert(len(made.guests) if at is None else at, changed(made.guests[index], **changes))

    return damage


def crossings() -> Iterator[Damage]:
    """Every crossing damaged in every field, left out, repeated before and after, whole, in part and otherwise."""
    for index, one in enumerate(World().guests):
        taken = inbox_of(one)
        other = (*taken[:-1], taken[-1][:-1] + b"?") if taken else (envelope(MESSAGE, 0, 9, 0, b""),)
        for inbox in (other, taken[1:], (*taken, *taken), taken[::-1]):
            yield event(index, inbox=inbox)
            yield again(index, inbox=inbox)
            yield again(index, 0, inbox=inbox, status="died", calls=())
        for calls in (one.calls[1:], one.calls[::-1], (*one.calls, call("send", 2, b"more")), one.calls[:1]):
            yield event(index, calls=calls)
            yield again(index, calls=calls)
            yield again(index, 0, calls=calls)
            yield again(index, 0, calls=calls, status="died")
        for status in ("died", "stopped", "trap:unreachable"):
            yield event(index, status=status)
            yield again(index, status=status)
            yield again(index, 0, status=status)
        yield from (event(index, tick=one.tick + 1), event(index, agent=one.agent + 1), event(index, kind="other"))
        yield from (event(index, at=1, worker=9, incarnation=2, fresh=True), again(index), again(index, 0))
        yield lambda made, index=index: made.guests.pop(index) and None  # type: ignore[misc]


def others() -> Iterator[Damage]:
    def changed(change: Callable[[World], object]) -> Damage:
        def damage(made: World) -> None:
            change(made)

        return damage

    for change in (
        lambda w: w.guests.clear(),
        lambda w: w.guests.reverse(),
        lambda w: w.sent.clear(),
        lambda w: w.sent.pop(),
        lambda w: w.sent.append(Input(Send(0, b"more"), 3, "bank", 1)),
        lambda w: w.sent.__setitem__(0, Input(Send(0, b"GO"), 1, "bank", 0)),
        lambda w: w.mailboxes[2].clear(),
        lambda w: w.mailboxes[0].append(Message(7, MESSAGE, 1, 0, b"x")),
        lambda w: w.blobs.clear(),
        lambda w: w.blobs.update({hashlib.sha256(b"x").hexdigest(): b"x"}),
        lambda w: w.receipts.clear(),
        lambda w: w.receipts.pop(1),
        lambda w: w.receipts.__setitem__(1, w.receipts[1]._replace(outputs=(Output(1, 0, 0, 0, b"dome"),))),
        lambda w: w.receipts.__setitem__(1, w.receipts[1]._replace(durable_bytes=3)),
        lambda w: w.trace.clear(),
        lambda w: w.trace.pop(),
        lambda w: w.stores.clear(),
        lambda w: w.crashes.append(Crash(150, 1, 1, "sync", b"", b"")),
        lambda w: setattr(w, "failure", "chain"),
        lambda w: setattr(w, "finished", False),
        lambda w: w.bodies.pop(),
        lambda w: w.bodies[1]["events"].pop(0),
        lambda w: w.bodies[1].update(root="other"),
        lambda w: w.step(3, 1).update(inbox=[]),
        lambda w: w.step(2, 0)["effects"].pop(),
        lambda w: w.step(2, 0).update(status="trap:unreachable", effects=[]),
    ):
        yield changed(change)

    def trapped(made: World) -> None:
        made.faults = (Fault(kind="agent.trap", at={"tick": 1, "agent": 1, "hostcall": 1}),)
        made.injections.append(Injection(110, 0, {"agent": 1, "tick": 1}))

    yield trapped


@pytest.mark.parametrize("damages", [crossings, others], ids=["crossings", "others"])
def test_a_damaged_run_is_judged_beside_a_good_one_as_it_is_alone(damages: Callable[[], Iterator[Damage]]) -> None:
    failed = 0
    for damage in damages():
        alone = findings(world(damage), None)
        assert findings(world(damage), world()) == alone
        assert findings(world(damage), world(damage)) == alone  # what is wrong with both is no less wrong
        assert findings(world(), world(damage)) == findings(world(), None)
        failed += any(finding.verdict is Verdict.FAIL for finding in alone.values())
    assert failed > 20


def test_what_was_settled_is_not_looked_at_again_and_what_differs_is(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = []

    def flows(run: Judged) -> object:
        joined.append(run)
        return original(run)

    original = Judged.__dict__["flows"].func
    known = Judged(world().history())
    ids = ["I8", "I9", "I11", "I15", "I34", "replay"]
    judge(Judged(world().history(), known=known), ids)  # settles
    for damage, times in ((lambda w: None, 0), (again(3, status="died", calls=()), 0), (event(3, inbox=()), 1)):
        joined.clear()
        run = Judged(world(damage).history(), known=known)
        with monkeypatch.context() as patch:
            patch.setattr(Judged, "flows", property(flows))
            judge(run, ids)
        assert (run in joined) == bool(times)


def test_a_repeat_that_did_other_is_named_by_its_own_log_s_places() -> None:
    made = world(again(3, 0, status="died", calls=()), again(4, calls=(call("send", 2, b"other"),)))
    found = findings(made, world())["replay"]
    assert found.evidence == ("guest event 9: agent 0 did other in tick 1 than in guest event 4",), found
    assert found == findings(made, None)["replay"]


def refused(body: bytes) -> str:
    """What the reader says of a chained line with this body."""
    link = hashlib.sha256(b"0" * 64 + body).hexdigest()
    found = read(
        journal_of([])[0] + b'{"block":1,"body":%b,"hash":"%b","prev":"%b"}\n' % (body, link.encode(), b"0" * 64)
    )
    assert found.blocks == () and found.damage is not None and found.damage[0] == 1
    return found.damage[1]


@pytest.mark.parametrize(
    "changed",
    [
        (b'"tick":3', b'"tick":2,"tick":3'),
        (b'"tick":3', b'"tick": 3'),
        (b'"tick":3', b'"tick":3,"unknown":1'),
        (b'"tick":3', b'"tick":3.0'),
        (b'"finished"', b'"finis\\u0068ed"'),
        (b'"steps":[],', b""),
        (b'"decrees":[],', b""),
    ],
)
def test_a_chained_body_that_is_not_written_as_blocks_are_is_damage(changed: tuple[bytes, bytes]) -> None:
    whole = journal_of(world().bodies)
    good = read(b"".join(whole))
    assert good.damage is None and len(good.blocks) == 4
    line = whole[4]
    body = line[line.index(b'"body":') + 7 : line.index(b',"hash":')]
    assert changed[0] in body
    assert "its body is no block" in refused(body.replace(*changed))
