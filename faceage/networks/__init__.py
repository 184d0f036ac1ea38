"""The five networks. Every preset keeps their inputs and outputs."""

LATENT_SIZE = 100
"""z ~ N(0, I) of this many dimensions."""
