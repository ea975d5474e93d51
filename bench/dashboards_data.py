"""The series behind bench/dashboards.txt: what a node exporter, kubelets, kube-state-metrics, an API server and Prometheus itself
export, as a profile for tsload. Every instance of tsload is a cluster of its own (label `cluster`)."""

MODES = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"]
CPUS = ["0", "1", "2", "3"]
DISKS = ["nvme0n1", "sda"]
NICS = ["eth0", "lo", "veth1"]
MOUNTS = {"device": ["/dev/sda1"], "fstype": ["ext4"], "mountpoint": ["/", "/boot", "/data"]}
KUBELET = {"job": ["kubelet"], "metrics_path": ["/metrics/cadvisor"]}
KSM = {"job": ["kube-state-metrics"]}
PODS = {"namespace": ["shop", "monitoring"], "pod": ["web-0", "web-1", "db-0"]}
CONTAINERS = {**PODS, "container": ["app", "sidecar"]}
BUCKETS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
PROM = {"job": ["prometheus"]}
APISERVER = {"job": ["apiserver"]}

FAMILIES = []


def add(kind, scale, names, **labels):
    for name in names.split():
        family = {"name": name, "kind": kind, "scale": float(scale), "labels": list(labels.items())}
        if kind == "histogram":
            family["buckets"] = BUCKETS
        FAMILIES.append(family)


# Node exporter.
add("seconds_counter", 15, "node_cpu_seconds_total", cpu=CPUS, mode=MODES)
add("seconds_counter", 2, "node_cpu_guest_seconds_total", cpu=CPUS, mode=["nice", "user"])
add("seconds_counter", 9, "node_schedstat_running_seconds_total node_schedstat_waiting_seconds_total", cpu=CPUS)
add("gauge_decimal", 4, "node_load1 node_load5 node_load15 node_time_zone_offset_seconds")
add("constant", 1, "up node_exporter_build_info")
add("constant", 1, "node_uname_info", nodename=["worker-1"], release=["6.1.0-18-amd64"], machine=["x86_64"])
add("constant", 1_700_000_000, "node_boot_time_seconds")
add("counter", 15, "node_time_seconds")
add("constant", 33_554_432_000, "node_memory_MemTotal_bytes node_memory_SwapTotal_bytes node_memory_HardwareCorrupted_bytes node_memory_CommitLimit_bytes")
add("gauge_int", 8e9, " ".join(f"node_memory_{m}_bytes" for m in """MemFree MemAvailable Buffers Cached SwapCached SwapFree Active Inactive
    Dirty Writeback AnonPages Mapped Shmem Slab SReclaimable SUnreclaim KernelStack PageTables Committed_AS VmallocUsed Bounce
    HugePages_Total AnonHugePages DirectMap4k DirectMap2M Unevictable Mlocked""".split()))
add("counter", 400, "node_vmstat_pgpgin node_vmstat_pgpgout node_vmstat_pswpin node_vmstat_pswpout node_vmstat_pgfault node_vmstat_pgmajfault")
add("counter", 0.02, "node_vmstat_oom_kill")
add("counter", 25, """node_disk_reads_completed_total node_disk_writes_completed_total node_disk_reads_merged_total node_disk_writes_merged_total
    node_disk_discards_completed_total""", device=DISKS)
add("counter", 40_960, "node_disk_read_bytes_total node_disk_written_bytes_total", device=DISKS)
add("seconds_counter", 2, """node_disk_io_time_seconds_total node_disk_io_time_weighted_seconds_total node_disk_read_time_seconds_total
    node_disk_write_time_seconds_total""", device=DISKS)
add("gauge_int", 5, "node_disk_io_now", device=DISKS)
add("counter", 150_000, "node_network_receive_bytes_total node_network_transmit_bytes_total", device=NICS)
add("counter", 400, "node_network_receive_packets_total node_network_transmit_packets_total node_network_receive_multicast_total", device=NICS)
add("counter", 0.3, """node_network_receive_errs_total node_network_transmit_errs_total node_network_receive_drop_total
    node_network_transmit_drop_total node_network_receive_fifo_total node_network_transmit_fifo_total node_network_receive_frame_total
    node_network_transmit_carrier_total node_network_transmit_colls_total""", device=NICS)
