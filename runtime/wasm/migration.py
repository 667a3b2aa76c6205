"""Our module that hands an old version's state to a new one: room from `agent_alloc`, one copy, `agent_migrate`.

It is linked beside an instance only when a reload needs it. As for a step, one crossing does it all, host calls are the
shim's, and the state lies in the shim's memory, which no agent can reach (`runtime.wasm.modules` has the layout; here
40 is the version before and 44 the length of the state). `run` returns what the driver's does, its calls never made
into effects: 1 where `agent_alloc` failed, 2 with the code of one that is not 0, 3 where the host reads the entries.
"""

from __future__ import annotations

MIGRATOR = """
(module
  (import "agent" "memory" (memory $agent 0))
  (import "shim" "memory" (memory $shim 1))
  (import "agent" "agent_alloc" (func $agent_alloc (param i32) (result i32)))
  (import "agent" "agent_migrate" (func $agent_migrate (param i32 i32 i32) (result i32)))

  (func $result (param $result i64) (param $low i32) (result i64)
    (i64.or
      (i64.or (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 40))
              (i64.shl (local.get $result) (i64.const 32)))
      (i64.extend_i32_u (local.get $low))))

  (func (export "run") (result i64) (local $at i32) (local $length i32) (local $code i32)
    (local.set $length (i32.load $shim (i32.const 44)))
    (local.set $at (call $agent_alloc (local.get $length)))
    (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $length)))
                  (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 16)))
      (then (return (call $result (i64.const 1) (i32.const 0)))))
    (if (i32.eqz (local.get $at)) (then (return (call $result (i64.const 1) (i32.const 0)))))
    (memory.copy $agent $shim (local.get $at) (i32.load $shim (i32.const 48)) (local.get $length))
    (local.set $code
      (call $agent_migrate (i32.load $shim (i32.const 40)) (local.get $at) (local.get $length)))
    (if (local.get $code) (then (return (call $result (i64.const 2) (local.get $code)))))
    (call $result (i64.const 3) (i32.const 0))))
"""

# The agent's exports that it imports, behind the two memories.
MIGRATOR_CALLS = ("agent_alloc", "agent_migrate")
