;; pipeline: one stage of a workflow. It does what a task says and hands its result on to the stages that need it.
;;
;; Payloads, little-endian:
;;   task {op u32 (1 fold, 2 generate, 3 trap), job u32, targets u32 (bit i: agent i), expect u32 (results that it needs),
;;         tokens u32 (to generate), text u8 x 0..24}
;;   in   result {job u32, sound u32, value u64}                                  from the stages before
;;   out  result, to each of the targets
;;        1 done  {tag u32, agent u32, job u32, op u32, sound u32, expect u32, value u64}
;;        2 final {tag u32, agent u32, tasks done u32, lost u32, chain u64}         at shutdown
;; A value is the hash of the text; generated tokens are mixed into it, and the sum of what the results before say, each
;; mixed with its sender, so that their order does not matter. It is sound when as many sound results came as expected:
;; a stage that began a new life lacks those that came before. Results are kept in 64 places, job mod 64 deciding.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "infer" (func $infer (param i32 i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))

  ;; 16 chain u64 | u32: 24 op of the task, 0 without one · 28 job · 32 targets · 36 expect · 40 tokens to come · 44 what
  ;; to ask (1 the text, 2 the token after the last) · 48 value u64 · 56 the last token · 60 length of the text · 64 tasks
  ;; done · 68 lost | 128 text, 24 bytes | 256 the request, 100 bytes
  ;; | 4096 places of 24 bytes {job u32, used u32, results u32, sound u32, sum u64}
  (memory (export "memory") 2)

  ;; Bump allocation: what one step was given or passed to the host stays until it is over; the next step starts anew.
  (global $top (mut i32) (i32.const 8192))
  (global $over (mut i32) (i32.const 0))

  (func $alloc (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (if (global.get $over)
      (then
        (global.set $top (i32.const 8192))
        (global.set $over (i32.const 0))))
    (local.set $at (global.get $top))
    (if (i32.gt_u (local.get $size) (i32.sub (i32.shl (memory.size) (i32.const 16)) (local.get $at)))
      (then (return (i32.const 0))))
    (global.set $top
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  (func $room (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (local.get $size)))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
    (local.get $at))

  ;; One word more. A bijection of both, and the shift brings high bits back down, so that changes do not cancel.
  (func $mix (param $hash i64) (param $word i64) (result i64)
    (local.set $hash (i64.mul (i64.xor (local.get $hash) (local.get $word)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32))))

  ;; The hash of 64-bit little-endian words, the last one padded with zeros.
  (func $fold (param $hash i64) (param $at i32) (param $length i32) (result i64)
    (local $end i32)
    (local $shift i64)
    (local $tail i64)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $words_done
      (loop $words
        (br_if $words_done (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 8)))
        (local.set $hash (call $mix (local.get $hash) (i64.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $words)))
    (if (i32.eq (local.get $at) (local.get $end)) (then (return (local.get $hash))))
    (loop $bytes
      (local.set $tail
        (i64.or (local.get $tail) (i64.shl (i64.load8_u (local.get $at)) (local.get $shift))))
      (local.set $shift (i64.add (local.get $shift) (i64.const 8)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $bytes (i32.lt_u (local.get $at) (local.get $end))))
    (call $mix (local.get $hash) (local.get $tail)))

  (func $count (param $cell i32)
    (i32.store (local.get $cell) (i32.add (i32.load (local.get $cell)) (i32.const 1))))

  ;; The place of a job, emptied when another job had it before.
  (func $place (param $job i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.add (i32.const 4096) (i32.mul (i32.and (local.get $job) (i32.const 63)) (i32.const 24))))
    (if (i32.or
          (i32.eqz (i32.load offset=4 (local.get $at)))
          (i32.ne (i32.load (local.get $at)) (local.get $job)))
      (then
        (memory.fill (local.get $at) (i32.const 0) (i32.const 24))
        (i32.store (local.get $at) (local.get $job))
        (i32.store offset=4 (local.get $at) (i32.const 1))
        (i32.store offset=12 (local.get $at) (i32.const 1))))
    (local.get $at))

  ;; A result of a stage before.
  (func $keep (param $sender i32) (param $payload i32)
    (local $at i32)
    (local.set $at (call $place (i32.load (local.get $payload))))
    (call $count (i32.add (local.get $at) (i32.const 8)))
    (i32.store offset=12 (local.get $at)
      (i32.and (i32.load offset=12 (local.get $at)) (i32.load offset=4 (local.get $payload))))
    (i64.store offset=16 (local.get $at)
      (i64.add (i64.load offset=16 (local.get $at))
        (call $mix (i64.extend_i32_u (i32.add (local.get $sender) (i32.const 1))) (i64.load offset=8 (local.get $payload))))))

  ;; A task of `length` bytes; a text that is too long fails the step.
  (func $take (param $payload i32) (param $length i32) (result i32)
    (local $text i32)
    (local.set $text (i32.sub (local.get $length) (i32.const 20)))
    (if (i32.gt_u (local.get $text) (i32.const 24)) (then (return (i32.const 2))))
    (if (i32.eq (i32.load (local.get $payload)) (i32.const 3)) (then (unreachable)))
    (memory.copy (i32.const 24) (local.get $payload) (i32.const 20))
    (i32.store (i32.const 60) (local.get $text))
    (memory.copy (i32.const 128) (i32.add (local.get $payload) (i32.const 20)) (local.get $text))
    (i64.store (i32.const 48)
      (call $fold (i64.const 0xcbf29ce484222325) (i32.const 128) (local.get $text)))
    (i32.store (i32.const 44) (i32.eq (i32.load (i32.const 24)) (i32.const 2)))
    (i32.const 0))

  ;; One token more.
  (func $hear (param $token i32)
    (i64.store (i32.const 48) (call $mix (i64.load (i32.const 48)) (i64.extend_i32_u (local.get $token))))
    (i32.store (i32.const 56) (local.get $token))
    (i32.store (i32.const 40) (i32.sub (i32.load (i32.const 40)) (i32.const 1)))
    (if (i32.load (i32.const 40)) (then (i32.store (i32.const 44) (i32.const 2)))))

  (func $ask (param $what i32) (result i32)
    (local $n i32)
    (local $length i32)
    (i32.store (i32.const 44) (i32.const 0))
    (if (i32.eq (local.get $what) (i32.const 2))
      (then
        (i32.store (i32.const 256) (i32.const 0))
        (i32.store (i32.const 260) (i32.load (i32.const 56)))
        (return (call $infer (i32.const 0) (i32.const 256) (i32.const 8)))))
    (local.set $length (i32.load (i32.const 60)))
    (i32.store (i32.const 256) (i32.const 1))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $n) (local.get $length)))
        (i32.store (i32.add (i32.const 260) (i32.shl (local.get $n) (i32.const 2)))
          (i32.load8_u (i32.add (i32.const 128) (local.get $n))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $next)))
    (call $infer (i32.const 0) (i32.const 256) (i32.add (i32.const 4) (i32.shl (local.get $length) (i32.const 2)))))

  ;; The task is done: its value goes to the stages after it, and out.
  (func $finish (result i32)
    (local $place i32)
    (local $at i32)
    (local $sound i32)
    (local $agent i32)
    (local $status i32)
    (local.set $sound (i32.const 1))
    (if (i32.load (i32.const 36))
      (then
        (local.set $place (call $place (i32.load (i32.const 28))))
        (local.set $sound
          (i32.and (i32.load offset=12 (local.get $place))
            (i32.eq (i32.load offset=8 (local.get $place)) (i32.load (i32.const 36)))))
        (i64.store (i32.const 48) (call $mix (i64.load (i32.const 48)) (i64.load offset=16 (local.get $place))))
        (i32.store offset=4 (local.get $place) (i32.const 0))))
    (local.set $at (call $room (i32.const 16)))
    (i32.store (local.get $at) (i32.load (i32.const 28)))
    (i32.store offset=4 (local.get $at) (local.get $sound))
    (i64.store offset=8 (local.get $at) (i64.load (i32.const 48)))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $agent) (i32.const 32)))
        (if (i32.and (i32.shr_u (i32.load (i32.const 32)) (local.get $agent)) (i32.const 1))
          (then
            (local.set $status
              (i32.or (local.get $status) (call $send (local.get $agent) (local.get $at) (i32.const 16))))))
        (local.set $agent (i32.add (local.get $agent) (i32.const 1)))
        (br $next)))
    (local.set $at (call $room (i32.const 32)))
    (i32.store (local.get $at) (i32.const 1))
    (i32.store offset=4 (local.get $at) (call $self))
    (i32.store offset=8 (local.get $at) (i32.load (i32.const 28)))
    (i32.store offset=12 (local.get $at) (i32.load (i32.const 24)))
    (i32.store offset=16 (local.get $at) (local.get $sound))
    (i32.store offset=20 (local.get $at) (i32.load (i32.const 36)))
    (i64.store offset=24 (local.get $at) (i64.load (i32.const 48)))
    (call $count (i32.const 64))
    (i32.store (i32.const 24) (i32.const 0))
    (i32.or (local.get $status) (call $output (local.get $at) (i32.const 32))))

  (func (export "agent_init") (result i32)
    (i64.store (i32.const 16) (i64.const 0xcbf29ce484222325))
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $kind i32)
    (i64.store (i32.const 16) (call $fold (i64.load (i32.const 16)) (local.get $at) (local.get $length)))
    (local.set $kind (i32.load (local.get $at)))
    (if (i32.and (i32.eq (local.get $kind) (i32.const 1)) (i32.eq (local.get $length) (i32.const 40)))
      (then
        (call $keep (i32.load offset=4 (local.get $at)) (i32.add (local.get $at) (i32.const 24)))
        (return (i32.const 0))))
    (if (i32.and (i32.eq (local.get $kind) (i32.const 8)) (i32.ge_u (local.get $length) (i32.const 44)))
      (then
        (return
          (call $take (i32.add (local.get $at) (i32.const 24)) (i32.sub (local.get $length) (i32.const 24))))))
    (if (i32.eq (local.get $kind) (i32.const 7))
      (then (call $hear (i32.load offset=24 (local.get $at))) (return (i32.const 0))))
    (call $count (i32.const 68))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (if (i32.load (i32.const 44)) (then (return (call $ask (i32.load (i32.const 44))))))
    (if (i32.or
          (i32.eq (i32.load (i32.const 24)) (i32.const 1))
          (i32.and (i32.eq (i32.load (i32.const 24)) (i32.const 2)) (i32.eqz (i32.load (i32.const 40)))))
      (then (return (call $finish))))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at (call $room (i32.const 24)))
    (i32.store (local.get $at) (i32.const 2))
    (i32.store offset=4 (local.get $at) (call $self))
    (i32.store offset=8 (local.get $at) (i32.load (i32.const 64)))
    (i32.store offset=12 (local.get $at) (i32.load (i32.const 68)))
    (i64.store offset=16 (local.get $at) (i64.load (i32.const 16)))
    (call $output (local.get $at) (i32.const 24))))
