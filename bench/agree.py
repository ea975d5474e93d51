#!/usr/bin/env python3
"""Runs a real Prometheus that scrapes itself and a node_exporter and remote-writes to a local three-node cluster, then asks both the same
dashboard queries and compares: same series, same timestamps, values within 1e-9 relative.

    bench/agree.py --flotilla PATH [--minutes 10] [--dir DIR]

Needs `prometheus` and `prometheus-node-exporter` in the PATH. Everything listens on 127.0.0.1 and ends with the script. Exit 1 if any
query differs. Query times lie between two scrapes: Prometheus 2.x and 3.x differ about a sample on a window's left edge.
"""
import argparse, json, os, shutil, signal, subprocess, sys, tempfile, time, urllib.parse, urllib.request

QUERIES = [
    "up",
    "rate(prometheus_http_requests_total[5m])",
    "sum by (handler) (rate(prometheus_http_requests_total[5m]))",
    "histogram_quantile(0.99, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[5m])))",
    "prometheus_tsdb_head_series",
    "rate(prometheus_tsdb_head_samples_appended_total[1m])",
    "sum by (mode) (rate(node_cpu_seconds_total[1m]))",
    '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[1m]))',
    "node_load1",
    "node_load1 / on (instance) count by (instance) (node_cpu_seconds_total{mode=\"idle\"})",
    "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
    "topk(3, rate(node_disk_written_bytes_total[1m]))",
    "max_over_time(node_load5[2m])",
    "irate(node_network_receive_bytes_total{device!~\"lo|veth.*\"}[1m])",
    '100 * node_filesystem_avail_bytes{fstype!~"tmpfs|rootfs"} / node_filesystem_size_bytes',
    "predict_linear(node_filesystem_free_bytes[2m], 3600)",
    "count({__name__=~\"node_.+\"}) by (job)",
    "changes(process_start_time_seconds[5m])",
    "quantile_over_time(0.9, go_goroutines[3m])",
    "avg_over_time(rate(prometheus_engine_query_duration_seconds_sum[1m])[3m:15s])",
    "deriv(process_resident_memory_bytes[2m])",
    "node_time_seconds - node_boot_time_seconds",
    "label_replace(node_uname_info, \"kernel\", \"$1\", \"release\", \"([0-9]+)\\\\..*\")",
    "resets(node_context_switches_total[5m]) == 0",
    "absent(nonexistent_metric)",
]


def wait(url, seconds=60):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            if urllib.request.urlopen(url, timeout=2).status == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"not ready: {url}")


def ask(base, query, start, end, step):
    form = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step}).encode()
    answer = json.load(urllib.request.urlopen(base + "/api/v1/query_range", form, timeout=60))
    if answer["status"] != "success":
        raise SystemExit(f"{base}: {query}: {answer}")
    return {json.dumps(r["metric"], sort_keys=True): r["values"] for r in answer["data"]["result"]}


def differs(a, b):
    if a.keys() != b.keys():
        return f"series differ: {sorted(a.keys() ^ b.keys())[:2]}"
    for series in a:
        if [p[0] for p in a[series]] != [p[0] for p in b[series]]:
            return f"timestamps differ: {series}"
        for (t, x), (_, y) in zip(a[series], b[series]):
            fx, fy = float(x), float(y)
            if not (fx == fy or (fx != fx and fy != fy) or abs(fx - fy) <= 1e-9 * max(abs(fx), abs(fy))):
                return f"{series} at {t}: {x} and {y}"
    return None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flotilla", default="flotilla")
    p.add_argument("--minutes", type=float, default=10)
    p.add_argument("--dir")
    a = p.parse_args()
    directory = a.dir or tempfile.mkdtemp(prefix="agree-")
    os.makedirs(directory, exist_ok=True)
    config = os.path.join(directory, "prometheus.yml")
    with open(config, "w") as f:
        f.write(
            "global: {scrape_interval: 5s}\n"
            "scrape_configs:\n"
            "- {job_name: prometheus, static_configs: [{targets: ['127.0.0.1:19190']}]}\n"
            "- {job_name: node, static_configs: [{targets: ['127.0.0.1:19191']}]}\n"
            "remote_write:\n"
            "- {url: 'http://127.0.0.1:19580/api/v1/write'}\n"
        )
    log = open(os.path.join(directory, "log"), "ab")
    commands = [
        [a.flotilla, "up", "--nodes", "3", "--data", os.path.join(directory, "flotilla"), "--http-port", "19580", "--log.level=warn"],
        ["prometheus-node-exporter", "--web.listen-address=127.0.0.1:19191"],
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/prometheus", "--web.listen-address=127.0.0.1:19190"],
    ]
    processes = []
    try:
        processes.append(subprocess.Popen(commands[0], stdout=log, stderr=log))
        wait("http://127.0.0.1:19580/-/ready")
        processes += [subprocess.Popen(c, stdout=log, stderr=log) for c in commands[1:]]
        wait("http://127.0.0.1:19190/-/ready")
        began = time.time()
        time.sleep(a.minutes * 60)
        time.sleep(20)  # what is scraped last has to arrive
        start, end, step = int(began) + 0.5 + min(330, a.minutes * 33), int(time.time()) - 30.5, 15
        bad = 0
        for i, query in enumerate(QUERIES):
            reference = ask("http://127.0.0.1:19190", query, start, end, step)
            difference = differs(reference, ask(f"http://127.0.0.1:{19580 + 2 * (i % 3)}", query, start, end, step))
            points = sum(map(len, reference.values()))
            print(f"{'DIFFERS ' + difference if difference else 'equal'}  {len(reference)} series {points} points  {query}", flush=True)
            bad += difference is not None
        print(f"{len(QUERIES) - bad} of {len(QUERIES)} queries equal")
        sys.exit(1 if bad else 0)
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        if not a.dir:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
