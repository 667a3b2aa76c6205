"""Mutants of what stands at the ports of modules, buffers and mailboxes: ranges, grants, bounds, generations, order.

As in `faults.mutants`: each removes or alters one comparison or one line that a hurried hand could have got wrong.
"""

from __future__ import annotations

from faults.mutant import Edit, Mutant

_PUBLISH = '  (func (export "publish") (param $topic i32) (param $ptr i32) (param $len i32) (result i32)\n'
_TOPIC = (  # of a publication, whose length is compared in the line after it
    "(local.get $topic) (i32.load (i32.const 60))) (then (return (i32.const 2))))\n    (if (i32.gt_u"
)

PORTS: tuple[Mutant, ...] = (
    Mutant(
        name="stale_generation_accepted",
        title="a reader believes a slot's own head: the version that lies there is taken for that of the handle",
        scenario="frames",
        oracle="I16",
        edits=(
            Edit(
                "buffers.py",
                "mark != 2 * view.version or version != view.version or (length, crc) != (view.length, view.crc):\n",
                "mark != 2 * version or length > capacity:\n",
            ),
            Edit(
                "buffers.py",
                "    data = memory.load(view.buffer, offset + HEAD, view.length)\n",
                "    data = memory.load(view.buffer, offset + HEAD, length)\n",
            ),
            Edit(
                "buffers.py",
                "    if google_crc32c.value(data) != view.crc:\n",
                "    if google_crc32c.value(data) != crc:\n",
            ),
        ),
    ),
    Mutant(
        name="generation_compared_in_16_bits",
        title="a handle's generation is compared in its lower 16 bits, the bytes with their slot's own checksum",
        scenario="frames",
        oracle="I15",
        edits=(
            Edit(
                "buffers.py",
                "mark != 2 * view.version or version != view.version or (length, crc) != (view.length, view.crc):\n",
                "mark != 2 * version or (version ^ view.version) & 0xFFFF or length != view.length:\n",
            ),
            Edit(
                "buffers.py",
                "    if google_crc32c.value(data) != view.crc:\n",
                "    if google_crc32c.value(data) != crc:\n",
            ),
        ),
    ),
    Mutant(
        name="slot_checked_then_loaded",
        title="a reader checks a slot's bytes, then loads them again and uses those",
        scenario="frames",
        oracle="I15",
        edits=(
            Edit(
                "buffers.py",
                "        return None\n    return data\n",
                "        return None\n    return memory.load(view.buffer, offset + HEAD, view.length)\n",
            ),
        ),
        one_in=20,
    ),
    Mutant(
        name="torn_read_of_two_chunks",
        title="the bytes of a slot that two stores fill are not compared with their checksum",
        scenario="frames",
        oracle="I15",
        edits=(
            Edit(
                "buffers.py",
                "    if google_crc32c.value(data) != view.crc:\n",
                "    if len(data) > 2 * CHUNK and google_crc32c.value(data) != view.crc:\n",
            ),
        ),
    ),
    Mutant(
        name="altered_slot_not_asked_again",
        title="a writer's slot that was altered is noticed, and nobody asks the writer to fill it again",
        scenario="frames",
        oracle="I19",
        edits=(
            Edit(
                "orchestrator.py",
                "                except FrameRefused:\n                    self._pool.again(result.agent)\n",
                "                except FrameRefused:\n",
            ),
        ),
    ),
    Mutant(
        name="mailbox_bound_one_too_high",
        title="a mailbox's bound is compared before the message is counted",
        scenario="ledger",
        oracle="I18",
        edits=(
            Edit(
                "broker.py",
                " and len(receiver.mailbox) < box and",
                " and len(receiver.mailbox) <= box and",
            ),
        ),
    ),
    Mutant(
        name="send_limit_one_too_high",
        title="a step's calls are counted after they are compared with their limit",
        scenario="hello",
        oracle="I18",
        edits=(Edit("wasm/modules.py", "    (if (i32.ge_u (local.tee $calls", "    (if (i32.gt_u (local.tee $calls"),),
        one_in=170,
    ),
    Mutant(
        name="memory_limit_one_page_too_high",
        title="a module's memory may grow to its limit and one page more",
        scenario="hello",
        oracle="I18",
        edits=(
            Edit(
                "wasm/checks.py",
                "    pages = spec.limits.memory // PAGE\n",
                "    pages = spec.limits.memory // PAGE + 1\n",
            ),
        ),
        one_in=40,
    ),
    Mutant(
        name="fuel_not_capped",
        title="a step is granted its limit of fuel once more for the copy of its inbox",
        scenario="hello",
        oracle="I18",
        edits=(
            Edit(
                "orchestrator.py",
                "            orders.append(Order(record, residence.spec.limits.fuel, base))\n",
                "            fuel = residence.spec.limits.fuel * (1 + bool(record.inbox))\n"
                "            orders.append(Order(record, fuel, base))\n",
            ),
        ),
    ),
    Mutant(
        name="range_check_off_by_one",
        title="a host call's range may end one byte behind the memory",
        scenario="hello",
        oracle="I32",
        edits=(
            Edit("worker.py", "        if pointer + length > size:\n", "        if pointer + length > size + 1:\n"),
        ),
        one_in=500,
    ),
    Mutant(
        name="capability_of_effects_unchecked",
        title="a module's imports are compared with its grants, those with an effect left out",
        scenario="hello",
        oracle="I17",
        edits=(
            Edit(
                "wasm/checks.py",
                "        if function.group and function.group not in spec.capabilities:\n",
                "        if not function.op and function.group and function.group not in spec.capabilities:\n",
            ),
        ),
        one_in=170,
    ),
    Mutant(
        name="inbox_grouped_by_sender",
        title="an inbox is grouped by sender, the last one first, each sender's messages in order",
        scenario="hello",
        oracle="I10",
        edits=(
            Edit(
                "fold.py",
                "        inbox = tuple(agent.mailbox)\n",
                "        inbox = tuple(sorted(agent.mailbox, key=lambda message: message.sender, reverse=True))\n",
            ),
        ),
        one_in=20,
    ),
    Mutant(
        name="repeated_subscription_counts_twice",
        title="who subscribes again, as after a restart, gets two copies of each publication",
        scenario="ledger",
        oracle="I8",
        edits=(
            Edit(
                "broker.py",
                "    if agent not in state.subscribers[topic]:\n        state.subscribers[topic].append(agent)\n",
                "    state.subscribers[topic].append(agent)\n",
            ),
        ),
    ),
    Mutant(
        name="publications_unlimited",
        title="publications do not count against the limit of a step's calls",
        scenario="hello",
        oracle="I18",
        edits=(
            Edit(
                "wasm/modules.py",
                _PUBLISH + "    (call $enter)\n    (if (call $limited) (then (return (i32.const 1))))\n",
                _PUBLISH + "    (call $enter)\n",
            ),
        ),
        one_in=450,
    ),
    Mutant(
        name="topic_compared_signed",
        title="a publication's topic is compared as if it had a sign, and the greatest numbers are below any bound",
        scenario="hello",
        oracle="I32",
        edits=(Edit("wasm/modules.py", f"(i32.ge_u {_TOPIC}", f"(i32.ge_s {_TOPIC}"),),
        one_in=1250,
    ),
    Mutant(
        name="publication_length_signed",
        title="a publication's length is compared as if it had a sign",
        scenario="hello",
        oracle="I32",
        edits=(Edit("wasm/modules.py", f"(i32.ge_u {_TOPIC}", f"(i32.ge_u {_TOPIC}".removesuffix("gt_u") + "gt_s"),),
        one_in=1000,
    ),
    Mutant(
        name="alloc_range_in_32_bits",
        title="where an agent wants its inbox is added to its length before both are widened, so the sum wraps",
        scenario="hello",
        oracle="I32",
        edits=(
            Edit(
                "wasm/modules.py",
                "(i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $length)))\n",
                "(i64.extend_i32_u (i32.add (local.get $at) (local.get $length)))\n",
            ),
        ),
        one_in=625,
    ),
    Mutant(
        name="trap_code_zero_unknown",
        title="of the engine's trap codes the one that is 0 has no name",
        scenario="hello",
        oracle="I32",
        edits=(Edit("wasm/raw.py", "for code in wasmtime.TrapCode}", "for code in wasmtime.TrapCode if code.value}"),),
        one_in=180,
    ),
    Mutant(
        name="forged_handle_of_no_writer",
        title="a write to a buffer is checked in the steps of agents that write one, and in no other",
        scenario="hello",
        oracle="I19",
        edits=(
            Edit(
                "worker.py",
                '        if op == "buffer":\n            grant = next(',
                '        if op == "buffer" and record.grants:\n            grant = next(',
            ),
        ),
        one_in=125,
    ),
)
