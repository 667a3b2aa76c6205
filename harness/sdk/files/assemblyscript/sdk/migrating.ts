// What the module exports as well where agent.ts has a method `migrate(before: Before)`.

import { agent } from "./seat";
import { Before, over } from "./wasm_engine";

export function agent_migrate(version: u32, at: usize, length: u32): u32 {
  const before = new Before(version, at, length);
  if (!before.whole) return 1;
  const code = agent.migrate(before);
  over();
  return code;
}
