//! The language's rules in small scripts, for machines that do not have Prometheus's own.

use crate::harness::check_eager as check;

#[test]
fn lookback_is_left_open_and_stale_markers_end_a_series() {
    check(
        "load 1m
           m 1 2 _ _ _ _ _ _ 9 stale _ 3

         eval instant at 5m59s m
           m 2

         eval instant at 6m m

         eval instant at 8m m
           m 9

         eval instant at 9m m

         eval range from 8m to 12m step 1m m
           m 9 _ _ 3 3

         eval instant at 9m count_over_time(m[10m])
           {} 3
        ",
    );
}

#[test]
fn ranges_are_left_open_and_offset_and_at_move_them() {
    check(
        "load 1m
           m 0+1x20

         eval instant at 10m count_over_time(m[5m])
           {} 5

         eval instant at 10m sum_over_time(m[2m] offset 3m)
           {} 13

         eval instant at 10m m offset -2m
           m 12

         eval range from 0 to 2m step 1m m @ 300
           m 5 5 5

         eval range from 3m to 5m step 1m m @ end() - m @ start()
           {} 2 2 2

         eval instant at 10m sum_over_time(m[2m:30s] @ 240 offset 1m)
           {} 8
        ",
    );
}

#[test]
fn subqueries_are_evaluated_at_multiples_of_their_step() {
    check(
        "load 10s
           m 0+1x60

         # Steps 60, 80 and 100, not 65, 85 and 105.
         eval instant at 105s sum_over_time(m[50s:20s])
           {} 24

         eval instant at 3m count_over_time(m[3m:])
           {} 3
        ",
    );
}

#[test]
fn rates_extrapolate_to_the_window_but_not_below_zero() {
    check(
        "load 15s
           c_total 0+15x20
           r_total 10 20 30 5 15 25
           g 10 7 4

         eval instant at 1m rate(c_total[1m])
           {} 1

         eval instant at 1m increase(c_total[1m])
           {} 60

         # 20, 30, 5, 15 after 10: 10 + 5 + 10 in 45 s, stretched by 15 s to the left.
         eval instant at 60s increase(r_total[1m])
           {} 33.333333333333336

         eval instant at 1m15s resets(r_total[2m])
           {} 1

         eval instant at 1m15s changes(r_total[2m])
           {} 5

         eval instant at 1m irate(r_total[1m])
           {} 0.6666666666666666

         eval instant at 30s delta(g[30s])
           {} -6

         eval instant at 30s idelta(g[30s])
           {} -3

         eval instant at 30s rate(g[30s])
           expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (1:6)
           {} 0.26666666666666666
        ",
    );
}

