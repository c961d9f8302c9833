"""What is wrong with a picture, as a reader would say it: measured by the renderer, a line for each fault."""

import math
import re
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.text import Text

# what an axis or a colour bar with such a label can show
POSSIBLE = {
    r"^(test|validation)\s.*(accuracy|f1)|shared|density|share": (0, 1),
    r"ticket less control, test accuracy": (-1, 1),
    r"rank correlation": (-1, 1),
    r"^tokens|update|round|parameters|seconds|singular|loss \(nats\)|directions|\(MB\)|effective rank": (0, math.inf),
}
# pixels by which boxes of letters are larger than what is seen of them
_BLANK = 0.6


def faults(figure):
    """Every fault of a drawn figure."""
    if not hasattr(figure.canvas, "get_renderer"):
        FigureCanvasAgg(figure)
    figure.canvas.draw()
    return [*(fault for panel in figure.axes for fault in (*_bare(panel), *_impossible(panel))), *_crowded(figure)]


def _bare(panel):
    """Too little on a panel."""
    if panel.get_label() == "<colorbar>":
        return
    marks = {tuple(np.round(mark, 12)) for mark in _marks(panel)}
    if len(marks) < 2 and not panel.images:
        yield f"a panel of {len(marks)} marks: {panel.get_ylabel()!r}"
    for line in _lines(panel):
        if line.get_linestyle() != "None" and _places(line) == 1:
            yield f"a line over a single place: {line.get_label()!r}"


def _places(line):
    """How many places along x a line has."""
    return len({x for x, y in np.asarray(line.get_xydata(), float).tolist() if math.isfinite(y)})


def _lines(panel):
    """Lines of data, no guides across the panel."""
    return [line for line in panel.lines if _is_data(line.get_transform(), panel) and len(line.get_xdata())]


def _is_data(transform, panel):
    return all(transform.contains_branch_seperately(panel.transData))


def _marks(panel):
    """[2] of each point, bar and cell."""
    for line in _lines(panel):
        yield from (point for point in np.asarray(line.get_xydata(), float) if np.isfinite(point).all())
    for points in panel.collections:
        if isinstance(points, PathCollection):
            yield from (point for point in np.asarray(points.get_offsets(), float) if np.isfinite(point).all())
    for patch in panel.patches:
        yield from (np.mean(polygon, axis=0) for polygon in _in_data(patch, panel))


def _in_data(patch, panel):
    path = patch.get_path().transformed(patch.get_patch_transform())
    return [polygon for polygon in path.to_polygons() if len(polygon)] if _is_data(patch.get_transform(), panel) else []


def _impossible(panel):
    """Values, ends and ticks beyond what a label allows."""
    places = np.array([*_marks(panel), *_ends(panel)]).reshape(-1, 2)
    for axis, column in ((panel.xaxis, 0), (panel.yaxis, 1)):
        label = axis.get_label_text()
        low, high = next((ends for words, ends in POSSIBLE.items() if re.search(words, label)), (-math.inf, math.inf))
        begin, end = sorted(axis.get_view_interval())
        if max(_beyond(axis, low, begin, -1), _beyond(axis, high, end, 1)) > 0.06:
            yield f"{label!r} goes from {begin:g} to {end:g}"
        for tick in _visible_ticks(axis):
            if not low - 1e-9 <= tick.get_loc() <= high + 1e-9 and _words(tick):
                yield f"{label!r} has a tick at {tick.get_loc():g}"
        beyond = [value for value in places[:, column] if not low - 1e-9 <= value <= high + 1e-9]
        if beyond and panel.get_label() != "<colorbar>":
            yield f"{label!r} shows {beyond[0]:g}"


def _beyond(axis, bound, end, sign):
    """Which part of an axis lies beyond a bound."""
    begin, stop = axis.get_transform().transform(np.array(sorted(axis.get_view_interval())))
    if not math.isfinite(bound) or sign * (end - bound) <= 0:
        return 0.0
    over, limit = axis.get_transform().transform(np.array([end, bound]))
    return sign * (over - limit) / (stop - begin)


def _ends(panel):
    """[2] of each end of an interval."""
    for segments in panel.collections:
        if isinstance(segments, LineCollection) and _is_data(segments.get_transform(), panel):
            yield from (end for segment in segments.get_segments() for end in segment if np.isfinite(end).all())


def _visible_ticks(axis):
    low, high = sorted(axis.get_view_interval())
    blur = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick for tick in ticks if low - blur <= tick.get_loc() <= high + blur]


def _words(tick):
    return [label for label in (tick.label1, tick.label2) if label.get_visible() and label.get_text().strip()]


def _texts(figure):
    """Every text that is seen."""
    yield from figure.texts
    for legend in (*figure.legends, *(panel.get_legend() for panel in figure.axes)):
        yield from legend.get_texts() if legend else ()
    for panel in figure.axes:
        yield from (*panel.texts, panel.title, panel._left_title, panel._right_title)
        for axis in (panel.xaxis, panel.yaxis):
            yield from (
                axis.label,
                axis.offsetText,
                *(label for tick in _visible_ticks(axis) for label in _words(tick)),
            )


def _crowded(figure):
    """Texts over each other, or cut by the edge."""
    seen = [text for text in _texts(figure) if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in seen]  # of an annotation without its line
    for (one, box), (other, beside) in combinations(boxes, 2):
        across = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        down = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        if across > _BLANK and down > _BLANK:
            yield f"{one!r} and {other!r} overlap"
    for words, box in boxes:
        if min(box.x0, box.y0) < -1 or box.x1 > figure.bbox.x1 + 1 or box.y1 > figure.bbox.y1 + 1:
            yield f"{words!r} is cut by the edge"
