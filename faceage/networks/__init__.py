"""The five networks. Every preset keeps their inputs and outputs."""

LATENT_SIZE = 100
"""z ~ N(0, I) of this many dimensions."""
OFFSET_SIZE = 2048
"""Outputs of G's first dense layer, to which a person's offset is added."""