#[test]
fn vectors_match_by_labels_and_say_why_they_do_not() {
    check(
        "load 1m
           a{i=\"1\",k=\"x\"} 1
           a{i=\"2\",k=\"x\"} 2
           b{i=\"1\",k=\"y\"} 10
           b{i=\"2\",k=\"y\"} 20
           one{k=\"z\",v=\"9\"} 100

         eval instant at 0 a + ignoring(k) b
           {i=\"1\"} 11
           {i=\"2\"} 22

         eval instant at 0 a * on() group_left(v) one
           {i=\"1\",k=\"x\",v=\"9\"} 100
           {i=\"2\",k=\"x\",v=\"9\"} 200

         eval instant at 0 a > on(i) b / 10
           expect no_warn

         eval instant at 0 a <= bool on(i) b / 10
           {i=\"1\"} 1
           {i=\"2\"} 1

         eval instant at 0 a and on(i) b{i=\"1\"}
           a{i=\"1\",k=\"x\"} 1

         eval instant at 0 a unless on(i) b{i=\"1\"} or one
           a{i=\"2\",k=\"x\"} 2
           one{k=\"z\",v=\"9\"} 100

         eval instant at 0 a + on() one
           expect fail msg: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)

         eval instant at 0 one + on() a
           expect fail regex: found duplicate series for the match group \\{\\} on the right hand-side of the operation

         eval instant at 0 a * on() group_left(v) b
           expect fail regex: found duplicate series for the match group

         eval instant at 0 {i=\"1\"} * 2
           {i=\"1\",k=\"x\"} 2
           {i=\"1\",k=\"y\"} 20

         eval instant at 0 abs({__name__=~\"a|b\"}) + on(i) group_left() sum by (i) (a)
           {i=\"1\",k=\"x\"} 2
           {i=\"1\",k=\"y\"} 11
           {i=\"2\",k=\"x\"} 4
           {i=\"2\",k=\"y\"} 22
        ",
    );
}

#[test]
fn aggregations_keep_or_leave_labels_and_choose_by_value() {
    check(
        "load 1m
           m{a=\"1\",b=\"x\"} 1
           m{a=\"1\",b=\"y\"} 3
           m{a=\"2\",b=\"x\"} NaN
           m{a=\"2\",b=\"y\"} 7

         eval instant at 0 sum by (a) (m{b=\"y\"})
           {a=\"1\"} 3
           {a=\"2\"} 7

         eval instant at 0 max without (b) (m)
           {a=\"1\"} 3
           {a=\"2\"} 7

         eval instant at 0 avg(m)
           {} NaN

         eval instant at 0 stddev(m{a=\"1\"})
           {} 1

         eval instant at 0 topk(3, m)
           expect ordered
           m{a=\"2\",b=\"y\"} 7
           m{a=\"1\",b=\"y\"} 3
           m{a=\"1\",b=\"x\"} 1

         eval instant at 0 bottomk by (a) (1, m)
           m{a=\"1\",b=\"x\"} 1
           m{a=\"2\",b=\"y\"} 7

         eval instant at 0 quantile(0.5, m{a=\"1\"})
           {} 2

         eval instant at 0 quantile(1.5, m{a=\"1\"})
           expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:10)
           {} Inf

         eval instant at 0 count_values by (a) (\"v\", m)
           {a=\"1\",v=\"1\"} 1
           {a=\"1\",v=\"3\"} 1
           {a=\"2\",v=\"NaN\"} 1
           {a=\"2\",v=\"7\"} 1

         eval instant at 0 count(m) + scalar(vector(1))
           {} 5
        ",
    );
}

#[test]
fn classic_histograms_interpolate_and_mend_their_counts() {
    check(
        "load 1m
           h_bucket{le=\"1\"} 10
           h_bucket{le=\"2\"} 30
           h_bucket{le=\"+Inf\"} 40
           bent_bucket{le=\"1\"} 20
           bent_bucket{le=\"2\"} 10
           bent_bucket{le=\"+Inf\"} 40
           odd_bucket{le=\"x\"} 1

         eval instant at 0 histogram_quantile(0.5, h_bucket)
           {} 1.5

         eval instant at 0 histogram_quantile(0.9, h_bucket)
           {} 2

         eval instant at 0 histogram_fraction(0, 1.5, h_bucket)
           {} 0.5

         eval instant at 0 histogram_quantile(0.5, bent_bucket)
           expect info regex: input to histogram_quantile needed to be fixed for monotonicity .*.* from buckets 2 to 2, with a max diff of 10, over 1 samples .* \\(1:25\\)
           {} 1

         eval instant at 0 histogram_quantile(0.5, odd_bucket)
           expect warn msg: PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" for metric name \"odd_bucket\" (1:25)
        ",
    );
}

#[test]
fn labels_absence_and_times_are_computed() {
    check(
        "load 1m
           m{src=\"a-1\"} 5 6

         eval instant at 0 label_replace(m, \"dst\", \"${2}.$1\", \"src\", \"(.*)-(.*)\")
           m{src=\"a-1\",dst=\"1.a\"} 5

         eval instant at 0 label_join(m, \"dst\", \"/\", \"src\", \"none\", \"src\")
           m{src=\"a-1\",dst=\"a-1//a-1\"} 5

         eval instant at 0 absent(none{a=\"1\",b!=\"2\",c=\"3\",c=\"3\"})
           {a=\"1\"} 1

         eval instant at 0 absent(m)

         eval range from 0 to 14m step 7m absent_over_time(m[5m])
           {} _ 1 1

         eval instant at 70s timestamp(m)
           {src=\"a-1\"} 60

         eval instant at 0 hour(vector(1136239445)) + minute(vector(1136239445)) / 100
           {} 22.04

         eval instant at 0 clamp(m, 6, 5)

         eval instant at 0 round(m * 1.37, 0.5)
           {src=\"a-1\"} 7

         eval range from 0 to 2m step 1m time() - 60
           {} -60 0 60
        ",
    );
}
