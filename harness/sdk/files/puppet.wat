;; A peer in a conversation: does what the outside tells it to. An order is {call u32: 0 send, 1 publish, 2 buffer_write;
;; target u32; bytes}; whatever else it hears it takes no notice of.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "publish" (func $publish (param i32 i32 i32) (result i32)))
  (import "engine" "buffer_write" (func $write (param i32 i32 i32) (result i32)))
  (type $call (func (param i32 i32 i32) (result i32)))
  (table 3 3 funcref)
  (elem (i32.const 0) $send $publish $write)
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 0))

  (func (export "agent_alloc") (param $size i32) (result i32) (local $at i32) (local $pages i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.set $pages (i32.shr_u (i32.add (global.get $free) (i32.const 65535)) (i32.const 16)))
    (if (i32.gt_u (local.get $pages) (memory.size)) (then
      (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1))
        (then (return (i32.const 0))))))
    (local.get $at))

  (func (export "agent_init") (result i32) (global.set $free (i32.const 8)) (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.ne (i32.load (local.get $at)) (i32.const 3)) (then (return (i32.const 0))))
    (call_indirect (type $call)
      (i32.load offset=28 (local.get $at))
      (i32.add (local.get $at) (i32.const 32))
      (i32.sub (i32.load offset=20 (local.get $at)) (i32.const 8))
      (i32.load offset=24 (local.get $at))))

  (func (export "agent_step") (param $context i32) (result i32) (global.set $free (i32.const 8)) (i32.const 0))

  (func (export "agent_shutdown") (result i32) (i32.const 0)))
