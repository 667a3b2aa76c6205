// @NAME@: answers each message with its own bytes, and lets out what comes from outside, numbered.

import { Agent, Envelope, INPUT, MESSAGE, OK, Writer, output, send } from "./sdk/wasm_engine";

class Counting extends Agent {
  seen: u32 = 0; // the agent's state: kept from step to step, and in its snapshot

  receive(message: Envelope): u32 {
    this.seen++;
    if (message.kind == MESSAGE) return send(message.sender, message.payload);
    if (message.kind == INPUT) return output(new Writer().u32(this.seen).bytes(message.payload).done());
    return OK;
  }
}

export function create(): Agent {
  return new Counting();
}
