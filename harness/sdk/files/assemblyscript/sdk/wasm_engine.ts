// wasm-engine's agent ABI, version 1, for AssemblyScript (docs/abi.md).
//
// Write a class that extends Agent, and a function `create` in agent.ts that makes one. Its fields are the agent's
// state: they live in the module's memory, and so in its snapshots. Nothing runs when the module is loaded, so a value
// at the top level that needs code to make it is @lazy. Bytes given to a call are kept until the step has ended.

export const OUTSIDE: u32 = 0xffffffff; // the sender of whatever no agent sent

export const OK: u32 = 0;
export const E_LIMIT: u32 = 1; // more effect calls in this step than send_limit
export const E_TARGET: u32 = 2; // no such agent, topic, buffer or model
export const E_SIZE: u32 = 3; // longer than max_payload, or than the buffer
export const E_FULL: u32 = 4; // the channel of a refusal: a mailbox was full, or a request is unanswered
export const E_MEMBER: u32 = 5; // a post in a channel of which the agent is no member
export const E_QUOTA: u32 = 6; // more messages than the agent's tenant has left in this tick
export const E_INVALID: u32 = 7; // the receiver's validator did not find the message valid

export const MESSAGE: u32 = 1;
export const TOPIC: u32 = 2;
export const INPUT: u32 = 3;
export const WAKE: u32 = 4;
export const REFUSED: u32 = 5;
export const BUFFER: u32 = 6;
export const INFERENCE: u32 = 7;
export const TASK: u32 = 8;
export const READING: u32 = 9; // its payload begins with a status, u32: END, MORE, FAILED or CANCELLED

export const END: u32 = 0; // it is whole, or the last part
export const MORE: u32 = 1; // a part: reading the source again goes on with it
export const FAILED: u32 = 2;
export const CANCELLED: u32 = 3; // by an operator

// @ts-ignore: decorator
@external("engine", "send") declare function hostSend(agent: u32, data: usize, length: u32): u32;
// @ts-ignore: decorator
@external("engine", "publish") declare function hostPublish(topic: u32, data: usize, length: u32): u32;
// @ts-ignore: decorator
@external("engine", "subscribe") declare function hostSubscribe(topic: u32): u32;
// @ts-ignore: decorator
@external("engine", "unsubscribe") declare function hostUnsubscribe(topic: u32): u32;
// @ts-ignore: decorator
@external("engine", "wake") declare function hostWake(ticks: u32): u32;
// @ts-ignore: decorator
@external("engine", "buffer_write") declare function hostBufferWrite(buffer: u32, data: usize, length: u32): u32;
// @ts-ignore: decorator
@external("engine", "output") declare function hostOutput(data: usize, length: u32): u32;
// @ts-ignore: decorator
@external("engine", "infer") declare function hostInfer(model: u32, data: usize, length: u32): u32;
// @ts-ignore: decorator
@external("engine", "read") declare function hostRead(source: u32, data: usize, length: u32): u32;
// @ts-ignore: decorator
@external("engine", "cancel") declare function hostCancel(source: u32): u32;
// @ts-ignore: decorator
@external("engine", "now") declare function hostNow(): u64;
// @ts-ignore: decorator
@external("engine", "random") declare function hostRandom(): u64;
// @ts-ignore: decorator
@external("engine", "self") declare function hostSelf(): u32;

/** One envelope of the inbox: a header of 24 bytes, then the payload. It lasts until the step ends. */
export class Envelope {
  constructor(private at: usize) {}
  get kind(): u32 { return load<u32>(this.at); }
  /** The agent that it is from, or OUTSIDE. */
  get sender(): u32 { return load<u32>(this.at, 4); }
  get seq(): u64 { return load<u64>(this.at, 8); }
  /** The topic, the buffer, the model, or the status code of a refusal. */
  get channel(): u32 { return load<u32>(this.at, 16); }
  get length(): u32 { return load<u32>(this.at, 20); }
  get payload(): Uint8Array {
    const bytes = new Uint8Array(this.length);
    memory.copy(bytes.dataStart, this.at + 24, this.length);
    return bytes;
  }
}

/** When and who: what a step is told. */
export class Context {
  constructor(public tick: u64, public agent: u32, public flags: u32) {}
}

/** An agent. Each method gives 0, or a code that fails the step as agent_error:<code>. */
export class Agent {
  /** Once per life, first of all. */
  init(): u32 { return OK; }
  /** One envelope of the inbox. */
  receive(message: Envelope): u32 { return OK; }
  /** The turn itself, after the inbox. */
  step(context: Context): u32 { return OK; }
  /** The last call of a life. */
  shutdown(): u32 { return OK; }
  /**
   * A hot reload, in place of init. It is called where agent.ts writes this method; without it, a reload takes the
   * memory over as it is. Any other code than 0 leaves the version before as it was.
   */
  migrate(before: Before): u32 { return OK; }
}

/** The state of the version before. It lasts until the step ends. */
export class Before {
  /** `version` is the number of the version before. */
  constructor(public version: u32, private at: usize, private size: u32) {}
  /** How many mutable globals it has. */
  get globals(): u32 { return load<u32>(this.at); }
  /** The bytes of its memory. */
  get length(): u32 { return load<u32>(this.at, 4) << 16; }
  /** Whether what was given is a whole state. */
  get whole(): bool {
    return this.size >= 8 && 8 + (<u64>this.globals << 4) + (<u64>load<u32>(this.at, 4) << 16) == <u64>this.size;
  }
  /** The bits of a mutable global, in index order; 0 where it has none of that number. */
  global(number: u32): u64 { return number < this.globals ? load<u64>(this.at + 16 + (<usize>number << 4)) : 0; }
  /** A part of its memory; none where that is not all inside. */
  bytes(offset: u32, length: u32): Uint8Array {
    const inside = <u64>offset + <u64>length <= <u64>this.length;
    const bytes = new Uint8Array(inside ? length : 0);
    const from = this.at + 8 + (<usize>this.globals << 4) + offset;
    if (inside) memory.copy(bytes.dataStart, from, length);
    return bytes;
  }
}

