//! Rules 1 to 7 of `design/promql.md` section 2: which samples are looked at.

use crate::harness::check;

#[test]
fn p01_steps_go_from_the_start_to_the_last_multiple_that_is_not_after_the_end() {
    check(
        "load 1m
           m 0+1x20

         eval range from 1m to 4m30s step 1m m + 0
           {} 1 2 3 4

         eval range from 1m to 1m step 1h m + 0
           {} 1

         eval instant at 90s m + 0
           {} 1

         eval range from 90s to 210s step 1m time()
           {} 90 150 210
        ",
    );
}

#[test]
fn p02_lookback_is_left_open_and_a_stale_marker_ends_a_series_at_once() {
    check(
        "load 1m
           m 1 _ _ _ _ _ _ _ 9 stale
           h {{count:4}} _ _ _ _ _ _ _ {{count:5}} stale

         eval instant at 4m59s m
           m 1

         eval instant at 5m m

         eval range from 8m to 10m step 1m m
           m 9

         eval range from 8m to 10m step 1m h
           h {{count:5}}

         eval instant at 9m count_over_time(m[9m])
           {} 1

         eval instant at 10m count_over_time(m[10m])
           {} 1
        ",
    );
}

#[test]
fn p03_ranges_are_left_open_and_keep_ordinary_nan() {
    check(
        "load 1m
           m 0+1x10
           n 1 NaN 3

         eval instant at 5m count_over_time(m[2m])
           {} 2

         eval instant at 5m count_over_time(m[1ms])
           {} 1

         eval instant at 4m59s count_over_time(m[1ms])

         eval instant at 2m count_over_time(n[3m])
           {} 3

         eval range from 1m to 3m step 1m sum_over_time(m[90s])
           {} 1 3 5
        ",
    );
}

#[test]
fn p04_at_replaces_the_time_and_start_and_end_are_those_of_the_whole_query() {
    check(
        "load 1m
           m 0+1x30

         eval range from 2m to 4m step 1m m @ 300 offset 1m
           m 4 4 4

         eval range from 2m to 4m step 1m m @ end()
           m 4 4 4

         eval range from 10m to 12m step 1m sum_over_time((m @ start())[2m:1m])
           {} 20 20 20

         eval instant at 20m sum_over_time(sum_over_time(m[2m:1m] offset 1m)[1m:1m] offset 2m)
           {} 33

         eval instant at 20m last_over_time((m @ 600)[5m:1m] offset 9m)
           m 10

         eval range from 1m to 2m step 1m timestamp(m @ 300)
           {} 300 300
        ",
    );
}

#[test]
fn p05_the_grid_of_a_subquery_is_of_absolute_multiples_of_its_step() {
    check(
        "load 10s
           m 0+1x100

         eval instant at 107s count_over_time(vector(time())[1m:25s])
           {} 3

         eval instant at 107s last_over_time(vector(time())[1m:25s])
           {} 100

         eval instant at 107s first_over_time(vector(time())[1m:25s] offset 7s)
           {} 50

         eval instant at 110s count_over_time(m[100s:])
           {} 1

         eval instant at 0s first_over_time(vector(time())[1m:25s])
           {} -50
        ",
    );
}

#[test]
fn p05_a_subquery_forgets_what_was_known_of_counter_resets() {
    check(
        "load 1m
           h {{count:4}}x4

         eval instant at 3m h
           h {{count:4 counter_reset_hint:not_reset}}

         eval instant at 3m last_over_time(h[2m:1m])
           h {{count:4 counter_reset_hint:unknown}}
        ",
    );
}

#[test]
fn p06_durations_are_computed_in_seconds_and_may_use_the_query_s_own_times() {
    check(
        "load 1m
           m 0+1x20

         eval instant at 10m count_over_time(m[2m+(30s*2)])
           {} 3

         eval instant at 10m m offset (1m/2)
           m 9

         eval range from 10m to 12m step 1m count_over_time(m[step()*2])
           {} 2 2 2

         eval range from 10m to 13m step 1m count_over_time(m[range()])
           {} 3 3 3 3

         eval range from 10m to 13m step 1m count_over_time(m[max_of(step(), 2m)])
           {} 2 2 2 2

         eval range from 10m to 12m step 1m start() + end() + range() + step()
           {} 1500 1500 1500

         eval instant at 10m step()
           0

         eval range from 10m to 11m step 1m count_over_time(m[step()-1m])
           expect fail msg: 18:27: duration must be greater than 0

         eval range from 10m to 11m step 1m count_over_time(m[5m/(step()-1m)])
           expect fail msg: 18:31: division by zero

         eval range from 10m to 11m step 1m count_over_time(m[5m%(step()-1m)])
           expect fail msg: 18:31: modulo by zero
        ",
    );
}

#[test]
fn p07_anchored_and_smoothed_windows_reach_for_what_stands_at_their_ends() {
    check(
        "load 1m
           m 0 10 20 30 5 15
           g 0 10 _ 30

         eval instant at 2m30s increase(m[1m] anchored)
           {} 10

         eval instant at 2m30s increase(m[1m] smoothed)
           {} 10

         eval instant at 4m30s increase(m[2m] smoothed)
           {} 15

         eval instant at 4m increase(m[2m] anchored)
           {} 15

         eval instant at 4m30s resets(m[2m] anchored)
           {} 1

         eval instant at 2m g smoothed
           g 20

         eval instant at 4m g smoothed
           g 30

         eval instant at 1m30s max_over_time(m[1m] smoothed)
           expect fail msg: smoothed modifier can only be used with: delta, increase, rate - not with max_over_time

         eval instant at 1m30s deriv(m[1m] anchored)
           expect fail msg: anchored modifier can only be used with: changes, delta, increase, rate, resets - not with deriv
        ",
    );
}
