"""INF-2: the models of a device within a budget of bytes; verified on each load, pinned while they run."""

from __future__ import annotations

import pytest
from inference_kit import HELLO, Shelf, ask

from faults.wrappers import onnx_edit
from runtime.errors import ModelFailed
from runtime.frames import InferenceItem
from runtime.inference import DeviceCore, OrtModels
from runtime.inference.cache import ModelCache
from runtime.lru import CacheEvent
from runtime.ports import Decoder
from scenarios import oracle
from scenarios.experts import SHAPES
from scenarios.models import build, digest

NAMES = [digest(shape) for shape in SHAPES]
FILES = {digest(shape): build(shape) for shape in SHAPES}
SIZES = [len(FILES[name]) for name in NAMES]


def cache(budget: int, shelf: Shelf | None = None) -> tuple[ModelCache, OrtModels, list[CacheEvent]]:
    models, seen = OrtModels(), list[CacheEvent]()
    return ModelCache(models, shelf or Shelf(dict(FILES)), budget, seen.append), models, seen


def use(kept: ModelCache, *numbers: int) -> None:
    for number in numbers:
        with kept.hold(NAMES[number]) as decoder:
            result = decoder.run([InferenceItem(1, 0, HELLO, b"")])[0]
            assert result.token == oracle.answers(SHAPES[number], HELLO).tokens[-1]


def ops(seen: list[CacheEvent], *wanted: str) -> list[tuple[str, int]]:
    return [(event.op, NAMES.index(event.key[0])) for event in seen if event.op in wanted]


def test_the_least_recently_used_leaves_by_bytes_and_its_session_with_it() -> None:
    kept, models, seen = cache(SIZES[0] + SIZES[1] + SIZES[2])
    use(kept, 0, 1, 2, 0, 3)
    assert ops(seen, "evicted") == [("evicted", 1), ("evicted", 2)], "as many as it takes, by bytes"
    assert set(models.loaded) == {NAMES[0], NAMES[3]} and kept.held == SIZES[0] + SIZES[3]
    assert (kept.loads, kept.evicted) == (4, 2)
    use(kept, 1)
    assert kept.loads == 5 and NAMES[1] in kept


def test_a_model_in_use_stays_and_what_does_not_fit_beside_it_is_refused_without_anything_leaving() -> None:
    kept, models, _ = cache(SIZES[0] + SIZES[1])
    with kept.hold(NAMES[0]) as first:
        use(kept, 1)
        with pytest.raises(ModelFailed) as failed, kept.hold(NAMES[3]):
            raise AssertionError("it fits")
        assert failed.value.failure == "memory" and "beside the models in use" in failed.value.reason
        assert set(models.loaded) == {NAMES[0], NAMES[1]}
        assert not kept.unload(NAMES[0]), "nor is it unloaded"
        assert first.run([InferenceItem(1, 0, HELLO, b"")])
    assert kept.unload(NAMES[0]) and not kept.unload(NAMES[0])
    use(kept, 3)
    kept.close()
    assert models.loaded == () and kept.held == 0


def test_two_users_of_one_model_each_keep_it() -> None:
    kept, models, _ = cache(SIZES[0])
    with kept.hold(NAMES[0]):
        with kept.hold(NAMES[0]):
            pass
        with pytest.raises(ModelFailed), kept.hold(NAMES[1]):
            raise AssertionError("it fits")
    use(kept, 1)
    assert models.loaded == (NAMES[1],)


def test_each_load_verifies_the_bytes_that_it_uses_those_of_a_model_that_was_here_before_too() -> None:
    shelf = Shelf(dict(FILES))
    kept, models, _ = cache(SIZES[0], shelf)
    use(kept, 0, 1)
    shelf.held[NAMES[0]] = onnx_edit.stale(FILES[NAMES[0]])  # it loads, and would answer otherwise
    with pytest.raises(ModelFailed, match="another digest"), kept.hold(NAMES[0]):
        raise AssertionError("it is used")
    del shelf.held[NAMES[0]]
    with pytest.raises(ModelFailed, match="no such artefact"), kept.hold(NAMES[0]):
        raise AssertionError("it is used")
    shelf.held[NAMES[0]] = FILES[NAMES[0]]
    use(kept, 0)
    assert models.loaded == (NAMES[0],)


class _Small:
    """A device with less memory than its budget says."""

    def __init__(self, memory: int) -> None:
        self.inner, self.memory = OrtModels(), memory

    def load(self, digest: str, onnx: bytes) -> Decoder:
        if len(onnx) + sum(len(FILES[name]) for name in self.inner.loaded) > self.memory:
            raise ModelFailed("memory", "none is left")
        return self.inner.load(digest, onnx)


def test_idle_models_leave_one_by_one_until_a_device_has_memory() -> None:
    device = _Small(SIZES[0] + SIZES[3])
    kept = ModelCache(device, Shelf(FILES), sum(SIZES))
    use(kept, 0, 1, 0, 3)
    assert set(device.inner.loaded) == {NAMES[0], NAMES[3]} and kept.held == SIZES[0] + SIZES[3]
    with kept.hold(NAMES[0]), kept.hold(NAMES[3]):
        with pytest.raises(ModelFailed) as failed, kept.hold(NAMES[2]):
            raise AssertionError("it fits")
        assert failed.value.failure == "memory"


def test_hot_models_are_loaded_before_the_first_request_as_far_as_they_fit() -> None:
    shelf = Shelf({name: FILES[name] for name in NAMES[1:]})
    core = DeviceCore(1, OrtModels(), shelf, SIZES[1] + SIZES[2], NAMES)
    core.warm()
    assert (core.loads, core.bytes_loaded, core.evicted) == (2, SIZES[1] + SIZES[2], 0)
    assert ask(core, InferenceItem(1, 0, HELLO, b""), model=NAMES[1]).failure == "" and core.loads == 2
    assert ask(core, InferenceItem(1, 0, HELLO, b""), model=NAMES[0]).failure == "load", "it tells who needs it"


def test_a_device_answers_for_more_models_than_it_holds() -> None:
    core = DeviceCore(1, OrtModels(), Shelf(FILES), max(SIZES))
    for number in (0, 1, 2, 3, 2, 1, 0, 0):
        answer = ask(core, InferenceItem(1, 0, HELLO, b""), model=NAMES[number])
        assert answer.results[0].token == oracle.answers(SHAPES[number], HELLO).tokens[-1]
        assert core.bytes_loaded == SIZES[number]
    assert (core.loads, core.evicted) == (7, 6)
    small = DeviceCore(1, OrtModels(), Shelf(FILES), min(SIZES) - 1)
    assert ask(small, InferenceItem(1, 0, HELLO, b""), model=NAMES[0]).failure == "memory"
