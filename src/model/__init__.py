"""From token ids to numbers: encoders, objectives, optimizers, and the one LightningModule that
joins them.
"""
