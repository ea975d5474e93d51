//! Floats as Go's `strconv` and Prometheus print and read them.
