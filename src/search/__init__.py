"""Many runs: a space of what may vary, trials taken from it, each in a process of its own, and what came of them."""
