"""Time as the runtime counts it: right under a right clock, and never wrong by more than one wait under a wrong one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.steady import SteadyClock

SLACK = 10


class Machine:
    """A clock that shows what it is told to."""

    def __init__(self, shown: int = 1000) -> None:
        self.shown = shown

    def now(self) -> int:
        return self.shown


def clock(deadline: int | None = None) -> tuple[Machine, SteadyClock]:
    machine = Machine()
    steady = SteadyClock(machine, SLACK)
    steady.until(deadline)
    return machine, steady


def test_under_a_right_clock_it_counts_what_passes() -> None:
    machine, steady = clock(1020)
    machine.shown = 1007
    assert steady.now() == 1000 and steady.read() == 0 and steady.now() == 1007
    machine.shown = 1020
    assert steady.read() == 0 and steady.now() == 1020
    assert steady.until(1055) == 1055


def test_a_clock_that_goes_back_takes_nothing_with_it_and_the_wait_goes_on() -> None:
    machine, steady = clock(1050)
    machine.shown = 1030
    steady.read()
    machine.shown = -5_000
    assert steady.read() == -6_030 and steady.now() == 1030
    assert steady.until(1050) == -4_980  # twenty more, by that clock
    machine.shown = -4_980
    assert steady.read() == 0 and steady.now() == 1050


def test_a_leap_ends_the_earliest_wait_and_no_other() -> None:
    machine, steady = clock(1020)
    machine.shown = 1_000_000
    assert steady.read() == 998_980 and steady.now() == 1020
    assert steady.until(1100) == 1_000_080


def test_a_call_that_is_a_little_late_is_an_ordinary_one() -> None:
    machine, steady = clock(1020)
    machine.shown = 1020 + SLACK
    assert steady.read() == 0 and steady.now() == 1030
    machine.shown += 1000
    assert steady.read() == 1000 and steady.now() == 1030  # the wait was over before


def test_a_clock_that_stands_below_zero_is_counted_from_zero() -> None:
    machine = Machine(-5_000)
    steady = SteadyClock(machine, SLACK)
    assert steady.now() == 0 and steady.until(20) == -4_980
    machine.shown = -4_980
    assert steady.read() == 0 and steady.now() == 20


def test_where_nothing_is_waited_for_any_time_may_pass() -> None:
    machine, steady = clock(None)
    machine.shown = 10**15
    assert steady.read() == 0 and steady.now() == 10**15 and steady.until(None) is None


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 10**6)), max_size=50))
def test_it_never_goes_back_nor_beyond_what_was_waited_for(moves: list[tuple[int, int]]) -> None:
    machine, steady = clock()
    for move, wait in moves:
        before = steady.now()
        shown = steady.until(before + wait)
        assert shown is not None and shown - machine.shown == wait
        machine.shown += move
        wrong = steady.read()
        passed = steady.now() - before
        assert 0 <= passed <= wait + SLACK and passed + wrong == move
