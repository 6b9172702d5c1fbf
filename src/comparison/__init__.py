"""Many runs to a decision: what differs, which is better, what it costs."""
