;; A relay. A message is a digit, the hops that are left, and text: with hops left it goes to the agent after this one (to
;; the first where there is none), one hop fewer; without, it is published as news.
(module
  (import "engine" "self" (func $self (result i32)))
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "publish" (func $publish (param i32 i32 i32) (result i32)))
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

  (func (export "agent_init") (result i32) (i32.const 0))

  ;; The header of an envelope has 24 bytes: the digit is the first byte after it.
  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $text i32)
    (local $size i32)
    (if (i32.lt_u (local.get $length) (i32.const 25)) (then (return (i32.const 1))))
    (local.set $text (i32.add (local.get $at) (i32.const 24)))
    (local.set $size (i32.sub (local.get $length) (i32.const 24)))
    (if (i32.gt_u (i32.sub (i32.load8_u (local.get $text)) (i32.const 49)) (i32.const 8))  ;; neither of 1 to 9
      (then (return (call $publish (i32.const 0) (local.get $text) (local.get $size)))))
    (i32.store8 (local.get $text) (i32.sub (i32.load8_u (local.get $text)) (i32.const 1)))
    (if (i32.eqz (call $send (i32.add (call $self) (i32.const 1)) (local.get $text) (local.get $size)))
      (then (return (i32.const 0))))
    (call $send (i32.const 0) (local.get $text) (local.get $size)))

  (func (export "agent_step") (param $context i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32) (i32.const 0)))
