"""The five networks. Every preset keeps their inputs and outputs."""
