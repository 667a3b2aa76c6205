"""Planted bugs of models: files whose digest is not looked at, results that are looked at less closely."""

from __future__ import annotations

from faults.mutant import Edit, Mutant


def _mutant(name: str, title: str, oracle: str, file: str, before: str, after: str, one_in: int = 1) -> Mutant:
    edits = (Edit(file, before, after),)
    return Mutant(name=name, title=title, scenario="assistants", oracle=oracle, edits=edits, one_in=one_in)


MODELS: tuple[Mutant, ...] = (
    _mutant(
        "model_digest_unchecked",
        "a model is loaded from whatever the artefact store gives under its digest",
        "I25",
        "inference/device.py",
        "            if hashlib.sha256(onnx).hexdigest() != digest:\n",
        "            if not onnx:\n",
    ),
    _mutant(
        "fractions_accepted",
        "results of the exact tier are looked at for NaN, infinity and size, but not for being integers",
        "I24",
        "inference/engine.py",
        "        if not math.isfinite(largest) or largest >= limit or bool((values != np.rint(values)).any()):\n",
        "        if not math.isfinite(largest) or largest >= limit:\n",
    ),
    _mutant(
        "kv_cache_unchecked",
        "the logits of a result are looked at, what it adds to the KV cache is not",
        "I24",
        "inference/engine.py",
        "        self._check(new, QUANTUM + 1)\n",
        "",
    ),
    _mutant(
        "output_types_unchecked",
        "a session opens whatever the types of its outputs are, and smaller ones round what they hold",
        "I24",
        "inference/engine.py",
        '    if types != {"tensor(float)"}:  # smaller',
        "    if not types:  # smaller",
    ),
)
