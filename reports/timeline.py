"""`why.html`: one run over virtual time beside its twin, as one self-contained page with no script.

Its Content-Security-Policy allows no script, no font, no request. Every text is escaped and made plain, whatever an
agent or a build under test put into it; lanes and marks are capped, and the page says what it leaves out. The drawing
is SVG in the page's own colours, the same bytes for the same data; each mark tells its record when pointed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from reports.html import environment
from reports.words import milliseconds, plain

LANES_MAX = 30
MARKS_MAX = 6000
LABEL_MAX = 160
WIDTH, LEFT, RIGHT, TOP = 1120, 150, 14, 48
RUN_HEIGHT, TWIN_HEIGHT, GAP = 16, 8, 5
TICKS = 8
SHAPES = ("step", "redone", "failed", "note", "detected", "repaired", "durable", "released", "crash")


class Mark(Struct, frozen=True, kw_only=True):
    """One moment (virtual ns) in a lane; `shape` is one of SHAPES. `twin` puts it into the twin's row."""

    at: int
    shape: str
    label: str
    twin: bool = False


class Bar(Struct, frozen=True, kw_only=True):
    """Something that lasts, from `start` to `end` (virtual ns); `tone` is "alive", "busy" or "lost"."""

    start: int
    end: int
    tone: str
    label: str
    twin: bool = False


class Lane(Struct, frozen=True, kw_only=True):
    """One agent, worker, device or disk: `group` is what kind it is."""

    name: str
    group: str
    bars: tuple[Bar, ...] = ()
    marks: tuple[Mark, ...] = ()


class Strike(Struct, frozen=True, kw_only=True):
    """A fault as it struck at `at` (virtual ns; -1: never). `necessary` is None for one that was not tried."""

    at: int
    text: str
    number: int
    necessary: bool | None
    noticed: bool


class Step(Struct, frozen=True, kw_only=True):
    """One link of the chain of events; `at` is -1 where there is no moment."""

    at: int
    kind: str
    text: str
    times: int = 1


class Accused(Struct, frozen=True, kw_only=True):
    """A suspect component with its share of the votes in thousandths, and the witnesses' sentences."""

    component: str
    permille: int
    because: tuple[str, ...]


class Timeline(Struct, frozen=True, kw_only=True):
    """All that the page shows. Times are virtual ns; `difference_at` is -1 where there is no moment to show.

    `twin_at` is when the twin committed the block that differs. `window` is the part of the run around the failure;
    it is drawn by itself, and so is the whole run, to `end`.
    """

    title: str
    oracle: str
    evidence: str
    place: str
    here: str
    there: str
    fields: tuple[str, ...]
    difference_at: int
    window: tuple[int, int]
    end: int
    twin_end: int
    lanes: tuple[Lane, ...]
    strikes: tuple[Strike, ...]
    chain: tuple[Step, ...]
    accused: tuple[Accused, ...]
    notes: tuple[str, ...]
    replay: str
    lanes_left: int = 0
    twin_at: int = -1


def render(timeline: Timeline) -> str:
    """The page; the same text for the same timeline."""
    from markupsafe import Markup

    made = environment()
    made.filters["percent"] = lambda permille: f"{permille / 10:.0f}%"
    drawn, left = _capped(timeline)
    lanes = drawn.lanes[:LANES_MAX]
    view: dict[str, Any] = {
        "t": timeline,
        "detail": Markup(_draw(drawn, lanes, drawn.window)),
        "whole": Markup(_draw(drawn, lanes, (0, max(drawn.end, drawn.twin_end, 1)))),
        "lanes_left": timeline.lanes_left + len(drawn.lanes) - len(lanes),
        "marks_left": left,
        "necessary": sum(strike.necessary is True for strike in timeline.strikes),
    }
    return made.get_template("timeline.html").render(view)


def _capped(timeline: Timeline) -> tuple[Timeline, int]:
    """The timeline with at most MARKS_MAX bars and marks, those inside the window first; and how many are left out."""
    from msgspec.structs import replace

    low, high = timeline.window
    lanes, room, left = [], MARKS_MAX, 0
    for lane in timeline.lanes:
        inner = sorted(lane.marks, key=lambda mark: not low <= mark.at <= high)
        kept = tuple(inner[: max(0, room)])
        bars = lane.bars[: max(0, room - len(kept))]
        left += len(lane.marks) - len(kept) + len(lane.bars) - len(bars)
        room -= len(kept) + len(bars)
        lanes.append(replace(lane, marks=kept, bars=bars))
    return replace(timeline, lanes=tuple(lanes)), left


# --- the drawing ----------------------------------------------------------------------------------------------------


