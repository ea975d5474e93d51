//! Rules 21 to 25 of `design/promql.md` section 2: functions of instant vectors.

use crate::harness::check;

#[test]
fn p21_absent_has_the_labels_that_one_equality_alone_is_about() {
    check(
        "load 1m
           m 1

         eval instant at 0 absent(m)

         eval instant at 0 absent(x{a=\"1\", b!=\"2\", c=~\"3\", d=\"4\", d=\"5\"})
           {a=\"1\"} 1

         eval instant at 0 absent(sum(x{a=\"1\"}))
           {} 1

         eval instant at 0 absent_over_time(x{a=\"1\"}[5m])
           {a=\"1\"} 1

         eval range from 4m to 6m step 1m absent(m)
           {} _ 1 1
        ",
    );
}

#[test]
fn p22_classic_quantiles_mend_their_buckets_and_need_the_infinite_one() {
    check(
        "load 1m
           good_bucket{le=\"1\"} 2
           good_bucket{le=\"2\"} 4
           good_bucket{le=\"+Inf\"} 4
           bent_bucket{le=\"1\"} 4
           bent_bucket{le=\"2\"} 3
           bent_bucket{le=\"+Inf\"} 8
           open_bucket{le=\"1\"} 4
           negative_bucket{le=\"-1\"} 4
           negative_bucket{le=\"+Inf\"} 4

         eval instant at 0 histogram_quantile(0.75, good_bucket)
           {} 1.5

         eval instant at 0 histogram_quantile(0.5, negative_bucket)
           {} -1

         eval instant at 0 histogram_quantile(0.5, open_bucket)
           {} NaN

         eval instant at 0 histogram_fraction(0, 1, good_bucket)
           {} 0.5

         eval instant at 0 histogram_quantile(0.25, bent_bucket)
           expect info regex: PromQL info: input to histogram_quantile needed to be fixed for monotonicity .*.* from buckets 2 to 2, with a max diff of 1, over 1 samples from .* to .* \\(1:26\\)
           {} 0.5

         eval instant at 0 histogram_quantile(0.5, label_replace(good_bucket, \"le\", \"x\", \"le\", \"1\"))
           expect warn msg: PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" for metric name \"good_bucket\" (1:25)
           {} 1
        ",
    );
}

#[test]
fn p22_native_quantiles_interpolate_on_a_logarithmic_scale() {
    check(
        "load 1m
           h {{schema:0 count:8 sum:8 z_bucket:0 offset:1 buckets:[4 4]}}
           c {{schema:-53 count:4 sum:4 custom_values:[1 2] buckets:[0 4]}}
           both_bucket{le=\"+Inf\"} 4
           both_bucket{le=\"1\"} 4
           both_bucket {{count:1 buckets:[1]}}

         eval instant at 0 histogram_quantile(0.25, h)
           {} 1.414213562373095

         eval instant at 0 histogram_quantile(0.5, c)
           {} 1.5

         eval instant at 0 histogram_count(h) + histogram_sum(h)
           {} 16

         eval instant at 0 histogram_avg(c)
           {} 1

         eval instant at 0 histogram_fraction(1, 2, h)
           {} 0.5

         eval instant at 0 histogram_quantiles(c, \"q\", 0, 1)
           {q=\"0.0\"} 1
           {q=\"1.0\"} 2

         eval instant at 0 histogram_quantile(0.5, both_bucket)
           expect warn msg: PromQL warning: vector contains a mix of classic and native histograms for metric name \"both_bucket\" (1:25)
        ",
    );
}

#[test]
fn p23_functions_of_single_values() {
    check(
        "load 1m
           m{i=\"1\"} 2.5
           m{i=\"2\"} -0.5
           m{i=\"3\"} NaN
           one 7
           h {{count:1}}
           n{x=\"host10\"} 1
           n{x=\"host9\"} 2

         eval instant at 0 round(m{i!=\"3\"})
           {i=\"1\"} 3
           {i=\"2\"} 0

         eval instant at 0 round(one + 0.27, 0.1)
           {} 7.3

         eval instant at 0 clamp(m, 2, 1)

         eval instant at 0 sgn(m)
           {i=\"1\"} 1
           {i=\"2\"} -1
           {i=\"3\"} NaN

         eval instant at 0 sort_desc(m)
           expect ordered
           m{i=\"1\"} 2.5
           m{i=\"2\"} -0.5
           m{i=\"3\"} NaN

         eval instant at 0 sort({__name__=~\"one|h\"})
           one 7

         eval instant at 0 sort_by_label(n, \"x\")
           expect ordered
           n{x=\"host9\"} 2
           n{x=\"host10\"} 1

         eval range from 0 to 1m step 1m sort(one)
           expect warn msg: PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)
           one 7 7

         eval instant at 0 scalar(m)
           NaN

         eval instant at 0 scalar({__name__=~\"one|h\"})
           7

         eval instant at 0 label_join(one, \"j\", \"-\", \"__name__\", \"none\")
           one{j=\"one-\"} 7

         eval instant at 0 day_of_month(one * 1000000)
           {} 23

         eval instant at 0 abs(h)
        ",
    );
}

#[test]
fn p24_arithmetic_is_go_s() {
    check(
        "load 1m
           a -7
           b 3

         eval instant at 0 a % b
           {} -1

         eval instant at 0 a ^ 0.5
           {} NaN

         eval instant at 0 b ^ -2
           {} 0.1111111111111111

         eval instant at 0 atan(b) - (b atan2 vector(1))
           {} 0

         eval instant at 0 log2(b * 0)
           {} -Inf

         eval instant at 0 exp(a)
           {} 0.0009118819655545162

         eval instant at 0 max_of(NaN, 1)
           NaN

         eval instant at 0 min_of(2, -1)
           -1

         eval instant at 0 b / 0
           {} Inf
        ",
    );
}

#[test]
fn p25_info_adds_labels_of_the_newest_info_series() {
    check(
        "load 1m
           m{instance=\"a\", job=\"1\"} 1 2 3
           other{instance=\"b\", job=\"1\"} 1 2 3
           target_info{instance=\"a\", job=\"1\", version=\"1\"} 1 1 _
           target_info{instance=\"a\", job=\"1\", version=\"2\"} _ _ 1
           clash_info{instance=\"a\", job=\"1\", version=\"3\"} 1 1 1
           twin_info{instance=\"a\", job=\"1\", x=\"1\"} 1
           twin_info{instance=\"a\", job=\"1\", x=\"2\"} 1

         eval range from 0 to 2m step 1m info(m)
           m{instance=\"a\", job=\"1\", version=\"1\"} 1 2 _
           m{instance=\"a\", job=\"1\", version=\"2\"} _ _ 3

         eval instant at 2m info(m @ 0)
           m{instance=\"a\", job=\"1\", version=\"1\"} 1

         eval instant at 2m info(m offset 1m, {version=~\".+\"})
           m{instance=\"a\", job=\"1\", version=\"1\"} 2

         eval instant at 0 info(other)
           other{instance=\"b\", job=\"1\"} 1

         eval instant at 0 info(other, {version=~\".+\"})

         eval instant at 0 info(m, {__name__=~\"(target|clash)_info\"})
           expect fail msg: conflicting label: version

         eval instant at 0 info(m, {__name__=\"twin_info\"})
           expect fail regex: found duplicate series for info metric: existing .*twin_info.* @ 0, new .*twin_info.* @ 0
        ",
    );
}
