;; upgrade: a library, which folds a word into a chain that lies in its agent's memory. How a word is mixed in is the
;; matter of another library, `mixing`.
(module
  (import "agent" "memory" (memory 1))
  (import "mixing" "mix" (func $mix (param i64 i64) (result i64)))

  (func (export "fold") (param $at i32) (param $word i64)
    (i64.store (local.get $at) (call $mix (i64.load (local.get $at)) (local.get $word)))))
