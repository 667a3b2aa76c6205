;; experts: one of four that talk in a ring. It answers each utterance token by token, from one session with the model of
;; its own number.
;;
;; Payloads, little-endian:
;;   in   1 prompt    {op u32, conversation u32, hops u32, tokens u8...}      from outside; its session begins anew
;;        2 nudge     {op u32, number u32, 0 u32}                             from outside; it repeats its last request
;;        3 utterance {op u32, conversation u32, hops u32, tokens u8...}      from a peer
;;   out  3 utterance to the next agent, while hops are left, with one hop less
;;        1 said      {tag u32, agent u32, conversation u32, hops u32, tokens in its session u32, 0 u32, tokens u8 x 6}
;;        2 final     {tag u32, agent u32, utterances u32, refused for length u32, refused as busy u32, lost u32,
;;                     chain u64}                                             at shutdown
;; An utterance has six tokens, what it answers 1 to 24. What comes while it is busy waits in a queue of eight; more,
;; and what is malformed or comes back, is lost, and counted. A request that would outgrow the model's context is
;; refused: then the session begins anew with what it was answering and what it had said so far. A request is refused
;; as busy when a nudge repeats one that is unanswered.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "infer" (func $infer (param i32 i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))

  ;; 16 chain u64 | u32: 24 busy · 28 conversation · 32 hops · 36 tokens said · 40 tokens in the session · 44 what to ask
  ;; (1 the prompt, 2 the token after the last, 3 everything anew) · 48 nudged · 52 utterances · 56 refused for length ·
  ;; 60 refused as busy · 64 lost · 68 head of the queue · 72 its length · 76 the prompt begins a session · 80 its length
  ;; · 84 length of the last request | 128 prompt, 24 bytes | 160 reply, 6 bytes | 256 the last request
  ;; | 512 queue: 8 places of 48 bytes {op, conversation, hops, length, tokens}
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

  ;; Puts a prompt or an utterance of `length` bytes, head included, at the end of the queue.
  (func $enqueue (param $payload i32) (param $length i32)
    (local $tokens i32)
    (local $place i32)
    (local.set $tokens (i32.sub (local.get $length) (i32.const 12)))
    (if (i32.or
          (i32.gt_u (i32.sub (local.get $tokens) (i32.const 1)) (i32.const 23))
          (i32.ge_u (i32.load (i32.const 72)) (i32.const 8)))
      (then (call $count (i32.const 64)) (return)))
    (local.set $place
      (i32.add (i32.const 512)
        (i32.mul (i32.const 48)
          (i32.and (i32.add (i32.load (i32.const 68)) (i32.load (i32.const 72))) (i32.const 7)))))
    (memory.copy (local.get $place) (local.get $payload) (i32.const 12))
    (i32.store offset=12 (local.get $place) (local.get $tokens))
    (memory.copy (i32.add (local.get $place) (i32.const 16)) (i32.add (local.get $payload) (i32.const 12))
      (local.get $tokens))
    (call $count (i32.const 72)))

  ;; Begins with what has waited longest.
  (func $take
    (local $place i32)
    (local.set $place (i32.add (i32.const 512) (i32.mul (i32.const 48) (i32.load (i32.const 68)))))
    (i32.store (i32.const 68) (i32.and (i32.add (i32.load (i32.const 68)) (i32.const 1)) (i32.const 7)))
    (i32.store (i32.const 72) (i32.sub (i32.load (i32.const 72)) (i32.const 1)))
    (i32.store (i32.const 76) (i32.eq (i32.load (local.get $place)) (i32.const 1)))
    (i32.store (i32.const 28) (i32.load offset=4 (local.get $place)))
    (i32.store (i32.const 32) (i32.load offset=8 (local.get $place)))
    (i32.store (i32.const 80) (i32.load offset=12 (local.get $place)))
    (memory.copy (i32.const 128) (i32.add (local.get $place) (i32.const 16)) (i32.load (i32.const 80)))
    (i32.store (i32.const 36) (i32.const 0))
    (i32.store (i32.const 24) (i32.const 1))
    (i32.store (i32.const 44) (i32.const 1)))

  ;; Appends tokens to the request, one u32 for each byte.
  (func $append (param $at i32) (param $tokens i32)
    (local $end i32)
    (local $to i32)
    (local.set $end (i32.add (local.get $at) (local.get $tokens)))
    (local.set $to (i32.add (i32.const 256) (i32.load (i32.const 84))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $at) (local.get $end)))
        (i32.store (local.get $to) (i32.load8_u (local.get $at)))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 84) (i32.sub (local.get $to) (i32.const 256))))

  (func $ask (param $what i32) (result i32)
    (i32.store (i32.const 84) (i32.const 4))
    (i32.store (i32.const 44) (i32.const 0))
    (if (i32.eq (local.get $what) (i32.const 2))
      (then
        (i32.store (i32.const 256) (i32.const 0))
        (call $append (i32.add (i32.const 159) (i32.load (i32.const 36))) (i32.const 1)))
      (else
        (i32.store (i32.const 256)
          (i32.or (i32.load (i32.const 76)) (i32.eq (local.get $what) (i32.const 3))))
        (call $append (i32.const 128) (i32.load (i32.const 80)))
        (call $append (i32.const 160) (i32.load (i32.const 36)))))
    (call $infer (call $self) (i32.const 256) (i32.load (i32.const 84))))

  ;; The utterance is complete: it leaves, and goes to the next agent.
  (func $say (result i32)
    (local $at i32)
    (local $status i32)
    (i32.store (i32.const 24) (i32.const 0))
    (call $count (i32.const 52))
    (local.set $at (call $room (i32.const 30)))
    (i32.store (local.get $at) (i32.const 1))
    (i32.store offset=4 (local.get $at) (call $self))
    (i32.store offset=8 (local.get $at) (i32.load (i32.const 28)))
    (i32.store offset=12 (local.get $at) (i32.load (i32.const 32)))
    (i32.store offset=16 (local.get $at) (i32.load (i32.const 40)))
    (i32.store offset=20 (local.get $at) (i32.const 0))
    (memory.copy (i32.add (local.get $at) (i32.const 24)) (i32.const 160) (i32.const 6))
    (local.set $status (call $output (local.get $at) (i32.const 30)))
    (if (i32.eqz (i32.load (i32.const 32))) (then (return (local.get $status))))
    (local.set $at (call $room (i32.const 18)))
    (i32.store (local.get $at) (i32.const 3))
    (i32.store offset=4 (local.get $at) (i32.load (i32.const 28)))
    (i32.store offset=8 (local.get $at) (i32.sub (i32.load (i32.const 32)) (i32.const 1)))
    (memory.copy (i32.add (local.get $at) (i32.const 12)) (i32.const 160) (i32.const 6))
    (i32.or (local.get $status)
      (call $send (i32.and (i32.add (call $self) (i32.const 1)) (i32.const 3)) (local.get $at) (i32.const 18))))

  ;; One token more.
  (func $hear (param $token i32) (param $tokens i32) (result i32)
    (i32.store8 (i32.add (i32.const 160) (i32.load (i32.const 36))) (local.get $token))
    (call $count (i32.const 36))
    (i32.store (i32.const 40) (local.get $tokens))
    (if (i32.eq (i32.load (i32.const 36)) (i32.const 6)) (then (return (call $say))))
    (i32.store (i32.const 44) (i32.const 2))
    (i32.const 0))

  (func $refused (param $sender i32) (param $status i32)
    (if (i32.ne (local.get $sender) (i32.const -1)) (then (call $count (i32.const 64)) (return)))
    (if (i32.eq (local.get $status) (i32.const 4)) (then (call $count (i32.const 60)) (return)))
    (call $count (i32.const 56))
    (i32.store (i32.const 44) (i32.const 3)))

  (func (export "agent_init") (result i32)
    (i64.store (i32.const 16) (i64.const 0xcbf29ce484222325))
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $kind i32)
    (local $op i32)
    (i64.store (i32.const 16) (call $fold (i64.load (i32.const 16)) (local.get $at) (local.get $length)))
    (local.set $kind (i32.load (local.get $at)))
    (if (i32.eq (local.get $kind) (i32.const 5))
      (then (call $refused (i32.load offset=4 (local.get $at)) (i32.load offset=16 (local.get $at)))))
    (if (i32.eq (local.get $kind) (i32.const 7))
      (then (return (call $hear (i32.load offset=24 (local.get $at)) (i32.load offset=28 (local.get $at))))))
    (if (i32.or
          (i32.lt_u (local.get $length) (i32.const 36))
          (i32.and (i32.ne (local.get $kind) (i32.const 1)) (i32.ne (local.get $kind) (i32.const 3))))
      (then (return (i32.const 0))))
    (local.set $op (i32.load offset=24 (local.get $at)))
    (if (i32.and (i32.eq (local.get $kind) (i32.const 3)) (i32.eq (local.get $op) (i32.const 2)))
      (then (i32.store (i32.const 48) (i32.const 1)) (return (i32.const 0))))
    (if (i32.eq (i32.eq (local.get $kind) (i32.const 3)) (i32.eq (local.get $op) (i32.const 1)))
      (then (call $enqueue (i32.add (local.get $at) (i32.const 24)) (i32.sub (local.get $length) (i32.const 24)))))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (local $status i32)
    (global.set $over (i32.const 1))
    (if (i32.and (i32.eqz (i32.load (i32.const 24))) (i32.ne (i32.load (i32.const 72)) (i32.const 0)))
      (then (call $take)))
    (if (i32.load (i32.const 44)) (then (local.set $status (call $ask (i32.load (i32.const 44))))))
    (if (i32.and (i32.load (i32.const 48)) (i32.load (i32.const 24)))
      (then
        (local.set $status
          (i32.or (local.get $status) (call $infer (call $self) (i32.const 256) (i32.load (i32.const 84)))))))
    (i32.store (i32.const 48) (i32.const 0))
    (local.get $status))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at (call $room (i32.const 32)))
    (i32.store (local.get $at) (i32.const 2))
    (i32.store offset=4 (local.get $at) (call $self))
    (memory.copy (i32.add (local.get $at) (i32.const 8)) (i32.const 52) (i32.const 16))
    (i64.store offset=24 (local.get $at) (i64.load (i32.const 16)))
    (call $output (local.get $at) (i32.const 32))))
