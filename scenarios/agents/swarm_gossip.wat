;; swarm: one of many. It tells two others each rumour that it hears for the first time.
;;
;; Payloads, little-endian:
;;   in   rumour {agents u32, rumour u32 (0 to 63)}            from outside, or from another
;;   out  final  {self u32, told u32, known u64, heard u64}    at shutdown: rumours told on, a bit for each one known
;; Agent i tells 2i+1 and 2i+2 modulo the number of agents, which is a generalised de Bruijn graph (Imase and Itoh, 1981):
;; from whomever a rumour starts, it has reached all of n agents after ceil(log2 n) hops, in 2n messages.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))

  ;; 0 self · 4 told · 8 known · 16 heard · 24 agents · 32 fresh · 40 what is sent: {agents u32, rumour u32}
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 1024))

  ;; All that is given in one step stays until the step has run; then the next one starts anew.
  (func (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (if (i32.gt_u (local.get $size) (i32.sub (i32.const 65536) (local.get $at)))
      (then (return (i32.const 0))))
    (global.set $top
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  (func (export "agent_init") (result i32) (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $bit i64)
    (if (i32.lt_u (local.get $length) (i32.const 32)) (then (return (i32.const 0))))
    (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1)))
    (i32.store (i32.const 24) (i32.load offset=24 (local.get $at)))
    (local.set $bit (i64.shl (i64.const 1) (i64.load32_u offset=28 (local.get $at))))
    (if (i64.eqz (i64.and (i64.load (i32.const 8)) (local.get $bit)))
      (then
        (i64.store (i32.const 8) (i64.or (i64.load (i32.const 8)) (local.get $bit)))
        (i64.store (i32.const 32) (i64.or (i64.load (i32.const 32)) (local.get $bit)))))
    (i32.const 0))

  ;; The lowest bit of what is new is told to both neighbours, until nothing is.
  (func (export "agent_step") (param $ctx i32) (result i32)
    (local $self i32)
    (local.set $self (i32.load offset=8 (local.get $ctx)))
    (i32.store (i32.const 0) (local.get $self))
    (i32.store (i32.const 40) (i32.load (i32.const 24)))
    (block $done
      (loop $rumours
        (br_if $done (i64.eqz (i64.load (i32.const 32))))
        (i64.store32 (i32.const 44) (i64.ctz (i64.load (i32.const 32))))
        (i64.store (i32.const 32)
          (i64.and (i64.load (i32.const 32)) (i64.sub (i64.load (i32.const 32)) (i64.const 1))))
        (call $tell (i32.add (i32.shl (local.get $self) (i32.const 1)) (i32.const 1)))
        (call $tell (i32.add (i32.shl (local.get $self) (i32.const 1)) (i32.const 2)))
        (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
        (br $rumours)))
    (global.set $top (i32.const 1024))
    (i32.const 0))

  (func $tell (param $target i32)
    (if (call $send
          (i32.rem_u (local.get $target) (i32.load (i32.const 24))) (i32.const 40) (i32.const 8))
      (then (unreachable))))

  (func (export "agent_shutdown") (result i32)
    (drop (call $output (i32.const 0) (i32.const 24)))
    (i32.const 0)))
