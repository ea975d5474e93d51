#!/usr/bin/env python3
"""Runs a real Prometheus that scrapes itself and a node_exporter and remote-writes to a local three-node cluster, then asks both the same
dashboard queries and compares: same series, same timestamps, values within 1e-9 relative.

    bench/agree.py --flotilla PATH [--minutes 10] [--dir DIR]

Needs `prometheus` and `prometheus-node-exporter` in the PATH. Everything listens on 127.0.0.1 and ends with the script. Exit 1 if any
query differs. Query times lie between two scrapes: Prometheus 2.x and 3.x differ about a sample on a window's left edge.
"""
import argparse, os, shutil, sys, tempfile, time

import local

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


def compare(start, end):
    """Whether both answer each query alike."""
    equal = 0
    for i, query in enumerate(QUERIES):
        reference = local.ask("http://127.0.0.1:19190", query, end, start, 15)
        found = local.difference(reference, local.ask(f"http://127.0.0.1:{19580 + 2 * (i % 3)}", query, end, start, 15))
        points = sum(map(len, reference.values()))
        print(f"{'DIFFERS ' + found if found else 'equal'}  {len(reference)} series {points} points  {query}", flush=True)
        equal += found is None and "error" not in reference
    print(f"{equal} of {len(QUERIES)} queries equal")
    return equal == len(QUERIES)


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
    try:
        with open(os.path.join(directory, "log"), "ab") as log, local.Processes(log) as processes:
            processes.start(a.flotilla, "up", "--nodes", "3", "--data", os.path.join(directory, "flotilla"), "--http-port", "19580",
                            "--log.level=warn")
            local.wait_ready("http://127.0.0.1:19580")
            processes.start("prometheus-node-exporter", "--web.listen-address=127.0.0.1:19191")
            processes.start("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/prometheus",
                            "--web.listen-address=127.0.0.1:19190")
            local.wait_ready("http://127.0.0.1:19190")
            began = time.time()
            time.sleep(a.minutes * 60)
            time.sleep(20)  # what is scraped last has to arrive
            sys.exit(0 if compare(int(began) + 0.5 + min(330, a.minutes * 33), int(time.time()) - 30.5) else 1)
    finally:
        if not a.dir:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
