;; A validator: a JSON object is valid, any other JSON is not.
(module
  (memory (export "memory") 1)
  (@custom "wasm-engine.reasons" "1 not_an_object\n")
  (func (export "validate") (param $at i32) (param $length i32) (result i32)
    (i32.ne (i32.load8_u (local.get $at)) (i32.const 123))))
