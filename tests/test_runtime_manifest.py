"""Manifests (MAN-1) and the negotiation of the ABI (SEC-2): all errors at once, nothing granted that is not named."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cli_kit import here, refused
from wasm_kit import arguments, imports, wat

from runtime.errors import ModuleRefused, Refused, SignatureRefused
from runtime.manifest import Capabilities, load_manifest, load_package, manifest_from
from runtime.state import Limits
from runtime.versions import ABI, ABI_MINOR
from runtime.wasm import Engine, WasmGuests, assemble, plugin
from runtime.wasm.abi import GROUPS, PAGE, SECTION, incompatible
from runtime.wasm.engine import STACK
from runtime.wasm.linking import PARTS_MAX
from runtime.wasm.signatures import Demand, sign
from runtime.wasm.trust import ed25519, key_files, moment, trusting

MODULE = '[module]\nname = "ledger"\nversion = "1.4.0"\nentry = "ledger.wasm"\nabi = "1.0"\n'
WHOLE = (
    MODULE
    + """
[capabilities]
messages = true
time = false
memory = true
threading = false
filesystem = false

[limits]
memory = "2 MiB"
stack = 65536
fuel = 2_000_000
"""
)
AGENT = assemble(wat(before=imports("send")))
PAGE_TEXT = (Path(__file__).parent.parent / "docs" / "manifest.md").read_text("utf-8")


def problem(text: str) -> str:
    with pytest.raises(Refused) as caught:
        manifest_from(text.encode())
    return str(caught.value)


def packed(folder: Path, text: str = WHOLE, wasm: bytes = AGENT) -> Path:
    (folder / "ledger.toml").write_text(text, "utf-8")
    (folder / "ledger.wasm").write_bytes(wasm)
    return folder / "ledger.toml"


def test_a_manifest_becomes_an_agents_spec(tmp_path: Path) -> None:
    manifest, spec, wasm = load_manifest(packed(tmp_path))
    assert (manifest.module.name, manifest.module.version, manifest.limits.stack) == ("ledger", "1.4.0", PAGE)
    assert wasm == AGENT and spec.module == hashlib.sha256(AGENT).hexdigest()
    assert spec.capabilities == ("messages",) and spec.name == "ledger"
    assert spec.limits == Limits(memory=2 << 20, fuel=2_000_000)
    other = manifest.spec(AGENT, name="a", priority=3, reads=(1,))
    assert (other.name, other.priority, other.reads) == ("a", 3, (1,))


def test_what_is_left_out_is_not_granted_and_has_the_default_limits() -> None:
    manifest = manifest_from(MODULE.encode())
    assert manifest.granted == () and manifest.spec(AGENT).limits == Limits()
    every = MODULE + "[capabilities]\n" + "".join(f"{group} = true\n" for group in GROUPS)
    assert manifest_from(every.encode()).granted == GROUPS
    assert set(Capabilities.model_fields) == {*GROUPS, "memory", "threading", "filesystem"}


def test_a_module_that_calls_what_is_not_granted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModuleRefused, match=r"\[import\].*send is not granted"):
        load_manifest(packed(tmp_path, WHOLE.replace("messages = true", "messages = false")))
    with pytest.raises(ModuleRefused, match=r"\[limit\]"):
        load_manifest(packed(tmp_path, wasm=assemble(wat(memory='(memory (export "memory") 40)'))))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = """
