"""The terms all rooms share: what a batch is, what is known of the data, what a fault is, what a number may be."""
