"""Planted bugs of models: files whose digest is not looked at, results that are looked at less closely."""

from __future__ import annotations

from faults.mutant import Edit, Mutant


def _mutant(name: str, title: str, oracle: str, file: str, before: str, after: str, one_in: int = 1) -> Mutant:
    edits = (Edit(file, before, after),)
    return Mutant(name=name, title=title, scenario="assistants", oracle=oracle, edits=edits, one_in=one_in)


def _experts(name: str, title: str, before: str, after: str) -> Mutant:
    return Mutant(name=name, title=title, scenario="experts", oracle="I23", edits=(Edit(_CACHE, before, after),))


_CACHE = "inference/cache.py"
_CHECK = "        if hashlib.sha256(onnx).hexdigest() != digest:\n"

MODELS: tuple[Mutant, ...] = (
    _mutant(
        "model_digest_unchecked",
        "a model is loaded from whatever the artefact store gives under its digest",
        "I25",
        _CACHE,
        _CHECK,
        "        if not onnx:\n",
    ),
    Mutant(
        name="model_digest_checked_once",
        title="a model that was verified when it was first loaded is not verified when it is loaded again",
        scenario="experts",
        oracle="I23",
        edits=(
            Edit(
                _CACHE, "        self.evicted = 0\n", "        self.evicted = 0\n        self._good: set[str] = set()\n"
            ),
            Edit(_CACHE, _CHECK, _CHECK.replace("if ", "if digest not in self._good and ")),
            Edit(_CACHE, "        return onnx\n", "        self._good.add(digest)\n        return onnx\n"),
        ),
    ),
    _experts(
        "model_in_use_unpinned",
        "a model that runs is not pinned, and leaves when another one needs its room",
        "        pin = self._kept.pin(key)\n",
        '        pin = self._kept.pin((digest, ""))\n',
    ),
    _experts(
        "model_bytes_uncounted",
        "models count nothing against the budget, so that none ever leaves",
        "            self._kept.put(key, decoder, len(onnx))\n",
        "            self._kept.put(key, decoder, 0)\n",
    ),
    _experts(
        "model_evicted_still_open",
        "a model that leaves the cache keeps its session, and its memory",
        "lambda decoder: decoder.close())\n",
        "lambda decoder: None)\n",
    ),
    _experts(
        "model_memory_short_gives_up",
        "a device that has no memory for a model is given up though idle models could leave",
        '                if failed.failure != "memory" or not self._kept.spare():\n',
        "                if failed.failure:\n",
    ),
    _mutant(
        "model_weights_elsewhere",
        "a model may name a file that holds weights of it, so that what is used is not what was verified",
        "I25",
        "inference/graph.py",
        "        if number == _EXTERNAL or (number == _LOCATION and value != 0):\n",
        "        if number == _EXTERNAL and not value:\n",
    ),
    _mutant(
        "golden_tokens_alone",
        "of golden answers the tokens are compared, the logits and the KV cache are not",
        "I24",
        "inference/golden.py",
        "        if ours != theirs:\n",
        "        if ours.token != theirs.token:\n",
    ),
    _mutant(
        "golden_without_batch",
        "the golden conversation has no batch, so a device that computes batches wrong is admitted",
        "I24",
        "inference/golden.py",
        "    return found + decoder.run([InferenceItem(1, held, pair, kv), InferenceItem(2, held, pair[::-1], kv)])\n",
        "    return found + decoder.run([InferenceItem(1, held, pair, kv)])\n",
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
