"""Recovery: from disk alone to the state, the images and the step records of the run that died.

Reads only. The watermark says what must be there; beyond it the longest prefix that verifies is kept. Snapshots only
save work: each is checked against the journal, and one that disagrees or is damaged is discarded (STA-2). The fold
goes through the same `begin` and `commit` as the live path, and must give the journal's bytes.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import google_crc32c
import msgspec

from runtime import fold, journal, reads, snapshot, watermark
from runtime.durability import BLOBS, JOURNAL, check_growth
from runtime.errors import FailStop, ReadFailed, Refused
from runtime.frames import Ask, Asking, Output, Release
from runtime.guards import NONE, Guards
from runtime.journal import Block, Line
from runtime.ports import Hazard, Storage, never
from runtime.residence import Residence
from runtime.snapshot import HeldImage
from runtime.state import AgentSpec, Decree, Outcome, State, StepRecord, decode
from runtime.telemetry import Telemetry
from runtime.versions import ALL
from runtime.watermark import Watermark

DECREES = "decrees"
NUMBERED = ("send", "publish", "infer", "read")  # the effects that take a number of their sender's


class Recovered(NamedTuple):
    """What a new incarnation starts with. `mark` is what was last synced; `names` are the files that there were.

    `kept` are the journal, its blobs and the decrees, as far as they verify; `cut` bytes of the journal did not.
    """

    mark: Watermark
    names: frozenset[str]
    kept: dict[str, bytes]
    header: bytes
    lines: list[Line]
    cut: int
    blobs: dict[str, bytes]
    state: State
    residences: list[Residence]
    versions: dict[tuple[int, int], bytes]
    releases: list[Release]
    decrees: list[Decree]
    folded: int


def load(storage: Storage, telemetry: Telemetry, hazard: Hazard = never, guards: Guards = NONE) -> Recovered:
    """Raises FailStop when what was synced is not there as it was synced, Refused when another version wrote it."""
    names = storage.names()
    data, cut_short = _readable(storage, names, JOURNAL, telemetry)
    slots, _ = _readable(storage, names, watermark.NAME, telemetry)
    mark = watermark.newest(slots)
    for slot in watermark.damaged(slots):
        telemetry.emit("discarded", file=watermark.NAME, reason=f"slot {slot} does not verify")
    if mark is None:
        if data or cut_short:
            raise FailStop("watermark", "there is a journal but no watermark that verifies", "watermark")
        mark = Watermark(0, 0)
    stored, _ = _readable(storage, names, BLOBS, telemetry)
    blobs, blob_end = journal.read_blobs(stored)
    _check_versions(data)
    verified = journal.recover(data, (mark.block, mark.hash), blobs, cut_short)
    lines = verified.lines
    end = lines[-1].end if lines else 0
    ordered, _ = _readable(storage, names, DECREES, telemetry)
    decrees, decree_end = _read_decrees(ordered)
    for name, size, good in ((BLOBS, len(stored), blob_end), (DECREES, len(ordered), decree_end)):
        if good < size:
            telemetry.emit("discarded", file=name, reason=f"{size - good} bytes at its end do not verify")
    vouched, lives = _vouched(lines)
    images = _images(storage, names, vouched, telemetry)
    state, start = _start(storage, names, lines, images, lives, telemetry, hazard)
    residences, versions = _fold(state, start, lines, blobs, images, guards)
    releases = [release_of(line.number, line.block, blobs) for line in lines]
    return Recovered(
        mark,
        frozenset(names),
        {JOURNAL: data[:end], BLOBS: stored[:blob_end], DECREES: ordered[:decree_end]},
        verified.header,
        lines,
        len(data) - end,
        blobs,
        state,
        residences,
        versions,
        releases,
        decrees,
        len(lines) - start,
    )


def _readable(storage: Storage, names: list[str], name: str, telemetry: Telemetry) -> tuple[bytes, str]:
    """What can be read of a file, nothing where there is none, and why it ends there ("" at its end)."""
    if name not in names:
        return b"", ""
    try:
        return storage.read(name), ""
    except ReadFailed as failed:
        telemetry.emit("unreadable", file=name, at=len(failed.readable))
        return failed.readable, failed.what


def _check_versions(data: bytes) -> None:
    """Raises Refused, naming the version, when the journal was written by a build whose state or images differ."""
    written = journal.versions(data)
    if not written:
        return  # the header does not verify, and neither will the journal
    for name in ("state", "snapshot"):
        if written.get(name) != ALL[name]:
            what = f"{name} version {written.get(name)} is not readable here"
            raise Refused(what, "journal header", f"this build reads version {ALL[name]}")


def release_of(number: int, block: Block, blobs: dict[str, bytes]) -> Release:
    """What leaves with a block, derived from the block alone."""
    outputs = []
    for task, step in enumerate(block.steps):
        index = 0
        for entry in step.effects:
            if entry.op == "output":
                payload = journal.effect_of(entry, blobs).payload
                outputs.append(Output(block.tick, task, index, step.agent, payload))
                index += 1
    final = bool(block.events) and block.events[-1] == ("finished",)
    acknowledged = tuple((i.source, i.n) for i in block.inputs)
    if not block.events or not any(event[0] in ("asked", "closed") for event in block.events):
        return Release(number, block.tick, acknowledged, tuple(outputs), final)
    return Asking(number, block.tick, acknowledged, tuple(outputs), final, *_asking(block, blobs))


def _asking(block: Block, blobs: dict[str, bytes]) -> tuple[tuple[Ask, ...], tuple[tuple[str, int], ...]]:
    """What the block's steps ask of the outside, each with its bytes; and the calls that go no further."""
    payloads: dict[int, bytes] = {}
    for step in block.steps:
        number = step.seq
        for entry in step.effects:
            if entry.op == "read":
                payloads[number] = journal.effect_of(entry, blobs).payload
            number += entry.op in NUMBERED
    asks, closed = [], []
    for event in block.events:
        if event[0] == "asked":
            name, n, agent, request, first, due = event[1:]
            payload = payloads[int(request)]
            asks.append(Ask(reads.PREFIX + str(name), int(n), int(agent), int(request), int(first), int(due), payload))
        elif event[0] == "closed":
            closed.append((reads.PREFIX + str(event[1]), int(event[2])))
    return tuple(asks), tuple(closed)


