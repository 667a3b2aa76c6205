"""One program that uses every binding, in three languages, and the conversation that says what it must do."""

from __future__ import annotations

# One program in three languages. What it is told: the first byte of an input or message.
PROBE_C = """
#include "sdk/wasm_engine.h"

static uint32_t seen;

uint32_t we_on_init(void) { return we_subscribe(0) | we_wake(2); }

static uint32_t back(we_reader *in) {
  we_writer out = we_write(256);
  uint8_t a = we_get_u8(in); uint32_t b = we_get_u32(in); uint64_t c = we_get_u64(in);
  int64_t d = we_get_i64(in); double e = we_get_f64(in); uint32_t length;
  const uint8_t *f = we_get_bytes(in, &length);
  if (in->failed) return 100;
  we_put_bytes(&out, f, length); we_put_f64(&out, e); we_put_i64(&out, d); we_put_u64(&out, c);
  we_put_u32(&out, b); we_put_u8(&out, a);
  return out.failed ? 101 : we_output(out.data, out.length);
}

uint32_t we_on_receive(const we_envelope *m) {
  we_reader in = we_read(m->payload, m->length);
  we_writer out = we_write(64);
  static const uint32_t request[] = {1, 5, 6};
  seen++;
  switch (m->kind) {
  case WE_INPUT: return back(&in);
  case WE_MESSAGE:
    switch (we_get_u8(&in)) {
    case 'b': return we_buffer_write(0, m->payload, m->length);
    case 'p': return we_publish(0, m->payload, m->length);
    case 'r': return we_read_outside(0, m->payload, m->length);
    case 'c': return we_cancel(0);
    case 'u': return we_unsubscribe(0);
    case 'i': return we_infer(0, request, sizeof request);
    case 'n': return we_send(77, m->payload, m->length) == WE_E_TARGET ? we_send(m->sender, "none", 4) : 9;
    default: return 5;
    }
  case WE_WAKE:
    we_put_u64(&out, we_now()); we_put_u64(&out, we_random()); we_put_u32(&out, we_self());
    return we_output(out.data, out.length);
  default:
    we_put_u32(&out, m->kind); we_put_u32(&out, m->sender); we_put_u64(&out, m->seq); we_put_u32(&out, m->channel);
    we_put_bytes(&out, m->payload, m->length); we_put_u32(&out, seen);
    return we_output(out.data, out.length);
  }
}

uint32_t we_on_step(const we_context *context) {
  we_writer out = we_write(16);
  if (context->tick % 5) return 0;
  we_put_u64(&out, context->tick); we_put_u32(&out, context->agent); we_put_u32(&out, context->flags);
  return we_output(out.data, out.length);
}

uint32_t we_on_shutdown(void) { return we_output("bye", 3); }
"""
PROBE_RUST = """
use wasm_engine_agent::{export_agent, status, Agent, Context, Envelope, Failure, Host, Kind, Reader, Writer, E_TARGET};

#[derive(Default)]
struct Probe {
    seen: u32,
}

fn number(kind: Kind) -> u32 {
    match kind {
        Kind::Topic => 2,
        Kind::Refused => 5,
        Kind::Buffer => 6,
        Kind::Inference => 7,
        Kind::Reading => 9,
        _ => 99,
    }
}

impl Agent for Probe {
    fn init(&mut self, host: &mut Host) -> Result<(), Failure> {
        host.subscribe(0)?;
        host.wake(2)
    }

    fn receive(&mut self, host: &mut Host, m: &Envelope) -> Result<(), Failure> {
        let mut input = Reader::new(m.payload());
        self.seen += 1;
        match m.kind() {
            Kind::Input => {
                let (a, b, c) = (input.u8()?, input.u32()?, input.u64()?);
                let (d, e, f) = (input.i64()?, input.f64()?, input.bytes()?);
                host.output(Writer::new().bytes(f).f64(e).i64(d).u64(c).u32(b).u8(a))
            }
            Kind::Message => match input.u8()? {
                b'b' => host.buffer_write(0, m.payload()),
                b'p' => host.publish(0, m.payload()),
                b'r' => host.read(0, m.payload()),
                b'c' => host.cancel(0),
                b'u' => host.unsubscribe(0),
                b'i' => host.infer(0, true, &[5, 6]),
                b'n' if host.send(77, m.payload()) == Err(E_TARGET) => host.send(m.sender(), "none"),
                _ => status(5),
            },
            Kind::Wake => {
                let told = Writer::new().u64(host.now()).u64(host.random()).u32(host.own_number());
                host.output(told)
            }
            kind => {
                let told = Writer::new().u32(number(kind)).u32(m.sender()).u64(m.seq()).u32(m.channel());
                host.output(told.bytes(m.payload()).u32(self.seen))
            }
        }
    }

    fn step(&mut self, host: &mut Host, context: Context) -> Result<(), Failure> {
        if context.tick % 5 == 0 {
            host.output(Writer::new().u64(context.tick).u32(context.agent).u32(context.flags))?;
        }
        Ok(())
    }

    fn shutdown(&mut self, host: &mut Host) -> Result<(), Failure> {
        host.output("bye")
    }
}

export_agent!(Probe);
"""
PROBE_SCRIPT = """
import {
  Agent, Context, E_TARGET, Envelope, INPUT, MESSAGE, OK, Reader, WAKE, Writer,
  bufferWrite, cancel, infer, now, output, ownNumber, publish, random, read, send, subscribe, unsubscribe, wake,
} from "./sdk/wasm_engine";

class Probe extends Agent {
  seen: u32 = 0;

  init(): u32 { return subscribe(0) | wake(2); }

  receive(m: Envelope): u32 {
    const input = new Reader(m.payload);
    this.seen++;
    if (m.kind == INPUT) {
      const a = input.u8(), b = input.u32(), c = input.u64(), d = input.i64(), e = input.f64(), f = input.bytes();
      if (input.failed) return 100;
      return output(new Writer().bytes(f).f64(e).i64(d).u64(c).u32(b).u8(a).done());
    }
    if (m.kind == MESSAGE) {
      const what = input.u8();
      if (input.failed) return 100;
      if (what == 0x62) return bufferWrite(0, m.payload);
      if (what == 0x70) return publish(0, m.payload);
      if (what == 0x72) return read(0, m.payload);
      if (what == 0x63) return cancel(0);
      if (what == 0x75) return unsubscribe(0);
      if (what == 0x69) return infer(0, true, [5, 6]);
      if (what == 0x6e && send(77, m.payload) == E_TARGET) {
        return send(m.sender, Uint8Array.wrap(String.UTF8.encode("none")));
      }
      return 5;
    }
    if (m.kind == WAKE) return output(new Writer().u64(now()).u64(random()).u32(ownNumber()).done());
    return output(
      new Writer().u32(m.kind).u32(m.sender).u64(m.seq).u32(m.channel).bytes(m.payload).u32(this.seen).done(),
    );
  }

  step(context: Context): u32 {
    if (context.tick % 5 != 0) return OK;
    return output(new Writer().u64(context.tick).u32(context.agent).u32(context.flags).done());
  }

  shutdown(): u32 { return output(Uint8Array.wrap(String.UTF8.encode("bye"))); }
}

export function create(): Agent { return new Probe(); }
"""
PROBES = {"c": PROBE_C, "rust": PROBE_RUST, "assemblyscript": PROBE_SCRIPT}

