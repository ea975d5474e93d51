//! Rules 8 to 10 of `design/promql.md` section 2: rates and their kin.

use crate::harness::{check, check_with};
use promql::script::Settings;

#[test]
fn p08_rates_are_extrapolated_to_the_ends_of_the_window_or_half_a_gap_further() {
    check(
        "load 1m
           c 10+10x10
           r 100 110 5 15
           far _ _ _ _ _ _ 100 110 120
           low 1 11 21

         eval instant at 5m increase(c[4m])
           {} 40

         eval instant at 3m increase(r[3m1ms])
           {} 25.000138

         eval instant at 10m increase(far[10m])
           {} 30

         eval instant at 2m increase(low[4m])
           {} 21

         eval instant at 5m rate(c[4m])
           {} 0.16666666666666666

         eval instant at 5m increase(c[1m])
        ",
    );
}

#[test]
fn p08_a_start_timestamp_in_the_window_stands_for_a_zero() {
    let script = "load 1m
           c@st _ _ -30s
           c    _ _ 60
           d@st _ _ -1m -1m -1m
           d    _ _ 60 60 60

         eval instant at 3m increase(c[5m])
           {} 60

         eval instant at 4m resets(d[3m])
           {} 2

         eval instant at 3m start_timestamp(c)
           {} 90
        ";
    check(script);
    let ignored = "load 1m
           c@st _ _ -30s
           c    _ _ 60

         eval instant at 3m increase(c[5m])

         eval instant at 3m start_timestamp(c)
        ";
    check_with(ignored, Settings { use_start_timestamps: false, ..Settings::prometheus() });
}

#[test]
fn p08_overlapping_start_times_are_warned_of_once() {
    check(
        "load 1m
           c_total@st _ -30s -2m -2m
           c_total    _ 60 60 60

         eval instant at 3m rate(c_total[3m])
           expect warn msg: PromQL warning: sample has start time that overlaps with previous sample timestamp for metric \"c_total\" (1:6)
           {} 0.3333333333333333
        ",
    );
}

#[test]
fn p09_histogram_rates_take_the_coarsest_schema_and_are_gauges() {
    check(
        "load 1m
           h {{schema:1 count:4 sum:4 buckets:[2 2]}} {{schema:0 count:8 sum:8 buckets:[4 4]}} {{schema:0 count:12 sum:12 buckets:[6 6]}}
           mixed 1 {{count:1}} 3

         eval instant at 2m increase(h[2m1ms])
           expect no_warn
           {} {{schema:0 count:8.000066 sum:8.000066 buckets:[4.000033 4.000033] counter_reset_hint:gauge}}

         eval instant at 2m rate(mixed[3m])
           expect warn msg: PromQL warning: encountered a mix of histograms and floats for metric name \"mixed\" (1:6)

         eval instant at 2m resets(mixed[3m])
           {} 2

         eval instant at 2m changes(mixed[3m])
           {} 2

         eval instant at 2m delta(h[2m1ms])
           expect warn msg: PromQL warning: this native histogram metric is not a gauge: \"h\" (1:7)
           {} {{schema:0 count:8.000066 sum:8.000066 buckets:[4.000033 4.000033] counter_reset_hint:gauge}}

         eval instant at 2m irate(h[3m])
           {} {{schema:0 count:0.06666666 sum:0.06666666 buckets:[0.03333333 0.03333333] counter_reset_hint:gauge}}
        ",
    );
}

#[test]
fn p09_regressions_of_constants_and_infinities() {
    check(
        "load 1m
           k 5 5 5
           i Inf Inf Inf
           l 0+60x4

         eval instant at 2m deriv(k[3m])
           {} 0

         eval instant at 2m deriv(i[3m])
           {} NaN

         eval instant at 4m deriv(l[5m])
           {} 1

         eval instant at 4m predict_linear(l[5m], 60)
           {} 300

         eval instant at 4m idelta(l[5m])
           {} 60
        ",
    );
}

#[test]
fn p10_rates_of_what_is_not_named_like_a_counter_are_told_of() {
    check(
        "load 1m
           plain 1 2 3
           good_total 1 2 3
           h {{count:1}} {{count:2}} {{count:3}}

         eval instant at 2m rate(plain[3m])
           expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"plain\" (1:6)
           {} 0.016666666666666666

         eval instant at 2m rate(good_total[3m])
           expect no_info
           {} 0.016666666666666666

         eval instant at 2m rate(h[3m])
           expect no_info
           {} {{count:0.016666666666666666}}

         eval instant at 2m delta(plain[3m])
           expect no_info
           {} 3

         eval instant at 2m rate(plain[1m])
           expect no_info
        ",
    );
}
