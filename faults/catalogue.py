"""What can be injected: lookup and checks of faults against their kinds, and the page that lists them.

A fault that this module lets through names an event that its kind can address and carries only values in bounds; any
other slug, key or value is refused in one line that names the nearest ones. Rows that have no kind yet are in
`catalogue_rows`. `python -m faults.catalogue --markdown` prints docs/faults.md.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping

from faults.catalogue_rows import ORACLES, ROWS
from faults.kinds import KINDS, TOP, UNITS, FaultKind, Form, Key, Value
from runtime.errors import Refused

_BY_SLUG = {kind.slug: kind for kind in KINDS}


def near(word: str, words: Iterable[str]) -> str:
    """ "did you mean a, b?", or all there is to choose from."""
    known = sorted(words)
    matches = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(matches)}?" if matches else f"there is {', '.join(known)}"


def shown(value: object) -> str:
    """A value as it may stand in a one-line message: escaped and cut."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def kind_of(slug: str) -> FaultKind:
    """The kind with this slug; raises Refused with near matches, or with what a known row still waits for."""
    kind = _BY_SLUG.get(slug)
    if kind is not None:
        return kind
    for row in ROWS:
        if row.slug == slug and row.by:
            raise Refused(f"{slug} ({row.id}) is carried out by {row.by}", "", f"write {usage(_BY_SLUG[row.by])}")
        if row.slug == slug:
            raise Refused(f"fault {slug} ({row.id}) is not available", "", f"it {row.state}")
    raise Refused(f"unknown fault {shown(slug)}", "", near(slug, _BY_SLUG))


def key_of(kind: FaultKind, name: str) -> tuple[Key, bool]:
    """The key of that name and whether it belongs to the address; raises Refused."""
    for key in kind.keys:
        if key.name == name:
            return key, True
    for key in kind.params:
        if key.name == name:
            return key, False
    names = [key.name for key in kind.keys + kind.params]
    raise Refused(f"{kind.slug} has no key {shown(name)}", "", near(name, names))


def _check_value(kind: FaultKind, key: Key, value: object) -> None:
    where = f"{kind.slug}, {key.name}"
    if key.words:
        if not isinstance(value, str) or value not in key.words:
            raise Refused(f"{shown(value)} is not a value", where, near(str(value), key.words))
    elif not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"{shown(value)} is not an integer", where, f"give one from {key.low} to {key.high}")
    elif not key.low <= value <= key.high:
        raise Refused(f"{shown(value)} is out of bounds", where, f"give one from {key.low} to {key.high}")


def _check_form(kind: FaultKind, at: Mapping[str, Value]) -> None:
    for form in kind.forms:
        narrowed, words = form.only
        if narrowed and at.get(narrowed) not in words:
            continue
        if set(form.needs) <= set(at) <= set(form.needs) | set(form.may):
            return
    raise Refused(f"{kind.slug} is not addressed by {','.join(at) or 'nothing'}", "", f"write {usage(kind)}")


