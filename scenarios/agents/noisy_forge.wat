;; noisy: names what is not its own. Each call must be refused at once, or it fails with the number of the first that is
;; not; joining the closed channel and posting in it is refused later. Then it sends from outside its memory.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "publish" (func $publish (param i32 i32 i32) (result i32)))
  (import "engine" "subscribe" (func $subscribe (param i32) (result i32)))
  (import "engine" "unsubscribe" (func $unsubscribe (param i32) (result i32)))
  (import "engine" "buffer_write" (func $write (param i32 i32 i32) (result i32)))
  (import "engine" "wake" (func $wake (param i32) (result i32)))

  (memory (export "memory") 2)
  (global $step (mut i32) (i32.const 0))

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

  ;; Handles that there are not: agents, channels and buffers by numbers made up.
  (func $forge (result i32)
    (if (i32.ne (call $send (i32.const -1) (i32.const 1024) (i32.const 8)) (i32.const 2)) (then (return (i32.const 1))))
    (if (i32.ne (call $send (i32.const 4096) (i32.const 1024) (i32.const 8)) (i32.const 2)) (then (return (i32.const 2))))
    (if (i32.ne (call $publish (i32.const 7) (i32.const 1024) (i32.const 8)) (i32.const 2)) (then (return (i32.const 3))))
    (if (i32.ne (call $subscribe (i32.const -1)) (i32.const 2)) (then (return (i32.const 4))))
    (if (i32.ne (call $unsubscribe (i32.const 7)) (i32.const 2)) (then (return (i32.const 5))))
    (if (i32.ne (call $write (i32.const 0) (i32.const 1024) (i32.const 8)) (i32.const 2)) (then (return (i32.const 6))))
    (if (call $subscribe (i32.const 0)) (then (return (i32.const 7))))
    (call $publish (i32.const 0) (i32.const 1024) (i32.const 8)))

  (func (export "agent_init") (result i32)
    (call $wake (i32.const 1)))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.ne (i32.load (local.get $at)) (i32.const 4)) (then (return (i32.const 0))))
    (drop (call $wake (i32.const 2)))
    (global.set $step (i32.add (global.get $step) (i32.const 1)))
    (if (i32.rem_u (global.get $step) (i32.const 3)) (then (return (call $forge))))
    (call $send (i32.const 0) (i32.const -8) (i32.const 64)))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (i32.const 0)))
