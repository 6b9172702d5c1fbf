"""How steps are taken: devices, precision, limits, checkpoints and what is measured on the way."""