def decree_line(decree: Decree) -> bytes:
    """A decree as its file holds it: JSON, a blank, the CRC-32C of the JSON as 8 hex digits, a line feed."""
    body = msgspec.json.encode(decree)
    return b"%b %08x\n" % (body, google_crc32c.value(body))


def _read_decrees(data: bytes) -> tuple[list[Decree], int]:
    """The decrees whose lines verify, and where they end; the first that does not ends them: it was not acted on."""
    decrees = []
    end = 0
    for line in data.split(b"\n")[:-1]:
        try:
            decree = msgspec.json.decode(line[:-9], type=Decree)
        except msgspec.MsgspecError:
            break
        if line + b"\n" != decree_line(decree):
            break
        decrees.append(decree)
        end += len(line) + 1
    return decrees, end


def _vouched(lines: list[Line]) -> tuple[dict[int, dict[int, str]], dict[int, int]]:
    """By agent: the digests of its present life's images, by step; and the step with which that life began."""
    vouched: dict[int, dict[int, str]] = {}
    lives: dict[int, int] = {}
    for line in lines:
        for step in line.block.steps:
            if step.kind == "init" or (step.status != "ok" and step.kind != "reload"):
                vouched[step.agent] = {}
                lives[step.agent] = step.n
            if step.image and step.status == "ok":
                vouched[step.agent][step.n] = step.image
    return vouched, lives


def _images(
    storage: Storage, names: list[str], vouched: dict[int, dict[int, str]], telemetry: Telemetry
) -> dict[int, HeldImage]:
    """For each agent the newest image on disk that the journal vouches for, in its present life."""
    images: dict[int, HeldImage] = {}
    for name in sorted((n for n in names if n.startswith("agent-")), reverse=True):
        agent, n = (int(part) if part.isdecimal() else -1 for part in (name[6:11], name[12:]))
        if agent in images or n not in vouched.get(agent, {}):
            continue
        content = snapshot.unpack_agent(_readable(storage, names, name, telemetry)[0])
        if isinstance(content, str):
            telemetry.emit("discarded", file=name, reason=content)
        elif (content.agent, content.image.n) != (agent, n):
            telemetry.emit("discarded", file=name, reason="it holds another image than its name says")
        elif content.image.digest != vouched[agent][n]:
            telemetry.emit("discarded", file=name, reason="the journal has another digest")
        else:
            images[agent] = HeldImage()
            images[agent].adopt(content.image)
    return images