add("constant", 1.25e8, "node_network_speed_bytes", device=NICS)
add("constant", 1, "node_network_up node_network_carrier", device=NICS)
add("gauge_int", 20, "node_arp_entries", device=NICS)
add("constant", 5e11, "node_filesystem_size_bytes", **MOUNTS)
add("gauge_int", 2e11, "node_filesystem_avail_bytes node_filesystem_free_bytes", **MOUNTS)
add("constant", 3e7, "node_filesystem_files", **MOUNTS)
add("gauge_int", 2e7, "node_filesystem_files_free", **MOUNTS)
add("constant", 0, "node_filesystem_readonly node_filesystem_device_error", **MOUNTS)
add("counter", 9_000, "node_context_switches_total node_intr_total node_forks_total")
add("gauge_int", 12, "node_procs_running node_procs_blocked node_processes_threads node_processes_pids")
add("gauge_int", 500, """node_sockstat_TCP_inuse node_sockstat_TCP_orphan node_sockstat_TCP_tw node_sockstat_TCP_alloc node_sockstat_TCP_mem
    node_sockstat_UDP_inuse node_sockstat_UDP_mem node_sockstat_sockets_used node_sockstat_FRAG_inuse node_sockstat_RAW_inuse""")
add("counter", 700, """node_netstat_Tcp_InSegs node_netstat_Tcp_OutSegs node_netstat_Tcp_RetransSegs node_netstat_Tcp_ActiveOpens
    node_netstat_Tcp_PassiveOpens node_netstat_Udp_InDatagrams node_netstat_Udp_OutDatagrams node_netstat_Icmp_InMsgs
    node_netstat_Icmp_OutMsgs node_netstat_IpExt_InOctets node_netstat_IpExt_OutOctets""")
add("counter", 0.5, """node_netstat_Tcp_InErrs node_netstat_Udp_InErrors node_netstat_Udp_NoPorts node_netstat_Icmp_InErrors
    node_netstat_TcpExt_ListenOverflows node_netstat_TcpExt_ListenDrops node_netstat_TcpExt_TCPSynRetrans node_netstat_TcpExt_SyncookiesFailed""")
add("gauge_int", 300, "node_netstat_Tcp_CurrEstab")
add("constant", 65_536, "node_netstat_Tcp_MaxConn node_nf_conntrack_entries_limit node_filefd_maximum")
add("gauge_int", 4_000, "node_nf_conntrack_entries node_filefd_allocated node_entropy_available_bits")
add("gauge_float", 0.001, "node_timex_estimated_error_seconds node_timex_maxerror_seconds node_timex_offset_seconds node_timex_frequency_adjustment_ratio")
add("constant", 1, "node_timex_sync_status node_timex_tai_offset_seconds")
add("gauge_decimal", 55, "node_hwmon_temp_celsius", chip=["platform_coretemp_0"], sensor=["temp1", "temp2", "temp3"])
add("constant", 1, "node_hwmon_chip_names", chip=["platform_coretemp_0"], chip_name=["coretemp"])
add("constant", 90, "node_hwmon_temp_crit_celsius", chip=["platform_coretemp_0"], sensor=["temp1", "temp2", "temp3"])
add("gauge_int", 3, "node_cooling_device_cur_state", name=["0", "1"], type=["Processor"])
add("gauge_int", 40, "node_systemd_units", state=["activating", "active", "deactivating", "failed", "inactive"])
add("constant", 1, "node_systemd_unit_state", name=["sshd.service", "cron.service"], state=["active"])
add("counter", 4, "node_systemd_socket_accepted_connections_total", name=["docker.socket", "dbus.socket"])
add("gauge_float", 0.05, "node_scrape_collector_duration_seconds", collector=["cpu", "diskstats", "filesystem", "netdev"])
add("constant", 1, "node_scrape_collector_success", collector=["cpu", "diskstats", "filesystem", "netdev"])
add("seconds_counter", 1, """node_pressure_cpu_waiting_seconds_total node_pressure_memory_waiting_seconds_total node_pressure_memory_stalled_seconds_total
    node_pressure_io_waiting_seconds_total node_pressure_io_stalled_seconds_total""")
add("counter", 90, "node_softnet_processed_total node_softnet_dropped_total node_softnet_times_squeezed_total", cpu=CPUS)
for job in ("node", "prometheus", "apiserver", "kubelet"):
    add("seconds_counter", 3, "process_cpu_seconds_total", job=[job])
    add("gauge_int", 3e8, "process_resident_memory_bytes process_virtual_memory_bytes go_memstats_alloc_bytes go_memstats_heap_inuse_bytes", job=[job])
    add("gauge_int", 90, "process_open_fds go_goroutines go_threads", job=[job])
    add("constant", 1024, "process_max_fds", job=[job])
    add("constant", 1_700_000_100, "process_start_time_seconds", job=[job])
    add("gauge_float", 0.0005, "go_gc_duration_seconds", job=[job], quantile=["0", "0.5", "1"])
