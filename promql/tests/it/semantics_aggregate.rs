//! Rules 17 to 20 of `design/promql.md` section 2: aggregations over series and over time.

use crate::harness::check;

#[test]
fn p17_sums_and_means_lose_nothing_and_extremes_ignore_nan() {
    check(
        "load 1m
           m{i=\"1\"} 1e100
           m{i=\"2\"} 1
           m{i=\"3\"} -1e100
           big{i=\"1\"} 1e308
           big{i=\"2\"} 1e308
           n{i=\"1\"} NaN
           n{i=\"2\"} 2
           v{i=\"1\"} 2
           v{i=\"2\"} 4

         eval instant at 0 sum(m)
           {} 1

         eval instant at 0 avg(big)
           {} 1e308

         eval instant at 0 sum(big)
           {} Inf

         eval instant at 0 min(n) + max(n)
           {} 4

         eval instant at 0 max(n{i=\"1\"})
           {} NaN

         eval instant at 0 stdvar(v)
           {} 1

         eval instant at 0 stddev(n)
           {} NaN

         eval instant at 0 group(v) + count(v)
           {} 3

         eval instant at 0 quantile(0.5, n)
           {} NaN

         eval instant at 0 quantile(1, n)
           {} 2

         eval instant at 0 quantile(-1, v)
           expect warn msg: PromQL warning: quantile value should be between 0 and 1, got -1 (1:10)
           {} -Inf

         eval instant at 0 quantile(2, v)
           expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)
           {} Inf
        ",
    );
}

#[test]
fn p17_histograms_are_summed_with_their_kind_and_ignored_by_extremes() {
    check(
        "load 1m
           h{i=\"1\"} {{schema:0 count:4 sum:4 buckets:[4]}}
           h{i=\"2\"} {{schema:0 count:2 sum:2 buckets:[2]}}
           x{i=\"1\"} {{schema:0 count:4 sum:4 buckets:[4]}}
           x{i=\"2\"} 1

         eval instant at 0 sum(h)
           {} {{schema:0 count:6 sum:6 buckets:[6]}}

         eval instant at 0 avg(h)
           {} {{schema:0 count:3 sum:3 buckets:[3]}}

         eval instant at 0 count(x)
           {} 2

         eval instant at 0 sum(x)
           expect warn msg: PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)

         eval instant at 0 max(x)
           expect info msg: PromQL info: ignored histogram in max aggregation (1:5)
           {} 1
        ",
    );
}

#[test]
fn p18_topk_and_limitk_choose_by_value_by_order_and_by_hash() {
    check(
        "load 1m
           m{i=\"1\"} 1
           m{i=\"2\"} NaN
           m{i=\"3\"} 3
           m{i=\"4\"} 4
           h{i=\"1\"} {{count:1}}
           h{i=\"2\"} {{count:2}}

         eval instant at 0 topk(3, m)
           expect ordered
           m{i=\"4\"} 4
           m{i=\"3\"} 3
           m{i=\"1\"} 1

         eval instant at 0 bottomk(1, m)
           m{i=\"1\"} 1

         eval instant at 0 topk(0, m)

         eval instant at 0 topk(NaN, m)
           expect fail msg: Parameter value is NaN

         eval instant at 0 topk(1e30, m)
           expect fail msg: Scalar value 1e+30 overflows int64

         eval instant at 0 topk(-1e30, m)
           expect fail msg: Scalar value -1e+30 underflows int64

         eval instant at 0 limitk(1, h)
           h{i=\"1\"} {{count:1}}

         eval instant at 0 count(limit_ratio(0.5, m) or limit_ratio(-0.5, m))
           {} 4

         eval instant at 0 count(limit_ratio(-2, m))
           expect warn msg: PromQL warning: ratio value should be between -1 and 1, got -2, capping to -1 (1:19)
           {} 4
        ",
    );
}

#[test]
fn p19_count_values_writes_floats_without_exponent() {
    check(
        "load 1m
           m{i=\"1\", __unit__=\"s\"} 1e21
           m{i=\"2\", __unit__=\"s\"} 1e21
           m{i=\"3\", __unit__=\"s\"} 0.5

         eval instant at 0 count_values(\"v\", m)
           {v=\"1000000000000000000000\"} 2
           {v=\"0.5\"} 1

         eval instant at 0 count_values without (i) (\"v\", m{i=\"3\"} * 1)
           {v=\"0.5\"} 1

         eval instant at 0 count_values(\"a\\xc5z\", m)
           expect fail msg: invalid label name \"a\\xc5z\"

         eval instant at 0 count_values(\"\", m)
           expect fail msg: invalid label name \"\"
        ",
    );
}

#[test]
fn p20_functions_over_time_keep_prometheus_s_order_of_operations() {
    check(
        "load 1m
           s 1e100 1 -1e100
           i Inf 1 2
           n 1 NaN 3
           t 5 9 5 9
           mixed 1 {{count:1}} 3

         eval instant at 2m sum_over_time(s[3m])
           {} 1

         eval instant at 2m sum_over_time(i[3m])
           {} Inf

         eval instant at 2m mad_over_time(n[3m])
           {} NaN

         eval instant at 2m max_over_time(n[3m]) + min_over_time(n[3m])
           {} 4

         eval instant at 3m ts_of_min_over_time(t[4m])
           {} 120

         eval instant at 3m ts_of_max_over_time(t[4m])
           {} 180

         eval instant at 3m ts_of_first_over_time(t[4m]) + ts_of_last_over_time(t[4m])
           {} 180

         eval instant at 3m stddev_over_time(t[4m])
           {} 2

         eval instant at 3m quantile_over_time(0.5, t[4m])
           {} 7

         eval instant at 2m count_over_time(mixed[3m]) + present_over_time(mixed[3m])
           {} 4

         eval instant at 2m absent_over_time(nothing[3m])
           {} 1

         eval instant at 2m max_over_time(mixed[3m])
           expect info msg: PromQL info: ignored histograms in a range containing both floats and histograms for metric name \"mixed\" (1:15)
           {} 3
        ",
    );
}
