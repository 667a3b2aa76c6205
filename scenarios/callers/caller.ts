// caller: plugins_caller.wat once more, in AssemblyScript with the SDK.

import { Agent, Envelope, INPUT, MESSAGE, OK, Reader, Writer, output, ownNumber, send } from "./sdk/wasm_engine";

// @ts-ignore: decorator
@external("capitals", "transform")
declare function capitals(data: usize, length: u32, room: usize, capacity: u32): i32;
// @ts-ignore: decorator
@external("checksum", "transform")
declare function checksum(data: usize, length: u32, room: usize, capacity: u32): i32;
// @ts-ignore: decorator
@external("pack", "transform")
declare function pack(data: usize, length: u32, room: usize, capacity: u32): i32;
// @ts-ignore: decorator
@external("turn", "transform")
declare function turn(data: usize, length: u32, room: usize, capacity: u32): i32;
// @ts-ignore: decorator
@external("ticket", "transform")
declare function ticket(data: usize, length: u32, room: usize, capacity: u32): i32;

const AGENTS: u32 = 4;
const LONGEST: i32 = 4096;

function carriedOut(step: u8, text: Uint8Array, room: Uint8Array): i32 {
  switch (step % 5) {
    case 0: return capitals(text.dataStart, text.length, room.dataStart, LONGEST);
    case 1: return checksum(text.dataStart, text.length, room.dataStart, LONGEST);
    case 2: return pack(text.dataStart, text.length, room.dataStart, LONGEST);
    case 3: return turn(text.dataStart, text.length, room.dataStart, LONGEST);
    default: return ticket(text.dataStart, text.length, room.dataStart, LONGEST);
  }
}

class Caller extends Agent {
  seen: u32 = 0;

  receive(message: Envelope): u32 {
    if (message.kind != MESSAGE && message.kind != INPUT) return OK;
    this.seen++;
    const input = new Reader(message.payload);
    const job = input.u32(), count = input.u8(), steps = input.raw(count), text = input.raw(input.left);
    if (input.failed) return 1;
    if (count == 0) return output(new Writer().u32(job).u32(0).u32(this.seen).raw(text).done());
    const room = new Uint8Array(LONGEST);
    const got = carriedOut(steps[0], text, room);
    if (got < 0) return output(new Writer().u32(job).u32(got).u32(this.seen).done());
    const rest = new Writer().u32(job).u8(count - 1).raw(steps.slice(1)).raw(room.slice(0, got));
    return send((ownNumber() + 1) % AGENTS, rest.done());
  }
}

export function create(): Agent {
  return new Caller();
}