for job in ("prometheus", "apiserver", "kubelet", "kube-state-metrics"):
    add("constant", 1, "up", job=[job])

# Kubernetes: cAdvisor and kubelet.
add("seconds_counter", 6, "container_cpu_usage_seconds_total", image=["registry.example/app"], **KUBELET, **CONTAINERS)
add("counter", 150, "container_cpu_cfs_periods_total", **KUBELET, **CONTAINERS)
add("counter", 20, "container_cpu_cfs_throttled_periods_total", **KUBELET, **CONTAINERS)
add("gauge_int", 2e8, """container_memory_working_set_bytes container_memory_rss container_memory_cache container_memory_swap
    container_memory_usage_bytes""", image=["registry.example/app"], **KUBELET, **CONTAINERS)
add("counter", 9_000, """container_network_receive_bytes_total container_network_transmit_bytes_total container_network_receive_packets_total
    container_network_transmit_packets_total""", interface=["eth0"], **KUBELET, **PODS)
add("counter", 0.2, "container_network_receive_packets_dropped_total container_network_transmit_packets_dropped_total", interface=["eth0"], **KUBELET, **PODS)
add("counter", 60, "container_fs_reads_total container_fs_writes_total", device=["/dev/sda"], **KUBELET, **CONTAINERS)
add("counter", 90_000, "container_fs_reads_bytes_total container_fs_writes_bytes_total", device=["/dev/sda"], **KUBELET, **CONTAINERS)
K = {"job": ["kubelet"], "metrics_path": ["/metrics"], "node": ["worker-1"]}
add("constant", 1, "kubelet_node_name", **K)
add("gauge_int", 30, "kubelet_running_pods kubelet_running_containers volume_manager_total_volumes kubelet_node_config_error", **K)
add("counter", 50, "kubelet_runtime_operations_total", operation_type=["create_container", "list_images", "container_status"], **K)
add("counter", 0.3, "kubelet_runtime_operations_errors_total", operation_type=["create_container", "list_images", "container_status"], **K)
add("histogram", 20, "kubelet_runtime_operations_duration_seconds", operation_type=["create_container", "container_status"], **K)
add("histogram", 15, "kubelet_pod_worker_duration_seconds", operation_type=["create", "sync"], **K)
add("histogram", 15, "kubelet_pod_start_duration_seconds kubelet_cgroup_manager_duration_seconds kubelet_pleg_relist_duration_seconds kubelet_pleg_relist_interval_seconds", **K)
add("counter", 20, "rest_client_requests_total", code=["200", "404", "500"], method=["GET", "PUT"], **K)
V = {"job": ["kubelet"], "metrics_path": ["/metrics"], "namespace": ["shop"], "persistentvolumeclaim": ["data-db-0", "data-db-1"]}
add("constant", 1e11, "kubelet_volume_stats_capacity_bytes", **V)
add("gauge_int", 4e10, "kubelet_volume_stats_available_bytes kubelet_volume_stats_used_bytes", **V)
add("constant", 1e6, "kubelet_volume_stats_inodes", **V)
add("gauge_int", 4e5, "kubelet_volume_stats_inodes_used kubelet_volume_stats_inodes_free", **V)

# kube-state-metrics.
for resource, unit, scale in (("cpu", "core", 0.25), ("memory", "byte", 2.5e8)):
    add("constant", scale, "kube_pod_container_resource_requests", resource=[resource], unit=[unit], node=["worker-1"], **KSM, **CONTAINERS)
    add("constant", 2 * scale, "kube_pod_container_resource_limits", resource=[resource], unit=[unit], node=["worker-1"], **KSM, **CONTAINERS)
    add("constant", 30 * scale, "kube_node_status_allocatable kube_node_status_capacity", resource=[resource], unit=[unit], node=["worker-1"], **KSM)
    add("constant", 20 * scale, "kube_resourcequota", resource=[f"requests.{resource}"], resourcequota=["quota"], namespace=["shop"], type=["hard"], **KSM)
    add("gauge_decimal", 10 * scale, "kube_resourcequota", resource=[f"requests.{resource}"], resourcequota=["quota"], namespace=["shop"], type=["used"], **KSM)
