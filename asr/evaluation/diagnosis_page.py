"""Diagnosis -> a self-contained HTML page, and lines of a table."""

import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from asr.evaluation.diagnosis import GATE_NAMES, Diagnosis, LayerDiagnosis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("layer", "reach", "per frame", "gate", "closed", "open")
"""Headings of the table."""


def diagnosis_rows(diagnosis: Diagnosis) -> list[tuple[str, ...]]:
    """Rows of the table: the whole network, then every layer with each of its gates.

    The reach is the largest distance at which the gradient's norm is at least a tenth of its
    highest. "per frame" is the factor by which the norm changes with each frame of distance.
    """
    before, after = (diagnosis.memory.reach(direction) for direction in (-1, 1))
    ms = 1000 * diagnosis.frame_s
    rows: list[tuple[str, ...]] = [
        ("network", f"{before * ms:.0f} ms before, {after * ms:.0f} ms after", "", "", "", "")
    ]
    for layer in diagnosis.layers:
        reach = f"{1000 * layer.frame_s * layer.memory.reach(-1):.0f} ms"
        begin = layer.name, reach, f"{layer.memory.factor():.3f}"
        names = [name for name in layer.histograms if name in GATE_NAMES] or [""]
        for name in names:
            shares = layer.histograms[name].edges if name else ()
            percent = [f"{100 * share:.1f} %" for share in shares] or ["", ""]
            rows.append((*begin, name, *percent))
            begin = "", "", ""
    return rows


def diagnosis_page(title: str, diagnosis: Diagnosis) -> str:
    """A self-contained page, which needs no network and no other file.

    Args:
        title: heading of the page.
        diagnosis: of a model.

    Returns:
        page: HTML with SVG pictures.
    """
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in diagnosis_rows(diagnosis)
    )
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    measured = f"{diagnosis.n_utterances} recordings, {diagnosis.seconds:.0f} seconds"
    parts = {
        "TITLE": html.escape(title),
        "MEASURED": measured,
        "TABLE": f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>",
        "NETWORK": _network_picture(diagnosis),
        "LAYERS": "".join(
            f"<h3>{html.escape(layer.name)}</h3>{_layer_picture(layer)}"
            for layer in diagnosis.layers
        ),
    }
    page = _PAGE
    for name, part in parts.items():
        page = page.replace(f"@{name}@", part)
    return page


def _network_picture(diagnosis: Diagnosis) -> str:
    from matplotlib.figure import Figure  # slow to import, and needed only here

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    plot = figure.subplots()
    diagnosis.memory.draw(plot, diagnosis.frame_s)
    plot.axvline(0, color="0.8", linewidth=1, zorder=0)
    return _svg(figure)


def _layer_picture(layer: LayerDiagnosis) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6), layout="constrained")
    memory, gates, values = figure.subplots(1, 3)
    is_backward = layer.name.endswith("backward")
    layer.memory.draw(memory, layer.frame_s, is_backward)
    memory.set_xlabel(f"ms {'after' if is_backward else 'before'} the output")
    memory.set_title("memory", fontsize=10)
    for plot, chosen, title in ((gates, True, "gates"), (values, False, "outputs and cells")):
        shown = [name for name in layer.histograms if (name in GATE_NAMES) == chosen]
        for name in shown:
            histogram = layer.histograms[name]
            edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
            plot.stairs(histogram.shares, edges, label=name, linewidth=1.4)
        plot.set_title(title if shown else f"no {title}", fontsize=10)
        plot.set_ylabel("share of values")
        if shown:
            plot.legend(fontsize=8)
    return _svg(figure)


def _svg(figure: "Figure") -> str:
    """The picture as an element of a page."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns below each other, under the headings."""
    all_rows = [COLUMNS, *rows]
    widths = [max(len(row[n]) for row in all_rows) for n in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in all_rows
    ]
    return [line.rstrip() for line in lines]


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>@TITLE@</title>
<style>
* { box-sizing: border-box; }
body { margin: 0; color: #222; background: #f4f4f1; font: 15px/1.5 system-ui, sans-serif; }
header { padding: 14px 24px; color: #fff; background: #2b3542; }
h1 { margin: 0; font-size: 18px; font-weight: 600; overflow-wrap: anywhere; }
main { max-width: 1060px; margin: 24px auto; padding: 0 24px; }
section { margin-bottom: 24px; padding: 16px 20px; background: #fff; border: 1px solid #ddd;
  border-radius: 6px; overflow-x: auto; }
h2 { margin: 0 0 8px; font-size: 16px; }
h3 { margin: 16px 0 4px; font-size: 14px; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 14px 2px 0; text-align: left; white-space: nowrap; }
th { font-weight: normal; color: #666; border-bottom: 1px solid #ddd; }
</style>
</head>
<body>
<header><h1>@TITLE@</h1>@MEASURED@</header>
<main>
<section>
<h2>What the network remembers</h2>
<p>How much the log-probabilities of an output frame depend on an input frame, by their distance:
the Frobenius norm of the derivatives, as a root mean square over output frames. A straight line on
this scale means that the norm shrinks by the same factor with each frame.</p>
@NETWORK@
</section>
<section>
<h2>Layers and gates</h2>
<p>Reach: the largest distance at which the norm is at least a tenth of its highest. Per frame: the
factor by which the norm changes with each frame of distance; below 1 the gradient vanishes, above 1
it explodes. Closed and open: the shares of a gate's values below 0.1 and above 0.9.</p>
@TABLE@
</section>
<section>
<h2>Layer by layer</h2>
<p>Memory of each layer alone, with respect to its own inputs, in the order in which it reads
them.</p>
@LAYERS@
</section>
</main>
</body>
</html>
"""
