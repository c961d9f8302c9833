"""Figures that answer when one points at them, as Altair charts and as pages that need nothing but themselves.

Each has the name of the figure whose table it shows. Altair is an extra, imported where a chart is asked for.
"""

from __future__ import annotations

from prunekit.plots.interactive import controls, density_curve, learning_curves, token_map
from prunekit.plots.interactive.chart import Chart

#: By the name of its figure.
CHARTS: dict[str, Chart] = {
    "density_curve": density_curve.CHART,
    "controls": controls.CHART,
    "learning_curves": learning_curves.CHART,
    "token_map": token_map.CHART,
}