add("constant", 110, "kube_node_status_allocatable kube_node_status_capacity", resource=["pods"], unit=["integer"], node=["worker-1"], **KSM)
add("constant", 1, "kube_node_status_condition", condition=["Ready"], status=["true"], node=["worker-1"], **KSM)
add("constant", 0, "kube_node_spec_unschedulable", node=["worker-1"], **KSM)
add("constant", 1, "kube_node_info", node=["worker-1"], kubelet_version=["v1.31.0"], **KSM)
add("constant", 1, "kube_pod_info", node=["worker-1"], host_ip=["10.0.0.1"], **KSM, **PODS)
add("constant", 1, "kube_pod_owner", owner_kind=["StatefulSet"], owner_name=["web"], **KSM, **PODS)
add("constant", 1, "kube_pod_status_phase", phase=["Running"], **KSM, **PODS)
add("constant", 0, "kube_pod_status_phase", phase=["Pending", "Failed"], **KSM, **PODS)
add("gauge_int", 1, "kube_pod_status_ready", condition=["true"], **KSM, **PODS)
add("counter", 0.1, "kube_pod_container_status_restarts_total", **KSM, **CONTAINERS)
add("constant", 0, "kube_pod_container_status_waiting_reason", reason=["CrashLoopBackOff"], **KSM, **CONTAINERS)
D = {"namespace": ["shop"], "deployment": ["front", "cart"], **KSM}
add("constant", 4, "kube_deployment_spec_replicas", **D)
add("gauge_int", 4, "kube_deployment_status_replicas_available kube_deployment_status_replicas_updated kube_deployment_status_replicas", **D)
add("constant", 7, "kube_deployment_status_observed_generation kube_deployment_metadata_generation", **D)
S = {"namespace": ["shop"], "statefulset": ["db"], **KSM}
add("constant", 3, "kube_statefulset_replicas kube_statefulset_status_replicas", **S)
add("gauge_int", 3, "kube_statefulset_status_replicas_ready kube_statefulset_status_replicas_updated", **S)
add("constant", 5, "kube_daemonset_status_desired_number_scheduled", namespace=["monitoring"], daemonset=["agent"], **KSM)
add("gauge_int", 5, "kube_daemonset_status_number_ready kube_daemonset_status_current_number_scheduled", namespace=["monitoring"], daemonset=["agent"], **KSM)
H = {"namespace": ["shop"], "horizontalpodautoscaler": ["front"], **KSM}
add("constant", 10, "kube_horizontalpodautoscaler_spec_max_replicas", **H)
add("gauge_int", 6, "kube_horizontalpodautoscaler_status_current_replicas kube_horizontalpodautoscaler_status_desired_replicas", **H)
add("gauge_int", 1, "kube_job_status_active kube_job_status_failed", namespace=["shop"], job_name=["backup"], **KSM)

# API server and its clients.
add("counter", 30, "apiserver_request_total", verb=["GET", "LIST", "POST"], code=["200", "404", "500"], resource=["pods", "nodes"], **APISERVER)
add("histogram", 25, "apiserver_request_duration_seconds", verb=["GET", "LIST", "POST"], resource=["pods", "nodes"], **APISERVER)
add("gauge_int", 12, "apiserver_current_inflight_requests", request_kind=["mutating", "readOnly"], **APISERVER)
add("counter", 9, "workqueue_adds_total", name=["APIServiceRegistration", "namespace"], **APISERVER)
add("gauge_int", 5, "workqueue_depth", name=["APIServiceRegistration", "namespace"], **APISERVER)
add("histogram", 9, "workqueue_queue_duration_seconds", name=["APIServiceRegistration", "namespace"], **APISERVER)
add("counter", 40, "etcd_request_duration_seconds_count", operation=["get", "list"], **APISERVER)
add("seconds_counter", 3, "etcd_request_duration_seconds_sum", operation=["get", "list"], **APISERVER)

# Prometheus itself.
add("gauge_int", 40_000, "prometheus_tsdb_head_series prometheus_tsdb_head_chunks prometheus_tsdb_symbol_table_size_bytes prometheus_tsdb_storage_blocks_bytes", **PROM)
add("counter", 5_000, "prometheus_tsdb_head_samples_appended_total", type=["float", "histogram"], **PROM)
add("counter", 30, """prometheus_tsdb_head_series_created_total prometheus_tsdb_head_series_removed_total prometheus_tsdb_head_chunks_created_total
    prometheus_tsdb_head_chunks_removed_total""", **PROM)