def checked(
    slug: str, at: Mapping[str, object], with_: Mapping[str, object]
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Address and parameters in canonical form: catalogue order, defaults left out; raises Refused."""
    kind = kind_of(slug)
    for section, address in ((at, True), (with_, False)):
        for name, value in section.items():
            key, is_address = key_of(kind, name)
            if is_address != address:
                belongs = "the address (key:value)" if is_address else "the parameters (key=value)"
                raise Refused(f"{slug}: {name} belongs to {belongs}")
            _check_value(kind, key, value)
    place: dict[str, Value] = {k.name: at[k.name] for k in kind.keys if k.name in at}  # type: ignore[misc]
    _check_form(kind, place)
    for key in kind.keys:
        if key.default is not None and place.get(key.name) == key.default:
            del place[key.name]
    parameters: dict[str, Value] = {
        k.name: with_[k.name]  # type: ignore[misc]
        for k in kind.params
        if k.name in with_ and with_[k.name] != k.default
    }
    return place, parameters


def default_of(slug: str, name: str) -> Value | None:
    """The default of a key or parameter; None for one that has none, or that this kind does not have."""
    kind = kind_of(slug)
    return next((key.default for key in kind.keys + kind.params if key.name == name), None)


def usage(kind: FaultKind) -> str:
    """All address forms of a kind and its parameters, as a user would type them."""
    return " or ".join(_form_text(kind, form) for form in kind.forms)


def _form_text(kind: FaultKind, form: Form) -> str:
    parts = []
    for key in kind.keys:
        words = form.only[1] if form.only[0] == key.name else key.words
        text = f"{key.name}:{'|'.join(words) if words else 'N'}"
        if key.name in form.needs:
            parts.append(text)
        elif key.name in form.may:
            parts.append(f"[{text}]")
    for key in kind.params:
        value = "|".join(key.words) if key.words else ("TIME" if key.unit else "N")
        parts.append(f"[{key.name}={value}]")
    return f"{kind.slug}@{','.join(parts)}".replace(",[", "[,")


def time_text(value: int) -> str:
    """Nanoseconds in the largest unit that holds them exactly: 30ms, 1500ns."""
    for unit in ("s", "ms", "us"):
        if value and value % UNITS[unit] == 0:
            return f"{value // UNITS[unit]}{unit}"
    return f"{value}ns" if value else "0"


def markdown() -> str:
    """docs/faults.md, whole."""
    lines = [
        "# Faults",
        "",
        "Generated by `python -m faults.catalogue --markdown`; change `faults/catalogue.py`, not this page.",
        "",
        "A fault is typed `layer.verb@key:value,…,param=value`. Integers are decimal; a time is in nanoseconds or",
        "carries a unit (`30ms`, `2s`, `5us`). An address names a logical event, so it means the same under any number",
        "of workers and on another build. A fault counts as effective only when it was carried out and the run's own",
        "trace or journal shows that it was noticed.",
        "",
        "## Kinds",
    ]
    for kind in KINDS:
        lines += ["", f"### {kind.slug}", "", f"{kind.title[0].upper()}{kind.title[1:]}.", ""]
        lines += [f"- class {kind.class_}, layer {kind.layer}, rows {', '.join(kind.rows)}"]
        lines += [f"- must hold: the twin, {', '.join(kind.oracles)}; on: {', '.join(kind.backends)}"]
        lines += [f"- counts when {kind.counts_when}", ""]
        lines += [f"      {_form_text(kind, form)}" for form in kind.forms]
        lines += ["", "| key | values | default | meaning |", "|---|---|---|---|"]
        lines += [_key_row(key, ":") for key in kind.keys] + [_key_row(key, "=") for key in kind.params]
    lines += [
        "",
        "## All rows of the catalogue",
        "",
        "| row | class | layer | kind | slug | state |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {r.id} | {r.class_} | {r.layer} | {r.title} | `{r.slug}` | {r.state} |" for r in ROWS]
    lines += ["", "## Oracles", "", "| oracle | name | statement | state |", "|---|---|---|---|"]
    lines += [f"| {o.id} | {o.name} | {_cell(o.statement)} | {o.state} |" for o in ORACLES]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _key_row(key: Key, sign: str) -> str:
    if key.words:
        values = ", ".join(key.words)
    else:
        values = f"{key.low} to {key.high if key.high != TOP else '2^53 - 1'}"
        if key.unit:
            values = f"a time, {time_text(key.low)} to {time_text(key.high)}"
    default = "" if key.default is None else time_text(int(key.default)) if key.unit else str(key.default)
    return f"| `{key.name}{sign}` | {values} | {default} | {key.meaning} |"


def main(arguments: list[str]) -> int:
    if arguments != ["--markdown"]:
        sys.stderr.write("usage: python -m faults.catalogue --markdown\n")
        return 4
    sys.stdout.write(markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
