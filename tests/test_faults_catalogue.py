"""The catalogue is whole, and says in one line what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from faults.catalogue import checked, kind_of, markdown
from faults.catalogue_rows import AVAILABLE, ORACLES, ROWS
from faults.kinds import KINDS
from runtime.errors import Refused

ROOT = Path(__file__).resolve().parent.parent


def test_all_rows_and_oracles_are_there_once_and_in_order() -> None:
    assert [row.id for row in ROWS] == [f"F{number:02}" for number in range(1, 86)]
    assert [oracle.id for oracle in ORACLES] == [f"I{number}" for number in range(1, 41)]
    assert len({row.slug for row in ROWS}) == 85
    assert len({oracle.name for oracle in ORACLES}) == 40
    assert all(oracle.statement for oracle in ORACLES)


def test_every_row_has_a_known_class_and_known_oracles() -> None:
    names = {oracle.id for oracle in ORACLES}
    classes = {"transparent", "visible", "refused", "failstop", "workload", "measured"}
    for row in ROWS:
        assert row.class_ in classes, row.id
        assert row.must_hold and set(row.must_hold) <= names, row.id
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", row.slug), row.id
        assert row.state == AVAILABLE or row.state.startswith("comes with "), row.id


def test_a_row_is_available_exactly_when_a_kind_carries_it_out() -> None:
    carried = {row for kind in KINDS for row in kind.rows}
    assert carried == {row.id for row in ROWS if row.state == AVAILABLE}
    for row in ROWS:
        if row.state == AVAILABLE:
            assert row.id in kind_of(row.by or row.slug).rows


def test_kinds_agree_with_their_rows_in_class_and_layer() -> None:
    assert len({kind.slug for kind in KINDS}) == len(KINDS)
    rows = {row.id: row for row in ROWS}
    for kind in KINDS:
        # A torn write into shared memory is the death of a worker, so one kind may span two layers.
        assert {rows[name].class_ for name in kind.rows} == {kind.class_}
        assert kind.layer in {rows[name].layer for name in kind.rows}
        assert kind.oracles


def test_every_form_of_every_kind_names_keys_that_exist() -> None:
    for kind in KINDS:
        keys = [key.name for key in kind.keys]
        assert len(set(keys + [key.name for key in kind.params])) == len(keys) + len(kind.params)
        for form in kind.forms:
            assert set(form.needs + form.may) <= set(keys)
            assert form.only[0] in ("", *keys)


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("worker.kil", "unknown fault 'worker.kil'; did you mean worker.kill"),
        ("nonsense", "unknown fault 'nonsense'; there is agent.bad_pointer, agent.flood, agent.fuel_out"),
        ("model.race", "fault model.race (F59) is not available; it comes with models from outside"),
        ("gpu.flap", "gpu.flap (F52) is carried out by gpu.remove; write gpu.remove@tick:N"),
        ("broker.slow_consumer", "broker.slow_consumer (F43) is carried out by client.stall; write client.stall@"),
    ],
)
def test_an_unknown_or_unavailable_fault_is_refused_with_what_is_near(slug: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        kind_of(slug)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("slug", "at", "with_", "message"),
    [
        ("worker.kill", {"tick": 1}, {}, "worker.kill is not addressed by tick; write worker.kill@tick:N,agent:N"),
        ("worker.kill", {"tick": 1, "agnt": 2}, {}, "worker.kill has no key 'agnt'; did you mean agent?"),
        ("worker.kill", {"tick": 1, "agent": -1}, {}, "worker.kill, agent: -1 is out of bounds"),
        ("worker.kill", {"tick": 1, "agent": True}, {}, "worker.kill, agent: True is not an integer"),
        ("worker.kill", {"tick": 1, "agent": 2, "hostcall": 1, "byte": 2}, {}, "worker.kill is not addressed by"),
        ("worker.kill", {"tick": 1, "agent": 2, "point": "idel"}, {}, "worker.kill, point: 'idel' is not a value"),
        ("frame.lose", {"direction": "work"}, {}, "frame.lose is not addressed by direction"),
        ("frame.lose", {"direction": "release", "tick": 1, "agent": 1}, {}, "frame.lose is not addressed by"),
        ("frame.delay", {"direction": "inputs", "for": 1}, {}, "frame.delay: for belongs to the parameters"),
        ("frame.delay", {"direction": "inputs"}, {"for": 0}, "frame.delay, for: 0 is out of bounds"),
        ("orchestrator.kill", {"tick": 1, "phase": "dream"}, {}, "orchestrator.kill, phase: 'dream' is not a value"),
        ("orchestrator.kill", {"tick": 1, "call": 1}, {}, "orchestrator.kill is not addressed by call,tick"),
        ("disk.lose", {}, {}, "disk.lose is not addressed by nothing; write disk.lose@crash:N"),
    ],
)
def test_a_wrong_key_value_or_address_is_refused(
    slug: str, at: dict[str, object], with_: dict[str, object], message: str
) -> None:
    with pytest.raises(Refused) as refused:
        checked(slug, at, with_)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_defaults_are_left_out_and_keys_come_in_the_catalogues_order() -> None:
    at, with_ = checked("worker.kill", {"point": "idle", "agent": 3, "tick": 41}, {})
    assert list(at.items()) == [("tick", 41), ("agent", 3)] and with_ == {}


def test_the_page_of_faults_is_current() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m faults.catalogue --markdown > docs/faults.md"


def test_the_page_is_printed_and_any_other_argument_refused() -> None:
    command = [sys.executable, "-m", "faults.catalogue"]
    printed = subprocess.run([*command, "--markdown"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout == markdown()
    wrong = subprocess.run([*command, "--html"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 4 and wrong.stderr.startswith("usage:")
