;; console: does in each step what a compiler's library does by WASI, and lets out what it was told. One output of 56 B:
;; {tag u32 = 1, errors u32, read u64, realtime u64, random u8[13], pad u8[3], written u32, pad u32, its own lines u64}.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))

  (memory (export "memory") 2)
  (global $read (mut i64) (i64.const 0))
  (global $lines (mut i64) (i64.const 0))

  ;; One message at a time, at a place of its own: nothing of it is kept.
  (func (export "agent_alloc") (param $size i32) (result i32)
    (if (i32.gt_u (local.get $size) (i32.const 65536)) (then (return (i32.const 0))))
    (i32.const 65536))

  (func (export "agent_init") (result i32) (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (global.set $read (i64.add (global.get $read) (i64.const 1)))
    (i32.const 0))

  (func $tell (result i32)
    (local $errors i32)
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 56))
    (i32.store (i32.const 1024) (i32.const 1))
    (i64.store (i32.const 1032) (global.get $read))
    (local.set $errors (call $clock (i32.const 0) (i64.const 1) (i32.const 1040)))
    (local.set $errors (i32.or (local.get $errors) (call $random (i32.const 1048) (i32.const 13))))
    ;; two pieces: 12,000 B in all, so that a log that is not emptied is full after five steps
    (i32.store (i32.const 512) (i32.const 2048)) (i32.store (i32.const 516) (i32.const 8000))
    (i32.store (i32.const 520) (i32.const 2048)) (i32.store (i32.const 524) (i32.const 4000))
    (local.set $errors
      (i32.or (local.get $errors) (call $write (i32.const 1) (i32.const 512) (i32.const 2) (i32.const 1064))))
    (global.set $lines (i64.add (global.get $lines) (i64.const 2)))
    (i64.store (i32.const 1072) (global.get $lines))
    (i32.store (i32.const 1028) (local.get $errors))
    (drop (call $output (i32.const 1024) (i32.const 56)))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32) (call $tell))
  (func (export "agent_shutdown") (result i32) (call $tell)))
