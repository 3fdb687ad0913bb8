"""Answers and stream reports as tables for the terminal; brackets in labels and addresses are no markup."""

from rich.markup import escape
from rich.table import Table

from edgedet_iot.answers import Classes, Detections
from edgedet_iot.stream_report import StreamReport


def answer_table(answer: Detections | Classes) -> Table:
    """Objects or classes of one photo."""
    table = Table()
    table.add_column("label")
    table.add_column("score", justify="right")
    if isinstance(answer, Detections):
        table.add_column("x1 y1 x2 y2", justify="right")
        for one in answer.detections:
            corners = (one.box.x1, one.box.y1, one.box.x2, one.box.y2)
            table.add_row(escape(one.label), f"{one.score:.3f}", " ".join(f"{value:.0f}" for value in corners))
    else:
        for scored in answer.classes:
            table.add_row(escape(scored.label), f"{scored.score:.3f}")
    return table


def route_line(answer: Detections | Classes) -> str:
    """One line: what answered, where, and how long it took."""
    route = answer.route
    return (
        f"{answer.model.name}:{answer.model.version}, {route.placement}, boundary {route.boundary} "
        f"({route.reason}), {answer.timing.total_ms:.0f} ms, {answer.edge}"
    )


def stream_table(report: StreamReport) -> Table:
    """Offered, answered, how the rest ended, and latencies by placement."""
    table = Table()
    for column in ("", "photos", "share", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("offered", str(report.offered), "", "", "", "")
    for status, count in report.by_status.items():
        table.add_row(f"  {status}", str(count), _share(count, report.offered), "", "", "")
    table.add_section()
    for name, row in report.by_placement.items():
        quantiles = ("–" if value is None else f"{value:.0f}" for value in (row.p50_ms, row.p95_ms, row.p99_ms))
        table.add_row(f"answered: {name}", str(row.count), _share(row.count, report.answered), *quantiles)
    if len(report.by_edge) > 1:
        table.add_section()
        for edge, count in report.by_edge.items():
            table.add_row(escape(edge), str(count), _share(count, report.answered), "", "", "")
    return table


def stream_line(report: StreamReport) -> str:
    """One line: how a stream goes."""
    return (
        f"{report.seconds:.0f} s: {report.offered_per_s:.1f} photos/s offered, "
        f"{report.in_time_per_s:.1f}/s answered within {report.deadline_ms:.0f} ms, {report.lost} lost"
    )


def _share(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else ""
