//! Rules 11 to 16 of `design/promql.md` section 2: names, labels and binary operators.

use crate::harness::{check, check_delayed, check_eager};

#[test]
fn p11_names_are_dropped_at_once_or_at_the_end() {
    let data = "load 1m
           a{x=\"1\", __type__=\"gauge\", __unit__=\"s\"} 1 2 3
           b{x=\"1\", __type__=\"gauge\", __unit__=\"s\"} _ _ 4
        ";
    let both = "
         eval instant at 1m abs(a)
           {x=\"1\"} 2

         eval instant at 1m last_over_time(a[2m])
           {__name__=\"a\", __type__=\"gauge\", __unit__=\"s\", x=\"1\"} 2

         eval instant at 2m abs({x=\"1\"})
           expect fail msg: vector cannot contain metrics with the same labelset

         eval instant at 1m label_replace(abs(a), \"__name__\", \"c\", \"\", \"\")
           c{X} 2
        ";
    check_eager(&format!("{data}{}", both.replace("{X}", "{x=\"1\"}")));
    check_delayed(&format!("{data}{}", both.replace("{X}", "{__type__=\"gauge\", __unit__=\"s\", x=\"1\"}")));
    check_delayed(&format!(
        "{data}
         eval instant at 1m sum by (__name__, x) (abs(a))
           {{x=\"1\"}} 2
        "
    ));
    check_eager(&format!(
        "{data}
         eval instant at 1m count by (__name__) (abs(a) or a)
           {{}} 1
           {{__name__=\"a\"}} 1
        "
    ));
}

#[test]
fn p12_arithmetic_and_bool_drop_the_name_and_filters_keep_it() {
    check(
        "load 1m
           m{x=\"1\"} 5
           info{x=\"1\", version=\"2\"} 1
           gone{x=\"1\", version=\"2\"} 1

         eval instant at 0 m + 1
           {x=\"1\"} 6

         eval instant at 0 m > 1
           m{x=\"1\"} 5

         eval instant at 0 m > bool 1
           {x=\"1\"} 1

         eval instant at 0 m * on (x) group_left (version) info
           {x=\"1\", version=\"2\"} 5

         eval instant at 0 gone * on (x) group_left (version) m
           {x=\"1\"} 5
        ",
    );
}

#[test]
fn p13_ambiguous_matches_are_errors_with_prometheus_s_words() {
    check(
        "load 1m
           l{x=\"1\"} 1
           r{x=\"1\", y=\"1\"} 1
           r{x=\"1\", y=\"2\"} 2
           other{x=\"9\"} 1

         eval instant at 0 l + on (x) r
           expect fail msg: found duplicate series for the match group {x=\"1\"} on the right hand-side of the operation: [{__name__=\"r\", x=\"1\", y=\"1\"}, {__name__=\"r\", x=\"1\", y=\"2\"}];many-to-many matching not allowed: matching labels must be unique on one side

         eval instant at 0 r + on (x) l
           expect fail msg: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)

         eval instant at 0 other + on (x) r
           expect fail regex: found duplicate series for the match group .*

         eval instant at 0 nothing + on (x) r

         eval instant at 0 label_replace(r, \"y\", \"\", \"y\", \".*\") + on (x) group_left l
           expect fail msg: vector cannot contain metrics with the same labelset

         eval instant at 0 l > on (x) r
           expect fail regex: found duplicate series for the match group .*
        ",
    );
}

#[test]
fn p14_fill_stands_for_missing_samples() {
    check(
        "load 1m
           l{x=\"1\"} 1 1 _
           l{x=\"2\"} 2
           r{x=\"1\"} 10 _ 10
           r{x=\"3\"} 30

         eval instant at 0 l + fill_right(5) r
           {x=\"1\"} 11
           {x=\"2\"} 7

         eval instant at 0 l + fill_left(5) r
           {x=\"1\"} 11
           {x=\"3\"} 35

         eval instant at 0 l - on (x) fill(0) r
           {x=\"1\"} -9
           {x=\"2\"} 2
           {x=\"3\"} -30

         eval instant at 0 l + fill(1) nothing
           {x=\"1\"} 2
           {x=\"2\"} 3

         eval instant at 0 l > fill(1) nothing
           l{x=\"2\"} 2
        ",
    );
}

#[test]
fn p15_set_operators_work_step_by_step_and_comparisons_return_the_vector() {
    check(
        "load 1m
           a{x=\"1\"} 1 _ 3 stale
           b{x=\"1\"} 10 20 _ stale
           b{x=\"2\"} 5 stale

         eval range from 0 to 2m step 1m last_over_time(a[1ms]) or last_over_time(b{x=\"1\"}[1ms])
           a{x=\"1\"} 1 _ 3
           b{x=\"1\"} _ 20 _

         eval range from 0 to 2m step 1m last_over_time(b{x=\"1\"}[1ms]) and last_over_time(a[1ms])
           b{x=\"1\"} 10

         eval range from 0 to 2m step 1m last_over_time(b{x=\"1\"}[1ms]) unless last_over_time(a[1ms])
           b{x=\"1\"} _ 20

         eval instant at 0 3 < b
           b{x=\"1\"} 10
           b{x=\"2\"} 5

         eval instant at 0 a or b
           expect ordered
           a{x=\"1\"} 1
           b{x=\"2\"} 5
        ",
    );
}

#[test]
fn p16_operators_on_native_histograms() {
    check(
        "load 1m
           h {{schema:0 count:4 sum:8 buckets:[2 2]}}
           i {{schema:0 count:2 sum:2 buckets:[1 1]}}
           f 2

         eval instant at 0 h * 2
           {} {{schema:0 count:8 sum:16 buckets:[4 4]}}

         eval instant at 0 2 * h
           {} {{schema:0 count:8 sum:16 buckets:[4 4]}}

         eval instant at 0 h / f
           {} {{schema:0 count:2 sum:4 buckets:[1 1]}}

         eval instant at 0 h + i
           {} {{schema:0 count:6 sum:10 buckets:[3 3]}}

         eval instant at 0 h - i
           {} {{schema:0 count:2 sum:6 buckets:[1 1] counter_reset_hint:gauge}}

         eval instant at 0 -h
           {} {{schema:0 count:-4 sum:-8 buckets:[-2 -2] counter_reset_hint:gauge}}

         eval instant at 0 h == h
           h {{schema:0 count:4 sum:8 buckets:[2 2]}}

         eval instant at 0 h != bool h
           {} 0

         eval instant at 0 h + f
           expect info msg: PromQL info: incompatible sample types encountered for binary operator \"+\": histogram + float (1:1)

         eval instant at 0 h </ 1
           h {{schema:0 count:2 sum:1.4142135623730951 buckets:[2]}}
        ",
    );
}
