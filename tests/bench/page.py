# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""bench.json for people: Markdown tables. What is not known is a dash."""

from __future__ import annotations

RUNS = {"converge": "fresh hosts", "no_op": "nothing to do", "check": "--check, nothing to do"}
ROUTES = {"vip": "virtual IP", "direct": "direct"}
STATES = {"without": "no archiving", "archiving": "archiving", "during_backups": "backups running"}


def page(found: dict) -> str:
    """All that was measured, and what was not and why."""
    machine = found["machine"]
    began = (
        f"{found['began']}, {found['commit']}, ansible-core {found['ansible']}, {machine['cores']} cores,"
        f" {size(machine['memory_bytes'])}, load {machine['load_at_start']:.1f} at the start"
    )
    sections = {
        "Runs of site.yml": runs(found["runs"]),
        f"Throughput, median of {found['settings']['repeat']}": throughput(found["throughput"]),
        f"Cost of backups, through the virtual IP, median of {found['settings']['repeat']}": cost(found["cost"]),
        "Memory, now (peak)": memory(found["memory"]),
        "Drill": drill(found["drill"]),
        "Failed": [f"- {step}: {why}" for step, why in found["failed"].items()],
    }
    parts = [f"# {title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines]
    return "\n\n".join([began, *parts]) + "\n"


def runs(measured: dict) -> list[str]:
    rows = [
        [
            RUNS[name],
            f"{run['seconds']:.0f} s",
            *(str(run[key]) for key in ("tasks", "lines", "changed")),
            _slowest(run["slowest"]),
        ]
        for name, run in measured.items()
    ]
    return table(["run", "time:", "tasks:", "lines:", "changed:", "slowest tasks"], rows)


def _slowest(tasks: list[dict]) -> str:
    return "; ".join(f"{task['task'].rpartition(' : ')[2]} {task['seconds']:.1f} s" for task in tasks)


def throughput(measured: list[dict]) -> list[str]:
    rows = [
        [
            entry["path"], entry["work"], str(entry["users"]),
            ROUTES[route] + (f", {entry['host']}" if route == "direct" else ""),
            f"{found['rate_per_s']:.0f} {entry['unit']}",
            *(f"{found[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")), str(found["errors"]),
        ]
        for entry in measured
        for route in ROUTES
        for found in [entry[route]["median"]]
    ]  # fmt: skip
    head = ["path", "work", "users:", "by", "a second:", "p50 ms:", "p95 ms:", "p99 ms:", "max ms:", "errors:"]
    return table(head, rows)


def cost(measured: list[dict]) -> list[str]:
    """Each state's rate, and its share of that without archiving; and its slow requests."""
    rows = [
        [
            entry["path"], entry["work"], str(entry["users"]), STATES[state], f"{found['rate_per_s']:.0f} {entry['unit']}",
            f"{found['rate_per_s'] / entry['without']['median']['rate_per_s']:.2f}",
            *(f"{found[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")), str(found["errors"]),
        ]
        for entry in measured
        for state in STATES
        for found in [entry[state]["median"]]
    ]  # fmt: skip
    head = [
        "path",
        "work",
        "users:",
        "meanwhile",
        "a second:",
        "share:",
        "p50 ms:",
        "p95 ms:",
        "p99 ms:",
        "max ms:",
        "errors:",
    ]
    return table(head, rows)


def memory(measured: list[dict]) -> list[str]:
    hosts = list(dict.fromkeys(entry["host"] for entry in measured))
    cells: dict[str, dict[str, str]] = {}
    for entry in measured:
        peak = f" ({size(entry['peak_bytes'])})" if entry["peak_bytes"] is not None else ""
        cells.setdefault(entry["service"], {})[entry["host"]] = size(entry["current_bytes"]) + peak
    rows = [[service, *(of.get(host, "–") for host in hosts)] for service, of in cells.items()]
    return table(["service", *(f"{host}:" for host in hosts)], rows)


def drill(found: dict | None) -> list[str]:
    if not found:
        return []
    rows = [
        [
            fault["fault"], str(fault["turns"]), *(_seconds(fault["outage_s"], key) for key in ("min", "median", "max")),
            "–" if fault["missing"] is None else str(fault["missing"]), _seconds(fault.get("lock_wait_s"), "max"),
            _seconds(fault["whole_after_s"], "max"),
            "yes" if fault["met"] else "no",
        ]
        for fault in found["faults"]
    ]  # fmt: skip
    head = ["fault", "turns:", "outage, least:", "median:", "most:", "missing:", "lock wait:", "recovers in:", "met"]
    return table(head, rows)


def _seconds(spread: dict | None, key: str) -> str:
    return f"{spread[key]:.1f} s" if spread else "–"


def size(value: int | None) -> str:
    """Bytes as people read them; a dash where they are not known."""
    if value is None:
        return "–"
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table; none without rows. A title that ends with a colon is that of a column of numbers."""
    if not rows:
        return []
    titles = [title.removesuffix(":") for title in head]
    widths = [max(map(len, column)) for column in zip(titles, *rows)]

    def line(cells):
        return "| " + " | ".join(
            cell.rjust(width) if title.endswith(":") else cell.ljust(width)
            for cell, title, width in zip(cells, head, widths)
        ) + " |"  # fmt: skip

    rule = "|" + "|".join(
        "-" * (width + 1) + (":" if title.endswith(":") else "-") for title, width in zip(head, widths)
    ) + "|"  # fmt: skip
    return [line(titles), rule, *map(line, rows)]