class _Scale:
    """Virtual ns to pixels."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, max(high, low + 1)

    def __call__(self, at: int) -> str:
        inner = WIDTH - LEFT - RIGHT
        return f"{LEFT + inner * (at - self.low) / (self.high - self.low):.1f}"

    def holds(self, at: int) -> bool:
        return self.low <= at <= self.high

    def ticks(self) -> list[int]:
        """Round moments within the scale, about TICKS of them."""
        span = max(1, (self.high - self.low) // TICKS)
        step = 10 ** (len(str(span)) - 1)
        step = next(step * factor for factor in (1, 2, 5, 10) if step * factor >= span)
        return list(range(-(-self.low // step) * step, self.high + 1, step))


def _draw(timeline: Timeline, lanes: Sequence[Lane], window: tuple[int, int]) -> str:
    scale = _Scale(*window)
    row = RUN_HEIGHT + TWIN_HEIGHT + GAP
    groups = len({lane.group for lane in lanes})
    height = TOP + row * len(lanes) + 8 * groups + 6
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="the run over virtual time">']
    parts += [_tick(scale, at, height) for at in scale.ticks()]
    parts += _band(scale, timeline.difference_at, height)
    if scale.holds(timeline.twin_at):
        x = scale(timeline.twin_at)
        told = f"the same block of the twin, {milliseconds(timeline.twin_at)} ms"
        line = f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height}"/>'
        parts.append(f'<g class="twin-difference"><title>{told}</title>{line}</g>')
    y, group = TOP, ""
    for index, lane in enumerate(lanes):
        if lane.group != group:
            y += 8 if index else 0
            group = lane.group
            parts.append(f'<line class="rule" x1="0" x2="{WIDTH}" y1="{y - 3}" y2="{y - 3}"/>')
        parts += _lane(scale, lane, y)
        y += row
    parts += [line for strike in timeline.strikes for line in _strike(scale, strike, height)]
    return "".join([*parts, "</svg>"])


def _tick(scale: _Scale, at: int, height: int) -> str:
    x = scale(at)
    return (
        f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height}"/>'
        f'<text class="axis" x="{x}" y="{TOP - 12}">{_axis(at)}</text>'
    )


def _axis(at: int) -> str:
    text = milliseconds(at)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _band(scale: _Scale, at: int, height: int) -> list[str]:
    if at < 0 or not scale.holds(at):
        return []
    x = float(scale(at))
    return [
        f'<g class="difference"><title>first difference, {milliseconds(at)} ms</title>'
        f'<rect x="{x - 5:.1f}" y="{TOP - 8}" width="10" height="{height - TOP + 8}"/>'
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height}"/></g>'
    ]


def _strike(scale: _Scale, strike: Strike, height: int) -> list[str]:
    if strike.at < 0 or not scale.holds(strike.at):
        return []
    x = scale(strike.at)
    tone = "strike" if strike.necessary is not False else "strike needless"
    return [
        f'<g class="{tone}"><title>{_text(f"fault {strike.number}: {strike.text}")}</title>'
        f'<line x1="{x}" x2="{x}" y1="12" y2="{height}"/><circle cx="{x}" cy="9" r="8"/>'
        f'<text x="{x}" y="12.5">{strike.number}</text></g>'
    ]


def _lane(scale: _Scale, lane: Lane, y: int) -> list[str]:
    parts = [f'<text class="name" x="6" y="{y + RUN_HEIGHT - 3}">{_text(lane.name, 22)}</text>']
    middle = y + RUN_HEIGHT // 2
    below = y + RUN_HEIGHT + TWIN_HEIGHT // 2
    parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle}" y2="{middle}"/>')
    for bar in lane.bars:
        start, end = max(bar.start, scale.low), min(bar.end, scale.high)
        if start > end:
            continue
        x, width = scale(start), max(1.0, float(scale(end)) - float(scale(start)))
        top, tall = (y + RUN_HEIGHT + 1, TWIN_HEIGHT - 3) if bar.twin else (y + 3, RUN_HEIGHT - 6)
        tone = f"bar {bar.tone}{' twin' if bar.twin else ''}"
        shape = f'<rect class="{tone}" x="{x}" y="{top}" width="{width:.1f}" height="{tall}" rx="2">'
        parts.append(f"{shape}<title>{_text(bar.label)}</title></rect>")
    for mark in lane.marks:
        if scale.holds(mark.at):
            parts.append(_mark(mark, scale(mark.at), below if mark.twin else middle))
    return parts


def _mark(mark: Mark, x: str, y: int) -> str:
    shape = mark.shape if mark.shape in SHAPES else "note"
    radius = 2.2 if mark.twin else {"durable": 2.2, "released": 2.2}.get(shape, 4.0)
    title = f"<title>{_text(f'{milliseconds(mark.at)} ms: {mark.label}')}</title>"
    tone = f"mark {shape}{' twin' if mark.twin else ''}"
    if shape in ("crash", "detected", "repaired"):  # a shape of its own, so that colour is not all that tells
        arm = 5.0
        path = {
            "crash": f"M{float(x) - arm:.1f} {y - arm}l{2 * arm} {2 * arm}m0 {-2 * arm}l{-2 * arm} {2 * arm}",
            "detected": f"M{x} {y - arm}l{arm} {2 * arm}h{-2 * arm}z",
            "repaired": f"M{x} {y - arm}l{arm} {arm}l{-arm} {arm}l{-arm} {-arm}z",
        }[shape]
        return f'<path class="{tone}" d="{path}">{title}</path>'
    return f'<circle class="{tone}" cx="{x}" cy="{y}" r="{radius}">{title}</circle>'


def _text(value: str, limit: int = LABEL_MAX) -> str:
    from markupsafe import escape

    return str(escape(plain(value, limit) if len(value) <= limit else plain(value[: limit - 1]) + "…"))
