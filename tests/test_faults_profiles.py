"""Profiles: what they draw, how a swarm narrows it, and the one line that says all that is wrong with a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cli_kit import here

from faults.catalogue import kind_of
from faults.kinds import KINDS
from faults.profiles import BUILT_IN, Profile, Span, describe, everything, find, from_json, from_toml, mix_of
from runtime.errors import Refused

ALL = tuple(kind.slug for kind in KINDS)
DOCS = Path(__file__).resolve().parent.parent / "docs"


def profile(text: str = "", name: str = "mine") -> Profile:
    """A profile with what a test says, and defaults for the rest."""
    head = "" if "faults =" in text else "faults = [1, 3]\n"
    return from_toml(f'name = "{name}"\ntitle = "a test"\n{head}{text}'.encode())


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_profile_is_read_from_its_file_and_survives_json(name: str) -> None:
    one = find(name)
    assert one.name == name and from_json(one.model_dump_json()) == one
    told = describe(one)
    assert [kind["kind"] for kind in told["kinds"]] == list(ALL)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["stress", "storm"])
def test_every_kind_of_a_drawn_class_is_drawn_without_being_named(name: str) -> None:
    one = find(name)
    drawn = dict(everything(one).weights)
    wanted = {kind.slug for kind in KINDS if kind.class_ in ("transparent", "visible", "measured", "workload")}
    assert set(drawn) == wanted and all(weight > 0 for weight in drawn.values())
    assert any(kind.slug not in one.weights for kind in KINDS)


def test_the_transparent_profile_has_no_kind_of_another_class() -> None:
    assert {kind_of(slug).class_ for slug, _ in everything(find("transparent")).weights} == {"transparent"}


def test_measured_kinds_are_the_measured_profile_s_and_failstop_ones_the_failstop_s() -> None:
    measured = {kind.slug for kind in KINDS if kind.class_ == "measured"}
    assert measured and measured <= {slug for slug, _ in everything(find("measured")).weights}
    assert find("failstop").one_in("failstop") == 1 and find("stress").one_in("failstop") == 0


def test_the_field_profile_has_the_published_proportions_with_their_sources() -> None:
    field = find("field")
    per_gpu_hour = 16_384 * 54 * 24
    assert field.rates["gpu.slow"].per_1e9_hours == round(6 / per_gpu_hour * 1e9)
    assert abs(field.rates["gpu.remove"].per_1e9_hours - (148 + 72 + 19 + 17) / per_gpu_hour * 1e9) < 50
    assert all(len(rate.source) > 10 for rate in field.rates.values())
    assert dict(everything(field).weights) == {slug: rate.per_1e9_hours for slug, rate in field.rates.items()}
    assert field.hours_per_fault() == 10**9 // sum(rate.per_1e9_hours for rate in field.rates.values())


def test_no_kind_is_drawn_under_none() -> None:
    assert everything(find("none")).weights == () and everything(find("none")).pick(7, 8) == ""


def test_the_last_pattern_that_fits_is_a_kind_s_weight() -> None:
    one = profile('[weights]\ndefault = 1\n"frame.*" = 5\n"frame.lose" = 0\n')
    weights = dict(everything(one).weights)
    assert weights["frame.delay"] == 5 and "frame.lose" not in weights and weights["worker.kill"] == 1


def test_picks_fall_on_kinds_by_their_weights() -> None:
    one = everything(profile('[weights]\ndefault = 0\n"worker.kill" = 3\n"disk.tear" = 1\n'))
    assert Counter(one.pick(n, 400) for n in range(400)) == {"worker.kill": 300, "disk.tear": 100}
    assert one.pick(400, 400) == one.pick(0, 400)


# --- swarm ------------------------------------------------------------------------------------------------------------


def test_each_run_of_a_swarm_has_its_own_subset_and_weights_and_they_are_the_same_again() -> None:
    mixes = [mix_of(find("stress"), 1, "hello", n, ALL) for n in range(200)]
    assert mixes == [mix_of(find("stress"), 1, "hello", n, ALL) for n in range(200)]
    assert len({mix.weights for mix in mixes}) > 190
    assert all(3 <= len(mix.weights) < len(ALL) for mix in mixes)
    enabled = Counter(slug for mix in mixes for slug, _ in mix.weights)
    assert set(enabled) == {kind.slug for kind in KINDS if kind.class_ not in ("failstop", "refused")}
    assert all(60 < enabled[kind.slug] < 150 for kind in KINDS if kind.class_ == "transparent")
    assert len({dict(mix.weights).get("worker.kill", 0) for mix in mixes}) == 5


def test_another_seed_scenario_or_run_gives_another_subset() -> None:
    stress = find("stress")
    keys = [(1, "hello", 1), (2, "hello", 1), (1, "ledger", 1), (1, "hello", 2)]
    assert len({mix_of(stress, *key, ALL).weights for key in keys}) == 4


def test_a_kind_that_is_added_changes_no_other_s_draw() -> None:
    one, fewer = find("transparent"), [slug for slug in ALL if slug != "frame.lose"]
    for n in range(60):
        whole, part = (dict(mix_of(one, 1, "hello", n, kinds).weights) for kinds in (ALL, fewer))
        if min(len(whole), len(part)) > 3:  # else the run is filled up with others
            whole.pop("frame.lose", None)
            assert whole == part


def test_a_class_that_is_not_in_every_run_comes_as_often_as_the_profile_says_and_is_then_not_lost() -> None:
    mixes = [dict(mix_of(find("stress"), 1, "assistants", n, ALL).weights) for n in range(600)]
    for class_, one_in in (("visible", 4), ("measured", 6), ("workload", 5)):
        of_class = [[w for slug, w in mix.items() if kind_of(slug).class_ == class_] for mix in mixes]
        having = [(sum(mine), sum(mix.values())) for mine, mix in zip(of_class, mixes, strict=True) if mine]
        assert 0.7 < len(having) * one_in / 600 < 1.3
        assert all(mine * 8 >= whole for mine, whole in having)  # a quarter, before others of its sort take theirs


def test_a_kind_that_cannot_happen_is_never_enabled() -> None:
    mix = mix_of(find("stress"), 1, "hello", 3, ("worker.kill", "disk.tear"))
    assert {slug for slug, _ in mix.weights} <= {"worker.kill", "disk.tear"} and mix.weights
    assert everything(find("stress")).only(("disk.tear",)).weights == (("disk.tear", 1),)


# --- files ------------------------------------------------------------------------------------------------------------


def test_parameters_are_narrowed_to_ranges_and_words() -> None:
    one = profile('[ranges."frame.delay"]\nfor = ["6ms", 66000000]\n[ranges."gpu.remove"]\nhow = ["hang", "late"]\n')
    assert one.spans("frame.delay") == {"for": Span(6_000_000, 66_000_000)}
    assert everything(one).spans["gpu.remove"] == {"how": Span(words=("hang", "late"))}
    told = next(kind for kind in describe(one)["kinds"] if kind["kind"] == "frame.delay")  # type: ignore[attr-defined]
    assert told["ranges"] == {"for": ["6ms", "66ms"]}


WRONG = {
    "faults = [5, 2]": "faults: at least 5 and at most 2",
    "faults = [0, 61]": "faults.1: 61",
    'faults = "many"': "faults:",
    "sworm = true": "sworm: unknown key; known are classes, faults",
    "swarm = 1": "swarm: 1",
    "[classes]\nworkloads = 1": "'workloads'",
    "[classes]\nvisible = -1": "classes.visible: -1",
    "[weights]\n'worker.kil' = 1": "no kind of fault is called 'worker.kil', did you mean worker.kill",
    "[weights]\n'gpx.*' = 1": "'gpx.*'",
    "[weights]\ndefault = 1.5": "weights.default: 1.5",
    "[weights]\ndefault = true": "weights.default: True",
    "[weights]\ndefault = 0": "no kind has a weight",
    "[rates.'worker.kill']\nper_1e9_hours = 3": "rates.worker.kill.source: Field required",
    "[weights]\ndefault = 1\n[rates.'worker.kill']\nper_1e9_hours = 3\nsource = 's'": "a rate is a weight",
    "[ranges.'no.such']\nfor = [1, 2]": "'no.such'",
    "[ranges.'frame.delay']\nfar = [1, 2]": "frame.delay has no parameter 'far', there is for",
    "[ranges.'frame.delay']\nfor = [2, 1]": "from 2 to 1 is out of bounds",
    "[ranges.'frame.delay']\nfor = ['soon', '2ms']": "is no range; give two integers or times such as 30ms",
    "[ranges.'frame.delay']\nfor = ['1ms']": "is no range",
    "[ranges.'frame.delay']\nfor = [0, 1]": "out of bounds",
    "[ranges.'frame.corrupt']\nmode = ['flop']": "'flop' is no value; there is flip, truncate, length",
    "[ranges.'frame.corrupt']\nmode = []": "nothing is no value",
    "faults = ": "not TOML",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_refused_by_its_place(text: str) -> None:
    with pytest.raises(Refused) as refused:
        profile(text)
    assert WRONG[text] in str(refused.value) and "\n" not in str(refused.value)
    assert "docs/profiles.md" in str(refused.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = "swurm = 1\n[classes]\nvisible = -2\n[weights]\n'a.b' = 1\n[ranges.'frame.delay']\nfor = [9, 1]\n[rates.x]\n"
    with pytest.raises(Refused) as refused:
        profile(text)
    for part in ("swurm", "classes.visible", "'a.b'", "from 9 to 1", "rates.x.per_1e9_hours", "rates.x.source"):
        assert part in str(refused.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = [" + b"[" * 100_000, b"# " + b"x" * (1 << 20)])
def test_hostile_files_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        from_toml(data, "bad.toml")
    assert str(refused.value).startswith("bad.toml: ") and len(str(refused.value)) < 400


def test_the_example_file_of_the_documentation_is_a_profile() -> None:
    example = find(str(DOCS / "profile-example.toml"))
    assert example.ranges and len(example.weights) > 2
    assert "profile-example.toml" in (DOCS / "profiles.md").read_text("utf-8")


# --- commands ---------------------------------------------------------------------------------------------------------


def test_profiles_lists_them_and_shows_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    listed = here(capsys, "profiles", "--json")
    assert [one["name"] for one in listed.json["profiles"]] == list(BUILT_IN)
    assert all(name in here(capsys, "profiles").out for name in BUILT_IN)
    assert "16,384 H100" in here(capsys, "profiles", "field").out.replace("\n", " ")
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\ntitle = "kills"\nfaults = [1, 2]\n[weights]\ndefault = 0\n"worker.kill" = 1\n')
    shown = here(capsys, "profiles", str(file), "--json").json
    assert {kind["kind"]: kind["weight"] for kind in shown["kinds"]}["worker.kill"] == 1


@pytest.mark.parametrize("command", [("profiles",), ("stress", "hello", "--profile")])
def test_an_unknown_profile_and_a_missing_file_are_refused(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, said in (("stres", "did you mean stress"), (str(tmp_path / "no.toml"), "cannot be read")):
        ended = here(capsys, *command, name)
        assert ended.code == 4 and said in ended.err and ended.err.count("\n") == 1


def test_a_campaign_under_a_file_draws_only_that_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from reports import load

    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\ntitle = "late frames"\nfaults = [2, 2]\n[weights]\ndefault = 0\n"frame.delay" = 1\n'
        '[ranges."frame.delay"]\nfor = ["40ms", "41ms"]\n'
    )
    store = str(tmp_path / "out")
    ended = here(
        capsys, "stress", "hello", "--runs", "3", "--profile", str(file), "--jobs", "1", "--store", store, "--json"
    )
    results = load(tmp_path / "out" / "latest")
    assert ended.json["profile"] == results.meta.profile == "mine"
    assert {kind for planned in results.runs["faults_planned"] for kind in planned} == {"frame.delay"}
    assert all(planned["frame.delay"] <= 2 for planned in results.runs["faults_planned"])
    assert all(f"--profile {file}" in command for command in results.runs["replay"])
    whole = list(results.runs["plan_digest"])
    again = list(results.runs["replay"])[1].split()[1:]
    assert here(capsys, *again, "--store", store).code in (0, 12)
    assert list(load(tmp_path / "out" / "latest").runs["plan_digest"]) == [whole[1]]


def test_a_campaign_under_none_plans_no_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = (
        "stress",
        "hello",
        "--runs",
        "2",
        "--profile",
        "none",
        "--jobs",
        "1",
        "--store",
        str(tmp_path),
        "--json",
    )
    ended = here(capsys, *arguments)
    assert ended.code == 0 and ended.json["passed"] == 2 and ended.json["faults_fired"] == {}
