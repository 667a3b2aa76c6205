;; A reporter: it subscribes to the first topic, and lets out whatever is published there.
(module
  (import "engine" "subscribe" (func $subscribe (param i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 1024))
  (global $over (mut i32) (i32.const 0))

  (func (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (if (global.get $over) (then (global.set $top (i32.const 1024)) (global.set $over (i32.const 0))))
    (local.set $at (global.get $top))
    (if (i32.gt_u (local.get $size) (i32.sub (i32.const 65536) (local.get $at))) (then (return (i32.const 0))))
    (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  (func (export "agent_init") (result i32) (call $subscribe (i32.const 0)))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.ne (i32.load (local.get $at)) (i32.const 2)) (then (return (i32.const 0))))  ;; 2: of a topic
    (call $output (i32.add (local.get $at) (i32.const 24)) (i32.sub (local.get $length) (i32.const 24))))

  (func (export "agent_step") (param $context i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32) (i32.const 0)))