title = "x"
[module]
name = "a b"
entry = "../x.wasm"
abi = "2.0"
autor = "me"
[capabilities]
mesages = true
threading = true
filesystem = true
memory = false
output = "yes"
[limits]
memory = "2 MB"
stack = "1 MiB"
fuel = 0
"""
    told = problem(text)
    for words in (
        "title: unknown key; known are capabilities, libraries, limits, module",
        "module.name: 'a b'",
        "module.version: Field required",
        "module.entry: '../x.wasm': the file lies in",
        "module.abi: '2.0': built for ABI 2.0",
        "module.autor: unknown key",
        "capabilities.mesages: unknown key, did you mean messages",
        "capabilities.threading: True: threads inside a module are not supported",
        "capabilities.filesystem: True: no file",
        "capabilities.memory: False: an agent has a memory",
        "capabilities.output: 'yes'",
        "limits.memory: '2 MB': give a number of bytes",
        f"limits.stack: '1 MiB': input should be less than or equal to {STACK}",
        "limits.fuel: 0",
    ):
        assert words in told, told
    assert "\n" not in told and told.count(";") >= 13


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('entry = "ledger.wasm"', 'entry = "/etc/x.wasm"', "module.entry"),
        ('entry = "ledger.wasm"', 'entry = "a/../../x.wasm"', "module.entry"),
        ('entry = "ledger.wasm"', 'entry = "x\\\\y.wasm"', "module.entry"),
        ('entry = "ledger.wasm"', 'entry = "x\\u0000.wasm"', "module.entry"),
        ('entry = "ledger.wasm"', 'entry = "ledger.py"', "ends in .wasm"),
        ('entry = "ledger.wasm"', 'entry = ""', "module.entry"),
        ('version = "1.4.0"', 'version = "1.4"', "module.version"),
        ('version = "1.4.0"', 'version = "01.4.0"', "module.version"),
        ('version = "1.4.0"', "version = 1.4", "module.version"),
        ('abi = "1.0"', "abi = 1", "module.abi"),
        ('abi = "1.0"', f'abi = "{ABI}.{ABI_MINOR + 1}"', "use a newer runtime"),
        ('abi = "1.0"', 'abi = "one"', "is no version"),
        ("fuel = 2_000_000", "fuel = 1.5", "limits.fuel"),
        ("fuel = 2_000_000", 'fuel = "1 MiB"', "limits.fuel"),
        ("fuel = 2_000_000", "fuel = true", "limits.fuel"),
        ('memory = "2 MiB"', "memory = 1", "limits.memory"),
        ('memory = "2 MiB"', "memory = true", "limits.memory"),
        ('memory = "2 MiB"', 'memory = "9999999 GiB"', "limits.memory"),
        ("messages = true", "messages = 1", "capabilities.messages"),
        ("[limits]", "[limit]", "limit: unknown key, did you mean limits"),
        (MODULE, "", "module: Field required"),
        (MODULE, "module = 3", "module: "),
        ("[limits]", "[limits", "not TOML"),
        ("[limits]", "[limits]\nmemory = 1", "not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(before: str, after: str, words: str) -> None:
    assert before in WHOLE
    assert words in problem(WHOLE.replace(before, after))


def test_texts_that_are_no_manifest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not UTF-8"):
        manifest_from(b"\xff")
    with pytest.raises(Refused, match="more than"):
        manifest_from(b"#" * (1 << 20) + b"#")
    assert "not TOML" in problem("a = " + "[" * 5_000) and "not TOML" in problem("a = " + "9" * 5_000)
    with pytest.raises(Refused, match="cannot be read"):
        load_manifest(tmp_path / "none.toml")
    (tmp_path / "ledger.toml").write_text(MODULE, "utf-8")
    with pytest.raises(Refused, match="cannot be read"):
        load_manifest(tmp_path / "ledger.toml")


def test_an_entry_is_never_reached_through_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    place = packed(tmp_path / "in")
    (tmp_path / "in" / "ledger.wasm").rename(tmp_path / "outside.wasm")
    (tmp_path / "in" / "ledger.wasm").symlink_to(tmp_path / "outside.wasm")
    with pytest.raises(Refused, match="leads out of"):
        load_manifest(place)


def test_a_text_is_assembled_and_a_wrong_one_refused_with_its_place(tmp_path: Path) -> None:
    place = packed(tmp_path, WHOLE.replace("ledger.wasm", "ledger.wat"))
    (tmp_path / "ledger.wat").write_text(wat(before=imports("send")), "utf-8")
    assert load_manifest(place)[2] == AGENT
    (tmp_path / "ledger.wat").write_text("(module (frob))", "utf-8")
    with pytest.raises(Refused, match="line 1, column"):
        load_manifest(place)


def test_an_abi_runs_only_where_it_is_offered() -> None:
    """SEC-2: the major number is the interface, a newer minor one may need what is not here."""
    for target in (f"{ABI}", f"{ABI}.0", f"{ABI}.{ABI_MINOR}", f"{ABI}.{ABI_MINOR}.7"):
        assert incompatible(target.encode()) == ""
    for target in (f"{ABI}.{ABI_MINOR + 1}", f"{ABI + 1}", f"{ABI - 1}.9", f"{ABI + 1}.0.0", "", "1.", "v1", "1.0.0.0"):
        assert incompatible(target.encode())


def test_a_manifest_and_its_module_name_the_same_abi(tmp_path: Path) -> None:
    def declaring(text: bytes) -> bytes:
        name = SECTION.encode()
        return AGENT + bytes([0, 1 + len(name) + len(text), len(name)]) + name + text

    load_manifest(packed(tmp_path, wasm=declaring(b"1")))
    for text in (b"2.0", b"1.1", b"junk\xff"):
        with pytest.raises(ModuleRefused, match=r"\[abi\].*its manifest for 1.0"):
            load_manifest(packed(tmp_path, wasm=declaring(text)))


def test_a_manifests_module_may_have_to_be_signed(tmp_path: Path) -> None:
    seed = bytes(range(32))
    demand = Demand(trusting(ed25519.public_key(seed)), moment(0))
    with pytest.raises(SignatureRefused):
        load_manifest(packed(tmp_path), demand)
    assert load_manifest(packed(tmp_path, wasm=sign(AGENT, seed)), demand)[1].name == "ledger"


def test_the_schema_says_the_same_keys(capsys: pytest.CaptureFixture[str]) -> None:
    told = here(capsys, "schema", "manifest")
    schema = told.json
    assert (told.code, schema["additionalProperties"], schema["required"]) == (0, False, ["module"])
    tables = {name: schema["$defs"][name] for name in ("Module", "Capabilities", "Allowed", "LibraryFile")}
    assert all(tables[name]["additionalProperties"] is False for name in ("Module", "Allowed", "LibraryFile"))
    assert tables["Capabilities"]["additionalProperties"] == {"type": "boolean"}  # capabilities that users offer
    assert schema["properties"]["libraries"]["maxProperties"] == PARTS_MAX - 1
    assert set(tables["Capabilities"]["properties"]) == {*GROUPS, "memory", "threading", "filesystem"}
    assert set(tables["Module"]["required"]) == {"name", "version", "entry", "abi"}
    assert set(tables["Allowed"]["properties"]) == {"memory", "stack", "fuel", "table"}
    assert "key" in here(capsys, "schema", "trust", "--json").json["properties"]
    refused(
        here(capsys, "schema", "nosuch"),
        "'nosuch'",
        "config, conversation, manifest, scenario, telemetry, trust, variation",
    )


def test_a_manifest_is_checked_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(packed(tmp_path))
    told = here(capsys, "module", "check", place, "--json")
    assert told.code == 0 and told.json["accepted"] is True and told.json["capabilities"] == ["messages"]
    assert "accepted  ledger 1.4.0, ABI 1.0" in here(capsys, "module", "check", place).out
    public = key_files(bytes(32))[1][1:].hex()
    (tmp_path / "trust.toml").write_text(f'version = 1\n[[key]]\nname = "k"\npublic = "{public}"\n', "utf-8")
    unsigned = here(capsys, "module", "check", place, "--trust", f"{tmp_path}/trust.toml", "--json")
    assert (unsigned.code, unsigned.json["check"], unsigned.json["error"]) == (4, "signature", "unsigned")
    packed(tmp_path, WHOLE.replace("[limits]", "[limit]"))
    refused(here(capsys, "module", "check", place), "limit: unknown key")
    wrong = here(capsys, "module", "check", place, "--json")
    assert (wrong.code, wrong.json["check"], wrong.json["accepted"]) == (4, "manifest", False)


def test_the_pages_example_is_a_manifest_and_names_every_group() -> None:
    example, libraries = re.findall(r"```toml\n(.*?)```", PAGE_TEXT, re.S)
    made = manifest_from(f"{example}\n{libraries}".encode())
    assert made.granted == ("messages", "output") and sorted(made.libraries) == ["chain", "mixing"]
    assert all(f"`{group}`" in PAGE_TEXT for group in GROUPS)
    assert f"This runtime has {ABI}.{ABI_MINOR}" in PAGE_TEXT


# --- libraries, and capabilities of users -----------------------------------------------------------------------------

FOLD = '(module (func (export "fold") (param i32) (result i32) (local.get 0)))'
CHAINED = assemble(
    wat(before='(import "chain" "fold" (func $f (param i32) (result i32)))', step="(call $f (i32.const 7))")
)
LIBRARY = MODULE + '[libraries.chain]\nfile = "chain.wat"\n'
PACKING = """(module (memory (export "memory") 1)
  (func (export "allocate") (param i32) (result i32) (i32.const 8))
  (func (export "other") (param i32) (result i32) (i32.const 8))
  (func (export "pack") (param i32 i32) (result i32 i32) (local.get 0) (local.get 1)))"""
PACKS = assemble(wat(before='(import "packing" "pack" (func (param i32 i32 i32 i32) (result i32)))'))
GRANTED = MODULE + "[capabilities]\nmessages = true\npacking = true\n"


def test_a_manifests_libraries_are_files_of_its_folder_and_their_digests_the_agents(tmp_path: Path) -> None:
    (tmp_path / "chain.wat").write_text(FOLD, "utf-8")
    found = load_package(packed(tmp_path, LIBRARY, CHAINED))
    assert found.libraries == (assemble(FOLD),)
    [library] = found.spec.libraries or ()
    assert (library.name, library.module) == ("chain", hashlib.sha256(assemble(FOLD)).hexdigest())
    guest = WasmGuests().instantiate(0, found.spec, found.wasm, found.libraries)
    assert guest.run(arguments()).status == "agent_error:7"
    pinned = packed(tmp_path, f'{LIBRARY}sha256 = "{library.module}"\n', CHAINED)
    assert load_package(pinned).spec == found.spec
    other = packed(tmp_path, f'{LIBRARY}sha256 = "{"0" * 64}"\n', CHAINED)
    with pytest.raises(ModuleRefused, match=r"\[digest\].*library chain"):
        load_package(other)


def test_a_library_that_is_missing_wrong_or_elsewhere_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = packed(tmp_path, LIBRARY, CHAINED)
    refused(here(capsys, "module", "check", str(place)), "chain.wat", "cannot be read")
    (tmp_path / "chain.wat").write_text(FOLD.replace("i32", "i64"), "utf-8")
    told = here(capsys, "module", "check", str(place), "--json").json
    assert (told["accepted"], told["check"]) == (False, "import") and "its type is (i64) -> (i64)" in told["message"]
    (tmp_path / "chain.wat").write_text(FOLD, "utf-8")
    assert "library   chain " in here(capsys, "module", "check", str(place)).out
    refused(here(capsys, "module", "check", str(packed(tmp_path, MODULE, CHAINED))), "chain.fold is not offered")
    said = problem(MODULE + '[libraries.engine]\nfile = "/x.wasm"\n[libraries."a b"]\nfile = "x.wasm"\nsha = ""\n')
    for words in ("engine", "no name that a library can have", "in the manifest's folder", "a b", "sha: unknown key"):
        assert words in said, said


def test_a_capability_that_users_offer_is_granted_by_a_manifest_where_it_is_offered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packing = plugin("packing", Engine().load_bytes(PACKING.encode(), "packing"), "pack")
    place = packed(tmp_path, GRANTED, PACKS)
    assert load_manifest(place, capabilities=(packing,))[1].capabilities == ("messages", "packing")
    without = GRANTED.replace("packing = true", "packing = false")
    assert manifest_from(without.encode(), offered=("packing",)).granted == ("messages",)
    (tmp_path / "pack.wat").write_text(PACKING, "utf-8")
    told = here(capsys, "module", "check", str(place), "--plugin", f"packing={tmp_path}/pack.wat", "--json")
    assert told.code == 0 and told.json["capabilities"] == ["messages", "packing"]
    refused(here(capsys, "module", "check", str(place)), "capabilities.packing: unknown key")
    refused(here(capsys, "module", "check", str(place), "--plugin", "packing"), "no NAME=FILE")
    ungranted = packed(tmp_path, without, PACKS)
    with pytest.raises(ModuleRefused, match=r"\[import\].*packing.pack is not granted"):
        load_manifest(ungranted, capabilities=(packing,))


def test_all_capabilities_that_nobody_offers_are_named_at_once_beside_what_else_is_wrong() -> None:
    text = MODULE + '[capabilities]\nmesages = true\npackng = true\npricng = 1\noutput = "yes"\n[limits]\nfuel = 0\n'
    with pytest.raises(Refused) as caught:
        manifest_from(text.encode(), offered=("packing", "pricing"))
    said = str(caught.value)
    for words in (
        "capabilities.mesages: unknown key, did you mean messages",
        "capabilities.packng: unknown key, did you mean packing",
        "capabilities.pricng: unknown key, did you mean pricing",
        "capabilities.pricng: 1: input should be a valid boolean",
        "capabilities.output: 'yes'",
        "limits.fuel: 0",
    ):
        assert words in said, said