// --- host functions: each needs its group among the manifest's capabilities ---

/** Sends to an agent. */
export function send(agent: u32, bytes: Uint8Array): u32 {
  return hostSend(agent, keep(bytes), bytes.length);
}
/** Sends to all that subscribe to a topic. */
export function publish(topic: u32, bytes: Uint8Array): u32 {
  return hostPublish(topic, keep(bytes), bytes.length);
}
/** From the next tick on, a topic's messages come here. */
export function subscribe(topic: u32): u32 { return hostSubscribe(topic); }
/** And no longer. */
export function unsubscribe(topic: u32): u32 { return hostUnsubscribe(topic); }
/** A wake, so many ticks from now. */
export function wake(ticks: u32): u32 { return hostWake(ticks); }
/** The next version of a buffer that this agent writes. */
export function bufferWrite(buffer: u32, bytes: Uint8Array): u32 {
  return hostBufferWrite(buffer, keep(bytes), bytes.length);
}
/** Lets something out. */
export function output(bytes: Uint8Array): u32 { return hostOutput(keep(bytes), bytes.length); }
/** Appends tokens to the session with a model, which forgets its own first where `anew`. */
export function infer(model: u32, anew: bool, tokens: StaticArray<u32>): u32 {
  const request = new Writer().u32(anew ? 1 : 0);
  for (let i = 0; i < tokens.length; i++) request.u32(tokens[i]);
  const bytes = request.done();
  return hostInfer(model, keep(bytes), bytes.length);
}
/** Reads a source outside, or the next part of what it has begun to give. */
export function read(source: u32, bytes: Uint8Array): u32 { return hostRead(source, keep(bytes), bytes.length); }
/** Wants no more of what this agent reads from a source. */
export function cancel(source: u32): u32 { return hostCancel(source); }
/** Milliseconds since 1970, of this tick. */
export function now(): u64 { return hostNow(); }
/** 64 random bits, the same whenever this step is run. */
export function random(): u64 { return hostRandom(); }
/** The agent's own number. */
export function ownNumber(): u32 { return hostSelf(); }

// --- what lasts until the step ends ---

// @ts-ignore: decorator
@lazy const kept = new Array<usize>();
let stale: bool = false;

/** Room until the step ends. */
export function room(size: u32): usize {
  if (stale) {
    for (let i = 0; i < kept.length; i++) heap.free(kept[i]);
    kept.length = 0;
    stale = false;
  }
  const at = heap.alloc(size);
  kept.push(at);
  return at;
}

/** The step is over: what it was given and gave is read once more, and free when the next one begins. */
export function over(): void { stale = true; }

function keep(bytes: Uint8Array): usize {
  const at = room(bytes.length);
  memory.copy(at, bytes.dataStart, bytes.length);
  return at;
}

// --- serialisation: little-endian, byte strings and texts with their length (u32) before them ---

export class Writer {
  private data: Uint8Array = new Uint8Array(64);
  private length: i32 = 0;

  private at(more: i32): usize {
    if (this.length + more > this.data.length) {
      const wider = new Uint8Array(max(this.length + more, 2 * this.data.length));
      memory.copy(wider.dataStart, this.data.dataStart, this.length);
      this.data = wider;
    }
    this.length += more;
    return this.data.dataStart + (this.length - more);
  }

  raw(bytes: Uint8Array): Writer {
    const at = this.at(bytes.length);
    memory.copy(at, bytes.dataStart, bytes.length);
    return this;
  }
  u8(value: u8): Writer { store<u8>(this.at(1), value); return this; }
  u32(value: u32): Writer { store<u32>(this.at(4), value); return this; }
  u64(value: u64): Writer { store<u64>(this.at(8), value); return this; }
  i64(value: i64): Writer { store<i64>(this.at(8), value); return this; }
  f64(value: f64): Writer { store<f64>(this.at(8), value); return this; }
  bytes(bytes: Uint8Array): Writer { return this.u32(bytes.length).raw(bytes); }
  text(text: string): Writer { return this.bytes(Uint8Array.wrap(String.UTF8.encode(text))); }
  done(): Uint8Array { return this.data.slice(0, this.length); }
}

/** Beyond the end everything is 0, and `failed` is set. */
export class Reader {
  failed: bool = false;
  private place: i32 = 0;
  constructor(private data: Uint8Array) {}

  get left(): i32 { return this.data.length - this.place; }
  private at(length: i32): usize {
    if (this.failed || length < 0 || length > this.left) {
      this.failed = true;
      return 0;
    }
    this.place += length;
    return this.data.dataStart + (this.place - length);
  }
  raw(length: i32): Uint8Array {
    const at = this.at(length);
    const bytes = new Uint8Array(at ? length : 0);
    if (at) memory.copy(bytes.dataStart, at, length);
    return bytes;
  }
  u8(): u8 { const at = this.at(1); return at ? load<u8>(at) : 0; }
  u32(): u32 { const at = this.at(4); return at ? load<u32>(at) : 0; }
  u64(): u64 { const at = this.at(8); return at ? load<u64>(at) : 0; }
  i64(): i64 { const at = this.at(8); return at ? load<i64>(at) : 0; }
  f64(): f64 { const at = this.at(8); return at ? load<f64>(at) : 0; }
  bytes(): Uint8Array { return this.raw(this.u32()); }
  text(): string { return String.UTF8.decode(this.bytes().buffer); }
}
