"""Text to batches: where rows come from, how they are cleaned, labelled, divided, tokenised and
laid out.
"""
