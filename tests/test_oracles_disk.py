"""Oracles over what is kept and released: the chain, the durable prefix, the client's ledger."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from oracles_kit import LONG, World, b64, finding, journal_of, refuses, world

from harness.history import Crash, SyncEvent
from harness.oracles import Judged, Verdict, judge
from harness.oracles.durable import HEADER_FLIPS, tampered
from harness.oracles.reading import chain, read
from runtime import journal as runtime_journal
from runtime.frames import Output


@pytest.mark.parametrize("oracle", ["I27", "I28", "I29", "ledger"])
def test_a_good_history_passes(oracle: str) -> None:
    found = finding(oracle, world())
    assert (found.verdict, found.evidence) == (Verdict.PASS, ())


# --- the chain --------------------------------------------------------------------------------------------------------


def judged(journal: bytes) -> Any:
    history = world().history()
    history.journal = journal
    return judge(Judged(history), ["I27"])["I27"]


@pytest.mark.parametrize("block", range(5))
def test_a_flipped_bit_is_named_by_its_block(block: int) -> None:
    lines = journal_of(world().bodies)
    middle = len(lines[block]) // 2
    lines[block] = lines[block][:middle] + bytes([lines[block][middle] ^ 1]) + lines[block][middle + 1 :]
    found = judged(b"".join(lines))
    assert found.verdict is Verdict.FAIL
    assert found.evidence[0].startswith(f"block {block}: ")


def test_a_block_with_a_good_hash_and_another_past_is_named() -> None:
    lines = journal_of(world().bodies)
    other = world()
    other.bodies[0]["root"] = "other"
    lines[2] = journal_of(other.bodies)[2]
    assert judged(b"".join(lines)).evidence == ("block 2: its prev is not the hash of the block before it",)


def test_no_journal_and_a_single_block_are_not_judged() -> None:
    assert judged(b"").verdict is Verdict.UNKNOWN
    assert judged(b"".join(journal_of(world().bodies)[:2])).verdict is Verdict.UNKNOWN


def test_a_verifier_of_the_runtime_that_overlooks_damage_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_journal, "verify", lambda data: None)
    refuses("I27", world(), "cut out: the first bad block is")


def test_a_verifier_of_the_runtime_that_raises_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(data: bytes) -> int | None:
        raise IndexError

    monkeypatch.setattr(runtime_journal, "verify", crash)
    refuses("I27", world(), "verify raises IndexError")


@pytest.mark.parametrize("seed", range(20))
def test_tampered_copies_are_damaged_where_they_say(seed: int) -> None:
    history = world().history()
    history.plan = type(history.plan)(scenario="hand", seed=seed, inputs=history.plan.inputs)
    head, lines, damage = chain(history.journal)
    copies = tampered(history, [(0, head), *[(line.start, line.end) for line in lines]])
    assert damage is None
    found = [chain(data)[2] or (None, "") for _, data, _ in copies]
    assert [block for block, _ in found] == [first for _, _, first in copies]
    assert len(copies) == 4 + HEADER_FLIPS and history.journal not in {data for _, data, _ in copies}


def test_the_reader_and_the_runtimes_encoder_agree() -> None:
    body = runtime_journal.Block((), (("finished",),), (), (), "ab", (), 7)
    encoded = runtime_journal.encode_block(body)
    link = runtime_journal.link(runtime_journal.GENESIS, encoded)
    data = runtime_journal.header_bytes({"scenario": "hand"})
    data += runtime_journal.line_bytes(1, encoded, link, runtime_journal.GENESIS)
    found = read(data)
    assert found.damage is None
    assert found.header["scenario"] == "hand"
    assert [(b.block, b.tick, b.hash, b.events) for b in found.blocks] == [(1, 7, link, (("finished",),))]


def test_a_chained_line_that_is_no_block_ends_the_reading() -> None:
    text = json.dumps({"tick": 1})
    link = hashlib.sha256(("0" * 64 + text).encode()).hexdigest()
    line = f'{{"block":1,"body":{text},"hash":"{link}","prev":"{"0" * 64}"}}\n'.encode()
    found = read(journal_of([])[0] + line)
    assert found.damage is not None
    assert found.damage[0] == 1


# --- durable before received ------------------------------------------------------------------------------------------


def crashed(kept: int, at: int = 199) -> World:
    """A crash in tick 1, after blocks 1 and 2 were received; `kept` lines (the header too) survive it."""
    made = world()
    lines = journal_of(made.bodies)
    made.crashes.append(Crash(at, 1, 1, "sync", b"".join(lines[:4]), b"".join(lines[:kept])))
    return made


def test_a_crash_that_kept_what_was_received_is_fine() -> None:
    assert finding("I28", crashed(3)).verdict is Verdict.PASS
    assert finding("I28", crashed(4)).verdict is Verdict.PASS


def test_a_received_block_that_a_crash_took_is_named() -> None:
    refuses("I28", crashed(2), "crash 0: 1 blocks were kept, block 2 had been received")


def test_a_block_received_before_its_bytes_were_durable_is_named() -> None:
    made = world()
    made.receipts[1] = made.receipts[1]._replace(durable_bytes=made.receipts[1].durable_bytes - 1)
    refuses("I28", made, "receipt 1: block 2 ends at byte")


def test_a_kept_block_that_was_never_written_is_named() -> None:
    made = crashed(3)
    other = world()
    other.bodies[1]["root"] = "other"
    made.crashes[0] = made.crashes[0]._replace(kept=b"".join(journal_of(other.bodies)[:3]))
    refuses("I28", made, "crash 0: kept block 2 is not the one that was written")


def test_a_received_block_that_is_another_one_in_the_end_is_named() -> None:
    made = crashed(3)
    made.bodies[1]["root"] = "other"
    refuses("I28", made, "crash 0: block 2 was received, and is another one in the end")


def test_a_receipt_of_a_block_that_does_not_exist_is_named() -> None:
    made = world()
    made.receipts[-1] = made.receipts[-1]._replace(block=9)
    refuses("I28", made, "receipt 3: block 9 is not in the journal")
    refuses("ledger", made, "receipt 3: block 9 is not in the journal")


@pytest.mark.parametrize("oracle", ["I28", "ledger"])
def test_without_receipts_nothing_is_judged(oracle: str) -> None:
    made = world()
    made.receipts = []
    assert finding(oracle, made).verdict is Verdict.UNKNOWN


def test_a_block_received_before_its_blobs_were_durable_is_named() -> None:
    made = world()
    made.receipts[1] = made.receipts[1]._replace(durable_blobs=made.receipts[1].durable_blobs - 1)
    refuses("I28", made, "receipt 1: block 2 needs 548 bytes of the blobs, 547 were durable")


def test_a_block_whose_blob_is_in_no_file_is_not_judged() -> None:
    history = world().history()
    history.files = {"blobs": history.files["blobs"][:-1]}
    found = judge(Judged(history), ["I28"])["I28"]
    assert found.verdict is Verdict.UNKNOWN and "needs a blob that is not in the file" in found.evidence[0]


# --- no false acknowledgement -----------------------------------------------------------------------------------------


def synced(at: int, file: int, good: bool = True, low: int = 0, name: str = "journal") -> SyncEvent:
    return SyncEvent(at, name, file, good, low, 100_000)


def ends(made: World) -> list[int]:
    return [line.end for line in chain(made.history().journal)[1]]


def test_a_failed_sync_after_which_another_file_is_synced_is_fine() -> None:
    made = world()
    made.syncs = [synced(20, 1), synced(130, 1, good=False, low=ends(made)[0]), synced(140, 2, name="journal.new")]
    made.syncs += [synced(145, 0, name=""), synced(220, 2)]
    assert finding("I29", made).verdict is Verdict.PASS


def test_a_file_that_is_synced_again_after_an_error_proves_nothing() -> None:
    made = world()
    made.syncs = [synced(20, 1), synced(130, 1, good=False, low=ends(made)[0]), synced(140, 1)]
    refuses("I29", made, "receipt 1: block 2 was received after the sync of journal at 140 ns, and the one of the same")
    made.syncs = [synced(20, 1), synced(130, 3, good=False, name="watermark"), synced(140, 3, name="watermark")]
    refuses("I29", made, "receipt 1: block 2 was received after the sync of watermark at 140 ns")


def test_a_block_that_only_a_failed_sync_covered_is_named() -> None:
    made = world()
    made.syncs = [synced(20, 1)._replace(size=ends(made)[0]), synced(130, 1, good=False, low=ends(made)[0])]
    refuses("I29", made, "receipt 1: block 2 was received, and no good sync covers it")


def test_a_block_that_was_synced_before_the_error_may_still_arrive_after_it() -> None:
    made = world()
    made.syncs = [synced(20, 1), synced(90, 1), synced(149, 1, good=False, low=ends(made)[1])]
    made.receipts = made.receipts[:2]
    assert finding("I29", made).verdict is Verdict.PASS


def test_without_the_disks_log_no_acknowledgement_is_judged() -> None:
    made = world()
    made.syncs = []
    assert finding("I29", made).verdict is Verdict.UNKNOWN


# --- the client's ledger ----------------------------------------------------------------------------------------------


def test_the_same_block_received_again_counts_once() -> None:
    made = world()
    made.receipts.insert(2, made.receipts[1])
    assert finding("ledger", made).verdict is Verdict.PASS


def test_a_repeated_block_with_other_content_is_named() -> None:
    made = world()
    made.receipts.insert(2, made.receipts[1]._replace(outputs=()))
    refuses("ledger", made, "receipt 2: block 2 is not what receipt 1 held")


def test_an_acknowledgement_that_the_journal_does_not_know_is_named() -> None:
    made = world()
    made.receipts[2] = made.receipts[2]._replace(acknowledged=(("bank", 3),))
    refuses("ledger", made, "receipt 2: acknowledges")


def test_an_output_that_the_journal_does_not_know_is_named() -> None:
    made = world()
    made.receipts[2] = made.receipts[2]._replace(outputs=(Output(2, 0, 0, 0, b"more"),))
    refuses("ledger", made, "receipt 2: outputs")


def test_an_output_with_other_bytes_is_named() -> None:
    made = world()
    made.receipts[1] = made.receipts[1]._replace(outputs=(Output(1, 0, 0, 0, b"dome"),))
    refuses("ledger", made, "receipt 1: output (1, 0, 0, 0) has other bytes than block 2 step 0")


def test_a_journaled_output_that_the_client_never_got_is_named() -> None:
    made = world()
    made.step(3, 1)["effects"].append(["output", 0, b64(LONG)])
    refuses("ledger", made, "receipt 2: outputs")


def test_a_missing_and_an_early_block_are_named() -> None:
    made = world()
    del made.receipts[2]
    refuses("ledger", made, "receipt 2: block 4 follows block 2")
    refuses("ledger", made, "block 3 was never received")


def test_a_final_mark_on_another_block_is_named() -> None:
    made = world()
    made.receipts[2] = made.receipts[2]._replace(final=True)
    refuses("ledger", made, "receipt 2: final is True")
