#!/usr/bin/env python3
"""Asks a Prometheus 2.42 and a Flotilla cluster that hold the same samples the same dashboard queries (dashboards.txt), and compares:
same series, same timestamps, values within 1e-9 relative.

    bench/dashboards.py --flotilla PATH --prometheus PATH --tsload PATH [--port 19600] [--nodes 3] [--hours 3] [--dir DIR]

Everything listens on 127.0.0.1 from --port on and ends with the script. No sample lies at a time at which a query is evaluated:
2.x and 3.x differ about a sample on the left edge of a window. Flotilla is asked three times, twice on one node, where the second answer
may come from its result cache, and once on another. Exit 1 if a query differs without a cause named in dashboards.txt, or fails.
"""
import argparse, json, os, shutil, subprocess, sys, tempfile, time

import dashboards_data, local

HERE = os.path.dirname(os.path.abspath(__file__))


def queries(path):
    """(text, instant, cause) of each line."""
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        text, _, cause = (part.strip() for part in line.partition("##"))
        instant = text.startswith("instant ")
        yield text.removeprefix("instant "), instant, cause


class Servers:
    """Both servers, ready."""

    def __init__(self, a, directory, processes):
        self.prometheus = f"http://127.0.0.1:{a.port}"
        first = a.port + 1
        self.flotilla = [f"http://127.0.0.1:{first + 2 * i}" for i in range(a.nodes)]
        processes.start(a.prometheus, "--config.file=/dev/null", "--web.enable-remote-write-receiver", f"--storage.tsdb.path={directory}/prometheus",
                        f"--web.listen-address=127.0.0.1:{a.port}")
        processes.start(a.flotilla, "up", "--nodes", a.nodes, "--http-port", first, "--data", f"{directory}/flotilla",
                        "--limits.late-window=48h", "--self-metrics.interval=0", "--log.level=warn")
        for base in [self.prometheus, *self.flotilla]:
            local.wait_ready(base)


def fill(a, servers, directory, log, start, steps):
    profile = os.path.join(directory, "profile.json")
    with open(profile, "w") as f:
        json.dump(dashboards_data.profile(), f)
    for base in (servers.prometheus, servers.flotilla[0]):
        subprocess.run([a.tsload, "write", "--profile", profile, "--instances", str(a.clusters), "--start", str(start), "--steps", str(steps),
                        "--url", base + "/api/v1/write", "--connections", "2"], check=True, stdout=log, stderr=log)


def compare(servers, path, start, end, step):
    counts = {"equal": 0, "explained": 0, "DIFFERS": 0}
    points = empty = 0
    for i, (text, instant, cause) in enumerate(queries(path)):
        window = {} if instant else {"start": start, "step": step}
        reference = local.ask(servers.prometheus, text, end, **window)
        nodes = len(servers.flotilla)
        found = None
        for node in (i % nodes, i % nodes, (i + 1) % nodes):
            found = found or local.difference(reference, local.ask(servers.flotilla[node], text, end, **window))
        verdict = "equal" if found is None else "explained" if cause else "DIFFERS"
        counts[verdict] += 1
        points += sum(map(len, reference.values())) if "error" not in reference else 0
        empty += not reference
        if not reference:
            print(f"note: no series on either side: {text}" if found is None else f"note: no series in the reference: {text}", flush=True)
        if found is None and cause:
            print(f"note: no difference any more although a cause is named: {text}", flush=True)
        elif found:
            print(f"{verdict}: {text}\n    {found}" + (f"\n    cause: {cause}" if cause else ""), flush=True)
    total = sum(counts.values())
    print(f"{total} queries, {points} points of the reference, {empty} answers without series: "
          + ", ".join(f"{n} {name}" for name, n in counts.items()))
    return counts["DIFFERS"] == 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flotilla", default="flotilla")
    p.add_argument("--prometheus", default="prometheus", help="Prometheus 2.42")
    p.add_argument("--tsload", default="tsload")
    p.add_argument("--queries", default=os.path.join(HERE, "dashboards.txt"))
    p.add_argument("--port", type=int, default=19600)
    p.add_argument("--nodes", type=int, default=3)
    p.add_argument("--clusters", type=int, default=3)
    p.add_argument("--hours", type=float, default=3)
    p.add_argument("--dir")
    a = p.parse_args()
    directory = a.dir or tempfile.mkdtemp(prefix="dashboards-")
    os.makedirs(directory, exist_ok=True)
    interval, step = 15, 60
    steps = int(a.hours * 3600 / interval)
    # Samples at 7, 22, 37 and 52 s of each minute, the newest a little before now; queries at 30 s, off the grid of subqueries too.
    first = (int(time.time()) - 120 - steps * interval) // 60 * 60 + 7
    # Most windows lie within the data, where both versions extrapolate alike.
    start, end = first + 23 + 4200, first + 23 + ((steps - 1) * interval // 60 - 1) * 60
    try:
        with open(os.path.join(directory, "log"), "ab") as log, local.Processes(log) as processes:
            servers = Servers(a, directory, processes)
            fill(a, servers, directory, log, first, steps)
            sys.exit(0 if compare(servers, a.queries, start, end, step) else 1)
    finally:
        if not a.dir:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
