"""Recipes: times of the distribution that they claim, and a write's ends of every sort, each of which is survived."""

from __future__ import annotations

import google_crc32c
import pytest
from faults_kit import ToyMemory, injector

from faults.deaths import WorkerDied
from faults.wrappers.guests import WorkerSite
from faults.wrappers.memory import TornMemory
from harness.recipes import byte_classes, exponential
from runtime import buffers
from runtime.state import View

CAPACITY = 4096


def test_times_are_exponentially_distributed_with_their_mean() -> None:
    mean, drawn = 1_000_000, [exponential(n * 2_654_435_761 % 2**32, 1_000_000) for n in range(1, 40_000)]
    assert 0.97 * mean < sum(drawn) / len(drawn) < 1.03 * mean
    above = [sum(time > k * mean for time in drawn) / len(drawn) for k in (1, 2, 3)]
    assert all(abs(share - expected) < 0.02 for share, expected in zip(above, (0.368, 0.135, 0.050), strict=True))
    assert exponential(2**32 - 1, mean) >= 0 and exponential(0, mean) < 40 * mean


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 4096])
def test_a_writer_that_dies_at_any_sort_of_byte_leaves_a_slot_that_is_whole_or_does_not_verify(length: int) -> None:
    data = bytes(n % 251 for n in range(length))
    view = View(buffer=0, version=1, length=length, crc=google_crc32c.value(data), capacity=CAPACITY)
    ends = byte_classes(length)
    assert ends[0] == 0 and ends[-1] == 2 * buffers.HEAD + length and len(ends) == len(set(ends))
    outcomes = set()
    for byte in ends:
        inject, log = injector(f"worker.kill@tick:3,agent:3,byte:{byte}")
        memory = ToyMemory()
        torn = TornMemory(memory, inject, WorkerSite(1, 3, 3))
        torn.reserve(0, buffers.segment_size(CAPACITY))
        with pytest.raises(WorkerDied):
            buffers.write(torn, 0, CAPACITY, 1, data)
        outcomes.add(buffers.read(memory, CAPACITY, view))
        assert log.fired == [0]
    assert outcomes <= {data, None} and len(outcomes) == 2