ASKED = """peers = ["friend"]
topics = ["news"]
buffers = [{ name = "frames", capacity = 64, writer = "self" }]
reads = ["frames"]
models = ["small"]
sources = [{ name = "sky", says = [{ text = "grey" }] }]
[init]
does = [{ call = "subscribe", topic = "news" }, { call = "wake", ticks = 2 }]
[shutdown]
does = [{ call = "output", text = "bye" }]
[[turn]]
tick = 2
hears = [{ from = "friend", text = "b7" }]
does = [{ call = "buffer_write", buffer = "frames", text = "b7" }, { call = "output", any = true }]
[[turn]]
tick = 3
hears = [
  { from = "outside", topic = "news", text = "rain" },
  { from = "outside", parts = [VALUES] },
]
does = [
  { call = "output", parts = [
    { u32 = 2 }, { u32 = 4294967295 },
    { u64 = 2 }, { u32 = 0 }, { string = "rain" }, { u32 = 3 }
  ] },
  { call = "output", parts = [REVERSED] },
  { call = "output", parts = [
    { u32 = 6 }, { u32 = 0 },
    { u64 = 1 }, { u32 = 0 }, { string = "b7" }, { u32 = 5 }
  ] },
]
[[turn]]
tick = 4
hears = [{ from = "friend", text = "i" }, { from = "friend", text = "p!" }, { from = "friend", text = "n" }]
does = [
  { call = "infer", model = "small", parts = [{ u32 = 1 }, { u32 = 5 }, { u32 = 6 }] },
  { call = "publish", topic = "news", text = "p!" },
  { call = "send", to = "friend", text = "none" },
]
[[turn]]
tick = 5
does = [{ call = "output", any = true }, { call = "output", parts = [{ u64 = 5 }, { u32 = 0 }, { u32 = 0 }] }]
[[turn]]
tick = 6
does = [{ call = "output", any = true }]
[[turn]]
tick = 7
hears = [{ from = "friend", text = "u" }]
does = [{ call = "unsubscribe", topic = "news" }]
[[turn]]
tick = 8
hears = [{ from = "friend", text = "r?" }]
does = [{ call = "read", source = "sky", text = "r?" }]
[[turn]]
tick = 9
hears = [{ from = "friend", text = "r!" }]
does = [
  { call = "read", source = "sky", text = "r!" },
  { call = "output", parts = [
    { u32 = 9 }, { u32 = 4294967295 },
    { u64 = 4294967300 }, { u32 = 0 }, { u32 = 8 }, { u32 = 0 }, { text = "grey" }, { u32 = 14 }
  ] },
]
[[turn]]
tick = 10
hears = [{ from = "friend", text = "c" }]
does = [{ call = "cancel", source = "sky" }, { call = "output", any = true }, { call = "output", any = true }]
"""
SHORT = """topics = ["news"]
buffers = [{ name = "frames", capacity = 64, writer = "self" }]
models = ["small"]
[init]
does = [{ call = "subscribe", topic = "news" }, { call = "wake", ticks = 2 }]
[[turn]]
tick = 1
hears = [{ from = "outside", HEARD }]
status = "agent_error:100"
"""
_VALUES = [
    "{ u8 = 200 }",
    "{ u32 = 4000000000 }",
    "{ u64 = 18000000000000000000 }",
    "{ i64 = -9000000000000000000 }",
    "{ f64 = -0.1 }",
    '{ string = "grüße" }',
]
ASKED = ASKED.replace("REVERSED", ", ".join(reversed(_VALUES))).replace("VALUES", ", ".join(_VALUES))


