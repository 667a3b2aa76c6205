;; upgrade: a library, version 2: one word more for a hash, as `scenarios.folds.mix` with its own multiplier.
(module
  (func (export "mix") (param $hash i64) (param $word i64) (result i64)
    (local.set $hash (i64.mul (i64.xor (local.get $hash) (local.get $word)) (i64.const 0xd6e8feb86659fd93)))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32)))))
