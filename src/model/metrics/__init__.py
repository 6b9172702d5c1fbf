"""Metrics that torchmetrics does not have, or has in another form."""