# A version that takes over the state of another one and lets out what it was given: number, globals, the first global's
# bits, bytes of memory, and the eight bytes from 8 on. It keeps the second of them, and says it in every step.
MIGRATING_WAT = """(module
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (memory (export "memory") 8) (global $kept (mut i32) (i32.const 0))
  (func (export "agent_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "agent_init") (result i32) (i32.const 0))
  (func (export "agent_receive") (param i32 i32) (result i32) (i32.const 0))
  (func (export "agent_step") (param i32) (result i32)
    (i32.store (i32.const 512) (global.get $kept)) (call $output (i32.const 512) (i32.const 4)))
  (func (export "agent_shutdown") (result i32) (i32.const 0))
  (func (export "agent_migrate") (param $before i32) (param $at i32) (param $length i32) (result i32)
    (local $memory i32)
    (local.set $memory
      (i32.add (i32.add (local.get $at) (i32.const 8)) (i32.shl (i32.load (local.get $at)) (i32.const 4))))
    (i32.store (i32.const 0) (local.get $before))
    (i32.store (i32.const 4) (i32.load (local.get $at)))
    (i64.store (i32.const 8) (i64.load offset=16 (local.get $at)))
    (i32.store (i32.const 16) (i32.shl (i32.load offset=4 (local.get $at)) (i32.const 16)))
    (i64.store (i32.const 20) (i64.load offset=8 (local.get $memory)))
    (global.set $kept (i32.load offset=8 (local.get $memory)))
    (call $output (i32.const 0) (i32.const 28))))"""
MIGRATING_C = """
#define WE_MIGRATES
#include "sdk/wasm_engine.h"

static uint32_t kept;

uint32_t we_on_init(void) { return 0; }
uint32_t we_on_receive(const we_envelope *message) { return message->length & 0; }
uint32_t we_on_step(const we_context *context) { return we_output(&kept, 4 + (context->flags & 0)); }
uint32_t we_on_shutdown(void) { return 0; }

uint32_t we_on_migrate(const we_before *before) {
  we_writer out = we_write(28);
  we_reader in = we_read(before->memory + 8, 8);
  uint64_t word = we_get_u64(&in);
  kept = (uint32_t)word;
  we_put_u32(&out, before->version); we_put_u32(&out, before->globals); we_put_u64(&out, we_before_global(before, 0));
  we_put_u32(&out, before->length); we_put_u64(&out, word);
  return we_before_global(before, 99) ? 9 : we_output(out.data, out.length);
}
"""
MIGRATING_RUST = """
use wasm_engine_agent::{export_migrating_agent, Agent, Before, Context, Failure, Host, Migrate, Reader, Writer};

#[derive(Default)]
struct Keeping {
    kept: u32,
}

impl Agent for Keeping {
    fn step(&mut self, host: &mut Host, _context: Context) -> Result<(), Failure> {
        host.output(Writer::new().u32(self.kept))
    }
}

impl Migrate for Keeping {
    fn migrate(&mut self, host: &mut Host, before: &Before) -> Result<(), Failure> {
        let word = Reader::new(&before.memory()[8..]).u64()?;
        self.kept = word as u32;
        if before.global(99).is_some() {
            return Err(Failure(9));
        }
        let told = Writer::new().u32(before.version()).u32(before.globals() as u32);
        host.output(told.u64(before.global(0).unwrap_or(0)).u32(before.memory().len() as u32).u64(word))
    }
}

export_migrating_agent!(Keeping);
"""
MIGRATING_SCRIPT = """
import { Agent, Before, Context, Reader, Writer, output } from "./sdk/wasm_engine";

class Keeping extends Agent {
  kept: u32 = 0;

  step(context: Context): u32 {
    return output(new Writer().u32(this.kept).done());
  }

  migrate(before: Before): u32 {
    const word = new Reader(before.bytes(8, 8)).u64();
    this.kept = <u32>word;
    if (before.global(99) != 0 || before.bytes(before.length - 4, 8).length != 0) return 9;
    const told = new Writer().u32(before.version).u32(before.globals).u64(before.global(0));
    return output(told.u32(before.length).u64(word).done());
  }
}

export function create(): Agent {
  return new Keeping();
}
"""
MIGRATING = {
    "wat": MIGRATING_WAT,
    "c": MIGRATING_C,
    "rust": MIGRATING_RUST,
    "assemblyscript": MIGRATING_SCRIPT,
}
