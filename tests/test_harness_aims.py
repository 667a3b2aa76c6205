"""Aiming: every kind of the catalogue, a new one too, is turned into an address of something that happened."""

from __future__ import annotations

import pytest

from faults.kinds import AGENT, KINDS, MS, TICK, FaultKind, Form, Key
from faults.plan import Fault, canonical
from faults.profiles import Mix, Span
from harness import aims
from harness.expand import AIMS, Chooser, Events, RequestEvent, StepEvent, aimed, expand, possible
from runtime.physical import Physical
from scenarios.strategies import draft_from_seed

STEPS = (StepEvent(3, 1, "step", 4, 0, 90), StepEvent(5, 2, "step", 2, 512, 70), StepEvent(7, 0, "step", 0, 0, 20))
EVENTS = Events(
    steps=STEPS, calling=STEPS[:2], writing=STEPS[1:2], read=((0, 3),), blocks=9, ticks=(3, 5, 7),
    requests=(RequestEvent(5, 2, (3 << 32) + 1),), addressed=(1,), submitted=(1, 2), reloaded=(2,), open=(3, 5),
    reading=(1, 2), models=2,
)  # fmt: skip
NOTHING = Events((), (), (), (), 1, (0,))
KILL = Fault(kind="orchestrator.kill", at={"tick": 3, "phase": "sync"})


def kind(*keys: Key, params: tuple[Key, ...] = (), forms: tuple[Form, ...] = ()) -> FaultKind:
    """A kind that no recipe knows."""
    whole = (Form(needs=tuple(key.name for key in keys)),)
    return FaultKind(
        slug="new.kind", rows=(), class_="transparent", layer="worker", title="new", keys=keys, forms=forms or whole,
        params=params, counts_when="ever",
    )  # fmt: skip


def choosers() -> list[Chooser]:
    return [Chooser([n * 7919 + k * 104_729 for k in range(8)]) for n in range(40)]


@pytest.mark.parametrize("slug", [kind.slug for kind in KINDS])
def test_every_kind_is_aimed_at_what_happened_and_by_its_forms_alone_as_well(slug: str) -> None:
    of = next(kind for kind in KINDS if kind.slug == slug)
    for chooser in choosers():
        for fault in aimed(slug, EVENTS, chooser, [KILL]):
            canonical(fault)
    plain = [aims.by_form(of, EVENTS, chooser, [KILL]) for chooser in choosers()]
    assert all(plain)
    for fault in plain:
        assert fault is not None and canonical(fault).kind == slug


def test_a_new_kind_at_a_step_gets_a_tick_and_an_agent_that_belong_together() -> None:
    found = [aims.by_form(kind(TICK, AGENT), EVENTS, chooser, []) for chooser in choosers()]
    assert {(f.at["tick"], f.at["agent"]) for f in found if f} == {(3, 1), (5, 2), (7, 0)}


def test_a_new_kind_s_words_numbers_and_times_stay_in_their_bounds() -> None:
    key = Key(name="how", meaning="", words=("a", "b"))
    params = (Key(name="for", meaning="", unit="ns", low=5, high=MS), Key(name="factor", meaning="", low=2, high=9))
    found = [aims.by_form(kind(TICK, key, params=params), EVENTS, chooser, []) for chooser in choosers()]
    assert {fault.at["how"] for fault in found if fault} == {"a", "b"}
    for fault in found:
        assert fault and 5 <= int(fault.with_["for"]) <= MS and 2 <= int(fault.with_["factor"]) <= 9


def test_a_form_that_names_nothing_that_happened_gives_way_to_one_that_does() -> None:
    request = Key(name="request", meaning="")
    of = kind(TICK, request, forms=(Form(needs=("request",)), Form(needs=("tick",))))
    found = [aims.by_form(of, NOTHING, chooser, []) for chooser in choosers()]
    assert all(fault and fault.at == {"tick": 0} for fault in found)
    assert aims.by_form(kind(request), NOTHING, Chooser(()), []) is None


def test_a_fault_of_a_crash_brings_a_crash_and_a_second_one_brings_another() -> None:
    first = aimed("disk.tear", EVENTS, Chooser(()), [])
    assert [fault.kind for fault in first] == ["orchestrator.kill", "disk.tear"] and first[1].at == {"crash": 1}
    assert [f.kind for f in aimed("disk.lose", EVENTS, Chooser(()), [KILL])] == ["disk.lose"]
    assert aimed("disk.lose", EVENTS, Chooser(()), [*first])[-1].at == {"crash": 2}


def test_only_what_can_happen_is_possible() -> None:
    assert set(possible(EVENTS)) == {kind.slug for kind in KINDS}
    assert {"orchestrator.kill", "disk.tear"} <= set(possible(NOTHING))
    assert set(possible(NOTHING)).isdisjoint({"worker.kill", "buffer.flip", "agent.trap", "gpu.remove"})
    assert set(possible(NOTHING)).isdisjoint({"agent.flood", "agent.reload", "dag.edit", "step.cancel"})


def test_parameters_are_drawn_within_the_profile_s_ranges() -> None:
    mix = Mix((("frame.delay", 1),), {"frame.delay": {"for": Span(40 * MS, 41 * MS)}})
    faults = [f for n in range(20) for f in expand(draft_from_seed("hello", 1, n), EVENTS, Physical(), mix).faults]
    assert len(faults) > 40
    assert all(fault.kind == "frame.delay" and 40 * MS <= fault.number("for") <= 41 * MS for fault in faults)
    words = Mix((("gpu.remove", 1),), {"gpu.remove": {"how": Span(words=("hang",))}})
    narrowed = aims.narrowed(Fault(kind="gpu.remove", at={"tick": 1}), words, Chooser(()))
    assert narrowed.with_ == {"how": "hang"}


def test_every_recipe_is_of_a_kind_that_exists() -> None:
    assert set(AIMS) <= {kind.slug for kind in KINDS}
