"""Texts to token ids: tokenizers, encoding, and the files that hold the ids."""
