;; ticket: one byte that says how many calls this instance has served, this one included; it must always be the first.
;; On bytes that begin with "!" it never ends.
(module
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))

  (func (export "allocate") (param i32) (result i32)
    (if (result i32) (i32.gt_u (local.get 0) (i32.const 60000)) (then (i32.const 0)) (else (i32.const 16))))

  (func (export "transform") (param $at i32) (param $length i32) (result i64)
    (if (i32.and (i32.ne (local.get $length) (i32.const 0)) (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)))
      (then (loop $forever (br $forever))))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store8 (i32.const 8) (global.get $calls))
    (i64.const 0x0000000800000001)))
