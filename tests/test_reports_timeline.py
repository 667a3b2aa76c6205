"""The page of `why`: escaped, capped, the same every time; and looked at by a real browser where there is one."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reports.timeline import LANES_MAX, MARKS_MAX, Accused, Bar, Lane, Mark, Step, Strike, Timeline, render

HOSTILE = "</text></svg></title><script>document.title='owned'</script><img src=x onerror=x>\x1b[31m\u202e{{7*7}}&\"'"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def timeline(**fields: Any) -> Timeline:
    lane = Lane(
        name="0 planner",
        group="agents",
        bars=(Bar(start=0, end=5_000_000, tone="busy", label="lease 7"),),
        marks=(
            Mark(at=1_000_000, shape="step", label="step of tick 1"),
            Mark(at=2_000_000, shape="redone", label="again"),
            Mark(at=1_500_000, shape="step", label="the twin's", twin=True),
            Mark(at=3_000_000, shape="detected", label="lost worker 1"),
        ),
    )
    known: dict[str, Any] = {
        "title": "hello",
        "oracle": "twin",
        "evidence": "block 3 step 0 differs",
        "place": "journal, block 3 step 0",
        "here": '{"a": 1}',
        "there": "",
        "fields": ("effects",),
        "difference_at": 4_000_000,
        "window": (500_000, 5_000_000),
        "end": 9_000_000,
        "twin_end": 8_000_000,
        "twin_at": 3_500_000,
        "lanes": (lane,),
        "strikes": (
            Strike(at=2_500_000, text="worker.kill@tick:2,agent:0", number=1, necessary=True, noticed=True),
            Strike(at=-1, text="frame.lose@tick:2", number=2, necessary=False, noticed=False),
        ),
        "chain": (Step(at=2_500_000, kind="injected", text="worker.kill"), Step(at=-1, kind="oracle", text="twin")),
        "accused": (Accused(component="pool", permille=612, because=("it lost a worker",)),),
        "notes": ("trace.jsonl is missing",),
        "replay": "wasm-engine replay out/case",
    }
    return Timeline(**(known | fields))


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def classed(self, name: str) -> int:
        return sum(name in (attrs.get("class") or "").split() for _, attrs in self.seen)


def test_the_page_shows_run_twin_faults_difference_and_blame_and_is_the_same_each_time() -> None:
    page = render(timeline())
    assert page == render(timeline())
    tags = Tags(page)
    assert sum(tag == "svg" for tag, _ in tags.seen) == 2
    assert tags.classed("strike") == 2 and tags.classed("difference") == 2 and tags.classed("twin-difference") == 2
    assert "pool" in page and "61%" in page and "it fails as well" in page and "never" in page
    assert "journal, block 3 step 0" in page and "wasm-engine replay out/case" in page


def test_nothing_that_an_agent_or_a_build_said_is_markup() -> None:
    lane = Lane(
        name=HOSTILE,
        group=HOSTILE,
        bars=(Bar(start=0, end=1, tone="busy", label=HOSTILE),),
        marks=(Mark(at=1, shape="step", label=HOSTILE), Mark(at=1, shape=HOSTILE, label="")),
    )
    words = ("title", "oracle", "evidence", "place", "here", "there", "replay")
    page = render(
        timeline(
            **dict.fromkeys(words, HOSTILE),
            lanes=(lane,),
            notes=(HOSTILE,),
            fields=(HOSTILE,),
            strikes=(Strike(at=1, text=HOSTILE, number=1, necessary=None, noticed=False),),
            chain=(Step(at=1, kind="injected", text=HOSTILE),),
            accused=(Accused(component=HOSTILE, permille=1000, because=(HOSTILE,)),),
            window=(0, 10),
        )
    )
    tags = Tags(page)
    assert not {"script", "img", "iframe", "object", "link"} & {tag for tag, _ in tags.seen}
    assert not any(name.startswith("on") or name in ("href", "src") for _, attrs in tags.seen for name in attrs)
    assert "\x1b" not in page and "\u202e" not in page and "49" not in re.findall(r">\s*(49)\s*<", page)


def test_the_policy_allows_no_script_and_no_request() -> None:
    policy = next(attrs["content"] for tag, attrs in Tags(render(timeline())).seen if "http-equiv" in attrs)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_lanes_and_marks_are_capped_and_the_page_says_what_is_left_out() -> None:
    marks = tuple(Mark(at=n, shape="step", label="x") for n in range(MARKS_MAX + 500))
    lanes = tuple(Lane(name=str(n), group="agents", marks=marks if not n else ()) for n in range(LANES_MAX + 4))
    page = render(timeline(lanes=lanes, window=(0, MARKS_MAX + 500)))
    assert "4 lanes" in page and "500 marks" in page
    assert len(page) < 4_000_000
    assert Tags(page).classed("mark") == 2 * MARKS_MAX


def test_a_run_without_faults_difference_or_suspect_has_a_page_as_well() -> None:
    bare = timeline(strikes=(), lanes=(), accused=(), chain=(), difference_at=-1, twin_at=-1, here="", window=(0, 1))
    page = render(replace(bare, end=0, twin_end=0))
    assert "it fails without any fault" in page and "nothing to blame" in page
    assert Tags(page).classed("difference") == 0


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium here; install the distribution's to test the page in a browser")
    return found


def headless(browser: str, folder: Path, *arguments: str) -> str:
    """One page in a browser that cannot reach the network."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND", *arguments]
    environment = {**os.environ, "HOME": str(folder)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def dom(browser: str, folder: Path, page: str) -> str:
    (folder / "page.html").write_text(page, "utf-8")
    return headless(browser, folder, "--dump-dom", (folder / "page.html").as_uri())


def test_a_browser_builds_the_page_as_it_is_meant(browser: str, tmp_path: Path) -> None:
    built = Tags(dom(browser, tmp_path, render(timeline(evidence=HOSTILE))))
    assert sum(tag == "svg" for tag, _ in built.seen) == 2
    assert built.classed("strike") == 2 and built.classed("difference") == 2
    assert not {"script", "img"} & {tag for tag, _ in built.seen}


def test_a_browser_runs_no_script_in_the_page_even_if_one_got_in(browser: str, tmp_path: Path) -> None:
    script = "<script>document.title='owned'</script>"
    page = render(timeline()).replace("</main>", f"{script}</main>")
    assert "<title>owned</title>" not in dom(browser, tmp_path, page)
    unprotected = re.sub(r"<meta http-equiv[^>]*>", "", page)
    assert "<title>owned</title>" in dom(browser, tmp_path, unprotected), "then this test could not fail"


@pytest.mark.parametrize("width", [1200, 420])
def test_a_browser_draws_the_difference_and_the_faults_in_their_colours(
    width: int, browser: str, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(render(timeline()), "utf-8")
    picture = tmp_path / "page.png"
    headless(
        browser,
        tmp_path,
        f"--window-size={width},900",
        "--blink-settings=preferredColorScheme=1",
        f"--screenshot={picture}",
        (tmp_path / "page.html").as_uri(),
    )
    colours = pixels(picture)
    assert len(colours) > 50
    assert (0xA3, 0x21, 0x1A) in colours, "the verdict"
    assert (0xB3, 0x26, 0x1E) in colours, "a fault"
    assert (0x8A, 0x5A, 0x00) in colours or width < 600, "the first difference"


def pixels(path: Path) -> set[tuple[int, int, int]]:
    """The colours of a PNG of 8 bits without interlacing, as the browser writes it."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    assert (depth, interlaced) == (8, 0) and kind in (2, 6)
    size = 3 if kind == 2 else 4
    packed, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    raw, stride = zlib.decompress(packed), width * size
    before, found = bytes(stride), set()
    for row in range(height):
        start = row * (stride + 1)
        before = unfiltered(raw[start], raw[start + 1 : start + 1 + stride], before, size)
        found |= {(before[i], before[i + 1], before[i + 2]) for i in range(0, stride, size)}
    return found


def unfiltered(kind: int, line: bytes, above: bytes, size: int) -> bytes:
    """One line of a PNG, its filter undone (PNG specification, section 9)."""
    out = bytearray(line)
    for i in range(len(out)):
        left = out[i - size] if i >= size else 0
        up, corner = above[i], above[i - size] if i >= size else 0
        if kind == 1:
            out[i] = (out[i] + left) & 255
        elif kind == 2:
            out[i] = (out[i] + up) & 255
        elif kind == 3:
            out[i] = (out[i] + (left + up) // 2) & 255
        elif kind == 4:
            guess = left + up - corner
            distances = [abs(guess - left), abs(guess - up), abs(guess - corner)]
            out[i] = (out[i] + (left, up, corner)[distances.index(min(distances))]) & 255
    return bytes(out)