def _start(
    storage: Storage,
    names: list[str],
    lines: list[Line],
    images: dict[int, HeldImage],
    lives: dict[int, int],
    telemetry: Telemetry,
    hazard: Hazard,
) -> tuple[State, int]:
    """The newest usable state snapshot that is not younger than any agent's image, and its block (0 is genesis)."""
    for name in sorted((n for n in names if n.startswith("state-")), reverse=True):
        number = int(name[6:]) if name[6:].isdecimal() else 0
        if hazard("recovery.older_snapshot", number, telemetry.incarnation):
            continue
        if not 0 < number <= len(lines):
            telemetry.emit("discarded", file=name, reason="the journal has no such block")
            continue
        content = snapshot.unpack_state(_readable(storage, names, name, telemetry)[0])
        if isinstance(content, str):
            telemetry.emit("discarded", file=name, reason=content)
            continue
        if lines[number - 1].block.root != hashlib.sha256(content.state).hexdigest():
            telemetry.emit("discarded", file=name, reason="the journal has another root")
            continue
        state = decode(content.state)
        oldest = [images[a].n if a in images else lives.get(a, 1) - 1 for a in range(len(state.agents))]
        if all(agent.n <= oldest[a] for a, agent in enumerate(state.agents)):
            return state, number
    return State(), 0


def _fold(
    state: State,
    start: int,
    lines: list[Line],
    blobs: dict[str, bytes],
    images: dict[int, HeldImage],
    guards: Guards,
) -> tuple[list[Residence], dict[tuple[int, int], bytes]]:
    """Move `state` over the blocks after `start`, comparing bytes; collect images, step records, buffer versions."""
    published = _published(lines, blobs)
    residences: list[Residence] = []
    _house(residences, [agent.spec for agent in state.agents], images)
    prev = lines[start - 1].hash if start else journal.GENESIS
    for line in lines[start:]:
        block = line.block
        inferences = tuple(journal.inference_of(entry, blobs) for entry in block.inferences)
        opened = fold.begin(state, block.tick, block.inputs, block.decrees, inferences, guards)
        _house(residences, [agent.spec for agent in state.agents[len(residences) :]], images)
        if [(r.agent, r.n, r.kind) for r in opened.records] != [(s.agent, s.n, s.kind) for s in block.steps]:
            what = f"block {line.number} holds other steps than its inputs select"
            raise FailStop("fold", what, f"journal, block {line.number}", line.number)
        outcomes = {
            s.agent: Outcome(s.status, tuple(journal.effect_of(e, blobs) for e in s.effects), s.image)
            for s in block.steps
        }
        for record in opened.records:
            _settle(residences, record, outcomes[record.agent], images, published)
        body = journal.encode_block(fold.commit(state, opened, outcomes).block)
        check_growth(journal.link(prev, body), line)
        prev = line.hash
    return residences, published


def _house(residences: list[Residence], specs: list[AgentSpec], images: dict[int, HeldImage]) -> None:
    for spec in specs:
        residence = Residence(spec)
        residence.image = images.get(len(residences))
        residences.append(residence)


def _published(lines: list[Line], blobs: dict[str, bytes]) -> dict[tuple[int, int], bytes]:
    """(buffer, version) -> bytes, for every version ever published."""
    versions: dict[tuple[int, int], bytes] = {}
    count: dict[int, int] = {}
    for line in lines:
        for step in line.block.steps if b'"buffer"' in line.body else ():
            for entry in step.effects:
                if entry.op == "buffer":
                    count[entry.target] = count.get(entry.target, 0) + 1
                    versions[entry.target, count[entry.target]] = journal.effect_of(entry, blobs).payload
    return versions


def _settle(
    residences: list[Residence],
    record: StepRecord,
    outcome: Outcome,
    images: dict[int, HeldImage],
    published: dict[tuple[int, int], bytes],
) -> None:
    """Keep the step for replay unless the agent's image is of this step or a later one."""
    held = images.get(record.agent)
    if held is not None and record.n <= held.n:
        if record.change is not None and outcome.status == "ok":
            residences[record.agent].reload(record.change.spec)
    else:
        data = {view.buffer: published[view.buffer, view.version] for view in record.views}
        residences[record.agent].settle(record, outcome, None, data)
