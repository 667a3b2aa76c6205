;; hello: a worker. It turns its half of a text into capitals and hashes the result.
;;
;; in   {task u32, half u32, text}
;; out  to agent 3: {task u32, half u32, hash u64, TEXT}; hash is FNV-1a-64 of TEXT
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))

  (memory (export "memory") 2)

  ;; Bump allocation: what one step was given or passed to the host stays until it is over; the next step starts anew.
  (global $top (mut i32) (i32.const 1024))
  (global $over (mut i32) (i32.const 0))

  (func $alloc (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (if (global.get $over)
      (then
        (global.set $top (i32.const 1024))
        (global.set $over (i32.const 0))))
    (local.set $at (global.get $top))
    (if (i32.gt_u (local.get $size) (i32.sub (i32.shl (memory.size) (i32.const 16)) (local.get $at)))
      (then (return (i32.const 0))))
    (global.set $top
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  ;; Writes the capitals of `length` bytes at `from` to `to`; the result is their hash.
  (func $capitals (param $from i32) (param $to i32) (param $length i32) (result i64)
    (local $hash i64)
    (local $byte i32)
    (local.set $hash (i64.const 0xcbf29ce484222325))
    (block $done
      (loop $bytes
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $byte (i32.load8_u (local.get $from)))
        (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26))
          (then (local.set $byte (i32.sub (local.get $byte) (i32.const 32)))))
        (i32.store8 (local.get $to) (local.get $byte))
        (local.set $hash
          (i64.mul (i64.xor (local.get $hash) (i64.extend_i32_u (local.get $byte))) (i64.const 0x100000001b3)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $bytes)))
    (local.get $hash))

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $reply i32)
    (if (i32.or (i32.ne (i32.load (local.get $at)) (i32.const 1)) (i32.lt_u (local.get $length) (i32.const 32)))
      (then (return (i32.const 0))))
    (local.set $length (i32.sub (local.get $length) (i32.const 32)))
    (local.set $reply (call $alloc (i32.add (local.get $length) (i32.const 16))))
    (if (i32.eqz (local.get $reply)) (then (unreachable)))
    (i64.store (local.get $reply) (i64.load offset=24 (local.get $at)))
    (i64.store offset=8 (local.get $reply)
      (call $capitals (i32.add (local.get $at) (i32.const 32)) (i32.add (local.get $reply) (i32.const 16))
        (local.get $length)))
    (call $send (i32.const 3) (local.get $reply) (i32.add (local.get $length) (i32.const 16))))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (i32.const 0)))
