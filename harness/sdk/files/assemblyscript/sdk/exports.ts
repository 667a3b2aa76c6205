// What the module exports. This is the file that asc is given; the agent itself is agent.ts.

import { agent } from "./seat";
import { Context, Envelope, over, room } from "./wasm_engine";

export function agent_alloc(size: u32): usize { return room(size); }

export function agent_init(): u32 {
  const code = agent.init();
  over();
  return code;
}

export function agent_receive(at: usize, length: u32): u32 {
  if (length < 24 || load<u32>(at, 20) != length - 24) return 1;
  return agent.receive(new Envelope(at));
}

export function agent_step(at: usize): u32 {
  const code = agent.step(new Context(load<u64>(at), load<u32>(at, 8), load<u32>(at, 12)));
  over();
  return code;
}

export function agent_shutdown(): u32 {
  const code = agent.shutdown();
  over();
  return code;
}