add("counter", 0.2, """prometheus_tsdb_compactions_total prometheus_tsdb_compactions_failed_total prometheus_tsdb_head_gc_duration_seconds_count
    prometheus_tsdb_wal_corruptions_total prometheus_tsdb_reloads_failures_total prometheus_target_scrapes_exceeded_sample_limit_total
    prometheus_target_scrapes_sample_duplicate_timestamp_total prometheus_target_scrapes_sample_out_of_bounds_total
    prometheus_target_scrapes_sample_out_of_order_total prometheus_rule_evaluation_failures_total prometheus_rule_group_iterations_missed_total""", **PROM)
add("seconds_counter", 0.2, "prometheus_tsdb_head_gc_duration_seconds_sum", **PROM)
add("histogram", 2, "prometheus_tsdb_compaction_chunk_size_bytes prometheus_tsdb_compaction_duration_seconds", **PROM)
add("gauge_float", 15, "prometheus_target_interval_length_seconds", interval=["15s"], quantile=["0.5", "0.9", "0.99"], **PROM)
add("counter", 30, "prometheus_target_interval_length_seconds_count", interval=["15s"], **PROM)
add("seconds_counter", 450, "prometheus_target_interval_length_seconds_sum", interval=["15s"], **PROM)
add("seconds_counter", 0.2, "prometheus_target_sync_length_seconds_sum", scrape_job=["node", "kubelet"], **PROM)
add("gauge_int", 20, "prometheus_sd_discovered_targets", config=["node", "kubelet"], **PROM)
add("gauge_float", 0.01, "prometheus_engine_query_duration_seconds", slice=["inner_eval", "prepare_time", "queue_time", "result_sort"], quantile=["0.5", "0.9", "0.99"], **PROM)
add("counter", 8, "prometheus_engine_query_duration_seconds_count", slice=["inner_eval", "prepare_time"], **PROM)
add("seconds_counter", 0.4, "prometheus_engine_query_duration_seconds_sum", slice=["inner_eval", "prepare_time"], **PROM)
add("gauge_int", 4, "prometheus_engine_queries", **PROM)
add("counter", 12, "prometheus_http_requests_total", handler=["/api/v1/query", "/metrics"], code=["200", "400"], **PROM)
add("histogram", 12, "prometheus_http_request_duration_seconds", handler=["/api/v1/query", "/metrics"], **PROM)
add("histogram", 12, "prometheus_http_response_size_bytes", handler=["/api/v1/query", "/metrics"], **PROM)
R = {"remote_name": ["a"], "url": ["http://remote.example/write"], **PROM}
add("counter", 900, "prometheus_remote_storage_samples_total prometheus_remote_storage_samples_in_total prometheus_remote_storage_succeeded_samples_total", **R)
add("counter", 0.4, "prometheus_remote_storage_samples_failed_total prometheus_remote_storage_samples_dropped_total prometheus_remote_storage_samples_retried_total prometheus_remote_storage_enqueue_retries_total", **R)
add("counter", 15, "prometheus_remote_storage_highest_timestamp_in_seconds prometheus_remote_storage_queue_highest_sent_timestamp_seconds", **R)
add("gauge_int", 8, "prometheus_remote_storage_shards prometheus_remote_storage_shards_desired prometheus_remote_storage_samples_pending", **R)
add("constant", 50, "prometheus_remote_storage_shards_max prometheus_remote_storage_shard_capacity", **R)
add("histogram", 6, "prometheus_remote_storage_sent_batch_duration_seconds", **R)
add("counter", 6, "prometheus_rule_evaluations_total prometheus_rule_group_iterations_total", rule_group=["alerts", "records"], **PROM)
add("gauge_float", 0.3, "prometheus_rule_group_last_duration_seconds", rule_group=["alerts", "records"], **PROM)
add("constant", 60, "prometheus_rule_group_interval_seconds", rule_group=["alerts", "records"], **PROM)
add("gauge_int", 3, "prometheus_notifications_queue_length prometheus_notifications_alertmanagers_discovered", **PROM)
add("constant", 10_000, "prometheus_notifications_queue_capacity", **PROM)
add("counter", 2, "prometheus_notifications_sent_total prometheus_notifications_dropped_total prometheus_notifications_errors_total", alertmanager=["a", "b"], **PROM)
add("constant", 1, "prometheus_config_last_reload_successful", **PROM)
add("constant", 1_700_000_200, "prometheus_config_last_reload_success_timestamp_seconds", **PROM)
add("constant", 1, "prometheus_build_info", version=["2.42.0"], revision=["abc"], **PROM)


def profile():
    """The profile as tsload reads it."""
    return {"families": FAMILIES}
